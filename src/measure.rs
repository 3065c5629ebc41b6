//! Measure: timing that can be trusted on a noisy machine, shared by the benchmarks and by
//! `ciphermill bench`, and the report that the latter draws.
//!
//! Work comes in as closures; medians with their spread, and ratios of interleaved pairs, go out.
//! Two things are compared by doing them in turn, so that a machine that slows down slows both; no
//! run is thrown away. This module knows nothing of ciphers and imports no other.

mod bars;
mod lines;
pub mod page;
mod plot;
pub mod report;
mod rows;
#[cfg(test)]
mod sample;
pub mod table;
mod ticks;
pub mod turns;
pub mod words;

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// A measured figure: its median, and where the rest lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The smallest.
    pub least: f64,
    /// A quarter is below it.
    pub low: f64,
    /// The one to quote.
    pub median: f64,
    /// A quarter is above it.
    pub high: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// Of these figures, of which there is at least one; NaN otherwise.
    pub fn of(mut figures: Vec<f64>) -> Spread {
        figures.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (figures.len().saturating_sub(1) as f64 * share).round() as usize;
            figures.get(index).copied().unwrap_or(f64::NAN)
        };
        Spread {
            least: at(0.0),
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
            most: at(1.0),
        }
    }
}

/// Two things done in turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Bytes per second of the first.
    pub first: Spread,
    /// Bytes per second of the second.
    pub second: Spread,
    /// How many times as fast the first was, pair by pair.
    pub ratio: Spread,
}

/// Does both `rounds` times in turn; each call works on `bytes` bytes, and is repeated until a turn
/// covers about `turn_bytes`.
pub fn pair(
    rounds: usize,
    bytes: usize,
    turn_bytes: usize,
    mut first: impl FnMut(),
    mut second: impl FnMut(),
) -> Pair {
    let times = (turn_bytes / bytes.max(1)).max(1);
    let first = || seconds(times, &mut first);
    let second = || seconds(times, &mut second);
    timed_pair(rounds, times * bytes, first, second)
}

/// The same for turns that time themselves: each works on `bytes` bytes and returns its seconds.
pub fn timed_pair(
    rounds: usize,
    bytes: usize,
    mut first: impl FnMut() -> f64,
    mut second: impl FnMut() -> f64,
) -> Pair {
    let mut figures = (Vec::new(), Vec::new(), Vec::new());
    first();
    second();
    for round in 0..rounds.max(1) {
        // Who begins changes, so that neither always finds the other's caches.
        let (a, b) = if round % 2 == 0 {
            let a = first();
            (a, second())
        } else {
            let b = second();
            (first(), b)
        };
        figures.0.push(bytes as f64 / a);
        figures.1.push(bytes as f64 / b);
        figures.2.push(b / a);
    }
    Pair {
        first: Spread::of(figures.0),
        second: Spread::of(figures.1),
        ratio: Spread::of(figures.2),
    }
}

/// Seconds that so many calls take.
pub fn seconds(times: usize, work: &mut impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..times {
        work();
    }
    begun.elapsed().as_secs_f64()
}

/// This machine, in one line: what a figure is worth nothing without.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let flags = field("flags").unwrap_or_default();
    let known = ["aes", "vaes", "vpclmulqdq", "avx2", "avx512f"];
    let flags = flags.split_whitespace().filter(|flag| known.contains(flag));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let family = field("cpu family").unwrap_or_default();
    format!(
        "{}, family {family} model {}, {cores} cores ({}), {} {}",
        field("model name").unwrap_or_else(|| "unknown CPU".into()),
        field("model\t").unwrap_or_default(),
        flags.collect::<Vec<_>>().join(" "),
        std::env::consts::OS,
        std::env::consts::ARCH,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_ratios_go_by_pairs() {
        let spread = Spread::of(vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!((spread.least, spread.low, spread.median), (1.0, 2.0, 3.0));
        assert_eq!((spread.high, spread.most), (4.0, 5.0));
        assert!(Spread::of(Vec::new()).median.is_nan());
        let (mut first, mut second) = (0, 0);
        let pair = pair(4, 10, 30, || first += 1, || second += 1);
        assert_eq!((first, second), (15, 15));
        assert!(pair.ratio.least <= pair.ratio.most);
    }

    #[test]
    fn the_machine_says_what_it_is() {
        let machine = machine();
        assert!(machine.contains(std::env::consts::ARCH), "{machine}");
    }
}
