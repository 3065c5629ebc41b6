//! `[media]`: how thumbnails, captions and artwork are made, and what that may take.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Media;
use super::raw::{within, wrong};
use crate::fault::Result;

const MIB: u64 = 1 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawMedia {
    protection: Option<String>,
    ffmpeg: Option<PathBuf>,
    ffprobe: Option<PathBuf>,
    bubblewrap: Option<PathBuf>,
    oldest_ffmpeg: Option<String>,
    decoder_bytes: Option<u64>,
    plaintext_bytes: Option<u64>,
    output_bytes: Option<u64>,
    seconds: Option<u64>,
    warm: Option<u64>,
}

impl RawMedia {
    /// What is not given follows from the budget.
    pub(super) fn validate(self, budget_bytes: u64) -> Result<Media> {
        let full_protection = match self.protection.as_deref().unwrap_or("partial") {
            "full" => true,
            "partial" => false,
            other => return Err(wrong("media.protection", "full or partial", other)),
        };
        let version = self.oldest_ffmpeg.as_deref().unwrap_or("5.1.0");
        let numbers: Option<Vec<u32>> = version.split('.').map(|n| n.parse().ok()).collect();
        let oldest_ffmpeg = match numbers.as_deref() {
            Some([major, minor, patch]) => (*major, *minor, *patch),
            Some([major, minor]) => (*major, *minor, 0),
            _ => {
                return Err(wrong(
                    "media.oldest_ffmpeg",
                    "a version like 5.1.0",
                    version,
                ));
            }
        };
        let bytes = |setting, given, share: u64, least| {
            let default = share.min(budget_bytes).max(least);
            within(setting, given, default, least, 1 << 40).map(|bytes| bytes as usize)
        };
        let decoder = (512 * MIB).min(budget_bytes / 8 * 5);
        let plaintext = (32 * MIB).min(budget_bytes / 8);
        let output = (32 * MIB).min(budget_bytes / 16);
        let path = |given: Option<PathBuf>, default: &str| given.unwrap_or_else(|| default.into());
        Ok(Media {
            full_protection,
            ffmpeg: path(self.ffmpeg, "/usr/bin/ffmpeg"),
            ffprobe: path(self.ffprobe, "/usr/bin/ffprobe"),
            bubblewrap: path(self.bubblewrap, "/usr/bin/bwrap"),
            oldest_ffmpeg,
            decoder_bytes: bytes("media.decoder_bytes", self.decoder_bytes, decoder, 16 * MIB)?,
            plaintext_bytes: bytes(
                "media.plaintext_bytes",
                self.plaintext_bytes,
                plaintext,
                MIB / 16,
            )?,
            output_bytes: bytes("media.output_bytes", self.output_bytes, output, MIB)?,
            limit: Duration::from_secs(within("media.seconds", self.seconds, 900, 1, 86_400)?),
            warm: within("media.warm", self.warm, 1, 0, 64)? as usize,
        })
    }
}
