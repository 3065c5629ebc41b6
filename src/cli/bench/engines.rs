//! The same work on every engine, and on both at once.

use super::batch::Batch;
use super::lab::{Card, Failed, Lab, MIB, Run, bar, ctr, row, said, section};
use super::verdict::Found;
use crate::engine::Engine;
use crate::measure::report::{Bars, Chart, Section};
use crate::measure::turns::{self, Pace, Turns};
use crate::measure::words::bytes as spelt;

// Who is who among the runners.
const ONE: usize = 0;
const ALL: usize = 1;
const COPY: usize = 2;
const CARD: usize = 3;
const BOTH: usize = 4;

const PART_BYTES: usize = MIB;

/// How many of the batch's parts the GPU gets when both work.
struct Split {
    card_parts: usize,
    parts: usize,
}

impl Split {
    /// As many as it does while the CPU does the others, from the time that each takes for all.
    fn of(parts: usize, cpu_seconds: f64, card_seconds: f64) -> Split {
        let share = cpu_seconds / (cpu_seconds + card_seconds);
        let card_parts = (parts as f64 * share).round() as usize;
        Split { card_parts, parts }
    }

    /// Evenly among the others.
    fn to_card(&self, index: usize) -> bool {
        let before = |index: usize| index * self.card_parts / self.parts.max(1);
        before(index + 1) > before(index)
    }
}

pub fn engines(lab: &Lab, card: Option<&dyn Card>, found: &mut Found) -> Section {
    let bytes = if lab.quick { 16 * MIB } else { 64 * MIB };
    let bytes = if lab.holds(bytes, PART_BYTES) {
        bytes
    } else {
        4 * MIB
    };
    let about = format!(
        "{} in this machine's memory, encrypted (AES-CTR, 256 bits, with a CRC-64 checksum) in parts of {} by each \
         engine in turn, beside all cores of the CPU. memcpy is the same bytes only copied by as many cores. Both at \
         once: the parts are shared out so that the engines would end together if neither disturbed the other.",
        spelt(bytes as f64),
        spelt(PART_BYTES as f64),
    );
    let mut section = section("engines", "The same work on every engine", about);
    let taken = taken(lab, card, bytes);
    let (turns, split) = match taken {
        Ok(taken) => taken,
        Err(why) => {
            section.warnings.push(format!("{why}."));
            return section;
        }
    };
    let all = lab.cores();
    let beside = Some((all.as_str(), ALL));
    let mut names = vec![(ONE, "1 core".to_owned(), beside), (ALL, all.clone(), None)];
    names.push((COPY, format!("memcpy, {}", lab.cores()), beside));
    if card.is_some() {
        names.push((CARD, "GPU".into(), beside));
    }
    match &split {
        Some(split) if split.card_parts == 0 => section.warnings.push(format!(
            "Both at once was left out: the GPU is so slow that its share would be less than one of {} parts.",
            split.parts
        )),
        Some(split) => {
            let what = format!("both at once, {} of {} parts to the GPU", split.card_parts, split.parts);
            names.push((BOTH, what, beside));
            if let Some(card) = &mut found.card {
                card.both = Some(turns.ratio(BOTH, ALL).median);
            }
        }
        None => {}
    }
    if lab.threads == 1 {
        names.remove(0);
    }
    let mut bars = Bars {
        title: "GB/s".into(),
        bars: Vec::new(),
    };
    for (index, what, beside) in names {
        bars.bars.push(bar(
            "",
            what.split(", ").next().unwrap_or(&what),
            turns.gb(index),
        ));
        if let Some(bar) = bars.bars.last_mut().filter(|_| index != BOTH) {
            bar.label.clone_from(&what);
        }
        section.rows.push(row(lab, what, &turns, index, beside));
    }
    section.chart = Some(Chart::Bars(bars));
    section.warn_of_scatter();
    section
}

fn taken(
    lab: &Lab,
    card: Option<&dyn Card>,
    bytes: usize,
) -> Result<(Turns, Option<Split>), Failed> {
    let batch = Batch::object(lab, &ctr(256).map_err(said)?, bytes, PART_BYTES);
    let copy = Run::new(bytes, || batch.copy(lab.threads));
    let mut runners = vec![batch.on_cpu(&lab.one), batch.on_cpu(&lab.all), copy];
    let shared;
    if let Some(card) = card {
        runners.push(batch.on_card(card));
        shared = share(lab, card, &batch)?;
        let submit = |index, work| match shared.to_card(index) {
            true => card.submit(work),
            false => lab.all.submit(work),
        };
        if shared.card_parts > 0 {
            runners.push(batch.on_both(card, submit));
        }
        let turns = turns::take(lab.pace, runners)?;
        return Ok((turns, Some(shared)));
    }
    Ok((turns::take(lab.pace, runners)?, None))
}

/// Each alone, to see what the other can do in that time.
fn share(lab: &Lab, card: &dyn Card, batch: &Batch) -> Result<Split, Failed> {
    let pace = Pace {
        rounds: 3,
        ..lab.pace
    };
    let turns = turns::take(pace, vec![batch.on_cpu(&lab.all), batch.on_card(card)])?;
    let [cpu, card] = [0, 1].map(|runner| 1.0 / turns.gb(runner).median);
    Ok(Split::of(batch.parts().len(), cpu, card))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_shared_out_evenly() {
        let split = Split::of(8, 1.0, 3.0);
        let to_card: Vec<_> = (0..8).filter(|index| split.to_card(*index)).collect();
        assert_eq!(to_card, [3, 7]);
        assert_eq!(Split::of(64, 1.0, 1000.0).card_parts, 0);
        assert_eq!(Split::of(64, 1.0, 1.0).card_parts, 32);
    }
}
