//! The engine: one object on 1 to n cores, many CBC objects at once, and small objects, through the
//! same queue that the pipeline uses. Checksums are computed as there. Threads are pinned where their
//! number is compared, so that two of them never share a core.
//!
//! `cargo bench --bench engine -- --record FILE` also writes the figures as JSON.

use std::sync::Arc;
use std::time::Instant;

use ciphermill::buffers::{Pool, Reservation};
use ciphermill::checksum::Algorithm;
use ciphermill::engine::cpu::CpuEngine;
use ciphermill::engine::{Plaintext, encrypt};
use ciphermill::measure::{self, Pair};
use ciphermill_cipher::ctr::CounterStart;
use ciphermill_cipher::secret::Secret;
use ciphermill_cipher::{Encryptor, Form, Mark, PartAt, cpu};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const ROUNDS: usize = 15;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

struct Bench {
    runtime: Runtime,
    reservation: Arc<Reservation>,
    rows: Vec<Value>,
}

fn main() {
    println!("{}", measure::machine());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime");
    let pool = Pool::new(2 << 30);
    let reservation = runtime.block_on(pool.reserve(2 << 30)).expect("memory");
    let mut bench = Bench {
        runtime,
        reservation,
        rows: Vec::new(),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in 2..=cores {
        for (name, cipher) in [("gcm 256", gcm()), ("ctr 256", ctr())] {
            bench.one_object(name, &cipher, threads, (256 * KIB, 32), "hot");
            bench.one_object(name, &cipher, threads, (8 * MIB, 2), "nearly hot");
            bench.one_object(name, &cipher, threads, (8 * MIB, 48), "cold");
        }
        bench.memory(threads);
    }
    bench.many_cbc();
    bench.small_objects();
    record(&bench.rows);
}

fn gcm() -> Arc<Encryptor> {
    let key = Secret::new(vec![9; 32]);
    Arc::new(Encryptor::gcm(cpu::best(), &key, &[3; 12]).expect("key"))
}

fn ctr() -> Arc<Encryptor> {
    let key = Secret::new(vec![9; 32]);
    let start = CounterStart::from_block([3; 16]);
    Arc::new(Encryptor::ctr(cpu::best(), &key, start).expect("key"))
}

fn cbc(seed: u8) -> Arc<Encryptor> {
    let key = Secret::new(vec![seed; 16]);
    Arc::new(Encryptor::cbc(cpu::best(), &key, [seed; 16]).expect("key"))
}

impl Bench {
    fn row(&mut self, what: &str, beside: &str, pair: &Pair) {
        let gb = |spread: measure::Spread| spread.median / 1e9;
        let ratio = pair.ratio;
        println!(
            "{what:<52} {:>6.2} GB/s  {beside:<22} {:>6.2} GB/s  x{:.2} ({:.2}..{:.2})",
            gb(pair.first),
            gb(pair.second),
            ratio.median,
            ratio.low,
            ratio.high
        );
        self.rows.push(json!({
            "what": what, "beside": beside, "gb_per_second": gb(pair.first), "beside_gb_per_second": gb(pair.second),
            "ratio": {"least": ratio.least, "low": ratio.low, "median": ratio.median, "high": ratio.high, "most": ratio.most},
        }));
    }

    /// A plaintext in a pool buffer.
    fn plain(&self, bytes: usize) -> Plaintext {
        let mut part = self.reservation.buffer(Form::buffer_bytes(bytes as u64));
        part.set_len(bytes);
        part.fill(7);
        Plaintext {
            part: Arc::new(part),
            range: (0, bytes),
        }
    }

    /// Encrypts all plaintexts, each as a part of its own, so many at a time; returns the seconds
    /// between the first one's way in and the last one's way out. Taking and zeroing buffers is not
    /// the engine's.
    fn run(
        &self,
        engine: &CpuEngine,
        ciphers: &[Arc<Encryptor>],
        plains: &[Plaintext],
        at_once: usize,
    ) -> f64 {
        let mut seconds = 0.0;
        for (turn, plains) in plains.chunks(at_once).enumerate() {
            let mut outs = Vec::new();
            for plain in plains {
                let bytes = Form::buffer_bytes(plain.bytes().len() as u64);
                outs.push(self.reservation.buffer(bytes));
            }
            let parts = plains
                .iter()
                .zip(outs)
                .enumerate()
                .map(|(index, (plain, out))| {
                    let at = PartAt {
                        offset: 0,
                        last: true,
                    };
                    let cipher = Arc::clone(&ciphers[(turn * at_once + index) % ciphers.len()]);
                    let buffers = (plain.clone(), out);
                    encrypt(
                        engine,
                        cipher,
                        at,
                        Mark::None,
                        buffers,
                        Algorithm::Crc64Nvme,
                    )
                });
            let begun = Instant::now();
            let done = self.runtime.block_on(join_all(parts));
            seconds += begun.elapsed().as_secs_f64();
            assert!(done.iter().all(Result::is_ok));
        }
        seconds
    }

    /// One object in parts, on `threads` cores beside one.
    fn one_object(
        &mut self,
        name: &str,
        cipher: &Arc<Encryptor>,
        threads: usize,
        (bytes, parts): (usize, usize),
        heat: &str,
    ) {
        let engines = [threads, 1].map(|threads| CpuEngine::start(threads, true).expect("threads"));
        let plains: Vec<_> = (0..parts).map(|_| self.plain(bytes)).collect();
        let cipher = [Arc::clone(cipher)];
        let [many, one] = &engines;
        let first = || self.run(many, &cipher, &plains, parts);
        let second = || self.run(one, &cipher, &plains, parts);
        let pair = measure::timed_pair(ROUNDS, bytes * parts, first, second);
        let what = format!(
            "{name}, {parts} parts of {} KiB, {heat}, {threads} threads",
            bytes / KIB
        );
        self.row(&what, "1 thread", &pair);
    }

    /// What the memory gives: copies of large buffers on as many threads.
    fn memory(&mut self, threads: usize) {
        let bytes = 64 * MIB;
        let mut buffers: Vec<_> = (0..threads)
            .map(|_| (vec![1u8; bytes], vec![2u8; bytes]))
            .collect();
        let copy = |buffers: &mut [(Vec<u8>, Vec<u8>)]| {
            std::thread::scope(|scope| {
                for (from, to) in buffers {
                    scope.spawn(|| to.copy_from_slice(from));
                }
            });
        };
        let mut one = vec![(vec![1u8; bytes], vec![2u8; bytes])];
        let pair = measure::pair(
            ROUNDS,
            bytes,
            bytes,
            || copy(&mut buffers),
            || copy(&mut one),
        );
        // Each turn of the first copies `threads` times as much.
        let times = threads as f64;
        let scale = |s: measure::Spread| measure::Spread {
            least: s.least * times,
            low: s.low * times,
            median: s.median * times,
            high: s.high * times,
            most: s.most * times,
        };
        let pair = Pair {
            first: scale(pair.first),
            second: pair.second,
            ratio: scale(pair.ratio),
        };
        self.row(
            &format!("memcpy of 64 MiB, {threads} threads"),
            "1 thread",
            &pair,
        );
    }

    /// CBC objects under keys of their own: all in the queue at once, beside one after another.
    fn many_cbc(&mut self) {
        let engine = CpuEngine::start(1, false).expect("threads");
        for (count, bytes) in [(32, 16 * KIB), (32, 256 * KIB), (32, 8 * MIB), (8, 8 * MIB)] {
            let plains: Vec<_> = (0..count).map(|_| self.plain(bytes)).collect();
            let ciphers: Vec<_> = (0..count as u8).map(cbc).collect();
            let together = || self.run(&engine, &ciphers, &plains, count);
            let apart = || self.run(&engine, &ciphers, &plains, 1);
            let pair = measure::timed_pair(ROUNDS, count * bytes, together, apart);
            let what = format!(
                "cbc 128, {count} objects of {} KiB at once, 1 thread",
                bytes / KIB
            );
            self.row(&what, "one after another", &pair);
        }
    }

    /// What the queue costs a small object: through it, beside a loop on one thread.
    fn small_objects(&mut self) {
        let engine = CpuEngine::start(1, false).expect("threads");
        for bytes in [KIB, 16 * KIB, 64 * KIB] {
            let count = 1024;
            let plains: Vec<_> = (0..count).map(|_| self.plain(bytes)).collect();
            let cipher = gcm();
            let ciphers = [Arc::clone(&cipher)];
            let direct = || {
                let mut out = self.reservation.buffer(Form::buffer_bytes(bytes as u64));
                let at = PartAt {
                    offset: 0,
                    last: true,
                };
                out.set_len(cipher.form().sealed_part_len(at, bytes));
                let begun = Instant::now();
                for plain in &plains {
                    let mut sum = Algorithm::Crc64Nvme.start();
                    let ready = |bytes: &[u8]| sum.update(bytes);
                    cipher.encrypt(at, Mark::None, plain.bytes(), &mut out, ready);
                }
                begun.elapsed().as_secs_f64()
            };
            let queued = || self.run(&engine, &ciphers, &plains, 256);
            let pair = measure::timed_pair(ROUNDS, count * bytes, queued, direct);
            self.row(
                &format!(
                    "gcm 256, 1024 objects of {} KiB, 256 in the queue",
                    bytes / KIB
                ),
                "a plain loop",
                &pair,
            );
        }
    }
}

/// Writes the record where `--record` says.
fn record(rows: &[Value]) {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--record");
    if let (Some(_), Some(path)) = (arguments.next(), arguments.next()) {
        let record = json!({"machine": measure::machine(), "rounds": ROUNDS, "rows": rows});
        std::fs::write(&path, format!("{record:#}\n")).expect("the record");
    }
}
