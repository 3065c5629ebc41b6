//! The CPU engine: one thread per core takes work from two queues.
//!
//! Work of serial modes (CBC encryption) has a queue of its own: whoever takes it gathers more of
//! it and runs many objects in SIMD lanes ([`lanes`](super::lanes)). Everything else is done piece
//! by piece, in the order it came; as no job has more parts under way than its buffers allow, jobs
//! share the cores by turns. The queues need no bound of their own: every part in them holds a
//! buffer of the byte budget.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ciphermill_cipher::decrypt::Opened;
use crossbeam_channel::{Receiver, Sender, select, unbounded};
use sha2::Sha256;
use tokio::sync::oneshot;

use super::meter::{Meter, Spent};
use super::{Encrypted, Engine, Work, lanes};
use crate::buffers::PartBuffer;
use crate::fault::{Code, Fault, Result};

/// Small work is done so many pieces, or so many bytes, at a time.
const BATCH: usize = 32;
const BATCH_BYTES: usize = 128 * 1024;

/// Cipher threads and their queues. Dropping it lets the threads finish what is queued and end.
pub struct CpuEngine {
    parts: Sender<Work>,
    serial: Sender<Work>,
    meter: Arc<Meter>,
    threads: usize,
}

/// The ends of the queues that a thread takes from.
#[derive(Clone)]
pub(super) struct Queues {
    pub(super) parts: Receiver<Work>,
    pub(super) serial: Receiver<Work>,
    pub(super) meter: Arc<Meter>,
}

impl CpuEngine {
    /// Starts `threads` threads; one per core when 0. With `pin`, each stays on a core of its own.
    pub fn start(threads: usize, pin: bool) -> Result<CpuEngine> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores } else { threads };
        let (parts, parts_end) = unbounded();
        let (serial, serial_end) = unbounded();
        let queues = Queues {
            parts: parts_end,
            serial: serial_end,
            meter: Arc::default(),
        };
        let meter = Arc::clone(&queues.meter);
        for index in 0..threads {
            let queues = queues.clone();
            std::thread::Builder::new()
                .name(format!("cipher-{index}"))
                .spawn(move || {
                    if pin {
                        pin_to_core(index);
                    }
                    queues.serve();
                })
                .map_err(|e| Fault::new(Code::Internal, format!("cannot start a thread: {e}")))?;
        }
        Ok(CpuEngine {
            parts,
            serial,
            meter,
            threads,
        })
    }
}

impl CpuEngine {
    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Bytes that wait for it or are under way; serial modes, which no other engine could take, not
    /// counted.
    pub fn queued_bytes(&self) -> usize {
        self.meter.queued_bytes()
    }
}

impl Engine for CpuEngine {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn spent(&self) -> Spent {
        self.meter.spent()
    }

    fn submit(&self, work: Work) {
        let queue = match &work {
            Work::Encrypt { cipher, .. } if cipher.is_serial() => &self.serial,
            _ => {
                self.meter.queued(work.bytes());
                &self.parts
            }
        };
        // A closed queue drops the work and with it the answer channel, which its caller sees.
        let _ = queue.send(work);
    }
}

impl Queues {
    /// Works until both queues are closed and empty.
    fn serve(&self) {
        let mut answers = Vec::with_capacity(BATCH);
        loop {
            select! {
                recv(self.parts) -> work => match work {
                    Ok(work) => self.batch(work, &mut answers),
                    Err(_) => return self.serial.iter().for_each(|work| self.gather(work)),
                },
                recv(self.serial) -> work => match work {
                    Ok(work) => self.gather(work),
                    Err(_) => return self.parts.iter().for_each(|work| self.batch(work, &mut answers)),
                },
            }
        }
    }

    /// Does this work, and more of it while it is small, before anybody is woken: waking costs more
    /// than ciphering a few KiB.
    fn batch(&self, first: Work, answers: &mut Vec<Answer>) {
        let (mut next, mut bytes) = (Some(first), 0);
        while let Some(work) = next {
            bytes += work.bytes();
            answers.extend(self.piece(work));
            let more = bytes < BATCH_BYTES && answers.len() < BATCH;
            next = more.then(|| self.parts.try_recv().ok()).flatten();
        }
        answers.drain(..).for_each(Answer::send);
    }

    /// Does one piece from the queue of parts.
    pub(super) fn piece(&self, work: Work) -> Option<Answer> {
        let bytes = work.bytes();
        let answer = survive(|| perform(work, &self.meter));
        self.meter.done(bytes);
        answer
    }

    fn gather(&self, work: Work) {
        survive(|| lanes::run(work, self));
    }
}

/// Work that panics loses its answer, which its caller sees; the thread goes on.
fn survive<T>(work: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok()
}

/// What a piece of work gave, and who waits for it.
pub(super) enum Answer {
    Opened(
        oneshot::Sender<Result<(PartBuffer, Opened)>>,
        Result<(PartBuffer, Opened)>,
    ),
    Sealed(oneshot::Sender<Encrypted>, Encrypted),
    Hashed(oneshot::Sender<Sha256>, Sha256),
}

impl Answer {
    /// Hands it over. A caller that no longer listens was cancelled: its answer is dropped.
    pub(super) fn send(self) {
        match self {
            Answer::Opened(done, opened) => drop(done.send(opened)),
            Answer::Sealed(done, sealed) => drop(done.send(sealed)),
            Answer::Hashed(done, hash) => drop(done.send(hash)),
        }
    }
}

/// Does one piece of work.
pub(super) fn perform(work: Work, meter: &Meter) -> Answer {
    match work {
        Work::Decrypt {
            cipher,
            at,
            mut part,
            done,
        } => {
            let (begun, bytes) = (Instant::now(), part.len());
            let opened = cipher.decrypt(at, &mut part);
            meter.ciphered(bytes, begun.elapsed());
            let opened = opened.map(|opened| (part, opened));
            Answer::Opened(done, opened.map_err(Fault::from))
        }
        Work::Encrypt {
            cipher,
            at,
            before,
            plain,
            mut out,
            checksum,
            done,
        } => {
            out.set_len(cipher.form().sealed_part_len(at, plain.bytes().len()));
            let mut checksum = checksum.start();
            let (begun, mut hashing) = (Instant::now(), Duration::ZERO);
            let ready = |bytes: &[u8]| hashing += meter.hashing(|| checksum.update(bytes));
            let mark = cipher.encrypt(at, before, plain.bytes(), &mut out, ready);
            meter.ciphered(out.len(), begun.elapsed().saturating_sub(hashing));
            let sealed = Encrypted {
                out,
                mark,
                checksum,
                by_gpu: false,
            };
            Answer::Sealed(done, sealed)
        }
        Work::Hash {
            mut hash,
            plain,
            done,
        } => {
            meter.hashing(|| sha2::Digest::update(&mut hash, plain.bytes()));
            Answer::Hashed(done, hash)
        }
    }
}

/// Keeps this thread on the `index`-th of the cores it may run on; best effort, Linux only.
#[cfg(target_os = "linux")]
fn pin_to_core(index: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let count = allowed.count().max(1) as usize;
    if let Some(core) = cores.nth(index % count) {
        let mut only = CpuSet::new();
        only.set(core);
        let _ = sched_setaffinity(None, &only);
    }
}

#[cfg(not(target_os = "linux"))]
fn pin_to_core(_: usize) {}
