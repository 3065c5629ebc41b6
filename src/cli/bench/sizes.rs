//! Host memory to host memory, by size of batch, on every engine; and the copies alone.

use super::batch::Batch;
use super::lab::{
    Card, Failed, KIB, Lab, MIB, PART_BYTES, Run, bar, ctr, point, row, said, section,
};
use super::verdict::{CardFound, Found};
use crate::measure::report::{Bars, Chart, Lines, Marker, Section, Series};
use crate::measure::turns::{self, Turns};
use crate::measure::words::bytes as spelt;

const SIZES: [usize; 7] = [
    64 * KIB,
    256 * KIB,
    MIB,
    4 * MIB,
    16 * MIB,
    64 * MIB,
    256 * MIB,
];
/// A software adapter gets no more.
const SOFTWARE_BYTES: usize = 64 * MIB;
const QUICK_SIZES: [usize; 3] = [64 * KIB, MIB, 16 * MIB];

// Who is who among the runners.
const ONE: usize = 0;
const ALL: usize = 1;
const CARD: usize = 2;
const COPIES: usize = 3;

const ABOUT: &str = "Text in this machine's memory is encrypted (AES-CTR, 256 bits) into other memory of it, in \
parts of at most 4 MiB through the engines' queues, with a CRC-64 checksum of the result: what a worker does all \
day. A smaller batch is one part, which one core does. Of a GPU everything counts: filling its buffers, both copies, \
the kernel, checking some blocks, and reading the result. Above 64 MiB the same 64 MiB of text come again.";

/// All sizes that were measured.
pub struct Sizes {
    taken: Vec<(usize, Turns)>,
    /// Whether a GPU took part, and whether its copies could be had without it.
    card: bool,
    copies: bool,
    warnings: Vec<String>,
}

/// Measures them; a GPU that fails is left out from there on.
pub fn measure(lab: &Lab, card: Option<&dyn Card>) -> Sizes {
    let mut sizes = Sizes {
        taken: Vec::new(),
        card: card.is_some(),
        copies: false,
        warnings: Vec::new(),
    };
    let wanted = if lab.quick { &QUICK_SIZES[..] } else { &SIZES };
    for bytes in wanted.iter().copied() {
        if bytes > SOFTWARE_BYTES && card.is_some_and(Card::is_software) {
            let text = format!(
                "{}: left out, as a program takes too long for it.",
                spelt(bytes as f64)
            );
            sizes.warnings.push(text);
            continue;
        }
        if !lab.holds(bytes, PART_BYTES) {
            let memory = spelt(lab.memory_bytes as f64);
            let text = format!(
                "{}: left out, as buffers may take {memory} here.",
                spelt(bytes as f64)
            );
            sizes.warnings.push(text);
            continue;
        }
        match taken(lab, card, bytes) {
            Ok((turns, copies)) => {
                sizes.copies |= copies;
                sizes.taken.push((bytes, turns));
            }
            Err(why) => {
                sizes
                    .warnings
                    .push(format!("{}: {why}.", spelt(bytes as f64)));
                break;
            }
        }
    }
    sizes
}

fn taken(lab: &Lab, card: Option<&dyn Card>, bytes: usize) -> Result<(Turns, bool), Failed> {
    let batch = Batch::object(lab, &ctr(256).map_err(said)?, bytes, PART_BYTES);
    let mut runners = vec![batch.on_cpu(&lab.one), batch.on_cpu(&lab.all)];
    let mut copies = false;
    if let Some(card) = card {
        runners.push(batch.on_card(card));
        // Once to see whether there is anything to copy.
        if let Some(first) = card.copy(&batch) {
            first?;
            copies = true;
            let copy = || card.copy(&batch).unwrap_or_else(|| Err("no copies".into()));
            runners.push(Run::timed(bytes, copy));
        }
    }
    Ok((turns::take(lab.pace, runners)?, copies))
}

impl Sizes {
    /// Everybody side by side.
    pub fn section(&self, lab: &Lab) -> Section {
        let mut section = section(
            "sizes",
            "Host memory to host memory, by size of batch",
            ABOUT,
        );
        let all = lab.cores();
        for (bytes, turns) in &self.taken {
            let what = |who: &str| format!("{}, {who}", spelt(*bytes as f64));
            let one = (lab.threads > 1 && *bytes > PART_BYTES).then_some(("1 core", ONE));
            section.rows.push(row(lab, what(&all), turns, ALL, one));
            if self.card {
                let beside = Some((all.as_str(), ALL));
                section
                    .rows
                    .push(row(lab, what("GPU"), turns, CARD, beside));
            }
        }
        section.chart = (self.taken.len() > 1).then(|| Chart::Lines(self.lines(lab)));
        section.warnings.clone_from(&self.warnings);
        section.warn_of_scatter();
        section
    }

    fn lines(&self, lab: &Lab) -> Lines {
        let mut names = vec![("CPU, 1 core".to_owned(), ONE)];
        if lab.threads > 1 {
            names.push((format!("CPU, {}", lab.cores()), ALL));
        }
        if self.card {
            names.push(("GPU".to_owned(), CARD));
        }
        if self.copies {
            names.push(("GPU's copies without the kernel".to_owned(), COPIES));
        }
        let series = names.into_iter().map(|(name, runner)| Series {
            name,
            points: self
                .taken
                .iter()
                .map(|(bytes, turns)| point(*bytes as f64, turns.gb(runner)))
                .collect(),
        });
        let series = series.collect();
        let ahead = |(_, turns): &&(usize, Turns)| turns.ratio(CARD, ALL).median > 1.0;
        let overtaken = self.taken.iter().find(ahead);
        Lines {
            x_title: "size of the batch".into(),
            y_title: "GB/s".into(),
            x_log: true,
            x_bytes: true,
            y_log: self.card,
            series,
            markers: overtaken
                .map(|(bytes, _)| marker(*bytes))
                .into_iter()
                .collect(),
        }
    }

    /// The GPU beside its own copies.
    pub fn copies(&self, lab: &Lab, card: &dyn Card) -> Section {
        const ABOUT: &str = "What the way to the GPU and back costs. In the upper rows the GPU ciphers, as above, \
            beside the same buffers being filled, copied up, copied back and read without the kernel: the aim is a \
            ratio of 0.8 or more for large batches. Below, each way alone, with a plain copy in this machine's memory.";
        let mut section = section("copies", "The way to the GPU and back", ABOUT);
        if !self.copies {
            let why = "The GPU works in this machine's own memory: nothing is copied, and there is nothing to compare.";
            section.warnings.push(why.into());
            return section;
        }
        for (bytes, turns) in &self.taken {
            let what = format!("{} through the GPU", spelt(*bytes as f64));
            let beside = Some(("copies only", COPIES));
            section.rows.push(row(lab, what, turns, CARD, beside));
        }
        match card.ways(lab) {
            None => {}
            Some((_, Err(why))) => section.warnings.push(format!("One way at a time: {why}.")),
            Some((bytes, Ok(turns))) => ways(lab, bytes, &turns, &mut section),
        }
        section.warn_of_scatter();
        section
    }

    /// What the verdict needs.
    pub fn found(&self, found: &mut Found) {
        let large = self
            .taken
            .iter()
            .rfind(|(bytes, _)| *bytes >= 16 * MIB)
            .or(self.taken.last());
        let Some((bytes, large)) = large else { return };
        found.batch_bytes = *bytes;
        found.core = large.gb(ONE).median;
        found.all = large.gb(ALL).median;
        let (Some(card), Some((bytes, small))) = (&mut found.card, self.taken.first()) else {
            return;
        };
        self.card_found(card, large, *bytes as f64 / 1e9 / small.gb(CARD).median);
    }

    fn card_found(&self, card: &mut CardFound, large: &Turns, seconds: f64) {
        card.gpu = large.gb(CARD).median;
        card.gpu_seconds = seconds;
        card.of_copies = self.copies.then(|| large.ratio(CARD, COPIES).median);
    }
}

fn marker(bytes: usize) -> Marker {
    Marker {
        x: bytes as f64,
        label: format!("GPU ahead of the CPU from {}", spelt(bytes as f64)),
    }
}

/// Each way alone.
fn ways(lab: &Lab, bytes: usize, turns: &Turns, section: &mut Section) {
    let mut bars = Bars {
        title: format!("GB/s, {}", spelt(bytes as f64)),
        bars: Vec::new(),
    };
    let memcpy = "memcpy";
    for (index, name) in ["up", "down", "up and back"].into_iter().enumerate() {
        let what = format!("{}, copied {name}", spelt(bytes as f64));
        section
            .rows
            .push(row(lab, what, turns, index, Some((memcpy, 3))));
        bars.bars.push(bar("", name, turns.gb(index)));
    }
    bars.bars.push(bar("", memcpy, turns.gb(3)));
    section.chart = Some(Chart::Bars(bars));
}
