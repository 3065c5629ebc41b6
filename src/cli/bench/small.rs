//! Small objects, each under a key of its own, in the queue together.

use super::batch::Batch;
use super::lab::{Card, Failed, KIB, Lab, MIB, Run, point, row, section};
use crate::measure::report::{Chart, Lines, Row, Section, Series};
use crate::measure::turns::{self, Turns};
use crate::measure::words::bytes as spelt;

const SIZES: [usize; 4] = [KIB, 4 * KIB, 16 * KIB, 64 * KIB];
const QUICK_SIZES: [usize; 2] = [4 * KIB, 16 * KIB];

const ABOUT: &str = "Many small objects wait in the queue at once, such as thumbnails, captions or segments: AES-GCM, \
a key of 256 bits for each object, with checksums. The queue costs each object a microsecond or two, which is why a \
plain loop on one core, without a queue, stands beside it. A GPU gets as many objects and keys in one batch as fit.";

// Who is who among the runners.
const LOOP: usize = 0;
const ALL: usize = 1;
const CARD: usize = 2;

pub fn small(lab: &Lab, card: Option<&dyn Card>) -> Section {
    let mut section = section("small", "Small objects", ABOUT);
    let sizes = if lab.quick { &QUICK_SIZES[..] } else { &SIZES };
    let all = lab.cores();
    let mut names = vec![(LOOP, "a loop on 1 core"), (ALL, all.as_str())];
    names.extend(card.map(|_| (CARD, "GPU")));
    let mut series: Vec<Series> = names.iter().map(|(_, name)| line(name)).collect();
    for bytes in sizes.iter().copied() {
        let count = (16 * MIB / bytes).min(512);
        let turns = match taken(lab, card, (count, bytes)) {
            Ok(turns) => turns,
            Err(why) => {
                section
                    .warnings
                    .push(format!("{}: {why}.", spelt(bytes as f64)));
                break;
            }
        };
        for (line, (runner, _)) in series.iter_mut().zip(&names) {
            line.points.push(point(bytes as f64, turns.gb(*runner)));
        }
        let what = |who: &str| format!("{count} of {}, {who}", spelt(bytes as f64));
        let beside = Some((names[LOOP].1, LOOP));
        section
            .rows
            .push(counted(row(lab, what(&all), &turns, ALL, beside), bytes));
        if card.is_some() {
            let beside = Some((all.as_str(), ALL));
            section
                .rows
                .push(counted(row(lab, what("GPU"), &turns, CARD, beside), bytes));
        }
    }
    let lines = Lines {
        x_title: "size of an object".into(),
        y_title: "GB/s".into(),
        x_log: true,
        x_bytes: true,
        y_log: true,
        series,
        markers: Vec::new(),
    };
    section.chart = Some(Chart::Lines(lines));
    section.warn_of_scatter();
    section
}

fn line(name: &str) -> Series {
    Series {
        name: name.to_owned(),
        points: Vec::new(),
    }
}

/// Says how many objects a second that is.
fn counted(row: Row, bytes: usize) -> Row {
    let thousands = row.gb_per_second.median * 1e6 / bytes as f64;
    let said = format!("{thousands:.0} thousand objects per second");
    let note = row
        .note
        .map_or(said.clone(), |note| format!("{said}; {note}"));
    Row {
        note: Some(note),
        ..row
    }
}

fn taken(
    lab: &Lab,
    card: Option<&dyn Card>,
    (count, bytes): (usize, usize),
) -> Result<Turns, Failed> {
    let batch = Batch::objects(lab, count, bytes)?;
    let alone = Run::timed(batch.bytes(), || Ok(batch.alone()));
    let mut runners = vec![alone, batch.on_cpu(&lab.all)];
    runners.extend(card.map(|card| batch.on_card(card)));
    turns::take(lab.pace, runners)
}
