//! Sandboxes, and films by every way that plaintext comes in.

use crate::fences::launcher;
use ciphermill_formats::{FileType, streams};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ciphermill::media::Tools;
use ciphermill::media::film::{
    Facts, Film, Frames, Limits, Opening, Plaintext, Reader, Result, StreamSource, Times, frames,
};
use ciphermill::media::sandbox::{Memory, Protection, RangeSource, Sandbox, Settings, SharedRange};

use crate::films::Ppm;

pub const WALL: Duration = Duration::from_secs(60);

pub async fn within(protection: Protection) -> Tools {
    let settings = Settings {
        least: protection,
        most: protection,
        ..Settings::new(launcher())
    };
    Tools {
        sandbox: Sandbox::detect(settings).await.unwrap(),
        ffmpeg: "/usr/bin/ffmpeg".into(),
        ffprobe: "/usr/bin/ffprobe".into(),
    }
}

pub async fn full() -> Tools {
    within(Protection::Full).await
}

/// The facts of a film, within this time.
pub async fn probe(tools: &Tools, film: &Film, wall: Duration) -> Result<Facts> {
    let limits = Limits {
        wall,
        ..Limits::default()
    };
    ciphermill::media::film::probe(tools, film, &limits).await
}

/// Bytes with a hole in them, that counts what is read.
pub struct Sparse {
    pub before: Vec<u8>,
    pub hole: u64,
    pub after: Vec<u8>,
    pub served: Arc<AtomicU64>,
}

impl RangeSource for Sparse {
    fn len(&self) -> u64 {
        self.before.len() as u64 + self.hole + self.after.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> std::io::Result<Bytes> {
        self.served
            .fetch_add(range.end - range.start, Ordering::Relaxed);
        let after = self.before.len() as u64 + self.hole;
        let byte = |place: u64| match self.before.get(place as usize) {
            Some(byte) => *byte,
            None if place < after => 0,
            None => self.after[(place - after) as usize],
        };
        Ok(range.map(byte).collect())
    }
}

/// A film that is read from its start each time.
pub struct Streamed(Vec<u8>);

impl StreamSource for Streamed {
    fn open(&self) -> Opening<'_> {
        let reader: Reader = Box::new(std::io::Cursor::new(self.0.clone()));
        Box::pin(async move { Ok(reader) })
    }
}

pub async fn in_memory(bytes: &[u8]) -> Plaintext {
    Memory::of(bytes).unwrap().into()
}

pub fn by_range(bytes: &[u8]) -> Plaintext {
    let served = Arc::default();
    let sparse = Sparse {
        before: bytes.to_vec(),
        hole: 0,
        after: Vec::new(),
        served,
    };
    Plaintext::Range(SharedRange::new(sparse))
}

pub fn by_pipe(bytes: &[u8]) -> Plaintext {
    Plaintext::Pipe(Arc::new(Streamed(bytes.to_vec())))
}

/// Every way that a film can come in.
pub async fn ways(bytes: &[u8]) -> Vec<Film> {
    let form = FileType::sniff(bytes).unwrap();
    let mut ways = vec![in_memory(bytes).await, by_range(bytes)];
    if streams(&bytes[..bytes.len().min(64 << 10)], form) {
        ways.push(by_pipe(bytes));
    }
    ways.into_iter()
        .map(|plaintext| Film { form, plaintext })
        .collect()
}

/// What a task may run: the worker's tasks move between threads.
pub fn send<T: Send>(future: T) -> T {
    future
}

pub async fn take(tools: &Tools, film: &Film, facts: &Facts, times: &Times) -> (Frames, Vec<Ppm>) {
    let mut out = Vec::new();
    let limits = Limits {
        wall: WALL,
        ..Limits::default()
    };
    let frames = send(frames(tools, film, facts, times, &limits, &mut out)).await;
    assert!(frames.failure.is_none(), "{film:?} {times:?}: {frames:?}");
    let ppms = Ppm::all(&out);
    assert_eq!(ppms.len(), frames.frames.len());
    let size = (frames.width as usize, frames.height as usize);
    assert!(ppms.iter().all(|ppm| (ppm.width, ppm.height) == size));
    (frames, ppms)
}
