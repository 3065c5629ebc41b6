//! RabbitMQ: jobs from a quorum queue, events to a topic exchange.
//!
//! Each slot has its own channel with a prefetch of one, so that one slow job cannot take another
//! back to the queue with it. Faults stay where they belong: a channel's fault reopens the slot, a
//! connection's fault ends the epoch for all ([`session`]). Settlements and deliveries never cross
//! from one epoch to the next.

mod broker;
mod dead;
mod delivery;
mod producer;
mod publish;
mod session;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{debug, warn};

pub use broker::redact;
pub use dead::AmqpDeadLetters;
pub use producer::{AmqpEvents, AmqpProducer};
pub use topology::RESULTS_QUEUE;

use self::broker::{Backoff, reply_code};
use self::delivery::{Tie, deliver, hand_back};
use self::session::{Epoch, Session};
use super::{Backend, DeadLetters, Delivery, Producer, Queue};
use crate::fault::{Code, Fault, Result};
use crate::settings::Amqp;

const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// A consumer that lived this long was well; one that ends sooner is reopened ever more slowly.
const STEADY: Duration = Duration::from_secs(30);

/// RabbitMQ, as the settings name it.
pub struct AmqpBackend {
    settings: Amqp,
}

/// The worker's side of RabbitMQ.
pub struct AmqpQueue {
    session: Arc<Session>,
    queue: String,
    lease: Duration,
    slots: Vec<Mutex<Slot>>,
}

struct Slot {
    index: usize,
    tap: Option<Tap>,
    backoff: Backoff,
}

/// A running consumer. It lives in its slot, not in a future, so nothing is lost when a future is
/// dropped.
struct Tap {
    epoch: Arc<Epoch>,
    channel: Channel,
    consumer: Consumer,
    since: Instant,
}

impl AmqpBackend {
    /// Nothing is connected yet, and no setting is checked.
    pub fn new(settings: Amqp) -> Self {
        AmqpBackend { settings }
    }
}

impl Backend for AmqpBackend {
    fn queue(&self, slots: usize, declare: bool) -> BoxFuture<'_, Result<Arc<dyn Queue>>> {
        async move {
            let queue = AmqpQueue::connect(&self.settings, slots, declare).await?;
            Ok(queue as Arc<dyn Queue>)
        }
        .boxed()
    }

    fn producer(&self) -> BoxFuture<'_, Result<Arc<dyn Producer>>> {
        async move {
            let producer = AmqpProducer::connect(&self.settings).await?;
            Ok(Arc::new(producer) as Arc<dyn Producer>)
        }
        .boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Box<dyn DeadLetters>>> {
        async move {
            let dead = AmqpDeadLetters::connect(&self.settings).await?;
            Ok(Box::new(dead) as Box<dyn DeadLetters>)
        }
        .boxed()
    }
}

impl AmqpQueue {
    /// Connects, waiting for the broker if need be, and makes sure the topology is there; `declare`
    /// creates it.
    pub async fn connect(settings: &Amqp, slots: usize, declare: bool) -> Result<Arc<Self>> {
        let session = Session::new(settings, slots)?;
        session.start(declare).await?;
        let slot = |index| {
            Mutex::new(Slot {
                index,
                tap: None,
                backoff: Backoff::new(),
            })
        };
        Ok(Arc::new(AmqpQueue {
            session: Arc::new(session),
            queue: settings.queue.clone(),
            lease: settings.consumer_timeout,
            slots: (0..slots).map(slot).collect(),
        }))
    }

    async fn take(&self, slot: usize) -> Result<Option<Delivery>> {
        let slot = self.slots.get(slot);
        let slot = slot.ok_or_else(|| Fault::new(Code::Internal, "no such slot"))?;
        let mut slot = slot.lock().await;
        loop {
            if slot.tap.is_none() {
                self.open(&mut slot).await?;
            }
            if let Some(delivery) = self.wait(&mut slot).await {
                return Ok(Some(delivery));
            }
            slot.close().await;
            tokio::time::sleep(slot.backoff.pause()).await;
        }
    }

    /// The next delivery of the slot's consumer; none when the consumer has ended.
    async fn wait(&self, slot: &mut Slot) -> Option<Delivery> {
        let tap = slot.tap.as_mut()?;
        let item = tokio::select! {
            biased;
            item = tap.consumer.next() => item,
            () = tap.epoch.over.cancelled() => return None,
        };
        match item {
            Some(Ok(message)) => {
                let tie = Tie {
                    session: Arc::clone(&self.session),
                    epoch: Arc::clone(&tap.epoch),
                    channel: tap.channel.clone(),
                    slot: slot.index,
                    acker: message.acker.clone(),
                };
                let mut delivery = deliver(message, tie);
                delivery.lease = Some(self.lease);
                return Some(delivery);
            }
            Some(Err(error)) => warn!(slot = slot.index, %error, "consumer failed"),
            None => warn!(slot = slot.index, "consumer cancelled by the broker"),
        }
        None
    }

    /// Opens the slot's consumer, however long that takes.
    async fn open(&self, slot: &mut Slot) -> Result<()> {
        loop {
            let epoch = self.session.epoch().await?;
            match self.consume(&epoch, slot.index).await {
                Ok((channel, consumer)) => {
                    let since = Instant::now();
                    slot.tap = Some(Tap {
                        epoch,
                        channel,
                        consumer,
                        since,
                    });
                    return Ok(());
                }
                Err(error) if reply_code(&error) == Some(403) => {
                    let message = format!("may not consume from {}: {error}", self.queue);
                    return Err(Fault::new(Code::Settings, message).at("amqp.urls"));
                }
                Err(error) => warn!(slot = slot.index, %error, "cannot consume, trying again"),
            }
            tokio::time::sleep(slot.backoff.pause()).await;
        }
    }

    async fn consume(&self, epoch: &Epoch, slot: usize) -> lapin::Result<(Channel, Consumer)> {
        let channel = epoch.consume.create_channel().await?;
        // Per consumer: a quorum queue closes the whole connection on a global prefetch.
        channel
            .basic_qos(1, BasicQosOptions { global: false })
            .await?;
        let mut arguments = FieldTable::default();
        let lease = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
        // Granted by RabbitMQ 4.3 and later; older brokers ignore it and keep to their own
        // configuration.
        arguments.insert("x-consumer-timeout".into(), AMQPValue::LongLongInt(lease));
        let tag = format!("ciphermill-{}-{slot}", epoch.id);
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(self.queue.as_str().into(), tag.into(), options, arguments);
        Ok((channel.clone(), consumer.await?))
    }
}

impl Slot {
    /// Stops consuming and hands back what had arrived. The channel lives on in the delivery that
    /// was taken from it.
    async fn close(&mut self) {
        let Some(tap) = &mut self.tap else { return };
        if tap.since.elapsed() > STEADY {
            self.backoff = Backoff::new();
        }
        if tap.channel.status().connected() {
            let back = tokio::time::timeout(RELEASE_TIMEOUT, tap.drain()).await;
            if !matches!(back, Ok(Ok(()))) {
                debug!(slot = self.index, ?back, "consumer not closed cleanly");
            }
        }
        self.tap = None;
    }
}

impl Tap {
    async fn drain(&mut self) -> lapin::Result<()> {
        let cancel = BasicCancelOptions::default();
        self.channel
            .basic_cancel(self.consumer.tag(), cancel)
            .await?;
        while let Some(message) = self.consumer.next().await {
            hand_back(&message?.acker).await?;
        }
        Ok(())
    }
}

impl Queue for AmqpQueue {
    fn next(&self, slot: usize) -> BoxFuture<'_, Result<Option<Delivery>>> {
        self.take(slot).boxed()
    }

    fn release(&self, slot: usize) -> BoxFuture<'_, ()> {
        async move {
            if let Some(slot) = self.slots.get(slot) {
                slot.lock().await.close().await;
            }
        }
        .boxed()
    }

    fn ready(&self) -> bool {
        self.session.ready()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            for slot in &self.slots {
                slot.lock().await.close().await;
            }
            self.session.close().await;
        }
        .boxed()
    }
}
