//! Seeded faults: many, everywhere, and the same ones again from the same seed.
//!
//! Each decision is computed from the seed and from the call alone (seam, number, operation,
//! target), never from earlier decisions or from a generator that calls share: so calls that other
//! tasks make in between change nothing. No decision depends on the time or on this machine.

use std::time::Duration;

use super::rules::{Effect, down};
use super::{Act, Call, Injection, Injector, Seam};
use crate::fault::{Code, Fault};

/// Rates are counted in these.
const MILLION: u64 = 1_000_000;

/// How often each kind of fault happens, per million calls. Together at most a million: what is
/// beyond that never happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// The call is not made, and fails as if the service was down.
    pub fail: u32,
    /// The call is made, and fails for its caller as if the service was down.
    pub lose_answer: u32,
    /// The call is never made and never comes back.
    pub hang_before: u32,
    /// The call is made and never comes back.
    pub hang_after: u32,
    /// The call is made after a while.
    pub delay_before: u32,
    /// The call is made, and its answer comes after a while.
    pub delay_after: u32,
    /// A read of a store breaks off; other calls are not touched.
    pub truncate: u32,
    /// A read of a store is slow; other calls are not touched.
    pub trickle: u32,
}

/// How far a fault can go. Each is drawn evenly from 0, or from 1, up to this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The longest delay.
    pub delay: Duration,
    /// The most bytes of a read before it breaks off.
    pub truncate_bytes: u64,
    /// The fastest of the slow reads, in bytes a second.
    pub bytes_per_second: u64,
}

impl Default for Extent {
    fn default() -> Extent {
        Extent {
            delay: Duration::from_secs(30),
            truncate_bytes: 1 << 20,
            bytes_per_second: 1 << 20,
        }
    }
}

/// Decides by a seed.
#[derive(Clone, Copy, Debug)]
pub struct Seeded {
    seed: u64,
    rates: Rates,
    extent: Extent,
}

impl Seeded {
    /// Faults at these rates; the extent is the default one.
    pub fn new(seed: u64, rates: Rates) -> Seeded {
        Seeded {
            seed,
            rates,
            extent: Extent::default(),
        }
    }

    /// Faults that go as far as this.
    #[must_use]
    pub fn extent(self, extent: Extent) -> Seeded {
        Seeded { extent, ..self }
    }

    /// What is done to this call, or nothing.
    pub fn effect(&self, call: &Call) -> Option<Effect> {
        let drawn = hash(self.seed, call);
        let kind = kind(&self.rates, drawn % MILLION)?;
        let amount = mix(drawn);
        let is_read = call.seam == Seam::Store && call.operation == "read";
        let delay = || Duration::from_nanos(below(amount, self.extent.delay.as_nanos()));
        match kind {
            Kind::Fail => Some(Effect::Fail(down(call, "fails"))),
            Kind::LoseAnswer => Some(Effect::LoseAnswer(down(call, "its answer is lost"))),
            Kind::HangBefore => Some(Effect::HangBefore),
            Kind::HangAfter => Some(Effect::HangAfter),
            Kind::DelayBefore => Some(Effect::DelayBefore(delay())),
            Kind::DelayAfter => Some(Effect::DelayAfter(delay())),
            Kind::Truncate => is_read.then(|| Effect::Truncate {
                bytes: below(amount, self.extent.truncate_bytes.into()),
                fault: Fault::new(
                    Code::SourceBroken,
                    format!("injected: the read of {} broke off", call.target),
                ),
            }),
            Kind::Trickle => is_read.then(|| Effect::Trickle {
                bytes_per_second: below(amount, self.extent.bytes_per_second.into()).max(1),
            }),
        }
    }
}

impl Injector for Seeded {
    fn decide(&self, call: &Call) -> Injection {
        match self.effect(call) {
            None => Injection::only(Act::Work),
            Some(effect) => effect.on(call),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Fail,
    LoseAnswer,
    HangBefore,
    HangAfter,
    DelayBefore,
    DelayAfter,
    Truncate,
    Trickle,
}

/// The kind whose share of the million holds this place.
fn kind(rates: &Rates, place: u64) -> Option<Kind> {
    let shares = [
        (Kind::Fail, rates.fail),
        (Kind::LoseAnswer, rates.lose_answer),
        (Kind::HangBefore, rates.hang_before),
        (Kind::HangAfter, rates.hang_after),
        (Kind::DelayBefore, rates.delay_before),
        (Kind::DelayAfter, rates.delay_after),
        (Kind::Truncate, rates.truncate),
        (Kind::Trickle, rates.trickle),
    ];
    let mut end = 0;
    for (kind, rate) in shares {
        end += u64::from(rate);
        if place < end {
            return Some(kind);
        }
    }
    None
}

/// A number from 0 to `most`.
fn below(drawn: u64, most: u128) -> u64 {
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    match most.checked_add(1) {
        None => drawn,
        Some(values) => drawn % values,
    }
}

/// FNV-1a over what the decision depends on, then mixed: the same in every build.
fn hash(seed: u64, call: &Call) -> u64 {
    let seam = match call.seam {
        Seam::Store => 1,
        Seam::Keys => 2,
        Seam::Queue => 3,
    };
    let bytes = seed
        .to_le_bytes()
        .into_iter()
        .chain([seam])
        .chain(call.number.to_le_bytes())
        .chain(call.operation.bytes())
        .chain([0])
        .chain(call.target.bytes());
    let fnv = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(fnv)
}

/// SplitMix64: every bit of the answer depends on every bit of the question.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Rates = Rates {
        fail: 50_000,
        lose_answer: 50_000,
        hang_before: 50_000,
        hang_after: 50_000,
        delay_before: 50_000,
        delay_after: 50_000,
        truncate: 50_000,
        trickle: 50_000,
    };

    fn calls() -> Vec<Call> {
        let call = |number: u64| Call {
            seam: Seam::Store,
            operation: ["read", "put"][(number % 2) as usize],
            target: format!("s3://bucket/{}", number % 7),
            number,
        };
        (1..=20_000).map(call).collect()
    }

    fn effects(seed: u64, calls: &[Call]) -> Vec<Option<Effect>> {
        let seeded = Seeded::new(seed, ALL);
        calls.iter().map(|call| seeded.effect(call)).collect()
    }

    #[test]
    fn the_same_seed_decides_the_same_in_any_order() {
        let calls = calls();
        let backwards: Vec<_> = calls.iter().rev().cloned().collect();
        let mut again = effects(7, &backwards);
        again.reverse();
        assert_eq!(effects(7, &calls), again);
        assert_ne!(effects(8, &calls), again);
    }

    /// A stored failure can be looked at again only if no build changes what a seed means.
    #[test]
    fn a_seed_means_the_same_in_every_build() {
        let call = &calls()[0];
        assert_eq!(hash(1, call), HASH_OF_THE_FIRST_CALL);
    }

    /// Computed by hand, from the definitions of FNV-1a and SplitMix64.
    const HASH_OF_THE_FIRST_CALL: u64 = 0x081a_0349_4bcb_e287;

    #[test]
    fn every_kind_happens_about_as_often_as_was_asked() {
        let effects = effects(3, &calls());
        let share = |is: fn(&Effect) -> bool| {
            let found = effects.iter().flatten().filter(|effect| is(effect)).count();
            found * 1000 / effects.len()
        };
        let even = [
            share(|e| matches!(e, Effect::Fail(_))),
            share(|e| matches!(e, Effect::LoseAnswer(_))),
            share(|e| matches!(e, Effect::HangBefore)),
            share(|e| matches!(e, Effect::HangAfter)),
            share(|e| matches!(e, Effect::DelayBefore(_))),
            share(|e| matches!(e, Effect::DelayAfter(_))),
        ];
        assert!(
            even.iter().all(|share| (43..57).contains(share)),
            "{even:?}"
        );
        // Half of the calls are no reads.
        let reads = [
            share(|e| matches!(e, Effect::Truncate { .. })),
            share(|e| matches!(e, Effect::Trickle { .. })),
        ];
        assert!(
            reads.iter().all(|share| (20..31).contains(share)),
            "{reads:?}"
        );
    }

    #[test]
    fn nothing_happens_without_rates() {
        let seeded = Seeded::new(1, Rates::default());
        let mut all = calls().into_iter();
        assert!(all.all(|call| seeded.decide(&call).act == Act::Work));
    }
}
