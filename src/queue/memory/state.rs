//! The broker's state: queues, and the messages that move between them.
//!
//! Messages and the current time come in; messages leave for consumers, other queues or nowhere.
//! Nothing waits here: timers are looked at whenever somebody asks, and fire in the order in which
//! they were due. Every order is that of a list or of sorted names and numbers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::channel::{Channel, Connection, Held};
use super::message::{Cause, Counts, EventRecord, Message, Notice, Observer, Reason};
use super::publish::{Answers, Binding, Watcher};
use super::{DEAD_LETTERS, JOBS, QueueRules, RESULTS, Rules};

/// Everything the broker knows.
pub(super) struct State {
    pub(super) rules: Rules,
    pub(super) up: bool,
    pub(super) queues: BTreeMap<String, MessageQueue>,
    pub(super) channels: BTreeMap<u64, Channel>,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) bindings: Vec<Binding>,
    pub(super) watchers: BTreeMap<u64, Watcher>,
    pub(super) events: Vec<EventRecord>,
    pub(super) answers: Answers,
    pub(super) counts: Counts,
    pub(super) observers: Vec<Arc<dyn Observer>>,
    pub(super) notices: Vec<Notice>,
    /// Whether somebody who waits should look again.
    pub(super) changed: bool,
    numbers: u64,
    ids: u64,
}

/// One queue.
pub(super) struct MessageQueue {
    pub(super) rules: QueueRules,
    /// Came back from a consumer; goes out before the others.
    pub(super) returned: VecDeque<Message>,
    /// Never delivered from here.
    pub(super) fresh: VecDeque<Message>,
    /// Channels with an unused prefetch, the one that waits longest first.
    pub(super) idle: VecDeque<u64>,
}

enum Timer {
    Expiry(String),
    Timeout(u64),
}

struct Due {
    at: Instant,
    timer: Timer,
}

impl MessageQueue {
    /// An empty queue.
    pub(super) fn new(rules: QueueRules) -> Self {
        MessageQueue {
            rules,
            returned: VecDeque::new(),
            fresh: VecDeque::new(),
            idle: VecDeque::new(),
        }
    }

    /// The messages that wait, in the order in which they would be delivered.
    pub(super) fn ready(&self) -> impl Iterator<Item = &Message> {
        self.returned.iter().chain(&self.fresh)
    }

    fn pop(&mut self) -> Option<Message> {
        self.returned.pop_front().or_else(|| self.fresh.pop_front())
    }
}

impl State {
    /// A broker that is up, with the queues and bindings that the worker's topology has.
    pub(super) fn new(rules: Rules) -> Self {
        let jobs = QueueRules {
            ttl: None,
            dead_letter_to: Some(DEAD_LETTERS.into()),
            delivery_limit: Some(rules.delivery_limit),
        };
        let queues = [
            (JOBS, jobs),
            (DEAD_LETTERS, QueueRules::default()),
            (RESULTS, QueueRules::default()),
        ];
        let queue = |(name, rules): (&str, _)| (name.to_owned(), MessageQueue::new(rules));
        State {
            rules,
            up: true,
            queues: queues.into_iter().map(queue).collect(),
            channels: BTreeMap::new(),
            connections: BTreeMap::new(),
            bindings: ["job.succeeded", "job.failed"]
                .map(|pattern| Binding::new(pattern, RESULTS))
                .into(),
            watchers: BTreeMap::new(),
            events: Vec::new(),
            answers: Answers::default(),
            counts: Counts::default(),
            observers: Vec::new(),
            notices: Vec::new(),
            changed: false,
            numbers: 0,
            ids: 0,
        }
    }

    /// A number that no connection, channel, delivery or watcher has.
    pub(super) fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Puts a new message into a queue; false when there is no such queue.
    pub(super) fn send(
        &mut self,
        queue: &str,
        message_id: &str,
        correlation_id: &str,
        body: Bytes,
        at: Instant,
    ) -> bool {
        if !self.queues.contains_key(queue) {
            return false;
        }
        self.numbers += 1;
        self.counts.queued += 1;
        let message = Message::new(self.numbers, message_id, correlation_id, body);
        self.enqueue(queue, message, at);
        true
    }

    fn enqueue(&mut self, name: &str, mut message: Message, at: Instant) {
        if let Some(queue) = self.queues.get_mut(name) {
            message.expires = queue.rules.ttl.and_then(|ttl| at.checked_add(ttl));
            queue.fresh.push_back(message);
            // A timer may be due earlier than those who wait know.
            self.changed = true;
            self.pump(name, at);
        }
    }

    /// Hands messages to consumers for as long as there are both.
    pub(super) fn pump(&mut self, name: &str, at: Instant) {
        while let Some(queue) = self.queues.get_mut(name)
            && !queue.idle.is_empty()
            && let Some(message) = queue.pop()
            && let Some(id) = queue.idle.pop_front()
        {
            let tag = self.id();
            self.changed = true;
            if let Some(channel) = self.channels.get_mut(&id) {
                let due = at.checked_add(channel.timeout);
                channel.unacked.insert(tag, Held { message, due });
                channel.waiting.push_back(tag);
            }
        }
    }

    /// A delivery is over and was not acknowledged: its message goes behind those that came back
    /// before, and in front of all others. Whoever calls this pumps the queue.
    pub(super) fn give_back(
        &mut self,
        name: &str,
        mut message: Message,
        counts: bool,
        cause: Cause,
        at: Instant,
    ) {
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        self.counts.returned += 1;
        self.changed = true;
        message.redelivered = true;
        message.count += u32::from(counts);
        let limit = queue.rules.delivery_limit;
        if limit.is_some_and(|limit| message.count > limit) {
            self.dead_letter(name, message, Reason::DeliveryLimit, at);
        } else {
            queue.returned.push_back(message.clone());
            self.notices.push(Notice::Returned {
                message,
                queue: name.to_owned(),
                cause,
            });
        }
    }

    /// Moves a message that was taken out of `name` to where that queue's dead letters go.
    pub(super) fn dead_letter(
        &mut self,
        name: &str,
        mut message: Message,
        reason: Reason,
        at: Instant,
    ) {
        let Some(queue) = self.queues.get(name) else {
            return;
        };
        let target = queue.rules.dead_letter_to.clone();
        message.die(name, reason);
        (message.count, message.redelivered) = (0, false);
        let rejected = reason == Reason::Rejected;
        let target = target.filter(|target| rejected || !message.cycles(target));
        let Some(target) = target else {
            self.counts.dropped += 1;
            return;
        };
        self.counts.dead_lettered += 1;
        self.notices.push(Notice::DeadLettered {
            message: message.clone(),
            queue: name.to_owned(),
            reason,
        });
        self.enqueue(&target, message, at);
    }

    /// Does everything that was due until now, each at its own time.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(Due { at, timer }) = self.earliest().filter(|due| due.at <= now) {
            match timer {
                Timer::Expiry(name) => {
                    let message = self.queues.get_mut(&name).and_then(MessageQueue::pop);
                    if let Some(message) = message {
                        self.dead_letter(&name, message, Reason::Expired, at);
                    }
                }
                Timer::Timeout(channel) => self.end_channel(channel, Cause::TimedOut, at),
            }
        }
    }

    /// When the next timer is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.earliest().map(|due| due.at)
    }

    /// Messages expire at the head of their queue only; a channel times out with its oldest
    /// delivery.
    fn earliest(&self) -> Option<Due> {
        let expiries = self.queues.iter().filter_map(|(name, queue)| {
            let at = queue.ready().next()?.expires?;
            let timer = Timer::Expiry(name.clone());
            Some(Due { at, timer })
        });
        let timeouts = self.channels.iter().filter_map(|(id, channel)| {
            let at = channel.unacked.values().filter_map(|held| held.due).min()?;
            let timer = Timer::Timeout(*id);
            Some(Due { at, timer })
        });
        // The first of several that are due at once.
        expiries.chain(timeouts).min_by_key(|due| due.at)
    }
}
