//! Verdict: what the figures mean, in sentences. Pure.
//!
//! Whether a GPU pays is asked of the very rule that the engine chooses by, with the rates that were
//! measured here.

use crate::engine::choose::{Backlog, MARGIN, Rates};
use crate::measure::words::{bytes as spelt, figure};

/// A busy core has so much work waiting.
const BUSY_SECONDS: f64 = 0.010;
/// Rates that differ by less are about the same.
const SAME: f64 = 1.05;

/// What was found out. Rates are in 10^9 bytes per second, host memory to host memory.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub threads: usize,
    /// The batch that the rates were taken with.
    pub batch_bytes: usize,
    /// One core.
    pub core: f64,
    /// All of them.
    pub all: f64,
    /// The GPU, if one was measured.
    pub card: Option<CardFound>,
}

/// What was found out about a GPU.
#[derive(Clone, Debug, Default)]
pub struct CardFound {
    /// It is a program on the CPU.
    pub software: bool,
    /// Largest part that it takes.
    pub most_bytes: usize,
    /// Its rate.
    pub gpu: f64,
    /// What the smallest batch takes.
    pub gpu_seconds: f64,
    /// Its rate on text that is there already.
    pub kernel: Option<f64>,
    /// Its rate as a share of that of its copies.
    pub of_copies: Option<f64>,
    /// How many times as fast as the CPU both at once were.
    pub both: Option<f64>,
}

/// Sizes of a part for which the GPU pays, and how many cores must be busy for that.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pays {
    from_bytes: usize,
    to_bytes: usize,
    busy: usize,
    /// Whether that is true of the largest part as well.
    all_larger: bool,
}

/// The verdict, the headline first. `None` of a figure is no sentence.
pub fn sentences(found: &Found) -> Vec<String> {
    if !(found.core > 0.0 && found.all > 0.0) {
        return vec!["Too little could be measured for a verdict.".into()];
    }
    let Some(card) = &found.card else {
        return without_card(found);
    };
    if card.gpu.is_nan() || card.gpu <= 0.0 {
        let mut sentences = without_card(found);
        sentences.insert(
            1,
            "There is a GPU, but it failed before it could be measured: see the warnings.".into(),
        );
        return sentences;
    }
    let pays = pays(found, card);
    let mut sentences = vec![headline(pays, found.threads)];
    sentences.push(overall(found, card));
    sentences.extend(card.both.map(both));
    sentences.extend(ways(card));
    sentences.push(chosen(pays, found.threads, card.software));
    sentences.push(meaning());
    sentences
}

fn without_card(found: &Found) -> Vec<String> {
    let one = (found.threads > 1).then(|| format!(", {} on one", figure(found.core)));
    vec![
        format!(
            "On this machine the CPU does all the work: {} GB/s on {}{}.",
            figure(found.all),
            cores(found.threads),
            one.unwrap_or_default(),
        ),
        format!(
            "That is AES-CTR with keys of 256 bits and a checksum of the result, from memory to memory, {} at a time.",
            spelt(found.batch_bytes as f64),
        ),
        "There is no GPU to compare it with, so --engine auto and --engine cpu are the same here."
            .into(),
    ]
}

/// Asks the engine's own rule: with idle cores first, then with more and more of them busy.
fn pays(found: &Found, card: &CardFound) -> Option<Pays> {
    let rates = Rates {
        core: found.core * 1e9,
        cores: found.threads,
        gpu: card.gpu * 1e9,
        gpu_seconds: card.gpu_seconds,
    };
    let mut all = (0..=found.threads).filter_map(|busy| {
        let backlog = Backlog {
            cpu_bytes: (busy as f64 * rates.core * BUSY_SECONDS) as usize,
            gpu_bytes: 0,
        };
        let fits = |bytes: &usize| *bytes <= card.most_bytes;
        let from_bytes = rates.crossover_bytes(backlog).filter(fits)?;
        let larger = std::iter::successors(Some(from_bytes), |bytes| Some(2 * bytes));
        let paying = larger.take_while(|bytes| fits(bytes) && rates.gpu_pays(backlog, *bytes));
        let to_bytes = paying.last().unwrap_or(from_bytes);
        Some(Pays {
            from_bytes,
            to_bytes,
            busy,
            all_larger: !fits(&(2 * to_bytes)),
        })
    });
    let first = all.next()?;
    // Large parts are what matters; where only small ones pay, that is a footnote.
    let large = std::iter::once(first)
        .chain(all)
        .find(|pays| pays.all_larger);
    large.or(Some(first))
}

fn headline(pays: Option<Pays>, threads: usize) -> String {
    let Some(pays) = pays.filter(|pays| pays.all_larger) else {
        return "On this machine the GPU never pays for data in host memory.".into();
    };
    let cores = match pays.busy {
        0 => "even with idle cores".to_owned(),
        busy => format!("with {} busy", of(busy, threads)),
    };
    let from = spelt(pays.from_bytes as f64);
    format!("On this machine the GPU pays for parts of {from} or more, {cores}.")
}

/// Who is faster for host data, whatever waits.
fn overall(found: &Found, card: &CardFound) -> String {
    let (faster, slower, times) = if card.gpu > found.all {
        ("GPU", "CPU", card.gpu / found.all)
    } else {
        ("CPU", "GPU", found.all / card.gpu)
    };
    let times = match times {
        times if times < SAME => "they are about as fast".to_owned(),
        times => format!(
            "the {faster} is {} times as fast as the {slower}",
            figure(times)
        ),
    };
    let one = (found.threads > 1).then(|| format!(" ({} on one)", figure(found.core)));
    format!(
        "From memory to memory, {} at a time, the CPU encrypts {} GB/s on {}{} and the GPU {} GB/s: {times}.",
        spelt(found.batch_bytes as f64),
        figure(found.all),
        cores(found.threads),
        one.unwrap_or_default(),
        figure(card.gpu),
    )
}

fn both(times: f64) -> String {
    let gain = match times {
        times if times > SAME => "so that the GPU adds to the CPU",
        times if times < 1.0 / SAME => "so that they are in each other's way",
        _ => "so that the GPU adds nothing to speak of",
    };
    format!(
        "Both at once are {} times as fast as the CPU alone, {gain}.",
        figure(times)
    )
}

/// What the way to the device costs.
fn ways(card: &CardFound) -> Vec<String> {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let kernel = card.kernel.map(|kernel| {
        format!(
            "The GPU's kernel alone, on text that is in the GPU's own memory, does {} GB/s; with the way there and \
             back, {} of that is left.",
            figure(kernel),
            percent(card.gpu / kernel),
        )
    });
    let copies = card.of_copies.map(|share| {
        let aim = match share {
            _ if card.software => "",
            share if share >= 0.8 => " (the aim is 80 % or more: met)",
            _ => " (the aim is 80 % or more: missed)",
        };
        format!(
            "From memory to memory the GPU reaches {} of the rate of the same copies without the kernel{aim}.",
            percent(share),
        )
    });
    kernel.into_iter().chain(copies).collect()
}

/// What `auto` does with these rates.
fn chosen(pays: Option<Pays>, threads: usize, software: bool) -> String {
    if software {
        let never = "Left to itself (--engine auto), the engine leaves everything to the CPU: it never takes a GPU \
                     that is a program.";
        return never.into();
    }
    let Some(pays) = pays else {
        return "Left to itself (--engine auto), the engine leaves everything to the CPU.".into();
    };
    let range = format!(
        "{} to {}",
        spelt(pays.from_bytes as f64),
        spelt(pays.to_bytes as f64)
    );
    let when = match pays.busy {
        0 => String::new(),
        1 => " once 1 core is busy".into(),
        busy => format!(" once {} are busy", of(busy, threads)),
    };
    let rest = if pays.all_larger {
        "gives the GPU"
    } else {
        "leaves large parts to the CPU; the GPU gets"
    };
    format!("Left to itself (--engine auto), the engine {rest} parts of {range}{when}.")
}

fn meaning() -> String {
    format!(
        "A GPU pays for a part when it is back {MARGIN} times sooner than from the CPU, where one core does it behind \
         what waits; a busy core has {:.0} ms of work waiting.",
        BUSY_SECONDS * 1e3,
    )
}

fn of(busy: usize, threads: usize) -> String {
    if busy == threads {
        format!("all {}", cores(threads))
    } else {
        format!("{busy} of {}", cores(threads))
    }
}

fn cores(count: usize) -> String {
    super::lab::cores(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn found(core: f64, threads: usize, gpu: f64) -> Found {
        Found {
            threads,
            batch_bytes: 64 * MIB,
            core,
            all: core * threads as f64,
            card: Some(CardFound {
                most_bytes: 16 * MIB,
                gpu,
                gpu_seconds: 300e-6,
                kernel: Some(190.0),
                of_copies: Some(0.85),
                both: Some(1.2),
                ..CardFound::default()
            }),
        }
    }

    fn said(found: &Found) -> String {
        sentences(found).join("\n")
    }

    #[test]
    fn a_machine_without_a_gpu_says_what_its_cpu_does() {
        let mut none = found(8.0, 2, 0.0);
        none.card = None;
        let said = said(&none);
        assert!(said.starts_with(
            "On this machine the CPU does all the work: 16.0 GB/s on 2 cores, 8.00 on one."
        ));
        assert!(said.contains("no GPU"), "{said}");
    }

    #[test]
    fn a_slow_gpu_never_pays() {
        let slow = found(10.0, 2, 0.2);
        let said = said(&slow);
        assert!(
            said.starts_with("On this machine the GPU never pays"),
            "{said}"
        );
        assert!(
            said.contains("the CPU is 100 times as fast as the GPU"),
            "{said}"
        );
        assert!(said.contains("leaves large parts to the CPU"), "{said}");
    }

    #[test]
    fn a_gpu_that_takes_long_for_anything_gets_nothing() {
        let mut late = found(5.0, 2, 0.5);
        if let Some(card) = &mut late.card {
            card.gpu_seconds = 0.1;
        }
        let said = said(&late);
        assert!(
            said.starts_with("On this machine the GPU never pays"),
            "{said}"
        );
        assert!(
            said.contains("the engine leaves everything to the CPU."),
            "{said}"
        );
    }

    #[test]
    fn a_software_adapter_is_never_chosen() {
        let mut fast = found(0.1, 2, 5.0);
        if let Some(card) = &mut fast.card {
            card.software = true;
        }
        assert!(said(&fast).contains("never takes a GPU that is a program"));
    }

    #[test]
    fn a_gpu_slower_than_a_core_pays_once_enough_cores_are_busy() {
        let said = said(&found(10.0, 16, 9.0));
        let first = said.lines().next().unwrap_or_default();
        assert!(first.ends_with("of 16 cores busy."), "{first}");
        assert!(
            said.contains("gives the GPU parts of 64 KiB")
                || said.contains("gives the GPU parts of 4 KiB"),
            "{said}"
        );
    }

    #[test]
    fn a_cpu_without_aes_hands_over_when_idle() {
        let said = said(&found(0.2, 4, 5.0));
        assert!(
            said.contains("pays for parts of 128 KiB or more, even with idle cores"),
            "{said}"
        );
        assert!(said.contains("parts of 128 KiB to 16 MiB"), "{said}");
        assert!(
            said.contains("reaches 85 % of") && said.contains(": met)"),
            "{said}"
        );
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert!(said(&Found::default()).contains("Too little"));
        let failed = found(8.0, 2, f64::NAN);
        assert!(said(&failed).contains("failed before it could be measured"));
    }
}
