//! The demo's thumbnails and captions: made of the film, encrypted, and opened again by openssl.

use std::path::Path;

use serde_json::json;

use super::jobs::{Check, DemoJob, generated};
use super::{Demo, samples, verify};
use crate::fault::{Fault, Result};
use crate::job::event::{CompanionResult, Event};

/// What openssl made of them lies here, to be looked at.
pub(super) const FOLDER: &str = "look";
/// One every so many seconds, of a film of thirty.
const INTERVAL_SECONDS: u32 = 6;
/// Five thumbnails and two caption files.
const MADE: usize = 7;

impl Demo {
    /// The film once more, with thumbnails that carry a watermark, and captions of a file beside it.
    pub(super) fn companions_job(&self) -> Result<DemoJob> {
        let captions = self.dir.join("film.en.srt");
        let written = std::fs::write(&captions, samples::CAPTIONS);
        written.map_err(|e| Fault::io("write", &captions, &e))?;
        let (key, reference) = self.key("companions", 32)?;
        let encryption = json!({ "mode": "aes-ctr", "key": reference });
        let mut thumbnails = json!({
            "url_pattern": self.url("out/film-{resolution}-{count}"), "max_width": 640,
            "max_height": 360, "interval_seconds": INTERVAL_SECONDS, "encryption": encryption });
        if samples::logo(&self.dir.join("logo.png")) {
            thumbnails["watermarks"] = json!([{ "url": self.url("logo.png"), "max_width": "20%",
                "max_height": "20%", "horizontal_offset": "2%", "vertical_offset": "2%",
                "opacity": 80 }]);
        }
        let captions = |format: &str| {
            json!({ "url_pattern": self.url("out/film-{language}"), "format": format,
                    "encryption": encryption })
        };
        let message = json!({
            "version": 1, "id": "companions", "input": { "url": self.url("film.mp4") },
            "outputs": [{ "url": self.url("out/film.again.cob"),
                "encryption": { "mode": "cobblestone", "key": generated(256) } }],
            "thumbnails": thumbnails,
            "captions": {
                "sources": [{ "url": self.url("film.en.srt"), "language": "en" }],
                "outputs": [captions("webvtt"), captions("ttml")] } });
        Ok(DemoJob {
            name: "companions",
            what: "thumbnails, captions".into(),
            message,
            check: Check::Companions { key },
        })
    }

    /// Opens each with openssl and looks whether it is what it is said to be.
    pub(super) fn check_companions(&self, key: &Path, event: &Event) -> Result<(bool, String)> {
        let folder = self.dir.join(FOLDER);
        std::fs::create_dir_all(&folder).map_err(|e| Fault::io("create", &folder, &e))?;
        let companions = &event.data.companions;
        let mut good = companions.len() == MADE;
        for companion in companions {
            match open(companion, key, &folder)? {
                Some(opened) => good &= opened,
                None => return Ok((true, "nobody: no openssl program here".into())),
            }
        }
        let said = format!("openssl: {} files", companions.len());
        Ok((
            good,
            if good {
                said
            } else {
                "OPENSSL DISAGREES".into()
            },
        ))
    }
}

/// `None` where there is no openssl.
fn open(companion: &CompanionResult, key: &Path, folder: &Path) -> Result<Option<bool>> {
    let output = &companion.output;
    let path = output.url.strip_prefix("file://").map(Path::new);
    let iv = output.encryption.as_ref().and_then(|e| e["iv"].as_str());
    let (Some(path), Some(iv)) = (path, iv) else {
        return Ok(Some(false));
    };
    let opened = folder.join(path.file_name().unwrap_or_default());
    if !verify::open("-aes-256-ctr", key, iv, path, &opened)? {
        return Ok(None);
    }
    let bytes = std::fs::read(&opened).map_err(|e| Fault::io("read", &opened, &e))?;
    let starts: [&[u8]; 3] = [b"\xff\xd8\xff", b"WEBVTT", b"<?xml"];
    Ok(Some(starts.iter().any(|start| bytes.starts_with(start))))
}
