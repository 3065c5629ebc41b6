//! What the broker in memory keeps and tells: messages, events, notices.
//!
//! Plain values, copied out of the broker for whoever looks. Nothing here changes a queue.

use bytes::Bytes;
use tokio::time::Instant;

use crate::queue::{Outgoing, Published, Settlement};

/// A message in a queue, or in a consumer's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Counts the messages of the broker, from 1. A dead letter keeps its number.
    pub number: u64,
    /// The message id: the job's id, or the event's.
    pub message_id: String,
    /// The job's id.
    pub correlation_id: String,
    /// What it carries, unread.
    pub body: Bytes,
    /// Deliveries that ended without an acknowledgement and were counted, in this queue.
    pub count: u32,
    /// Whether it was delivered before, in this queue.
    pub redelivered: bool,
    /// Where it was dead-lettered, the latest first, as `x-death` has it.
    pub deaths: Vec<Death>,
    /// Whether a sweep of the dead letters has seen it.
    pub reported: bool,
    /// When it expires in the queue that it is in.
    pub expires: Option<Instant>,
}

/// One entry of `x-death`: a queue and a reason, however often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The queue that the message died in.
    pub queue: String,
    /// Why.
    pub reason: Reason,
    /// How often it died there for this reason.
    pub count: u32,
}

/// Why a message was dead-lettered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A consumer refused it.
    Rejected,
    /// It came back more often than its queue allows.
    DeliveryLimit,
    /// Its time to live was over.
    Expired,
}

/// Why a delivery went back to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was settled as `Retry` or `Return`.
    Settled,
    /// It had been prefetched, and its slot was released.
    Released,
    /// It was dropped unsettled.
    Dropped,
    /// Its connection was cut or closed.
    Lost,
    /// It was held longer than the consumer timeout.
    TimedOut,
}

/// An event that the broker has taken.
#[derive(Clone, Debug)]
pub struct EventRecord {
    /// Its place among all events, from 0.
    pub index: usize,
    /// The event.
    pub event: Outgoing,
    /// The queue that it was sent to directly (`reply_to`); none: it went to the exchange.
    pub queue: Option<String>,
    /// The connection that sent it.
    pub connection: u64,
    /// The number of the message that it is about.
    pub about: Option<u64>,
    /// Whether a queue has it.
    pub published: Published,
    /// Whether its sender knows.
    pub confirm: Confirm,
}

/// What the sender of an event knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// It asked for no confirm.
    NotAsked,
    /// The confirm is not out, or was lost.
    Missing,
    /// It has the confirm.
    Given,
}

/// A delivery that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unacked {
    /// The connection that has it.
    pub connection: u64,
    /// The slot that has it.
    pub slot: usize,
    /// The queue that it came from.
    pub queue: String,
    /// Whether [`Queue::next`](crate::queue::Queue::next) gave it out; else it was prefetched.
    pub taken: bool,
    /// The message.
    pub message: Message,
}

/// How often something happened since the broker was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages put into a queue by a producer, of events each copy.
    pub queued: u64,
    /// Deliveries that a worker took.
    pub delivered: u64,
    /// Deliveries settled as `Done`.
    pub acked: u64,
    /// Deliveries that went back to their queue, or would have within the delivery limit.
    pub returned: u64,
    /// Messages dead-lettered.
    pub dead_lettered: u64,
    /// Messages dropped: expired or given up in a queue without dead letters, or in a cycle.
    pub dropped: u64,
}

/// Something that has just happened at the broker.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A worker took a delivery.
    Delivered {
        /// The connection that took it.
        connection: u64,
        /// The slot that took it.
        slot: usize,
        /// The message.
        message: Message,
    },
    /// The broker has taken an event; its confirm, if one was asked for, is not out yet. A
    /// connection that is cut now loses the confirm.
    Published(EventRecord),
    /// The sender of an event has its confirm.
    Confirmed(EventRecord),
    /// A delivery was settled in time.
    Settled {
        /// The connection that had it.
        connection: u64,
        /// The slot that had it.
        slot: usize,
        /// The message, as it was delivered.
        message: Message,
        /// What became of it.
        settlement: Settlement,
    },
    /// A delivery is back in its queue.
    Returned {
        /// The message, with its new count.
        message: Message,
        /// The queue.
        queue: String,
        /// Why.
        cause: Cause,
    },
    /// A message left a queue as a dead letter.
    DeadLettered {
        /// The message, with the new entry of `deaths`.
        message: Message,
        /// The queue that it left.
        queue: String,
        /// Why.
        reason: Reason,
    },
    /// A connection was cut.
    Cut {
        /// Which.
        connection: u64,
    },
}

/// Told of everything that happens, at once and in order.
///
/// It is called before the call that caused the notice returns, and without any lock: it may look
/// at the broker and change it (cut the connection before a confirm is out). It must not wait.
pub trait Observer: Send + Sync {
    /// Takes one notice.
    fn notice(&self, notice: &Notice);
}

impl Reason {
    /// As `x-death` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Rejected => "rejected",
            Reason::DeliveryLimit => "delivery_limit",
            Reason::Expired => "expired",
        }
    }
}

impl Message {
    /// A message that nobody has seen.
    pub(super) fn new(number: u64, message_id: &str, correlation_id: &str, body: Bytes) -> Self {
        Message {
            number,
            message_id: message_id.to_owned(),
            correlation_id: correlation_id.to_owned(),
            body,
            count: 0,
            redelivered: false,
            deaths: Vec::new(),
            reported: false,
            expires: None,
        }
    }

    /// Notes a death: an entry of the same queue and reason counts up and becomes the latest.
    pub(super) fn die(&mut self, queue: &str, reason: Reason) {
        let known = self
            .deaths
            .iter()
            .position(|death| death.queue == queue && death.reason == reason);
        let count = known.map_or(0, |index| self.deaths.remove(index).count);
        let death = Death {
            queue: queue.to_owned(),
            reason,
            count: count + 1,
        };
        self.deaths.insert(0, death);
    }

    /// Whether it has gone round from `queue` back to `queue` without a consumer's rejection: the
    /// broker drops such a message instead of sending it round for ever.
    pub(super) fn cycles(&self, queue: &str) -> bool {
        let last = self.deaths.iter().position(|death| death.queue == queue);
        last.is_some_and(|last| {
            let mut round = self.deaths.iter().take(last + 1);
            round.all(|death| death.reason != Reason::Rejected)
        })
    }
}
