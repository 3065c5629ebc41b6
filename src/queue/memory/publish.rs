//! Publishing: where a message goes, and what its sender hears of it.
//!
//! Events and jobs come in, copies go to queues and watchers. A publish with a confirm has two
//! steps, so that a connection can be cut between them: first the broker takes the message, then
//! the confirm goes out. Nothing is retried here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use tokio::time::Instant;

use super::Broker;
use super::channel::Connection;
use super::message::{Confirm, EventRecord, Notice};
use super::state::State;
use crate::fault::{Code, Fault, Result};
use crate::queue::{Outgoing, Published};

/// What a publish with a confirm carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A job for the jobs queue.
    Job,
    /// An end event for the events exchange.
    Event,
    /// The same event for the queue that asked for it.
    Reply,
}

/// What the broker answers to a publish with a confirm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// It is routed and confirmed.
    #[default]
    Confirm,
    /// The broker refuses it (basic.nack): it is in no queue.
    Nack,
    /// The broker returns it: no queue is bound for it.
    Return,
    /// It is routed, and its sender gets `broker_down` instead of the confirm.
    LoseConfirm,
}

/// The answers that a test has set.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) next: BTreeMap<Kind, VecDeque<Answer>>,
    pub(super) always: BTreeMap<Kind, Answer>,
}

/// Sends events with matching routing keys to a queue.
pub(super) struct Binding {
    pattern: String,
    pub(super) queue: String,
}

/// The queue of somebody who follows jobs.
pub(super) struct Watcher {
    pub(super) connection: u64,
    pub(super) jobs: BTreeSet<String>,
    pub(super) bodies: VecDeque<Bytes>,
    pub(super) open: bool,
}

/// Who publishes an event, and where to.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) connection: u64,
    /// The number of the job message that it is about.
    pub(super) about: Option<u64>,
    /// A queue, or the exchange.
    pub(super) queue: Option<&'a str>,
}

/// How one attempt to publish ended.
pub(super) enum Attempt {
    /// The broker has answered.
    Answered(Result<Published>),
    /// There is no connection, or it was cut before the confirm.
    Lost,
}

/// The first step of a publish.
enum Sent {
    Ended(Attempt),
    Recorded {
        index: usize,
        cuts: u64,
        answer: Answer,
    },
}

impl Answers {
    fn take(&mut self, kind: Kind) -> Answer {
        let next = self.next.get_mut(&kind).and_then(VecDeque::pop_front);
        let always = self.always.get(&kind).copied();
        next.or(always).unwrap_or_default()
    }
}

impl Binding {
    /// A binding of the events exchange.
    pub(super) fn new(pattern: &str, queue: &str) -> Self {
        Binding {
            pattern: pattern.to_owned(),
            queue: queue.to_owned(),
        }
    }

    /// `*` is one word, `#` any number of them.
    fn matches(&self, routing_key: &str) -> bool {
        fn words(pattern: &[&str], key: &[&str]) -> bool {
            match (pattern.split_first(), key.split_first()) {
                (None, None) => true,
                (Some((&"#", rest)), more) => {
                    words(rest, key) || more.is_some_and(|(_, key)| words(pattern, key))
                }
                (Some((&"*", rest)), Some((_, key))) => words(rest, key),
                (Some((word, rest)), Some((first, key))) => word == first && words(rest, key),
                (None, Some(_)) | (Some(_), None) => false,
            }
        }
        let pattern: Vec<&str> = self.pattern.split('.').collect();
        let key: Vec<&str> = routing_key.split('.').collect();
        words(&pattern, &key)
    }
}

impl State {
    /// Puts a job into the jobs queue. The connection is not made again.
    pub(super) fn submit(
        &mut self,
        connection: u64,
        queue: &str,
        job_id: &str,
        body: Bytes,
        at: Instant,
    ) -> Result<()> {
        let linked = |connection: &Connection| connection.linked;
        if !self.connections.get(&connection).is_some_and(linked) {
            return Err(down("the connection is lost"));
        }
        let missing = || {
            let message = format!("queue {queue} does not exist");
            Fault::new(Code::TopologyMissing, message).at("amqp.queue")
        };
        let answer = self.answers.take(Kind::Job);
        match answer {
            Answer::Nack => return Err(refused()),
            Answer::Return => return Err(missing()),
            Answer::Confirm | Answer::LoseConfirm => {}
        }
        if !self.send(queue, job_id, job_id, body, at) {
            return Err(missing());
        }
        match answer {
            Answer::LoseConfirm => Err(unconfirmed()),
            Answer::Confirm | Answer::Nack | Answer::Return => Ok(()),
        }
    }

    /// Sends an event that may be lost.
    pub(super) fn hint(&mut self, way: Way<'_>, event: &Outgoing, at: Instant) {
        let linked = |connection: &Connection| connection.linked;
        let known = self.connections.get(&way.connection);
        if known.is_some_and(linked) {
            let published = self.route(way, event, at);
            self.record(way, event, published, Confirm::NotAsked);
        }
    }

    fn begin(&mut self, way: Way<'_>, event: &Outgoing, at: Instant) -> Sent {
        let closed = self.connections.get(&way.connection);
        if closed.is_none_or(|connection| connection.closed) {
            let fault = Fault::new(Code::Stopping, "the queue is closed");
            return Sent::Ended(Attempt::Answered(Err(fault)));
        }
        if !self.link(way.connection) {
            return Sent::Ended(Attempt::Lost);
        }
        let kind = way.queue.map_or(Kind::Event, |_| Kind::Reply);
        let answer = self.answers.take(kind);
        let published = match answer {
            Answer::Nack => return Sent::Ended(Attempt::Answered(Err(refused()))),
            Answer::Return => Published::Unrouted,
            Answer::Confirm | Answer::LoseConfirm => self.route(way, event, at),
        };
        let index = self.record(way, event, published, Confirm::Missing);
        let cuts = self.connections.get(&way.connection).map(|one| one.cuts);
        let cuts = cuts.unwrap_or_default();
        Sent::Recorded {
            index,
            cuts,
            answer,
        }
    }

    fn end(&mut self, way: Way<'_>, index: usize, cuts: u64, answer: Answer) -> Attempt {
        let known = self.connections.get(&way.connection);
        if known.is_none_or(|connection| connection.cuts != cuts || connection.closed) {
            return Attempt::Lost;
        }
        let Some(record) = self.events.get_mut(index) else {
            return Attempt::Lost;
        };
        if answer == Answer::LoseConfirm {
            return Attempt::Answered(Err(unconfirmed()));
        }
        record.confirm = Confirm::Given;
        self.notices.push(Notice::Confirmed(record.clone()));
        Attempt::Answered(Ok(record.published))
    }

    fn record(
        &mut self,
        way: Way<'_>,
        event: &Outgoing,
        published: Published,
        confirm: Confirm,
    ) -> usize {
        let index = self.events.len();
        let record = EventRecord {
            index,
            event: event.clone(),
            queue: way.queue.map(String::from),
            connection: way.connection,
            about: way.about,
            published,
            confirm,
        };
        self.events.push(record.clone());
        self.notices.push(Notice::Published(record));
        index
    }

    fn route(&mut self, way: Way<'_>, event: &Outgoing, at: Instant) -> Published {
        let mut routed = false;
        let targets: BTreeSet<String> = match way.queue {
            Some(queue) => [queue.to_owned()].into(),
            None => {
                routed |= self.tell_watchers(event);
                let bound = self.bindings.iter();
                let bound = bound.filter(|binding| binding.matches(&event.routing_key));
                bound.map(|binding| binding.queue.clone()).collect()
            }
        };
        for queue in targets {
            let (id, job) = (&event.message_id, &event.correlation_id);
            routed |= self.send(&queue, id, job, event.body.clone(), at);
        }
        match routed {
            true => Published::Routed,
            false => Published::Unrouted,
        }
    }

    /// Watchers are bound to `job.*` and choose their jobs by themselves.
    fn tell_watchers(&mut self, event: &Outgoing) -> bool {
        let mut bound = false;
        if !Binding::new("job.*", "").matches(&event.routing_key) {
            return bound;
        }
        for watcher in self.watchers.values_mut().filter(|watcher| watcher.open) {
            bound = true;
            if watcher.jobs.contains(&event.correlation_id) {
                watcher.bodies.push_back(event.body.clone());
                self.changed = true;
            }
        }
        bound
    }
}

impl Broker {
    /// Publishes an event once, with a confirm. A connection that was lost is made again first.
    pub(super) fn attempt(&self, way: Way<'_>, event: &Outgoing) -> Attempt {
        match self.with(|state, at| state.begin(way, event, at)) {
            Sent::Ended(attempt) => attempt,
            // Observers were told that the broker has it, and may have cut the connection.
            Sent::Recorded {
                index,
                cuts,
                answer,
            } => self.with(|state, _| state.end(way, index, cuts, answer)),
        }
    }
}

/// A broker that cannot be reached.
pub(super) fn down(message: &str) -> Fault {
    Fault::new(Code::BrokerDown, message)
}

fn refused() -> Fault {
    down("the broker refuses the message")
}

fn unconfirmed() -> Fault {
    down("the broker does not confirm in time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_keys_match_by_words() {
        for (pattern, key, matches) in [
            ("job.*", "job.failed", true),
            ("job.*", "job.nowhere.deep", false),
            ("job.failed", "job.failed", true),
            ("job.failed", "job.succeeded", false),
            ("#", "job.nowhere.deep", true),
            ("job.#", "job", true),
            ("job.*", "job", false),
        ] {
            assert_eq!(
                Binding::new(pattern, "").matches(key),
                matches,
                "{pattern} {key}"
            );
        }
    }
}
