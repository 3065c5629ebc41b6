//! The demo's inputs: a film with picture and sound, and a file of random bytes.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fault::{Fault, Result};
use crate::secret;

/// Paths of the samples.
pub(super) struct Samples {
    /// Random bytes.
    pub random: PathBuf,
    /// The film; none when there is no ffmpeg.
    pub film: Option<PathBuf>,
}

impl Samples {
    pub(super) fn make(dir: &Path, mib: u64) -> Result<Samples> {
        let random = dir.join("random.bin");
        let io = |e: std::io::Error| Fault::io("write", &random, &e);
        let mut file = std::fs::File::create(&random).map_err(io)?;
        let mut chunk = vec![0; 1 << 20];
        for _ in 0..mib {
            secret::fill_random(&mut chunk)?;
            file.write_all(&chunk).map_err(io)?;
        }
        Ok(Samples {
            random,
            film: film(&dir.join("film.mp4")),
        })
    }
}

/// 30 seconds of test picture and tone, H.264 and AAC.
fn film(path: &Path) -> Option<PathBuf> {
    let made = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=1280x720:rate=25:duration=30",
        ])
        .args([
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=48000:duration=30",
            "-c:v",
            "libx264",
        ])
        .args([
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
            "-c:a",
            "aac",
            "-movflags",
            "+faststart",
        ])
        .arg(path)
        .stdin(Stdio::null())
        .status();
    match made {
        Ok(status) if status.success() => Some(path.into()),
        _ => {
            eprintln!("note: ffmpeg is not installed or failed: the demo goes on without a film");
            None
        }
    }
}

/// Writes a file that only its owner can read.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |e: std::io::Error| Fault::io("write", path, &e);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    file.write_all(bytes).map_err(io)
}
