//! Connections and channels: who holds which delivery.
//!
//! A slot's consumer is a channel with a prefetch of one. Settlements and faults come in; messages
//! go back to their queue, to the dead letters or nowhere. A channel ends as a whole: what it held
//! goes back, the oldest first.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::message::{Cause, Message, Notice, Reason, Unacked};
use super::state::State;
use super::{Broker, Cut};
use crate::fault::{Code, Fault, Result};
use crate::queue::Settlement;

/// Keeps a connection open; it is closed with its last owner.
pub(super) struct Link {
    pub(super) broker: Broker,
    pub(super) id: u64,
}

/// A worker's connection, a producer's or a sweeper's.
pub(super) struct Connection {
    /// The queue that its slots consume.
    pub(super) queue: String,
    /// Whether it is there now; a worker makes it again when it needs it.
    pub(super) linked: bool,
    /// Closed by its owner, for good.
    pub(super) closed: bool,
    /// Counts how often it was cut.
    pub(super) cuts: u64,
    /// The channel of each slot that consumes.
    pub(super) slots: Vec<Option<u64>>,
}

/// A channel with or without a consumer.
pub(super) struct Channel {
    pub(super) connection: u64,
    pub(super) slot: usize,
    pub(super) queue: String,
    /// How long each delivery may be held.
    pub(super) timeout: Duration,
    pub(super) consuming: bool,
    /// Its worker's publishing connection was cut: what it holds stays valid, but it is reported lost.
    pub(super) over: bool,
    /// By delivery tag.
    pub(super) unacked: BTreeMap<u64, Held>,
    /// Tags of deliveries that nobody has taken yet.
    pub(super) waiting: VecDeque<u64>,
}

/// A delivery that is not settled.
pub(super) struct Held {
    pub(super) message: Message,
    pub(super) due: Option<Instant>,
}

/// A delivery on its way to the worker.
pub(super) struct Taken {
    pub(super) channel: u64,
    pub(super) tag: u64,
    pub(super) message: Message,
}

impl Link {
    /// A new connection whose slots consume `queue`.
    pub(super) fn new(broker: Broker, queue: &str, slots: usize) -> Self {
        let id = broker.with(|state, _| state.connect(queue, slots));
        Link { broker, id }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.broker.with(|state, at| {
            state.close(self.id, at);
            state.connections.remove(&self.id);
        });
    }
}

impl State {
    /// A new connection.
    fn connect(&mut self, queue: &str, slots: usize) -> u64 {
        let id = self.id();
        let connection = Connection {
            queue: queue.to_owned(),
            linked: self.up,
            closed: false,
            cuts: 0,
            slots: vec![None; slots],
        };
        self.connections.insert(id, connection);
        id
    }

    /// Whether a connection can be used, which it is made again for if the broker is up.
    pub(super) fn link(&mut self, connection: u64) -> bool {
        let up = self.up;
        self.connections
            .get_mut(&connection)
            .is_some_and(|connection| {
                connection.linked = up && !connection.closed;
                connection.linked
            })
    }

    /// The slot's next delivery, if one is there; its consumer is opened if need be.
    pub(super) fn take(
        &mut self,
        connection: u64,
        slot: usize,
        at: Instant,
    ) -> Option<Result<Taken>> {
        let known = self.connections.get(&connection)?;
        if known.closed {
            let fault = Fault::new(Code::Stopping, "the queue is closed");
            return Some(Err(fault));
        }
        let Some(channel) = known.slots.get(slot).copied() else {
            return Some(Err(Fault::new(Code::Internal, "no such slot")));
        };
        if channel.is_some_and(|id| self.channels.get(&id).is_some_and(|channel| channel.over)) {
            self.release(connection, slot, at);
        }
        if !self.link(connection) {
            return None;
        }
        let id = self.consume(connection, slot, at)?;
        let channel = self.channels.get_mut(&id)?;
        let tag = channel.waiting.pop_front()?;
        let message = channel.unacked.get(&tag)?.message.clone();
        self.counts.delivered += 1;
        self.notices.push(Notice::Delivered {
            connection,
            slot,
            message: message.clone(),
        });
        Some(Ok(Taken {
            channel: id,
            tag,
            message,
        }))
    }

    /// The slot's channel, which is opened if there is none.
    fn consume(&mut self, connection: u64, slot: usize, at: Instant) -> Option<u64> {
        let known = self.connections.get(&connection)?;
        if let Some(id) = known.slots.get(slot).copied().flatten() {
            return Some(id);
        }
        let channel = Channel {
            connection,
            slot,
            queue: known.queue.clone(),
            timeout: self.rules.consumer_timeout,
            consuming: true,
            over: false,
            unacked: BTreeMap::new(),
            waiting: VecDeque::new(),
        };
        let queue = channel.queue.clone();
        let id = self.id();
        self.channels.insert(id, channel);
        *self.connections.get_mut(&connection)?.slots.get_mut(slot)? = Some(id);
        self.queues.get_mut(&queue)?.idle.push_back(id);
        self.pump(&queue, at);
        Some(id)
    }

    /// Ends the slot's consumer; what it had prefetched goes back.
    pub(super) fn release(&mut self, connection: u64, slot: usize, at: Instant) {
        let known = self.connections.get_mut(&connection);
        let slot = known.and_then(|known| known.slots.get_mut(slot)?.take());
        let Some(id) = slot else { return };
        self.stop(id);
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        let queue = channel.queue.clone();
        let tags = std::mem::take(&mut channel.waiting);
        let back: Vec<Held> = tags
            .iter()
            .filter_map(|tag| channel.unacked.remove(tag))
            .collect();
        let counts = self.rules.count_returned;
        for held in back {
            self.give_back(&queue, held.message, counts, Cause::Released, at);
        }
        self.tidy(id);
        self.pump(&queue, at);
    }

    /// Settles a delivery; false when it has ended by itself.
    pub(super) fn settle(
        &mut self,
        channel: u64,
        tag: u64,
        settlement: Settlement,
        at: Instant,
    ) -> bool {
        let Some(known) = self.channels.get_mut(&channel) else {
            return false;
        };
        let Some(Held { message, .. }) = known.unacked.remove(&tag) else {
            return false;
        };
        let queue = known.queue.clone();
        self.notices.push(Notice::Settled {
            connection: known.connection,
            slot: known.slot,
            message: message.clone(),
            settlement,
        });
        let counted = self.rules.count_returned;
        match settlement {
            Settlement::Done => self.counts.acked += 1,
            Settlement::Dead => self.dead_letter(&queue, message, Reason::Rejected, at),
            Settlement::Retry => self.give_back(&queue, message, true, Cause::Settled, at),
            Settlement::Return => self.give_back(&queue, message, counted, Cause::Settled, at),
        }
        self.free(channel, at);
        true
    }

    /// A delivery that was dropped goes back, unless it has ended already.
    pub(super) fn drop_delivery(&mut self, channel: u64, tag: u64, at: Instant) {
        let Some(known) = self.channels.get_mut(&channel) else {
            return;
        };
        let queue = known.queue.clone();
        if let Some(held) = known.unacked.remove(&tag) {
            self.give_back(&queue, held.message, true, Cause::Dropped, at);
            self.free(channel, at);
        }
    }

    /// A channel has its prefetch back.
    fn free(&mut self, id: u64, at: Instant) {
        let Some(channel) = self.channels.get(&id) else {
            return;
        };
        let queue = channel.queue.clone();
        if channel.consuming
            && let Some(known) = self.queues.get_mut(&queue)
        {
            known.idle.push_back(id);
        }
        self.tidy(id);
        self.pump(&queue, at);
    }

    /// Nothing more goes to this channel.
    fn stop(&mut self, id: u64) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.consuming = false;
            if let Some(queue) = self.queues.get_mut(&channel.queue) {
                queue.idle.retain(|idle| *idle != id);
            }
        }
    }

    /// Forgets a channel that has no consumer and holds nothing.
    fn tidy(&mut self, id: u64) {
        let empty = |channel: &Channel| !channel.consuming && channel.unacked.is_empty();
        if self.channels.get(&id).is_some_and(empty) {
            self.remove(id);
        }
    }

    /// Removes a channel, also from its slot.
    fn remove(&mut self, id: u64) -> Option<Channel> {
        let channel = self.channels.remove(&id)?;
        self.changed = true;
        let connection = self.connections.get_mut(&channel.connection);
        let slot = connection.and_then(|connection| connection.slots.get_mut(channel.slot));
        if let Some(slot) = slot.filter(|slot| **slot == Some(id)) {
            *slot = None;
        }
        Some(channel)
    }

    /// Ends a channel: what it held goes back, the oldest first.
    pub(super) fn end_channel(&mut self, id: u64, cause: Cause, at: Instant) {
        self.stop(id);
        let Some(channel) = self.remove(id) else {
            return;
        };
        for held in channel.unacked.into_values() {
            self.give_back(&channel.queue, held.message, true, cause, at);
        }
        self.pump(&channel.queue, at);
    }

    /// Cuts connections off.
    pub(super) fn cut(&mut self, connections: &[u64], how: Cut, at: Instant) {
        let channels = self.channels_of(connections);
        match how {
            Cut::AtOnce => channels.iter().for_each(|id| self.stop(*id)),
            Cut::OneByOne => {}
        }
        for id in connections {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.linked = false;
                connection.cuts += 1;
                self.changed = true;
                self.notices.push(Notice::Cut { connection: *id });
            }
        }
        for watcher in self.watchers.values_mut() {
            watcher.open &= !connections.contains(&watcher.connection);
        }
        for id in channels {
            self.end_channel(id, Cause::Lost, at);
        }
    }

    /// Cuts all connections off.
    pub(super) fn cut_all(&mut self, how: Cut, at: Instant) {
        let all: Vec<u64> = self.connections.keys().copied().collect();
        self.cut(&all, how, at);
    }

    /// Cuts the publishing connection of a worker: deliveries stay valid, consumers stop and begin
    /// again when their slots look.
    pub(super) fn cut_publishing(&mut self, connection: u64) {
        if let Some(known) = self.connections.get_mut(&connection) {
            known.linked = false;
            known.cuts += 1;
            self.changed = true;
        }
        for id in self.channels_of(&[connection]) {
            self.stop(id);
            if let Some(channel) = self.channels.get_mut(&id) {
                channel.over = true;
            }
        }
    }

    fn channels_of(&self, connections: &[u64]) -> Vec<u64> {
        let theirs = |channel: &Channel| connections.contains(&channel.connection);
        let channels = self.channels.iter();
        let channels = channels.filter(|(_, channel)| theirs(channel));
        channels.map(|(id, _)| *id).collect()
    }

    /// Closes a connection for good.
    pub(super) fn close(&mut self, id: u64, at: Instant) {
        let slots = self.connections.get(&id).map_or(0, |one| one.slots.len());
        for slot in 0..slots {
            self.release(id, slot, at);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.linked = false;
            connection.closed = true;
            self.changed = true;
        }
        self.watchers.retain(|_, watcher| watcher.connection != id);
        for channel in self.channels_of(&[id]) {
            self.end_channel(channel, Cause::Lost, at);
        }
    }

    /// All deliveries that are not settled, by channel and age.
    pub(super) fn unacked(&self) -> Vec<Unacked> {
        let of = |channel: &Channel| -> Vec<Unacked> {
            let held = channel.unacked.iter().map(|(tag, held)| Unacked {
                connection: channel.connection,
                slot: channel.slot,
                queue: channel.queue.clone(),
                taken: !channel.waiting.contains(tag),
                message: held.message.clone(),
            });
            held.collect()
        };
        self.channels.values().flat_map(of).collect()
    }
}
