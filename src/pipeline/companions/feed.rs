//! Feed: how the plaintext of a job reaches its parsers, never touching a disk (P7).
//!
//! Small: the [`Tap`] copies it into memory as it passes by, and hands it over once the whole is
//! verified. Large, and to be read from start to end: the tap pushes it into a pipe, at the pace of
//! whoever reads. Else [`Ranges`] reads it again, piece by piece as a parser asks, decrypting on the
//! fly. What is made of it is published only after the transfer has verified the same version.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ciphermill_cipher::{Decryptor, Form, PartAt};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;

use crate::buffers::Reservation;
use crate::engine::{self, Engine};
use crate::fault::{Code, Fault, Result};
use crate::media::Plaintext;
use crate::media::film::{Opening, Reader, StreamSource};
use crate::media::sandbox::{Memory, RangeSource, SharedRange, Unsealed};
use crate::plan::Plan;
use crate::source::Source;

/// Pieces begin and end at multiples of this, so that every mode can open them.
const STEP_BYTES: u64 = ciphermill_cipher::cobblestone::CHUNK_BYTES as u64;

/// Bytes that wait in a pipe for their reader.
const PIPE_BYTES: usize = 256 << 10;

/// Where parsers get the plaintext from.
#[derive(Default)]
pub(in crate::pipeline) struct Feed {
    /// It will be in memory once it has passed by.
    coming: Option<oneshot::Receiver<Result<Memory>>>,
    /// It passes by, for the one who takes it.
    stream: Option<Film>,
    /// It is in memory, or is read again.
    whole: Option<Result<Plaintext>>,
    faults: Arc<Faults>,
}

impl Feed {
    /// The film that passes by, if it does, and its first bytes. Once.
    pub(super) fn take_stream(&mut self) -> Option<(Plaintext, Plaintext)> {
        self.stream.take()
    }

    /// The plaintext, once it is there.
    pub(super) async fn plaintext(&mut self) -> Result<Plaintext> {
        // Whoever gives up waiting leaves it to the next.
        if let Some(coming) = &mut self.coming {
            let memory = match coming.await {
                Ok(memory) => memory,
                // The transfer failed, and its fault is the one that counts.
                Err(_) => std::future::pending().await,
            };
            self.whole = Some(memory.map(Plaintext::from));
            self.coming = None;
        }
        let none = || Fault::new(Code::Internal, "no plaintext was asked for");
        self.whole.clone().unwrap_or_else(|| Err(none()))
    }

    /// What a parser could not read for, where the reason is the source's.
    pub(super) fn told(&self, fault: Fault) -> Fault {
        self.faults.first().unwrap_or(fault)
    }

    /// Lets it pass by through a pipe as well; `head` are its first bytes.
    pub(super) fn also_streams(&mut self, head: &[u8]) -> Result<Tap> {
        let (writer, reader) = tokio::io::duplex(PIPE_BYTES);
        let stream = Plaintext::Pipe(Arc::new(Once(Mutex::new(Some(Box::new(reader))))));
        self.stream = Some((stream, Memory::of(head)?.into()));
        Ok(Tap::Stream(Some(writer)))
    }
}

/// A film that passes by, and its first bytes.
type Film = (Plaintext, Plaintext);

/// A stream that can be read once.
struct Once(Mutex<Option<Reader>>);

impl StreamSource for Once {
    fn open(&self) -> Opening<'_> {
        let reader = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gone = || io::Error::other("it has passed by");
        Box::pin(std::future::ready(reader.ok_or_else(gone)))
    }
}

/// Takes plaintext as it passes by.
pub(in crate::pipeline) enum Tap {
    /// Into memory.
    Memory {
        memory: Result<Unsealed>,
        done: oneshot::Sender<Result<Memory>>,
    },
    /// Into a pipe, as long as somebody reads.
    Stream(Option<DuplexStream>),
}

/// A tap into memory, and where it comes out.
pub(super) fn in_memory() -> (Tap, Feed) {
    let (done, memory) = oneshot::channel();
    let tap = Tap::Memory {
        memory: Unsealed::new().map_err(Fault::from),
        done,
    };
    let feed = Feed {
        coming: Some(memory),
        ..Feed::default()
    };
    (tap, feed)
}

impl Tap {
    /// Takes the next bytes.
    pub(in crate::pipeline) async fn take(&mut self, bytes: &[u8]) {
        match self {
            Tap::Memory { memory, .. } => {
                if let Ok(filled) = memory
                    && let Err(failure) = filled.push(bytes)
                {
                    *memory = Err(failure.into());
                }
            }
            Tap::Stream(pipe) => {
                if let Some(writer) = pipe
                    && writer.write_all(bytes).await.is_err()
                {
                    *pipe = None;
                }
            }
        }
    }

    /// That was all, and it is verified. A pipe ends when its writer is dropped.
    pub(in crate::pipeline) fn finish(self) {
        if let Tap::Memory { memory, done } = self {
            let sealed = memory.and_then(|memory| Ok(memory.seal()?));
            // Nobody waits any more where no companion is wanted of it.
            let _ = done.send(sealed);
        }
    }
}

/// The plaintext of a source, in any order.
pub(super) struct Ranges {
    engine: Arc<dyn Engine>,
    source: Source,
    decryptor: Arc<Decryptor>,
    reservation: Arc<Reservation>,
    form: Form,
    sealed_bytes: u64,
    plain_bytes: u64,
    faults: Arc<Faults>,
}

/// What went wrong with a source that is read in ranges.
#[derive(Default)]
pub(in crate::pipeline) struct Faults(Mutex<Option<Fault>>);

impl Faults {
    fn note(&self, fault: Fault) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(fault);
    }

    /// The first of them.
    fn first(&self) -> Option<Fault> {
        let first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.clone()
    }
}

impl Ranges {
    /// Opens the source of a plan. The length of a CBC object stands in its last block.
    pub(super) async fn open(
        engine: Arc<dyn Engine>,
        source: Source,
        decryptor: Arc<Decryptor>,
        plan: &Plan,
        reservation: Arc<Reservation>,
    ) -> Result<Ranges> {
        let mut ranges = Ranges {
            engine,
            source,
            decryptor,
            reservation,
            form: plan.source,
            sealed_bytes: plan.sealed_bytes,
            plain_bytes: plan.plain_bytes,
            faults: Arc::default(),
        };
        if ranges.form == Form::Cbc {
            let start = ranges.plain_bytes - ranges.plain_bytes % STEP_BYTES;
            let last = ranges.piece(start..ranges.plain_bytes).await?;
            ranges.plain_bytes = start + last.len() as u64;
        }
        Ok(ranges)
    }

    /// Its first bytes, at most so many.
    pub(super) async fn head(&self, most: u64) -> Result<Bytes> {
        self.piece(0..most.min(self.plain_bytes)).await
    }

    /// The same as a feed.
    pub(super) fn into_feed(self) -> Feed {
        Feed {
            faults: Arc::clone(&self.faults),
            whole: Some(Ok(Plaintext::Range(SharedRange::new(self)))),
            ..Feed::default()
        }
    }

    /// The plaintext of a range that begins at a step.
    async fn piece(&self, wanted: Range<u64>) -> Result<Bytes> {
        let end = wanted.end.next_multiple_of(STEP_BYTES);
        let last = end >= self.plain_bytes;
        let plain = wanted.start..end.min(self.plain_bytes);
        let at = PartAt {
            offset: plain.start,
            last,
        };
        let bytes = Form::buffer_bytes(plain.end - plain.start);
        let range = self.form.read_range(plain, last, self.sealed_bytes);
        let part = self.source.read(range, self.reservation.buffer(bytes));
        let cipher = Arc::clone(&self.decryptor);
        let opened = engine::decrypt(self.engine.as_ref(), cipher, at, part.await?).await;
        let (part, opened) = opened.map_err(|fault| fault.at("/input"))?;
        Ok(Bytes::from_owner(part).slice(opened.plain))
    }
}

impl RangeSource for Ranges {
    fn len(&self) -> u64 {
        self.plain_bytes
    }

    async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let start = range.start - range.start % STEP_BYTES;
        let piece = self.piece(start..range.end).await.map_err(|fault| {
            let said = io::Error::other(fault.code.as_str());
            self.faults.note(fault);
            said
        })?;
        let within = (range.start - start) as usize..(range.end - start) as usize;
        if within.end > piece.len() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(piece.slice(within))
    }
}
