//! The demo's inputs: a film with picture and sound, and a file of random bytes.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ciphermill_cipher::secret;

use crate::fault::{Fault, Result};

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

/// Captions beside the film; the second cue is broken on purpose.
pub(super) const CAPTIONS: &str = "1
00:00:02,000 --> 00:00:06,000
Every picture here is <i>made</i> by ffmpeg.

2
00:00:08,000 -> never
This cue is broken, and left out.

3
00:00:20,000 --> 00:00:26,500
All of it is encrypted.
";

/// 30 seconds of test picture and tone, H.264 and AAC.
fn film(path: &Path) -> Option<PathBuf> {
    let words = "-f lavfi -i testsrc2=size=1280x720:rate=25:duration=30 \
        -f lavfi -i sine=frequency=440:sample_rate=48000:duration=30 \
        -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac -movflags +faststart";
    if !ffmpeg(words, path) {
        eprintln!("note: ffmpeg is not installed or failed: the demo goes on without a film");
        return None;
    }
    Some(path.into())
}

/// A picture to be drawn on others.
pub(super) fn logo(path: &Path) -> bool {
    ffmpeg(
        "-f lavfi -i mandelbrot=size=160x90:rate=1 -frames:v 1",
        path,
    )
}

fn ffmpeg(words: &str, path: &Path) -> bool {
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(words.split_whitespace())
        .arg(path)
        .stdin(Stdio::null())
        .status();
    made.is_ok_and(|status| status.success())
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
