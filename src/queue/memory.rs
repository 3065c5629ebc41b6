//! A broker in memory, for tests and simulations: RabbitMQ's quorum queue as the worker uses it.
//!
//! Jobs come in from [`Broker::producer`], deliveries go out through [`Broker::connect`], and a
//! test can look at every queue and event, be told of each step ([`Observer`]), and make the broker
//! fail. It never touches a network or a disk, reads no clock but tokio's, starts no task and
//! draws no random number: the same calls give the same answers, also under paused time.
//!
//! What it takes over from RabbitMQ 3.10:
//!
//! - Each slot is a channel with a prefetch of one. A message goes to the consumer that has waited
//!   longest, whether or not its slot asks for it at the moment.
//! - A message that comes back goes behind those that came back before it, and in front of all
//!   that were never delivered. It counts each time (`attempt` is the count + 1) and is dead-lettered
//!   when it came back more often than the delivery limit allows. [`Rules::count_returned`] set to
//!   false is a newer broker, which does not count [`Settlement::Return`](super::Settlement).
//! - The consumer timeout runs from when the broker hands a message to a consumer, prefetched or
//!   not, ends its channel and leaves the connection alone. RabbitMQ looks once a minute; this
//!   broker is exact.
//! - Messages expire at the head of their queue only, so their order is kept. What is
//!   dead-lettered starts with a count of 0. A message that goes round without a rejection is
//!   dropped.
//!
//! What is simpler: a lost connection is made again at once when it is needed and the broker is up;
//! a delivery that was prefetched over a lost connection is never given out; dead letters arrive in
//! the same step in which their message leaves.

mod channel;
mod consume;
mod dead;
mod message;
mod produce;
mod publish;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

pub use consume::MemoryQueue;
pub use dead::MemoryDeadLetters;
pub use message::{
    Cause, Confirm, Counts, Death, EventRecord, Message, Notice, Observer, Reason, Unacked,
};
pub use produce::{MemoryEvents, MemoryProducer};
pub use publish::{Answer, Kind};

use self::publish::Binding;
use self::state::{MessageQueue, State};
use super::Producer;
use crate::fault::{Code, Fault, Result};

/// The queue that jobs are submitted to.
pub const JOBS: &str = "ciphermill.jobs";

/// The queue of the dead letters.
pub const DEAD_LETTERS: &str = "ciphermill.dead";

/// The queue that keeps the end events; bound to `job.succeeded` and `job.failed`.
pub const RESULTS: &str = "ciphermill.results";

/// A broker. Clones are the same broker.
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

/// How the broker is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How often a job may come back before it is dead-lettered: one less than its deliveries.
    pub delivery_limit: u32,
    /// How long a delivery may be held; for consumers that begin from now on.
    pub consumer_timeout: Duration,
    /// What deliveries say of it; longer where a worker's settings are wrong.
    pub lease: Duration,
    /// Whether a delivery that was only handed back (`Return`, `release`) counts.
    pub count_returned: bool,
}

/// How one queue is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueRules {
    /// How long a message may wait.
    pub ttl: Option<Duration>,
    /// The queue that gets what expires, is rejected or comes back too often.
    pub dead_letter_to: Option<String>,
    /// How often a message may come back.
    pub delivery_limit: Option<u32>,
}

/// How connections are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// No consumer of these connections gets anything any more; then what they held goes back.
    AtOnce,
    /// One channel after another: what one held may reach the next, which is cut then, and counts
    /// again. RabbitMQ does this too.
    OneByOne,
}

impl Default for Rules {
    fn default() -> Self {
        let half_an_hour = Duration::from_secs(1800);
        Rules {
            delivery_limit: 20,
            consumer_timeout: half_an_hour,
            lease: half_an_hour,
            count_returned: true,
        }
    }
}

impl Default for Broker {
    fn default() -> Self {
        Broker::new(Rules::default())
    }
}

impl Broker {
    /// A broker that is up and has the worker's queues, all empty.
    pub fn new(rules: Rules) -> Self {
        let shared = Shared {
            state: Mutex::new(State::new(rules)),
            changed: Notify::new(),
        };
        Broker {
            shared: Arc::new(shared),
        }
    }

    /// A worker's connection to the jobs queue. While the broker is down its slots wait.
    pub fn connect(&self, slots: usize) -> Arc<MemoryQueue> {
        Arc::new(MemoryQueue::new(self.clone(), JOBS, slots))
    }

    /// The same for another queue; `topology_missing` when there is no such queue.
    pub fn connect_to(&self, queue: &str, slots: usize) -> Result<Arc<MemoryQueue>> {
        if !self.with(|state, _| state.queues.contains_key(queue)) {
            return Err(missing(queue));
        }
        Ok(Arc::new(MemoryQueue::new(self.clone(), queue, slots)))
    }

    /// A producer's connection. It is not made again when it was cut.
    pub fn producer(&self) -> Arc<dyn Producer> {
        Arc::new(MemoryProducer::new(self.clone()))
    }

    /// A sweeper of the dead letters.
    pub fn dead_letters(&self) -> MemoryDeadLetters {
        MemoryDeadLetters::new(self.clone())
    }

    /// Makes a queue, for replies or for waiting. `topology_missing`: there is one with other rules,
    /// or its dead letters would go to a queue that does not exist.
    pub fn declare(&self, name: &str, rules: QueueRules) -> Result<()> {
        self.with(|state, _| {
            if let Some(target) = &rules.dead_letter_to
                && target != name
                && !state.queues.contains_key(target)
            {
                return Err(missing(target));
            }
            let known = state.queues.entry(name.to_owned());
            let queue = known.or_insert_with(|| MessageQueue::new(rules.clone()));
            if queue.rules != rules {
                let message = format!("queue {name} has other properties");
                return Err(Fault::new(Code::TopologyMissing, message));
            }
            Ok(())
        })
    }

    /// Binds a queue to the events exchange: `*` is one word of the routing key, `#` any number.
    pub fn bind(&self, queue: &str, pattern: &str) {
        let binding = Binding::new(pattern, queue);
        self.with(|state, _| state.bindings.push(binding));
    }

    /// Removes every binding of a queue.
    pub fn unbind(&self, queue: &str) {
        self.with(|state, _| state.bindings.retain(|binding| binding.queue != queue));
    }

    /// Puts a message into a queue, whatever answers were set; `topology_missing` when there is no
    /// such queue.
    pub fn send(&self, queue: &str, message_id: &str, body: Bytes) -> Result<()> {
        let sent = self.with(|state, at| state.send(queue, message_id, message_id, body, at));
        if sent { Ok(()) } else { Err(missing(queue)) }
    }

    /// The rules in force.
    pub fn rules(&self) -> Rules {
        self.with(|state, _| state.rules)
    }

    /// Changes the rules, for what happens from now on.
    pub fn set_rules(&self, rules: Rules) {
        self.with(|state, _| {
            state.rules = rules;
            if let Some(jobs) = state.queues.get_mut(JOBS) {
                jobs.rules.delivery_limit = Some(rules.delivery_limit);
            }
        });
    }

    /// Adds an observer, which gets a notice of everything from now on.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        self.with(|state, _| state.observers.push(observer));
    }

    /// Cuts one connection: see [`MemoryQueue::connection`].
    pub fn cut(&self, connection: u64, how: Cut) {
        self.with(|state, at| state.cut(&[connection], how, at));
    }

    /// Cuts the connections of all workers, producers and sweepers.
    pub fn cut_all(&self, how: Cut) {
        self.with(|state, at| state.cut_all(how, at));
    }

    /// Cuts a worker's publishing connection only: what it holds stays valid and can be settled,
    /// but is reported lost, and its consumers begin again.
    pub fn cut_publishing(&self, connection: u64) {
        self.with(|state, _| state.cut_publishing(connection));
    }

    /// Stops the broker: every connection is cut, and none is made until [`Broker::up`]. Messages
    /// stay, and go on expiring.
    pub fn down(&self, how: Cut) {
        self.with(|state, at| {
            state.up = false;
            state.cut_all(how, at);
        });
    }

    /// Starts the broker again.
    pub fn up(&self) {
        self.with(|state, _| {
            state.up = true;
            state.changed = true;
        });
    }

    /// Decides the next publish of this kind; further calls decide the ones after it.
    pub fn next_publish(&self, kind: Kind, answer: Answer) {
        self.with(|state, _| {
            state
                .answers
                .next
                .entry(kind)
                .or_default()
                .push_back(answer)
        });
    }

    /// Decides every publish of this kind that [`Broker::next_publish`] does not.
    pub fn every_publish(&self, kind: Kind, answer: Answer) {
        self.with(|state, _| state.answers.always.insert(kind, answer));
    }

    /// The messages that wait in a queue, in the order in which they would be delivered; none when
    /// there is no such queue.
    pub fn ready(&self, queue: &str) -> Vec<Message> {
        let ready = |queue: &MessageQueue| queue.ready().cloned().collect();
        self.with(|state, _| state.queues.get(queue).map(ready).unwrap_or_default())
    }

    /// All deliveries that are not settled, prefetched ones included.
    pub fn unacked(&self) -> Vec<Unacked> {
        self.with(|state, _| state.unacked())
    }

    /// How many messages a queue holds, with those that are delivered and not settled.
    pub fn length(&self, queue: &str) -> usize {
        let unacked = self.unacked();
        let unacked = unacked.iter().filter(|held| held.queue == queue).count();
        self.ready(queue).len() + unacked
    }

    /// Every event that the broker has taken, in order.
    pub fn events(&self) -> Vec<EventRecord> {
        self.with(|state, _| state.events.clone())
    }

    /// How often what has happened.
    pub fn counts(&self) -> Counts {
        self.with(|state, _| state.counts)
    }

    /// Does `work` after everything that was due before it, and tells observers what happened, once
    /// the lock is free.
    fn with<T>(&self, work: impl FnOnce(&mut State, Instant) -> T) -> T {
        let at = Instant::now();
        let mut state = self.state();
        state.advance(at);
        let answer = work(&mut state, at);
        let changed = std::mem::take(&mut state.changed);
        let notices = std::mem::take(&mut state.notices);
        let observers = state.observers.clone();
        drop(state);
        if changed {
            self.shared.changed.notify_waiters();
        }
        for notice in &notices {
            observers.iter().for_each(|one| one.notice(notice));
        }
        answer
    }

    /// Waits until `look` finds something: it looks again after every change and every timer.
    async fn until<T>(&self, mut look: impl FnMut(&mut State, Instant) -> Option<T>) -> T {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let mut due = None;
            let found = self.with(|state, at| {
                let found = look(state, at);
                due = state.next_due();
                found
            });
            match (found, due) {
                (Some(found), _) => return found,
                (None, None) => changed.await,
                (None, Some(due)) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = sleep_until(due) => {}
                },
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing(queue: &str) -> Fault {
    let message = format!("queue {queue} does not exist");
    Fault::new(Code::TopologyMissing, message)
}

#[cfg(test)]
mod tests;
