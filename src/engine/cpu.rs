//! The CPU engine: one thread per core takes work from one queue.
//!
//! The queue needs no bound of its own: every part in it holds a buffer of the byte budget.

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{Encrypted, Engine, Work};
use crate::fault::{Code, Fault, Result};

/// Cipher threads and their queue. Dropping it lets the threads finish what is queued and end.
pub struct CpuEngine {
    queue: Sender<Work>,
}

impl CpuEngine {
    /// Starts `threads` threads; one per core when 0.
    pub fn start(threads: usize) -> Result<CpuEngine> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores } else { threads };
        let (queue, work) = unbounded();
        for index in 0..threads {
            let work: Receiver<Work> = work.clone();
            std::thread::Builder::new()
                .name(format!("cipher-{index}"))
                .spawn(move || work.iter().for_each(survive))
                .map_err(|e| Fault::new(Code::Internal, format!("cannot start a thread: {e}")))?;
        }
        Ok(CpuEngine { queue })
    }
}

impl Engine for CpuEngine {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn submit(&self, work: Work) {
        // A closed queue drops the work and with it the answer channel, which its caller sees.
        let _ = self.queue.send(work);
    }
}

/// A piece of work that panics loses its answer, which its caller sees; the thread goes on.
fn survive(work: Work) {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| perform(work)));
}

/// Does one piece of work. A caller that no longer listens was cancelled: its answer is dropped.
fn perform(work: Work) {
    match work {
        Work::Decrypt {
            cipher,
            at,
            mut part,
            done,
        } => {
            let opened = cipher.decrypt(at, &mut part);
            let _ = done.send(opened.map(|opened| (part, opened)));
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
            let mark = cipher.encrypt(at, before, plain.bytes(), &mut out);
            let mut checksum = checksum.start();
            let tag = if at.last { cipher.tag_bytes() } else { 0 };
            checksum.update(&out[..out.len() - tag]);
            let _ = done.send(Encrypted {
                out,
                mark,
                checksum,
            });
        }
        Work::Hash {
            mut hash,
            plain,
            done,
        } => {
            sha2::Digest::update(&mut hash, plain.bytes());
            let _ = done.send(hash);
        }
    }
}
