//! What the samples of a record say: medians, and how far the turns lie apart.

use std::collections::BTreeMap;

use ciphermill::measure::Spread;

use crate::record::{Run, Sample};

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

/// Everybody's turns in one group.
pub struct Group {
    pub name: String,
    /// Whose turns the others' are compared with.
    pub reference: String,
    pub lines: Vec<Line>,
}

/// Somebody's turns.
pub struct Line {
    pub who: String,
    pub rounds: usize,
    pub seconds: Spread,
    /// Seconds for each second of the reference, round by round.
    pub ratio: Spread,
    /// Client CPU seconds for a GiB of plaintext.
    pub cpu_per_gib: Spread,
    pub jobs_per_second: Spread,
    pub requests_per_job: Spread,
    pub peak_mib: Spread,
    pub store_cpu_per_gib: Spread,
}

/// Groups and lines in the order in which they first appear in the first round, whose order is the benchmark's own.
pub fn groups(run: &Run) -> Vec<Group> {
    let mut names: Vec<&str> = Vec::new();
    for sample in &run.samples {
        if !names.contains(&sample.group.as_str()) {
            names.push(&sample.group);
        }
    }
    let group = |name: &str| {
        let samples = run.samples.iter().filter(|sample| sample.group == name);
        let samples: Vec<&Sample> = samples.collect();
        let everybody = everybody(&samples);
        let reference = reference(&everybody).to_owned();
        let lines = lines(&samples, &everybody, &reference);
        let name = name.to_owned();
        Group {
            name,
            reference,
            lines,
        }
    };
    names.into_iter().map(group).collect()
}

fn everybody<'a>(samples: &[&'a Sample]) -> Vec<&'a str> {
    let mut everybody: Vec<&str> = Vec::new();
    for sample in samples {
        if !everybody.contains(&sample.who.as_str()) {
            everybody.push(&sample.who);
        }
    }
    everybody
}

/// Our own copy, which shows what encryption costs; else rclone's crypt; else the first one.
fn reference<'a>(everybody: &[&'a str]) -> &'a str {
    let named = |begin: &str| everybody.iter().copied().find(|who| who.starts_with(begin));
    let found = named("ciphermill copy").or_else(|| named("rclone crypt"));
    found.or(everybody.first().copied()).unwrap_or_default()
}

fn lines(samples: &[&Sample], everybody: &[&str], reference: &str) -> Vec<Line> {
    let of = |who: &str| {
        let own = samples.iter().copied().filter(|sample| sample.who == who);
        own.collect::<Vec<&Sample>>()
    };
    let beside = of(reference);
    let beside = beside.iter().map(|sample| (sample.round, sample.seconds));
    let beside: BTreeMap<usize, f64> = beside.collect();
    everybody
        .iter()
        .map(|who| line(who, &of(who), &beside))
        .collect()
}

fn line(who: &str, own: &[&Sample], beside: &BTreeMap<usize, f64>) -> Line {
    let spread = |value: &dyn Fn(&Sample) -> f64| {
        Spread::of(own.iter().map(|sample| value(sample)).collect())
    };
    let gib = |sample: &Sample| sample.bytes as f64 / GIB;
    let ratio =
        |sample: &Sample| sample.seconds / beside.get(&sample.round).copied().unwrap_or(f64::NAN);
    let requests = |sample: &Sample| sample.requests.values().sum::<u64>() as f64;
    Line {
        who: who.to_owned(),
        rounds: own.len(),
        seconds: spread(&|sample| sample.seconds),
        ratio: spread(&ratio),
        cpu_per_gib: spread(&|sample| sample.cpu_seconds / gib(sample)),
        jobs_per_second: spread(&|sample| sample.jobs as f64 / sample.seconds),
        requests_per_job: spread(&|sample| requests(sample) / sample.jobs as f64),
        peak_mib: spread(&|sample| sample.peak_bytes as f64 / MIB),
        store_cpu_per_gib: spread(&|sample| sample.store_cpu_seconds / gib(sample)),
    }
}
