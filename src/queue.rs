//! The queue: where jobs come from and where their events go.
//!
//! A [`Delivery`] goes out to the worker: the bytes of one job and the right to settle it once.
//! Events come in and are handed to whoever listens. RabbitMQ ([`amqp`]) and a directory
//! ([`spool`]) implement the same traits; [`memory`] is a broker for tests, and [`faulty`] wraps
//! any queue. [`open`] chooses one and says what another broker must implement. This module never
//! looks into a job or an event, and knows neither keys nor object stores.

pub mod amqp;
pub mod faulty;
pub mod memory;
pub mod open;
pub mod spool;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::fault::Result;

/// One job in the worker's hands.
///
/// It must be settled. One that is dropped instead goes back to where it came from, and the attempt
/// counts.
pub struct Delivery {
    /// The job message, unread and untrusted.
    pub body: Bytes,
    /// Which attempt this is, counted from 1 by the broker or the spool.
    pub attempt: u32,
    /// Whether the job may have been seen before; false is certain, true is a hint.
    pub redelivered: bool,
    /// When it was taken.
    pub received: Instant,
    /// How long it may be held, counted from `received`; for ever when none.
    pub lease: Option<Duration>,
    /// Its name in the spool, for the logs.
    pub name: Option<String>,
    handle: Box<dyn Handle>,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Finished, and its result event is out.
    Done,
    /// Failed for good, and its failure event is out: dead-letter queue, or `failed/`.
    Dead,
    /// Failed, may succeed later: back to the queue at once, and the attempt counts.
    Retry,
    /// Not worked on, or stopped: back to the queue; newer brokers and the spool do not count it.
    Return,
}

/// An event on its way out.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// `job.started`, `job.progress`, `job.succeeded` or `job.failed`.
    pub routing_key: String,
    /// The event's id: the same when it is published again.
    pub message_id: String,
    /// The job's id.
    pub correlation_id: String,
    /// The CloudEvents JSON.
    pub body: Bytes,
    /// An end state: persistent, mandatory and confirmed. Other events may be lost.
    pub terminal: bool,
    /// Queue that gets an end state as well.
    pub reply_to: Option<String>,
}

/// Where a published event ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// In every queue that it was meant for.
    Routed,
    /// The broker has it, but no queue is bound for it (or the `reply_to` queue is missing).
    Unrouted,
}

/// What a queue keeps for one delivery.
pub trait Handle: Send + Sync {
    /// See [`Delivery::publish`].
    fn publish(&self, event: Outgoing) -> BoxFuture<'_, Result<Published>>;

    /// See [`Delivery::lost`].
    fn lost(&self) -> BoxFuture<'_, ()>;

    /// See [`Delivery::settle`].
    fn settle(self: Box<Self>, settlement: Settlement) -> BoxFuture<'static, Result<bool>>;
}

/// A source of jobs with a fixed number of slots, each of which holds one job at a time.
pub trait Queue: Send + Sync {
    /// Waits for the slot's next delivery, riding over faults of the broker by itself.
    ///
    /// Safe to drop at any point: what had arrived waits for the next call, or for
    /// [`Queue::release`]. `None`: nothing will ever come again. An error is one that no waiting
    /// can mend.
    fn next(&self, slot: usize) -> BoxFuture<'_, Result<Option<Delivery>>>;

    /// Stops the slot's consuming and hands back what had arrived for it. A job that is being
    /// worked on stays valid.
    ///
    /// Call it when no [`Queue::next`] of this slot is alive. The next call of that starts
    /// consuming again.
    fn release(&self, slot: usize) -> BoxFuture<'_, ()>;

    /// Whether jobs can arrive right now.
    fn ready(&self) -> bool;

    /// Stops everything; deliveries not settled by now go back by themselves.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The side of a queue that submits jobs.
pub trait Producer: Send + Sync {
    /// Puts one job into the jobs queue; it is safely there when this returns. Call it for many
    /// jobs at once. Nothing is retried: `broker_down` says that the job may be there or not,
    /// `topology_missing` that there is no such queue.
    fn submit<'a>(&'a self, job_id: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>>;

    /// Listens for the events of these jobs, from now on: call it before submitting them.
    fn watch<'a>(&'a self, job_ids: &'a [String]) -> BoxFuture<'a, Result<Box<dyn Events>>>;

    /// Closes the connection politely; what was submitted stays.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Events of some jobs, in the order the broker sends them.
pub trait Events: Send {
    /// The body of the next event, unread. Safe to drop and call again. `broker_down`: the
    /// connection was lost, and with it events.
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes>>;
}

/// Makes the failure event of a dead letter; none when there is nothing to tell.
pub type Report<'a> = dyn FnMut(&DeadMessage) -> Option<Outgoing> + Send + 'a;

/// The dead letters, seen by whoever reports the jobs that the broker gave up on.
pub trait DeadLetters: Send + Sync {
    /// Walks them once. `report` is asked about each message that nobody has reported yet, except
    /// those that a worker dead-lettered: their failure event is out. Each message stays and is
    /// marked as reported after its event was confirmed, so a crash may repeat an event but loses
    /// none.
    fn sweep<'a>(&'a self, report: &'a mut Report<'a>) -> BoxFuture<'a, Result<SweepReport>>;
}

/// A job that the broker gave up on.
#[derive(Clone, Debug)]
pub struct DeadMessage {
    /// The job message.
    pub body: Bytes,
    /// Why: `delivery_limit`, `expired`, `maxlen`; empty when the message was put there by hand.
    pub reason: String,
    /// The queue that it died in.
    pub queue: String,
}

/// What one sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Messages looked at.
    pub seen: u32,
    /// Messages seen for the first time.
    pub marked: u32,
    /// Failure events published.
    pub reported: u32,
    /// Of these, events that no queue was bound for.
    pub unrouted: u32,
}

/// One broker, not yet connected to: what `work` and `submit` need of it. See [`open`].
pub trait Backend: Send + Sync {
    /// Connects a worker with so many slots, waiting for the broker if need be; `declare` creates
    /// queues and exchanges that are missing. `topology_missing` or `invalid_settings`: waiting
    /// cannot help.
    fn queue(&self, slots: usize, declare: bool) -> BoxFuture<'_, Result<Arc<dyn Queue>>>;

    /// Connects a producer. Does not wait for a broker that is down: `broker_down`.
    fn producer(&self) -> BoxFuture<'_, Result<Arc<dyn Producer>>>;

    /// Connects to the dead letters. Does not wait for a broker that is down: `broker_down`.
    fn dead_letters(&self) -> BoxFuture<'_, Result<Box<dyn DeadLetters>>>;
}

impl Delivery {
    /// A delivery taken just now.
    pub fn new(body: Bytes, attempt: u32, redelivered: bool, handle: Box<dyn Handle>) -> Self {
        let received = Instant::now();
        Delivery {
            body,
            attempt,
            redelivered,
            received,
            lease: None,
            name: None,
            handle,
        }
    }

    /// Sends an event. An end state is confirmed when this returns; `broker_down` says that it
    /// could not be.
    pub async fn publish(&self, event: Outgoing) -> Result<Published> {
        self.handle.publish(event).await
    }

    /// Waits until the delivery has ended by itself: whatever is done for it from then on is done
    /// by another worker too.
    pub async fn lost(&self) {
        self.handle.lost().await;
    }

    /// Ends the delivery. False: it had ended by itself (a lost connection, the broker's timeout),
    /// and the job comes again.
    pub async fn settle(self, settlement: Settlement) -> Result<bool> {
        self.handle.settle(settlement).await
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("bytes", &self.body.len())
            .field("attempt", &self.attempt)
            .field("redelivered", &self.redelivered)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
