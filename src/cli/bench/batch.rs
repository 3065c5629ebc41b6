//! A batch of parts: ciphered through an engine's queue, by a plain loop, or only copied.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use ciphermill_cipher::{Encryptor, Mark, PartAt};
use tokio::sync::oneshot;

use super::lab::{Card, Failed, Lab, Run, gcm, said};
use crate::buffers::PartBuffer;
use crate::checksum::Algorithm;
use crate::engine::cpu::CpuEngine;
use crate::engine::{Encrypted, Engine, Plaintext, Work};

/// Parts to cipher and buffers for the results, which are used again and again.
pub struct Batch {
    parts: Vec<Part>,
    outs: RefCell<Vec<PartBuffer>>,
    bytes: usize,
}

/// One part.
pub struct Part {
    pub cipher: Arc<Encryptor>,
    pub at: PartAt,
    pub plain: Plaintext,
}

impl Batch {
    /// One object in parts.
    pub fn object(lab: &Lab, cipher: &Arc<Encryptor>, bytes: usize, part_bytes: usize) -> Batch {
        let part_bytes = part_bytes.min(bytes);
        let count = bytes.div_ceil(part_bytes);
        let texts = lab.texts(count, part_bytes).into_iter().enumerate();
        let part = |(index, plain)| Part {
            cipher: Arc::clone(cipher),
            at: PartAt {
                offset: (index * part_bytes) as u64,
                last: false,
            },
            plain,
        };
        Batch::of(lab, texts.map(part).collect(), part_bytes)
    }

    /// Small objects, each under a key of its own.
    pub fn objects(lab: &Lab, count: usize, bytes: usize) -> Result<Batch, Failed> {
        let at = PartAt {
            offset: 0,
            last: true,
        };
        let mut parts = Vec::with_capacity(count);
        for plain in lab.texts(count, bytes) {
            let cipher = gcm(256).map_err(said)?;
            parts.push(Part { cipher, at, plain });
        }
        Ok(Batch::of(lab, parts, bytes))
    }

    fn of(lab: &Lab, parts: Vec<Part>, part_bytes: usize) -> Batch {
        let outs = parts.iter().map(|_| lab.buffer(part_bytes)).collect();
        let bytes = parts.iter().map(|part| part.plain.bytes().len()).sum();
        Batch {
            parts,
            outs: RefCell::new(outs),
            bytes,
        }
    }

    /// Bytes of plaintext.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All parts.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The buffers for the results, each as long as its part's text.
    pub fn with_outs<T>(&self, work: impl FnOnce(Vec<&mut [u8]>) -> T) -> T {
        let mut outs = self.outs.borrow_mut();
        for (out, part) in outs.iter_mut().zip(&self.parts) {
            out.set_len(part.plain.bytes().len());
        }
        work(outs.iter_mut().map(|out| &mut out[..]).collect())
    }

    /// Seconds from the first part's way in to the last one's way out.
    pub fn through(&self, submit: &dyn Fn(usize, Work)) -> Result<f64, Failed> {
        let mut outs = self.outs.borrow_mut();
        let mut answers: Vec<oneshot::Receiver<Encrypted>> = Vec::with_capacity(self.parts.len());
        let begun = Instant::now();
        for (index, (part, out)) in self.parts.iter().zip(outs.drain(..)).enumerate() {
            let (done, answer) = oneshot::channel();
            let work = Work::Encrypt {
                cipher: Arc::clone(&part.cipher),
                at: part.at,
                before: Mark::None,
                plain: part.plain.clone(),
                out,
                checksum: Algorithm::Crc64Nvme,
                done,
            };
            submit(index, work);
            answers.push(answer);
        }
        let lost = |_| "a part got no answer".to_owned();
        for answer in answers {
            outs.push(answer.blocking_recv().map_err(lost)?.out);
        }
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Seconds of a plain loop on this thread, checksums included.
    pub fn alone(&self) -> f64 {
        let mut outs = self.outs.borrow_mut();
        let begun = Instant::now();
        for (part, out) in self.parts.iter().zip(outs.iter_mut()) {
            let plain = part.plain.bytes();
            out.set_len(part.cipher.form().sealed_part_len(part.at, plain.len()));
            let mut checksum = Algorithm::Crc64Nvme.start();
            let ready = |bytes: &[u8]| checksum.update(bytes);
            part.cipher.encrypt(part.at, Mark::None, plain, out, ready);
        }
        begun.elapsed().as_secs_f64()
    }

    /// Copies the text on so many threads.
    pub fn copy(&self, threads: usize) {
        self.with_outs(|mut outs| {
            let share = outs.len().div_ceil(threads).max(1);
            let parts = self.parts.chunks(share);
            std::thread::scope(|scope| {
                for (outs, parts) in outs.chunks_mut(share).zip(parts) {
                    scope.spawn(move || {
                        for (out, part) in outs.iter_mut().zip(parts) {
                            out.copy_from_slice(part.plain.bytes());
                        }
                    });
                }
            });
        });
    }

    /// It, through a CPU engine.
    pub fn on_cpu<'a>(&'a self, engine: &'a CpuEngine) -> Run<'a> {
        Run::timed(self.bytes, move || {
            self.through(&|_, work| engine.submit(work))
        })
    }

    /// It, through a GPU.
    pub fn on_card<'a>(&'a self, card: &'a dyn Card) -> Run<'a> {
        self.on_both(card, move |_, work| card.submit(work))
    }

    /// It, through whatever `submit` chooses, a GPU among it.
    pub fn on_both<'a>(&'a self, card: &'a dyn Card, submit: impl Fn(usize, Work) + 'a) -> Run<'a> {
        Run::timed(self.bytes, move || {
            let seconds = self.through(&submit)?;
            card.failure().map_or(Ok(seconds), Err)
        })
    }
}
