//! The inline engine: work is done where it is submitted, at once, by the caller's own thread.
//!
//! For tests and simulations: under paused time a thread that still ciphers would look like a
//! program that waits. It must not serve a worker, whose I/O it would hold up.

use super::cpu::perform;
use super::meter::{Meter, Spent};
use super::{Engine, Work};

/// An engine without threads.
#[derive(Default)]
pub struct InlineEngine {
    meter: Meter,
}

impl Engine for InlineEngine {
    fn name(&self) -> &'static str {
        "inline"
    }

    fn spent(&self) -> Spent {
        self.meter.spent()
    }

    fn submit(&self, work: Work) {
        perform(work, &self.meter).send();
    }
}
