//! Calibrating: what this machine's GPU and one of its cores really do, host memory to host memory.
//!
//! It runs once, beside other work, and takes well under a second: parts of made-up text go the
//! whole way through the GPU's queue, and the same through the CPU's kernel on this thread. In GCM,
//! where the CPU has its share of the GPU's work too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ciphermill_cipher::cpu::Kernel;
use ciphermill_cipher::secret::Secret;
use ciphermill_cipher::{Encryptor, Form, Mark, PartAt};
use tokio::sync::oneshot;

use super::choose::Rates;
use super::gpu::{Failure, Gpu};
use super::{Encrypted, Plaintext, Work};
use crate::buffers::{Pool, Reservation};
use crate::checksum::Algorithm;
use crate::fault::Fault;

/// Parts under way at once, and their size: enough to keep a device busy.
const PARTS: usize = 6;
const PART_BYTES: usize = 4 << 20;
/// A small one, for what a batch costs whatever its size.
const SMALL_BYTES: usize = 64 << 10;
const ROUNDS: usize = 3;

/// Measures; gives up when `stop` is set.
pub fn rates(
    gpu: &Gpu,
    (kernel, cores): (&'static dyn Kernel, usize),
    stop: &AtomicBool,
) -> Result<Rates, Failure> {
    let bench = Bench::new(kernel).map_err(|fault| Failure::error(fault.message))?;
    let mut gpu_seconds = f64::INFINITY;
    let mut all_seconds = f64::INFINITY;
    let mut core_seconds = f64::INFINITY;
    // The best of a few: what disturbs a machine only ever slows it down.
    for _ in 0..ROUNDS {
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::error("the program ends"));
        }
        gpu_seconds = gpu_seconds.min(bench.through(gpu, 1, SMALL_BYTES)?);
        all_seconds = all_seconds.min(bench.through(gpu, PARTS, PART_BYTES)?);
        core_seconds = core_seconds.min(bench.core(PART_BYTES));
    }
    Ok(Rates {
        core: PART_BYTES as f64 / core_seconds,
        cores,
        gpu: (PARTS * PART_BYTES) as f64 / all_seconds,
        gpu_seconds,
    })
}

/// Made-up text and a key for it.
struct Bench {
    reservation: Arc<Reservation>,
    cipher: Arc<Encryptor>,
    plain: Plaintext,
}

impl Bench {
    fn new(kernel: &'static dyn Kernel) -> Result<Bench, Fault> {
        let cost = (PARTS + 1) * Pool::cost_bytes(Form::buffer_bytes(PART_BYTES as u64));
        let reservation = pollster::block_on(Pool::new(cost).reserve(cost))?;
        let cipher = Encryptor::gcm(kernel, &Secret::random(32)?, &[0; 12])?;
        let mut part = reservation.buffer(PART_BYTES);
        part.set_len(PART_BYTES);
        Ok(Bench {
            reservation,
            cipher: Arc::new(cipher),
            plain: Plaintext {
                part: Arc::new(part),
                range: (0, PART_BYTES),
            },
        })
    }

    /// Seconds that so many parts take through the GPU's queue.
    fn through(&self, gpu: &Gpu, parts: usize, bytes: usize) -> Result<f64, Failure> {
        let outs: Vec<_> = (0..parts)
            .map(|_| self.reservation.buffer(Form::buffer_bytes(bytes as u64)))
            .collect();
        let begun = Instant::now();
        let mut answers: Vec<oneshot::Receiver<Encrypted>> = Vec::with_capacity(parts);
        for (index, out) in outs.into_iter().enumerate() {
            let (done, answer) = oneshot::channel();
            gpu.submit(Work::Encrypt {
                cipher: Arc::clone(&self.cipher),
                at: PartAt {
                    offset: (index * PART_BYTES) as u64,
                    last: false,
                },
                before: Mark::None,
                plain: Plaintext {
                    part: Arc::clone(&self.plain.part),
                    range: (0, bytes),
                },
                out,
                checksum: Algorithm::Crc64Nvme,
                done,
            });
            answers.push(answer);
        }
        for answer in answers {
            let lost = |_| Failure::error("a measured part got no answer");
            answer.blocking_recv().map_err(lost)?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        gpu.retired().cloned().map_or(Ok(seconds), Err)
    }

    /// Seconds that one part takes on this core.
    fn core(&self, bytes: usize) -> f64 {
        let mut out = self.reservation.buffer(Form::buffer_bytes(bytes as u64));
        let at = PartAt {
            offset: 0,
            last: false,
        };
        out.set_len(bytes);
        let begun = Instant::now();
        let mut checksum = Algorithm::Crc64Nvme.start();
        let ready = |bytes: &[u8]| checksum.update(bytes);
        self.cipher
            .encrypt(at, Mark::None, self.plain.bytes(), &mut out, ready);
        begun.elapsed().as_secs_f64()
    }
}
