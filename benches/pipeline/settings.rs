//! What is measured, and how often: `BENCH_*` variables.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use crate::Outcome;

/// Plaintext bytes of one part, for everybody who can be told.
pub const PART_BYTES: u64 = 8 << 20;
/// Requests in flight in each direction, for everybody who can be told.
pub const IN_FLIGHT: usize = 6;

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// One large object.
    Large,
    /// Many small objects.
    Small,
    /// One job at a slow store.
    Alone,
}

/// What is measured, and how often.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    pub quick: bool,
    pub sections: Vec<Section>,
    pub rounds: usize,
    /// The large object.
    pub large_bytes: u64,
    /// The small objects.
    pub small_objects: usize,
    pub small_bytes: u64,
    /// The object of the lone job.
    pub alone_bytes: u64,
    pub part_bytes: u64,
    pub requests_in_flight: usize,
    /// Where records are kept.
    #[serde(skip)]
    pub records: PathBuf,
}

impl Settings {
    pub fn from_environment() -> Outcome<Settings> {
        let quick = number("BENCH_QUICK", 0)? != 0;
        let [mib, rounds, objects, alone] = if quick {
            [16, 1, 50, 16]
        } else {
            [1024, 5, 2000, 64]
        };
        let records = variable("BENCH_RECORDS");
        let records = records
            .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/benches/record").into());
        Ok(Settings {
            quick,
            sections: sections(&variable("BENCH_ONLY").unwrap_or_default())?,
            rounds: number("BENCH_ROUNDS", rounds)?.max(1),
            large_bytes: (number("BENCH_MIB", mib)?.max(1) as u64) << 20,
            small_objects: number("BENCH_OBJECTS", objects)?.max(1),
            small_bytes: 16 << 10,
            alone_bytes: (number("BENCH_ALONE_MIB", alone)?.max(1) as u64) << 20,
            part_bytes: PART_BYTES,
            requests_in_flight: IN_FLIGHT,
            records: records.into(),
        })
    }
}

/// Section names with commas or blanks between them; all of them when there is none.
fn sections(text: &str) -> Outcome<Vec<Section>> {
    let names = text.split([',', ' ']).filter(|name| !name.is_empty());
    let sections = names.map(|name| match name {
        "large" => Ok(Section::Large),
        "small" => Ok(Section::Small),
        "alone" => Ok(Section::Alone),
        _ => Err(format!(
            "BENCH_ONLY takes large, small and alone, not {name}"
        )),
    });
    let sections = sections.collect::<Outcome<Vec<Section>>>()?;
    match sections.is_empty() {
        true => Ok(vec![Section::Large, Section::Small, Section::Alone]),
        false => Ok(sections),
    }
}

fn number(name: &str, default: usize) -> Outcome<usize> {
    let Some(text) = variable(name) else {
        return Ok(default);
    };
    usize::from_str(&text).map_err(|_| format!("{name} is not a number: {text}"))
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}
