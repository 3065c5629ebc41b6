//! Lab: what every scenario works with: buffers, engines, made-up text, and rows made of figures.

use std::sync::Arc;

use ciphermill_cipher::ctr::CounterStart;
use ciphermill_cipher::secret::{Secret, random_array};
use ciphermill_cipher::{Encryptor, Form, cpu};

use super::batch::Batch;
use super::verdict::CardFound;
use crate::buffers::{PartBuffer, Pool, Reservation};
use crate::engine::cpu::CpuEngine;
use crate::engine::{Plaintext, Work};
use crate::fault::{Code, Fault, Result};
use crate::measure::Spread;
use crate::measure::report::{Adapter, Bar, Beside, Point, Row, Section};
use crate::measure::turns::{Pace, Runner, Turns};
use crate::settings::memory;

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

/// Bytes of a part, as a job has them at first.
pub const PART_BYTES: usize = 4 * MIB;
/// Cipher threads stay on cores of their own: left alone, two of them may share one for as long as a
/// measurement takes.
pub const PIN: bool = true;
/// Buffers never take more than this.
const MOST_BYTES: usize = 400 * MIB;
/// Text beyond this is read again: it is more than a core's caches hold.
const TEXT_BYTES: usize = 64 * MIB;

/// Why something could not be measured, in words.
pub type Failed = String;
/// One that takes turns here.
pub type Run<'a> = Runner<'a, Failed>;

/// Where all is measured.
pub struct Lab {
    pub pace: Pace,
    pub quick: bool,
    /// Cipher threads: one per core.
    pub threads: usize,
    /// What buffers may take.
    pub memory_bytes: usize,
    /// All cores.
    pub all: Arc<CpuEngine>,
    /// One core.
    pub one: CpuEngine,
    reservation: Arc<Reservation>,
}

/// A GPU, as the scenarios see it that the CPU takes part in.
pub trait Card {
    /// What it is.
    fn adapter(&self) -> Adapter;
    /// Whether it is a program on the CPU.
    fn is_software(&self) -> bool;
    /// Largest part that it takes.
    fn most_bytes(&self) -> usize;
    /// Queues work.
    fn submit(&self, work: Work);
    /// Why it gave up, if it did: its work went to the CPU then.
    fn failure(&self) -> Option<Failed>;
    /// Takes plaintexts to the device and back without doing anything to them; `None` where nothing
    /// is copied.
    fn copy(&self, batch: &Batch) -> Option<Result<f64, Failed>>;
    /// How fast the shader is by itself.
    fn kernel_rate(&self, lab: &Lab, found: &mut CardFound) -> Section;
    /// Copies of one size: up, down, both, and memcpy; `None` where nothing is copied.
    fn ways(&self, lab: &Lab) -> Option<(usize, Result<Turns, Failed>)>;
    /// Number and size of slots.
    fn slots(&self, lab: &Lab) -> Section;
}

impl Lab {
    pub fn new(quick: bool) -> Result<Lab> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let memory_bytes = share_bytes().min(MOST_BYTES);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime =
            runtime.map_err(|e| Fault::new(Code::Internal, format!("no runtime: {e}")))?;
        let pool = Pool::new(memory_bytes);
        let (rounds, turn_seconds, most_seconds) = if quick {
            (9, 0.01, 1.0)
        } else {
            (21, 0.02, 5.0)
        };
        Ok(Lab {
            pace: Pace {
                rounds,
                least_rounds: 3,
                turn_seconds,
                most_seconds,
            },
            quick,
            threads,
            memory_bytes,
            all: Arc::new(CpuEngine::start(threads, PIN)?),
            one: CpuEngine::start(1, PIN)?,
            reservation: runtime.block_on(pool.reserve(memory_bytes))?,
        })
    }

    /// Room for so many bytes of ciphertext or less.
    pub fn buffer(&self, bytes: usize) -> PartBuffer {
        self.reservation.buffer(Form::buffer_bytes(bytes as u64))
    }

    /// Plaintexts of so many bytes each; those beyond [`TEXT_BYTES`] are the first ones again.
    pub fn texts(&self, count: usize, bytes: usize) -> Vec<Plaintext> {
        let own = count.min((TEXT_BYTES / bytes).max(1));
        let text = |index: usize| {
            let mut part = self.buffer(bytes);
            part.set_len(bytes);
            part.fill(index as u8 ^ 0x5a);
            Plaintext {
                part: Arc::new(part),
                range: (0, bytes),
            }
        };
        let own: Vec<_> = (0..own).map(text).collect();
        own.iter().cycle().take(count).cloned().collect()
    }

    /// Whether a batch of so many bytes finds room, in parts of `part_bytes`.
    pub fn holds(&self, bytes: usize, part_bytes: usize) -> bool {
        let cost = |bytes: usize| {
            let part_bytes = part_bytes.min(bytes);
            bytes.div_ceil(part_bytes) * Pool::cost_bytes(Form::buffer_bytes(part_bytes as u64))
        };
        cost(bytes) + cost(bytes.min(TEXT_BYTES)) <= self.memory_bytes
    }

    /// `N cores`, or `1 core`.
    pub fn cores(&self) -> String {
        cores(self.threads)
    }
}

pub fn cores(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} core{plural}")
}

/// A quarter of the memory that nothing else uses, as far as this process may have it.
pub fn share_bytes() -> usize {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let mut lines = info.lines();
    let line = lines.find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let limit = memory::limit_bytes();
    (kib.map_or(limit, |kib| (kib * 1024).min(limit)) / 4) as usize
}

/// A cipher with a key of its own. What it makes is thrown away: IVs need not be fresh.
pub fn ctr(bits: usize) -> Result<Arc<Encryptor>> {
    let start = CounterStart::from_block(random_array()?);
    Ok(Arc::new(Encryptor::ctr(
        cpu::best(),
        &Secret::random(bits / 8)?,
        start,
    )?))
}

/// Counter mode on this kernel.
pub fn of_kernel(kernel: &'static dyn cpu::Kernel, key: &Secret) -> Result<Encryptor> {
    Ok(Encryptor::ctr(
        kernel,
        key,
        CounterStart::from_block([3; 16]),
    )?)
}

/// The same for GCM.
pub fn gcm(bits: usize) -> Result<Arc<Encryptor>> {
    let iv: [u8; 12] = random_array()?;
    Ok(Arc::new(Encryptor::gcm(
        cpu::best(),
        &Secret::random(bits / 8)?,
        &iv,
    )?))
}

/// What the lab's own faults are in a section's warnings.
pub fn said(fault: Fault) -> Failed {
    fault.message
}

/// A row of the `index`-th runner, with another one beside it.
pub fn row(
    lab: &Lab,
    what: impl Into<String>,
    turns: &Turns,
    index: usize,
    beside: Option<(&str, usize)>,
) -> Row {
    let few = turns.rounds() < lab.pace.rounds;
    Row {
        what: what.into(),
        gb_per_second: turns.gb(index),
        beside: beside.map(|(what, other)| Beside {
            what: what.to_owned(),
            gb_per_second: turns.gb(other),
            ratio: turns.ratio(index, other),
        }),
        note: few.then(|| format!("only {} rounds, as each takes long", turns.rounds())),
    }
}

/// An empty section.
pub fn section(id: &str, title: impl Into<String>, about: impl Into<String>) -> Section {
    Section {
        id: id.to_owned(),
        title: title.into(),
        about: about.into(),
        rows: Vec::new(),
        chart: None,
        warnings: Vec::new(),
    }
}

pub fn point(x: f64, spread: Spread) -> Point {
    Point {
        x,
        low: spread.low,
        y: spread.median,
        high: spread.high,
    }
}

pub fn bar(group: &str, label: &str, spread: Spread) -> Bar {
    Bar {
        label: label.to_owned(),
        group: group.to_owned(),
        y: spread.median,
        low: spread.low,
        high: spread.high,
    }
}
