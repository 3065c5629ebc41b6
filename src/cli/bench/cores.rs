//! One object on one core to all of them, through the engine's queue.

use super::batch::Batch;
use super::lab::{
    KIB, Lab, MIB, PART_BYTES, PIN, Run, bar, cores as count_cores, ctr, gcm, point, row, said,
    section,
};
use crate::engine::cpu::CpuEngine;
use crate::fault::Result;
use crate::measure::report::{Bars, Chart, Lines, Section, Series};
use crate::measure::turns::{self, Turns};
use crate::measure::words;

/// A line needs more points than this.
const FEW: usize = 4;

pub fn cores(lab: &Lab) -> Section {
    let (bytes, part_bytes) = shape(lab);
    let about = format!(
        "One object of {} in parts of {}, through the engine's queue as a worker does it, a CRC-64 checksum of the \
         result included; keys of 256 bits. The text comes from memory and not from the caches, so that sooner or \
         later the memory is the limit and not the cores: the line of memcpy shows it.",
        words::bytes(bytes as f64),
        words::bytes(part_bytes as f64),
    );
    let mut section = section("cores", "The CPU, from one core to all", about);
    let counts = counts(lab.threads);
    let mut all = Vec::new();
    for (name, taken) in measured(lab, &counts, (bytes, part_bytes)) {
        let turns = match taken {
            Ok(turns) => turns,
            Err(why) => {
                section.warnings.push(format!("{name}: {why}."));
                continue;
            }
        };
        for (index, count) in counts.iter().enumerate() {
            let beside = (index > 0).then_some(("1 core", 0));
            let what = format!("{name}, {}", count_cores(*count));
            section.rows.push(row(lab, what, &turns, index, beside));
        }
        all.push((name, turns));
    }
    section.chart = Some(chart(&counts, &all));
    section.warn_of_scatter();
    section
}

/// Bars of a few, lines of many.
fn chart(counts: &[usize], all: &[(&str, Turns)]) -> Chart {
    if counts.len() > FEW {
        let series = all.iter().map(|(name, turns)| Series {
            name: (*name).to_owned(),
            points: (0..)
                .zip(counts)
                .map(|(index, count)| point(*count as f64, turns.gb(index)))
                .collect(),
        });
        return Chart::Lines(Lines {
            x_title: "cores".into(),
            y_title: "GB/s".into(),
            series: series.collect(),
            ..Lines::default()
        });
    }
    let bars = all.iter().flat_map(|(name, turns)| {
        let counts = (0..).zip(counts);
        counts.map(|(index, count)| bar(name, &count_cores(*count), turns.gb(index)))
    });
    Chart::Bars(Bars {
        title: "GB/s".into(),
        bars: bars.collect(),
    })
}

/// The object's bytes and those of its parts: enough parts for every core, within the memory.
fn shape(lab: &Lab) -> (usize, usize) {
    let bytes = if lab.quick { 32 * MIB } else { 64 * MIB };
    let bytes = [bytes, bytes / 2, bytes / 4]
        .into_iter()
        .find(|bytes| lab.holds(*bytes, PART_BYTES));
    let bytes = bytes.unwrap_or(MIB);
    let most = bytes / (2 * lab.threads);
    (
        bytes,
        (most / 2 + 1)
            .next_power_of_two()
            .clamp(64 * KIB, PART_BYTES),
    )
}

/// Numbers of cores to look at: every one of a few, powers of two and the last of many.
fn counts(threads: usize) -> Vec<usize> {
    let powers = (0..)
        .map(|power| 1 << power)
        .take_while(|count| *count < threads);
    if threads <= 4 {
        (1..=threads).collect()
    } else {
        powers.chain([threads]).collect()
    }
}

fn measured(
    lab: &Lab,
    counts: &[usize],
    (bytes, part_bytes): (usize, usize),
) -> Vec<(&'static str, std::result::Result<Turns, String>)> {
    let engines: Result<Vec<_>> = counts
        .iter()
        .map(|count| CpuEngine::start(*count, PIN))
        .collect();
    let engines = match engines {
        Ok(engines) => engines,
        Err(fault) => return vec![("threads", Err(fault.message))],
    };
    let ciphered = |cipher: Result<_>| {
        let batch = Batch::object(lab, &cipher.map_err(said)?, bytes, part_bytes);
        turns::take(
            lab.pace,
            engines.iter().map(|engine| batch.on_cpu(engine)).collect(),
        )
    };
    let copied = || {
        let batch = Batch::object(lab, &ctr(256).map_err(said)?, bytes, part_bytes);
        let copy = |count: &usize| {
            let (batch, count) = (&batch, *count);
            Run::new(bytes, move || batch.copy(count))
        };
        turns::take(lab.pace, counts.iter().map(copy).collect())
    };
    vec![
        ("AES-CTR", ciphered(ctr(256))),
        ("AES-GCM", ciphered(gcm(256))),
        ("memcpy", copied()),
    ]
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn few_cores_are_all_looked_at_and_of_many_some() {
        assert_eq!(counts(1), [1]);
        assert_eq!(counts(3), [1, 2, 3]);
        assert_eq!(counts(12), [1, 2, 4, 8, 12]);
        assert_eq!(counts(16), [1, 2, 4, 8, 16]);
    }
}
