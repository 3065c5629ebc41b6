//! Lanes: work of serial modes, many objects at once.
//!
//! Each block of a CBC object waits for the one before it, so a thread that has only one object
//! idles most of the time. Here it takes as many as there are in the queue, up to the lanes of the
//! widest kernel, and advances all of them a step at a time. Between steps, parts that are done
//! leave and new ones join, and a piece of other work gets its turn.

use std::sync::Arc;
use std::time::Instant;

use ciphermill_cipher::encrypt::{Step, encrypt_together};
use ciphermill_cipher::{Encryptor, Mark, PartAt};
use tokio::sync::oneshot;

use super::cpu::{Answer, Queues, perform};
use super::meter::Meter;
use super::{Encrypted, Plaintext, Work};
use crate::buffers::PartBuffer;
use crate::checksum::Running;

/// Lanes of the widest kernel: eight registers of four blocks.
const LANES: usize = 32;

/// Bytes that each object advances at a time: those of all lanes, read and written, fit the
/// second-level cache, where the checksum finds them.
const STEP_BYTES: usize = 16 * 1024;

/// A part of a serial mode, somewhere between its begin and its end.
struct Serial {
    cipher: Arc<Encryptor>,
    at: PartAt,
    mark: Mark,
    plain: Plaintext,
    out: PartBuffer,
    checksum: Running,
    done: oneshot::Sender<Encrypted>,
    /// Bytes that are done: of the plaintext, and of the ciphertext, which stays level with it.
    ready_bytes: usize,
}

impl Serial {
    /// Begins a part; work that is none is done at once.
    fn begin(work: Work, meter: &Meter) -> Option<Serial> {
        let Work::Encrypt {
            cipher,
            at,
            before,
            plain,
            mut out,
            checksum,
            done,
        } = work
        else {
            perform(work, meter).send();
            return None;
        };
        out.set_len(cipher.form().sealed_part_len(at, plain.bytes().len()));
        Some(Serial {
            cipher,
            at,
            mark: before,
            plain,
            out,
            checksum: checksum.start(),
            done,
            ready_bytes: 0,
        })
    }

    /// The next step.
    fn step(&mut self) -> Step<'_> {
        let left = &self.plain.bytes()[self.ready_bytes..];
        let plain = &left[..left.len().min(STEP_BYTES)];
        let at = PartAt {
            offset: self.at.offset + self.ready_bytes as u64,
            last: self.at.last && plain.len() == left.len(),
        };
        let end = self.ready_bytes + self.cipher.form().sealed_part_len(at, plain.len());
        Step {
            cipher: &self.cipher,
            at,
            mark: &mut self.mark,
            plain,
            out: &mut self.out[self.ready_bytes..end],
        }
    }

    /// Notes that [`Serial::step`] was done, and says how many bytes that were.
    fn advance(&mut self) -> usize {
        let left = self.plain.bytes().len() - self.ready_bytes;
        let end = if left > STEP_BYTES {
            self.ready_bytes + STEP_BYTES
        } else {
            self.out.len()
        };
        self.checksum.update(&self.out[self.ready_bytes..end]);
        end - std::mem::replace(&mut self.ready_bytes, end)
    }

    fn is_done(&self) -> bool {
        self.ready_bytes == self.out.len()
    }

    fn answer(self) {
        // A caller that no longer listens was cancelled.
        let _ = self.done.send(Encrypted {
            out: self.out,
            mark: self.mark,
            checksum: self.checksum,
            by_gpu: false,
        });
    }
}

/// Works until no serial work is left.
pub(super) fn run(first: Work, queues: &Queues) {
    let mut active = Vec::with_capacity(LANES);
    active.extend(Serial::begin(first, &queues.meter));
    while !active.is_empty() {
        let more = queues.serial.try_iter().take(LANES - active.len());
        active.extend(more.filter_map(|work| Serial::begin(work, &queues.meter)));
        let begun = Instant::now();
        let mut together: Vec<_> = active.iter_mut().map(Serial::step).collect();
        encrypt_together(&mut together);
        drop(together);
        let (time, mut bytes) = (begun.elapsed(), 0);
        queues
            .meter
            .hashing(|| bytes = active.iter_mut().map(Serial::advance).sum());
        queues.meter.ciphered(bytes, time);
        for done in active.extract_if(.., |serial| serial.is_done()) {
            done.answer();
        }
        if let Ok(work) = queues.parts.try_recv() {
            queues.piece(work).into_iter().for_each(Answer::send);
        }
    }
}
