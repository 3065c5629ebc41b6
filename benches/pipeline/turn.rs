//! One turn: what the store had counted before it, and the sample that comes out.

use crate::Outcome;
use crate::process::Used;
use crate::record::Sample;
use crate::store::{Requests, between};
use crate::world::World;

/// Who does what in a turn.
#[derive(Clone, Debug)]
pub struct Turn {
    pub group: String,
    pub who: String,
    pub round: usize,
    pub jobs: usize,
    /// Plaintext of all jobs.
    pub bytes: u64,
}

/// What the store had counted when a turn began.
pub struct Before {
    requests: Requests,
    store_cpu_seconds: f64,
}

impl Before {
    pub async fn look(world: &World) -> Outcome<Before> {
        Ok(Before {
            requests: world.store.requests().await?,
            store_cpu_seconds: world.store_cpu_seconds(),
        })
    }
}

impl Turn {
    /// The sample of this turn, right after it: the check's own requests are not in it.
    pub async fn sample(&self, world: &World, before: &Before, used: Used) -> Outcome<Sample> {
        Ok(Sample {
            group: self.group.clone(),
            who: self.who.clone(),
            round: self.round,
            seconds: used.seconds,
            bytes: self.bytes,
            jobs: self.jobs,
            cpu_seconds: used.cpu_seconds,
            peak_bytes: used.peak_bytes,
            store_cpu_seconds: world.store_cpu_seconds() - before.store_cpu_seconds,
            requests: between(&before.requests, &world.store.requests().await?),
            checked: "length".into(),
        })
    }

    /// Whether this turn's content is compared with the source, too: everybody's in the first round.
    pub fn compares_content(&self) -> bool {
        self.round == 0
    }
}

/// Who has a turn in this round, in order: another one begins each time.
pub fn order(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |step| (round + step) % count)
}
