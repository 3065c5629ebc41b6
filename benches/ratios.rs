//! The ratios that we promise, by interleaved pairs: medians with the quartiles around them.
//!
//! `cargo bench --bench ratios -- --record FILE` also writes them as JSON, with the machine.

#[path = "peers/peers.rs"]
mod peers;

use ciphermill::measure::{self, Pair};
use ciphermill_cipher::cobblestone::Salt;
use ciphermill_cipher::cpu::{self, CbcStream, Kernel};
use ciphermill_cipher::secret::Secret;
use ciphermill_cipher::{Encryptor, Mark, PartAt};
use peers::{Buffer, Task};
use serde_json::{Value, json};

const ROUNDS: usize = 31;
const TURN_BYTES: usize = 16 << 20;
const MIB: usize = 1 << 20;

/// All rows so far.
struct Table(Vec<Value>);

impl Table {
    fn row(&mut self, what: &str, beside: &str, wanted: Option<f64>, pair: &Pair) {
        let (ratio, gb) = (pair.ratio, |spread: measure::Spread| spread.median / 1e9);
        let goal = wanted.map_or(String::new(), |wanted| {
            let met = if ratio.median >= wanted {
                "met"
            } else {
                "MISSED"
            };
            format!("  wanted {wanted:.2}: {met}")
        });
        println!(
            "{what:<44} {:>6.2} GB/s  {beside:<26} {:>6.2} GB/s  x{:.2} ({:.2}..{:.2}){goal}",
            gb(pair.first),
            gb(pair.second),
            ratio.median,
            ratio.low,
            ratio.high
        );
        self.0.push(json!({
            "what": what, "beside": beside, "wanted": wanted,
            "gb_per_second": gb(pair.first), "beside_gb_per_second": gb(pair.second),
            "ratio": {"least": ratio.least, "low": ratio.low, "median": ratio.median, "high": ratio.high, "most": ratio.most},
        }));
    }

    /// Ours beside a peer, in place.
    fn peer(
        &mut self,
        kernel: &'static dyn Kernel,
        task: Task,
        bits: usize,
        bytes: usize,
        goals: &[(&str, Option<f64>)],
    ) {
        for (name, wanted) in goals {
            let Some(mut theirs) = peers::named(name, task, bits) else {
                println!("{task:?} {bits}: {name} is not here");
                continue;
            };
            let mut ours = peers::ours(kernel, task, bits);
            let (mut a, mut b) = (Buffer::new(bytes), Buffer::new(bytes));
            let pair = measure::pair(
                ROUNDS,
                bytes,
                TURN_BYTES,
                || ours(a.bytes()),
                || theirs(b.bytes()),
            );
            let what = format!("{task:?} {bits}, {} KiB, {}", bytes >> 10, kernel.name());
            self.row(&what, name, *wanted, &pair);
        }
    }
}

fn main() {
    println!("{}", measure::machine());
    let mut table = Table(Vec::new());
    let best = cpu::best();
    for bytes in [MIB, 8 * MIB] {
        let goals = [
            ("ipsec-mb", Some(0.95)),
            ("rustcrypto", Some(3.5)),
            ("openssl", Some(3.5)),
            ("aws-lc-rs", None),
        ];
        table.peer(best, Task::Ctr, 256, bytes, &goals);
        let goals = [
            ("ipsec-mb", Some(0.85)),
            ("aws-lc-rs", Some(1.3)),
            ("ring", None),
            ("openssl", None),
            ("rustcrypto", None),
        ];
        table.peer(best, Task::GcmSeal, 256, bytes, &goals);
    }
    table.peer(
        best,
        Task::GcmOpen,
        256,
        MIB,
        &[("ipsec-mb", Some(0.85)), ("openssl", None)],
    );
    table.peer(best, Task::Ctr, 128, MIB, &[("ipsec-mb", Some(0.95))]);
    table.peer(
        best,
        Task::CbcOpen,
        128,
        MIB,
        &[("ipsec-mb", None), ("openssl", None)],
    );
    for bits in [128, 256] {
        own(
            &mut table,
            best,
            "cbc decryption beside ctr",
            Some(0.9),
            bits,
            (Task::CbcOpen, Task::Ctr),
        );
    }
    whole_objects(&mut table);
    streams(&mut table);
    other_kernels(&mut table);
    record(&table);
}

/// One task of a kernel beside another one of it.
fn own(
    table: &mut Table,
    kernel: &'static dyn Kernel,
    what: &str,
    wanted: Option<f64>,
    bits: usize,
    (a, b): (Task, Task),
) {
    let (mut first, mut second) = (peers::ours(kernel, a, bits), peers::ours(kernel, b, bits));
    let (mut x, mut y) = (Buffer::new(MIB), Buffer::new(MIB));
    let pair = measure::pair(
        ROUNDS,
        MIB,
        TURN_BYTES,
        || first(x.bytes()),
        || second(y.bytes()),
    );
    table.row(
        &format!("{what}, {bits}, 1 MiB, {}", kernel.name()),
        "own",
        wanted,
        &pair,
    );
}

/// Objects as the pipeline encrypts them, from one buffer into another: what cobblestone and a long
/// IV cost beside plain GCM.
fn whole_objects(table: &mut Table) {
    let (kernel, key) = (cpu::best(), Secret::new(peers::key(256)));
    let gcm = Encryptor::gcm(kernel, &key, &[3; 12]).expect("key");
    let long = Encryptor::gcm(kernel, &key, &[3; 16]).expect("key");
    let salt = Salt::existing([5; 24]);
    let cobblestone = Encryptor::cobblestone(kernel, &key, salt, b"").expect("key");
    let mut seal = |what: &str, wanted, first: &Encryptor, bytes: usize| {
        let at = PartAt {
            offset: 0,
            last: true,
        };
        let plain = vec![7; bytes];
        let mut outs =
            [first, &gcm].map(|cipher| Buffer::new(cipher.form().sealed_part_len(at, bytes)));
        let [a, b] = &mut outs;
        let run = |cipher: &Encryptor, out: &mut Buffer| {
            let mark = cipher.encrypt(at, Mark::None, &plain, out.bytes(), |_| {});
            std::hint::black_box(cipher.finish(mark));
        };
        let pair = measure::pair(ROUNDS, bytes, TURN_BYTES, || run(first, a), || run(&gcm, b));
        table.row(
            &format!("{what}, {} KiB, {}", bytes >> 10, kernel.name()),
            "own gcm",
            wanted,
            &pair,
        );
    };
    for bytes in [MIB, 8 * MIB] {
        seal("cobblestone 256", Some(0.9), &cobblestone, bytes);
        seal("gcm 256 with a 16-byte iv", Some(0.97), &long, bytes);
    }
}

/// 32 streams of CBC at once, in the layout of our pool and at equal page offsets. A single stream
/// of the peer takes twelve times as long and leaves the core's wide units asleep: turns are long
/// enough here for that not to count.
fn streams(table: &mut Table) {
    let kernel = cpu::best();
    let key = kernel.key(&Secret::new(peers::key(128))).expect("key");
    for bytes in [16 << 10, 64 << 10, MIB] {
        for (layout, gap) in [("pool buffers", 320), ("page-aligned", 0)] {
            let count = 32;
            let total = count * bytes;
            let mut ours = Buffer::new(count * (bytes + gap));
            let mut theirs = Buffer::new(count * (bytes + gap));
            let mut seal = || {
                let parts = ours.bytes().chunks_exact_mut(bytes + gap);
                let mut streams: Vec<_> = parts
                    .map(|part| CbcStream {
                        key: key.as_ref(),
                        chain: [1; 16],
                        data: (&mut part[..bytes]).into(),
                    })
                    .collect();
                kernel.cbc_encrypt(&mut streams);
            };
            let what = format!(
                "CbcSeal 128, 32 x {} KiB, {layout}, {}",
                bytes >> 10,
                kernel.name()
            );
            if let Some(mut one) = peers::named("openssl", Task::CbcSeal, 128) {
                let mut each = || {
                    theirs
                        .bytes()
                        .chunks_exact_mut(bytes + gap)
                        .for_each(|part| one(&mut part[..bytes]))
                };
                let pair = measure::pair(ROUNDS, total, 4 * TURN_BYTES, &mut seal, &mut each);
                table.row(&what, "openssl, stream by stream", Some(12.0), &pair);
            }
            if let Some(mut many) = peers::ipsec_streams(128) {
                let starts = theirs
                    .bytes()
                    .chunks_exact_mut(bytes + gap)
                    .map(<[u8]>::as_mut_ptr);
                let starts: Vec<_> = starts.collect();
                let pair = measure::pair(ROUNDS, total, TURN_BYTES, &mut seal, || {
                    many(&starts, bytes)
                });
                table.row(&what, "ipsec-mb, multi-buffer", None, &pair);
            }
        }
    }
}

/// The kernels that are not chosen here, and the portable one beside the crates it is made of.
fn other_kernels(table: &mut Table) {
    for kernel in cpu::all().iter().skip(1) {
        for task in [Task::Ctr, Task::GcmSeal, Task::CbcOpen] {
            let wanted = (kernel.name() == "portable").then_some(0.95);
            table.peer(
                *kernel,
                task,
                256,
                MIB,
                &[("rustcrypto", wanted), ("openssl", None)],
            );
        }
    }
}

/// Writes the record where `--record` says.
fn record(table: &Table) {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--record");
    if let (Some(_), Some(path)) = (arguments.next(), arguments.next()) {
        let record = json!({
            "machine": measure::machine(), "rounds": ROUNDS,
            "rule": "interleaved pairs; ratio of each pair; median, quartiles, extremes",
            "rows": table.0,
        });
        std::fs::write(&path, format!("{record:#}\n")).expect("the record");
    }
}
