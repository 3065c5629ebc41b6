//! `ciphermill bench`: the same work on every engine and kernel of this machine, and what it means.
//!
//! A table goes to standard output, and with `--report` a page and its figures into a folder. What a
//! GPU cannot do becomes a warning in its section; the rest goes on.

mod batch;
mod cores;
#[cfg(feature = "gpu")]
mod device;
mod engines;
mod kernels;
mod lab;
mod neighbours;
#[cfg(not(feature = "gpu"))]
mod no_device;
mod others;
mod place;
mod sizes;
mod small;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use ciphermill_cipher::cpu;
use clap::Args;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::lab::{Card, Lab};
#[cfg(not(feature = "gpu"))]
use self::no_device as device;
use self::others::Ticks;
use self::place::Place;
use self::verdict::{CardFound, Found};
use super::show;
use crate::fault::Result;
use crate::measure;
use crate::measure::report::{Report, Section};
use crate::measure::{page, table};

const EXAMPLES: &str = "\
Measures for a minute or two on an otherwise idle machine; --quick takes some seconds and is a sketch.

Examples:
  ciphermill bench                                   a table, and when a GPU pays here
  ciphermill bench --report out                      also out/bench.html and out/bench.json
  ciphermill bench --quick --json | jq .verdict";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Write bench.html, a page with plots that needs nothing else, and bench.json into this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Fewer sizes and rounds
    #[arg(long)]
    quick: bool,
    /// Measure a software adapter too: a GPU that is a program on the CPU
    #[arg(long)]
    software: bool,
}

pub fn run(options: &Options, json: bool) -> Result<ExitCode> {
    let place = options.report.as_deref().map(Place::open).transpose();
    let place = place.map_err(|fault| fault.at("--report"))?;
    let begun = Instant::now();
    let report = measured(&Lab::new(options.quick)?, options.software);
    if json {
        show::line(&report);
    } else {
        show::text(table::text(&report).trim_end());
    }
    if let Some(place) = place {
        let paths = [
            place.write("bench.json", &report.json()),
            place.write("bench.html", &page::html(&report)),
        ];
        for path in paths {
            let path = path.map_err(|fault| fault.at("--report"))?;
            eprintln!("wrote {}", path.display());
        }
    }
    eprintln!("measured for {:.0} s", begun.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

/// Runs all sections.
fn measured(lab: &Lab, software: bool) -> Report {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let when = now.format(&Rfc3339).unwrap_or_default();
    eprintln!("looking for a GPU");
    let card = device::find(lab, software);
    let mut found = Found {
        threads: lab.threads,
        card: card.as_ref().ok().map(|card| CardFound {
            software: card.is_software(),
            most_bytes: card.most_bytes(),
            ..CardFound::default()
        }),
        ..Found::default()
    };
    let before = Ticks::now();
    let sections = sections(lab, card.as_deref().ok(), &mut found);
    let others = others::warning(before, Ticks::now());
    Report {
        format: 1,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        when,
        machine: measure::machine(),
        threads: lab.threads,
        kernels: cpu::all()
            .iter()
            .map(|kernel| kernel.name().to_owned())
            .collect(),
        adapter: card.as_ref().ok().map(|card| card.adapter()),
        no_adapter: card.as_ref().err().cloned(),
        quick: lab.quick,
        verdict: verdict::sentences(&found),
        sections,
        warnings: warnings(card.as_deref().ok()).chain(others).collect(),
    }
}

fn sections(lab: &Lab, card: Option<&dyn Card>, found: &mut Found) -> Vec<Section> {
    let mut sections = Vec::new();
    say("host memory to host memory, by size");
    let sizes = sizes::measure(lab, card);
    sizes.found(found);
    sections.push(sizes.section(lab));
    say("all engines");
    sections.push(engines::engines(lab, card, found));
    if let (Some(card), Some(found)) = (card, &mut found.card) {
        say("the GPU's kernel");
        sections.push(card.kernel_rate(lab, found));
        say("the way to the GPU and back");
        sections.push(sizes.copies(lab, card));
        say("threads and slots of the GPU");
        sections.push(card.slots(lab));
    }
    say("the CPU's kernels");
    sections.push(kernels::kernels(lab));
    say("the CPU's cores");
    sections.push(cores::cores(lab));
    say("small objects");
    sections.push(small::small(lab, card));
    say("hashing and TLS");
    sections.push(neighbours::neighbours(lab));
    sections
}

/// News for whoever waits.
fn say(what: &str) {
    eprintln!("measuring {what}");
}

/// About the run as a whole.
fn warnings(card: Option<&dyn Card>) -> impl Iterator<Item = String> {
    let software = card.filter(|card| card.is_software()).map(|_| {
        "The GPU here is a program on the CPU, measured because --software was given: it shows that everything \
         works, not what a GPU can do."
    });
    let debug = cfg!(debug_assertions);
    let debug = debug.then_some("This is a debug build: the figures mean little.");
    software.into_iter().chain(debug).map(str::to_owned)
}
