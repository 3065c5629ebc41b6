//! Clock: where the time of day comes from.
//!
//! What must know the time of day is given a [`Clock`]; a test gives one that follows tokio's time,
//! which a test can pause, and that can be wrong. No clock here measures how long something took:
//! for that there are `tokio::time::Instant` and `std::time::Instant`. This module imports no other
//! module.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Tells the time of day.
pub trait Clock: Send + Sync {
    /// The time now. It may jump, also back.
    fn now(&self) -> SystemTime;
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// How wrong a clock is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Skew {
    /// It is right.
    #[default]
    None,
    /// It is fast by this much.
    Ahead(Duration),
    /// It is slow by this much.
    Behind(Duration),
}

/// A clock that starts at a given time and goes on with tokio's time: where that is paused, so is
/// this.
#[derive(Debug)]
pub struct VirtualClock {
    base: SystemTime,
    begun: Instant,
    skew: Mutex<Skew>,
}

impl VirtualClock {
    /// A clock that is right and shows `base` now.
    pub fn new(base: SystemTime) -> VirtualClock {
        VirtualClock {
            base,
            begun: Instant::now(),
            skew: Mutex::default(),
        }
    }

    /// A second clock of the same time, wrong by `skew`: the clock of another machine.
    #[must_use]
    pub fn beside(&self, skew: Skew) -> VirtualClock {
        VirtualClock {
            base: self.base,
            begun: self.begun,
            skew: Mutex::new(skew),
        }
    }

    /// From now on it is wrong by this much.
    pub fn set_skew(&self, skew: Skew) {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = skew;
    }
}

impl Clock for VirtualClock {
    /// Never before the epoch, whatever the skew.
    fn now(&self) -> SystemTime {
        let right = self.base + self.begun.elapsed();
        let skew = *self.skew.lock().unwrap_or_else(PoisonError::into_inner);
        match skew {
            Skew::None => right,
            Skew::Ahead(by) => right + by,
            Skew::Behind(by) => right.checked_sub(by).unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_virtual_clock_follows_paused_time_and_can_be_wrong() {
        let base = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let clock = VirtualClock::new(base);
        assert_eq!(clock.now(), base);
        tokio::time::sleep(Duration::from_secs(90)).await;
        let later = base + Duration::from_secs(90);
        assert_eq!(clock.now(), later);
        let other = clock.beside(Skew::Behind(Duration::from_secs(100)));
        assert_eq!(other.now(), base - Duration::from_secs(10));
        clock.set_skew(Skew::Ahead(Duration::from_secs(5)));
        assert_eq!(clock.now(), later + Duration::from_secs(5));
        clock.set_skew(Skew::None);
        assert_eq!(clock.now(), later);
    }
}
