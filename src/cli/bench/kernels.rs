//! Every kernel on one core: what the instruction sets are worth.

use ciphermill_cipher::cobblestone::Salt;
use ciphermill_cipher::cpu::{self, Kernel};
use ciphermill_cipher::encrypt::{Step, encrypt_together};
use ciphermill_cipher::secret::Secret;
use ciphermill_cipher::{Encryptor, Mark, PartAt, cpu::Keyed};

use super::lab::{KIB, Lab, MIB, Run, bar, row, said, section};
use crate::fault::Result;
use crate::measure::report::{Bars, Chart, Section};
use crate::measure::turns;

const ABOUT: &str = "Every way to compute AES that this CPU has, on one core, with keys of 256 bits: 1 MiB from one \
buffer into another, both in the caches. vaes512 and vaes256 are our own kernels for CPUs with those instructions; \
portable runs anywhere and uses AES instructions where there are some. The fastest is chosen by itself. CBC can only \
be encrypted block after block, so 32 objects share the lanes of one core. memcpy is what copying alone would reach.";

const TASKS: [Task; 5] = [
    Task::Ctr,
    Task::Gcm,
    Task::Cobblestone,
    Task::CbcSeal,
    Task::CbcOpen,
];
const LANES: usize = 32;

#[derive(Clone, Copy)]
enum Task {
    Ctr,
    Gcm,
    Cobblestone,
    CbcSeal,
    CbcOpen,
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Task::Ctr => "AES-CTR",
            Task::Gcm => "AES-GCM",
            Task::Cobblestone => "cobblestone",
            Task::CbcSeal => "AES-CBC, 32 objects at once",
            Task::CbcOpen => "AES-CBC, decryption",
        }
    }

    fn runner(self, kernel: &'static dyn Kernel) -> Result<Run<'static>> {
        let key = Secret::random(32)?;
        Ok(match self {
            Task::Ctr => whole(super::lab::of_kernel(kernel, &key)?),
            Task::Gcm => whole(Encryptor::gcm(kernel, &key, &[3; 12])?),
            Task::Cobblestone => whole(Encryptor::cobblestone(kernel, &key, Salt::random()?, b"")?),
            Task::CbcSeal => lanes(kernel, &key)?,
            Task::CbcOpen => open(kernel.key(&key)?),
        })
    }
}

/// One object of 1 MiB.
fn whole(cipher: Encryptor) -> Run<'static> {
    let at = PartAt {
        offset: 0,
        last: true,
    };
    let plain = vec![7; MIB];
    let mut out = vec![0; cipher.form().sealed_part_len(at, MIB)];
    Run::new(MIB, move || {
        let mark = cipher.encrypt(at, Mark::None, &plain, &mut out, |_| {});
        std::hint::black_box(cipher.finish(mark));
    })
}

/// Objects of 32 KiB, in lanes.
fn lanes(kernel: &'static dyn Kernel, key: &Secret) -> Result<Run<'static>> {
    let bytes = MIB / LANES;
    debug_assert_eq!(bytes, 32 * KIB);
    let cipher = Encryptor::cbc(kernel, key, [3; 16])?;
    let at = PartAt {
        offset: 0,
        last: true,
    };
    let plain = vec![7; MIB];
    // An odd number of cache lines apart: streams at equal page offsets would be in each other's way.
    let sealed = cipher.form().sealed_part_len(at, bytes);
    let apart = sealed.next_multiple_of(64) + 320;
    let mut out = vec![0; LANES * apart];
    Ok(Run::new(MIB, move || {
        let mut marks = [Mark::None; LANES];
        let texts = plain.chunks(bytes).zip(out.chunks_mut(apart));
        let step = |((plain, out), mark)| {
            let out: &mut [u8] = out;
            Step {
                cipher: &cipher,
                at,
                mark,
                plain,
                out: &mut out[..sealed],
            }
        };
        let mut steps: Vec<_> = texts.zip(&mut marks).map(step).collect();
        encrypt_together(&mut steps);
    }))
}

/// Decryption, in place.
fn open(key: Box<dyn Keyed>) -> Run<'static> {
    let mut text = vec![7; MIB];
    Run::new(MIB, move || key.cbc_decrypt(&[3; 16], &mut text))
}

fn copy() -> Run<'static> {
    let (from, mut to) = (vec![7u8; MIB], vec![0u8; MIB]);
    Run::new(MIB, move || {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
    })
}

pub fn kernels(lab: &Lab) -> Section {
    let mut section = section("kernels", "The CPU's kernels, on one core", ABOUT);
    let mut bars = Bars {
        title: "GB/s on one core".into(),
        bars: Vec::new(),
    };
    let names: Vec<_> = cpu::all().iter().map(|kernel| kernel.name()).collect();
    let last = names.len() - 1;
    for task in TASKS {
        let runners = cpu::all().iter().map(|kernel| task.runner(*kernel));
        let runners: Result<Vec<_>> = runners.collect();
        let taken = runners
            .map_err(said)
            .and_then(|runners| turns::take(lab.pace, runners));
        let turns = match taken {
            Ok(turns) => turns,
            Err(why) => {
                section.warnings.push(format!("{}: {why}.", task.name()));
                continue;
            }
        };
        for (index, name) in names.iter().enumerate() {
            let beside = (index < last).then_some((names[last], last));
            let what = format!("{}, {name}", task.name());
            section.rows.push(row(lab, what, &turns, index, beside));
            bars.bars.push(bar(task.name(), name, turns.gb(index)));
        }
    }
    if let Ok(turns) = turns::take(lab.pace, vec![copy()]) {
        section.rows.push(row(lab, "memcpy", &turns, 0, None));
    }
    section.chart = Some(Chart::Bars(bars));
    section.warn_of_scatter();
    section
}
