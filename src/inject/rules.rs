//! Rules: faults by name, for tests that say what fails and when.
//!
//! Calls come in, and the effect of the first rule that applies goes out. A rule names calls by
//! seam, operation and part of the target, and says from which of them on it applies, and to how
//! many. Every rule counts every call that it names, also those that an earlier rule took, so that
//! rules do not depend on each other's numbers.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Act, Call, Injection, Injector, Seam};
use crate::fault::{Code, Fault};

/// What a rule does to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The call is not made and fails like this.
    Fail(Fault),
    /// The call is made, and its caller hears this instead.
    LoseAnswer(Fault),
    /// The call is never made, and its caller never hears of it.
    HangBefore,
    /// The call is made, and its caller never hears of it.
    HangAfter,
    /// The call is made after this time.
    DelayBefore(Duration),
    /// The call is made, and its caller hears of it after this time.
    DelayAfter(Duration),
    /// A read ends after so many bytes.
    Truncate {
        /// Bytes that still arrive.
        bytes: u64,
        /// How the read ends.
        fault: Fault,
    },
    /// A read comes at this rate.
    Trickle {
        /// Bytes a second, more than 0.
        bytes_per_second: u64,
    },
    /// The service is there and asks to be called less often: the call is refused as if it was
    /// down.
    Throttle,
}

/// Which calls, and what happens to them. Without further words: all calls at all seams.
#[derive(Clone, Debug)]
pub struct Rule {
    seam: Option<Seam>,
    operation: Option<&'static str>,
    target: Option<String>,
    from: u64,
    times: u64,
    effect: Effect,
}

impl Rule {
    /// Every call, from the first one on, for ever.
    pub fn new(effect: Effect) -> Rule {
        Rule {
            seam: None,
            operation: None,
            target: None,
            from: 1,
            times: u64::MAX,
            effect,
        }
    }

    /// Only calls at this seam.
    #[must_use]
    pub fn seam(self, seam: Seam) -> Rule {
        Rule {
            seam: Some(seam),
            ..self
        }
    }

    /// Only calls of this method.
    #[must_use]
    pub fn operation(self, operation: &'static str) -> Rule {
        Rule {
            operation: Some(operation),
            ..self
        }
    }

    /// Only calls whose target holds this text.
    #[must_use]
    pub fn target(self, part: impl Into<String>) -> Rule {
        Rule {
            target: Some(part.into()),
            ..self
        }
    }

    /// Only from this one of the calls that it names on; the first is 1.
    #[must_use]
    pub fn from(self, from: u64) -> Rule {
        Rule { from, ..self }
    }

    /// To so many calls.
    #[must_use]
    pub fn times(self, times: u64) -> Rule {
        Rule { times, ..self }
    }

    fn names(&self, call: &Call) -> bool {
        self.seam.is_none_or(|seam| seam == call.seam)
            && self.operation.is_none_or(|name| name == call.operation)
            && self
                .target
                .as_ref()
                .is_none_or(|part| call.target.contains(part))
    }

    /// Whether it applies to the call that is the `count`th of those it names.
    fn applies(&self, count: u64) -> bool {
        count >= self.from && count - self.from < self.times
    }
}

/// A rule, and what it has seen.
struct Counted {
    rule: Rule,
    named: u64,
    applied: u64,
}

/// A list of rules; more can be added while they are used.
#[derive(Default)]
pub struct Rules {
    rules: Mutex<Vec<Counted>>,
}

impl Rules {
    /// These rules, the first one first.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Rules {
        let all = Rules::default();
        for rule in rules {
            all.add(rule);
        }
        all
    }

    /// One more rule, after the others.
    pub fn add(&self, rule: Rule) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.push(Counted {
            rule,
            named: 0,
            applied: 0,
        });
    }

    /// Forgets all rules: from now on everything works.
    pub fn clear(&self) {
        self.rules
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// How many calls each rule was applied to, in the order of the rules.
    pub fn applied(&self) -> Vec<u64> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.iter().map(|counted| counted.applied).collect()
    }
}

impl Injector for Rules {
    fn decide(&self, call: &Call) -> Injection {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = None;
        for counted in rules.iter_mut().filter(|c| c.rule.names(call)) {
            counted.named += 1;
            if taken.is_none() && counted.rule.applies(counted.named) {
                counted.applied += 1;
                taken = Some(counted.rule.effect.clone());
            }
        }
        match taken {
            None => Injection::none(),
            Some(effect) => effect.on(call),
        }
    }
}

impl Effect {
    /// What it does to this call.
    pub fn on(self, call: &Call) -> Injection {
        let none = Injection::none();
        match self {
            Effect::Fail(fault) => Injection::only(Act::Refuse(fault)),
            Effect::LoseAnswer(fault) => Injection::only(Act::LoseAnswer(fault)),
            Effect::HangBefore => none.wait_before(std::future::pending()),
            Effect::HangAfter => none.wait_after(std::future::pending()),
            Effect::DelayBefore(time) => none.wait_before(sleep(time)),
            Effect::DelayAfter(time) => none.wait_after(sleep(time)),
            Effect::Truncate { bytes, fault } => Injection::only(Act::Truncate { bytes, fault }),
            Effect::Trickle { bytes_per_second } => {
                Injection::only(Act::Trickle { bytes_per_second })
            }
            Effect::Throttle => Injection::only(Act::Refuse(down(call, "asks to slow down"))),
        }
    }
}

/// The fault that says that what is behind this seam cannot serve now.
pub(super) fn down(call: &Call, what: &str) -> Fault {
    let code = match call.seam {
        Seam::Store => Code::StoreDown,
        Seam::Keys => Code::KeyServiceDown,
        Seam::Queue => Code::BrokerDown,
    };
    let message = format!("injected: {} {}: {what}", call.operation, call.target);
    Fault::new(code, message)
}

/// The timer starts when it is first waited for.
pub(super) async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests;
