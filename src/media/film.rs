//! Film: facts and exact frames of an untrusted film, asked of ffprobe and ffmpeg in the sandbox.
//!
//! What comes in: a [`Film`] (its form and its plaintext) and the wanted [`Times`]. What goes out:
//! [`Facts`], and frames as binary PPM (P6) written into whatever the caller gives, upright, with
//! square pixels, 8-bit RGB. This module never parses media itself, never sizes a picture down, and
//! never says a path.
//!
//! Time 0 is the container's start (the earliest of its streams), so a frame's time is the same
//! whether its film starts at 0 or, like most transport streams, elsewhere.

mod end;
mod facts;
mod frames;
mod graph;
mod run;
mod times;

use ciphermill_formats::FileType;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncRead;

use super::sandbox::{self, Input, Memory, RangeSource, SharedRange};
use super::{HEAD_BYTES, Tools};

pub use facts::{AttachedPicture, Facts, Orientation, Subtitle, Video, probe};
pub use frames::{Frames, Reading, frames};
pub use run::output;
pub use times::{Frame, Times};

/// Result of this module.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A small film may be read over and over, up to so many bytes; a larger one twice.
const RANGE_BYTES: u64 = 64 << 30;

/// A film.
#[derive(Clone, Debug)]
pub struct Film {
    /// What its first bytes say that it is.
    pub form: FileType,
    /// Where its bytes are.
    pub plaintext: Plaintext,
}

/// Where the bytes of a film are.
#[derive(Clone)]
pub enum Plaintext {
    /// All of them in sealed memory. Every child opens it anew and so has its own place in it.
    Memory(Arc<OwnedFd>),
    /// Read in ranges as they are asked for; needs full protection.
    Range(SharedRange),
    /// Read from start to end, for each child anew; only where [`streams`](ciphermill_formats::streams) says so.
    Pipe(Arc<dyn StreamSource>),
}

impl From<Memory> for Plaintext {
    fn from(memory: Memory) -> Self {
        Plaintext::Memory(Arc::new(memory.into_fd()))
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Plaintext::Memory(_) => "Memory",
            Plaintext::Range(_) => "Range",
            Plaintext::Pipe(_) => "Pipe",
        })
    }
}

impl Plaintext {
    /// Its first bytes; of one that comes through a pipe, none.
    pub async fn head(&self) -> Result<Vec<u8>> {
        let wrong = |e: io::Error| Failure::machine("cannot read the media", e);
        match self {
            Plaintext::Memory(fd) => {
                let file = File::from(fd.try_clone().map_err(wrong)?);
                let mut head = vec![0; HEAD_BYTES as usize];
                let read = file.read_at(&mut head, 0).map_err(wrong)?;
                head.truncate(read);
                Ok(head)
            }
            Plaintext::Range(source) => {
                let head = source.read(0..HEAD_BYTES.min(source.len())).await;
                Ok(head.map_err(wrong)?.to_vec())
            }
            Plaintext::Pipe(_) => Ok(Vec::new()),
        }
    }
}

impl Film {
    /// Most bytes that a child reads of it in ranges, re-reads included.
    pub fn range_bytes(&self) -> u64 {
        match &self.plaintext {
            Plaintext::Range(source) => RANGE_BYTES.max(source.len().saturating_mul(2)),
            _ => RANGE_BYTES,
        }
    }

    /// How a child gets at it.
    pub fn input(&self) -> Input {
        match self.plaintext {
            Plaintext::Memory(_) => Input::Memory(run::MEMORY_FD),
            Plaintext::Range(_) => Input::Range,
            Plaintext::Pipe(_) => Input::Pipe,
        }
    }
}

/// Bytes that can be read from start to end.
///
/// Each of [`probe`] and [`frames`] opens it once, and a [`Times::Count`] of a film that does not
/// say where it ends once more. It is dropped before its end when the child has read enough, so one
/// that is fed through a pipe has to bear a reader that goes away; one that can be opened only once
/// has its facts asked of its first bytes in [`Plaintext::Memory`].
pub trait StreamSource: Send + Sync {
    /// A reader that stands at the first byte.
    fn open(&self) -> Opening<'_>;
}

/// A reader to come.
pub type Opening<'a> = Pin<Box<dyn Future<Output = io::Result<Reader>> + Send + 'a>>;

/// Reads plaintext from start to end.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// Limits of one call, over all the children that it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels of a frame, as it is coded and as it is delivered.
    pub pixels: u64,
    /// Most frames of a call.
    pub frames: usize,
    /// Private memory of the child at work.
    pub memory_bytes: u64,
    /// By the clock on the wall. The reader of the frames counts too: it can keep ffmpeg waiting.
    pub wall: Duration,
    /// Processor seconds.
    pub cpu_seconds: u64,
    /// Most bytes that are read by ranges, re-reads included, by each child.
    pub range_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            pixels: 64 << 20,
            frames: 20_000,
            memory_bytes: 512 << 20,
            wall: Duration::from_secs(3600),
            cpu_seconds: 3600,
            range_bytes: RANGE_BYTES,
        }
    }
}

/// Whose fault it is, and of what kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The media: it is no such film, or it breaks off.
    Broken,
    /// The media: coded in a way that is not decoded here.
    Unsupported,
    /// The media: its frames are too large, or too many.
    TooLarge,
    /// The media: there is nothing to see in it.
    NoVideo,
    /// The media: it used up its time.
    TookTooLong,
    /// The caller: it asked for what cannot be.
    Refused,
    /// The machine: the sandbox, the source or the reader of the frames.
    Machine(sandbox::Kind),
}

/// Why there are no facts, or no more frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub kind: Kind,
    /// What happened, in lower case, without paths.
    pub message: String,
}

impl Failure {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Failure {
            kind,
            message: message.into(),
        }
    }

    fn machine(what: &str, why: impl fmt::Display) -> Self {
        let kind = Kind::Machine(sandbox::Kind::Failed);
        Failure::new(kind, format!("{what}: {why}"))
    }

    /// Whether the media is at fault: trying again will not help.
    pub fn is_media(&self) -> bool {
        !matches!(self.kind, Kind::Machine(_) | Kind::Refused)
    }
}

impl From<sandbox::Failure> for Failure {
    fn from(failure: sandbox::Failure) -> Self {
        Failure::new(Kind::Machine(failure.kind), failure.message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
