//! The worker's side of the broker in memory.
//!
//! Deliveries go out, one per slot at a time; events and settlements come in. Each call does its
//! whole work in one step and waits only before or after it, so a dropped future loses nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout_at};

use super::Broker;
use super::channel::{Channel, Link, Taken};
use super::publish::{Attempt, Way, down};
use super::state::State;
use crate::fault::Result;
use crate::queue::{Delivery, Handle, Outgoing, Published, Queue, Settlement};

/// Time in which an end event must find a broker that confirms it.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(60);

/// Pause before an event whose confirm was lost is published again.
const PAUSE: Duration = Duration::from_millis(200);

/// One worker's connection.
pub struct MemoryQueue {
    link: Arc<Link>,
}

/// What ties a delivery to its channel: it is settled there or nowhere.
struct Tie {
    link: Arc<Link>,
    channel: u64,
    tag: u64,
    number: u64,
    settled: bool,
}

impl MemoryQueue {
    /// A connection whose slots consume `queue`.
    pub(super) fn new(broker: Broker, queue: &str, slots: usize) -> Self {
        let link = Arc::new(Link::new(broker, queue, slots));
        MemoryQueue { link }
    }

    /// Its number at the broker, for [`Broker::cut`]. It stays the same when it is made again.
    pub fn connection(&self) -> u64 {
        self.link.id
    }

    fn deliver(&self, taken: Taken) -> Delivery {
        let Taken {
            channel,
            tag,
            message,
        } = taken;
        let tie = Tie {
            link: Arc::clone(&self.link),
            channel,
            tag,
            number: message.number,
            settled: false,
        };
        let attempt = message.count.saturating_add(1);
        let mut delivery = Delivery::new(message.body, attempt, message.redelivered, Box::new(tie));
        delivery.lease = Some(self.link.broker.rules().lease);
        delivery
    }
}

impl Queue for MemoryQueue {
    fn next(&self, slot: usize) -> BoxFuture<'_, Result<Option<Delivery>>> {
        async move {
            let taken = self
                .link
                .broker
                .until(|state, at| state.take(self.link.id, slot, at))
                .await?;
            Ok(Some(self.deliver(taken)))
        }
        .boxed()
    }

    fn release(&self, slot: usize) -> BoxFuture<'_, ()> {
        async move {
            self.link
                .broker
                .with(|state, at| state.release(self.link.id, slot, at));
        }
        .boxed()
    }

    fn ready(&self) -> bool {
        self.link.broker.with(|state, _| {
            let connection = state.connections.get(&self.link.id);
            connection.is_some_and(|connection| connection.linked)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            self.link
                .broker
                .with(|state, at| state.close(self.link.id, at));
        }
        .boxed()
    }
}

impl Drop for MemoryQueue {
    /// Consuming ends with the queue, the connection with the last of its deliveries.
    fn drop(&mut self) {
        self.link.broker.with(|state, at| {
            let connection = state.connections.get(&self.link.id);
            let slots = connection.map_or(0, |connection| connection.slots.len());
            for slot in 0..slots {
                state.release(self.link.id, slot, at);
            }
        });
    }
}

impl Tie {
    fn way<'a>(&self, queue: Option<&'a str>) -> Way<'a> {
        Way {
            connection: self.link.id,
            about: Some(self.number),
            queue,
        }
    }

    /// Publishes until the broker answers, for a while.
    async fn confirm(&self, event: &Outgoing, queue: Option<&str>) -> Result<Published> {
        let deadline = Instant::now() + PUBLISH_PATIENCE;
        let attempts = async {
            loop {
                match self.link.broker.attempt(self.way(queue), event) {
                    Attempt::Answered(answer) => return answer,
                    Attempt::Lost => sleep(PAUSE).await,
                }
            }
        };
        match timeout_at(deadline, attempts).await {
            Ok(answer) => answer,
            Err(_) => Err(down("the event could not be confirmed")),
        }
    }
}

impl Handle for Tie {
    fn publish(&self, event: Outgoing) -> BoxFuture<'_, Result<Published>> {
        async move {
            if !event.terminal {
                self.link
                    .broker
                    .with(|state, at| state.hint(self.way(None), &event, at));
                return Ok(Published::Routed);
            }
            let routed = self.confirm(&event, None).await?;
            let Some(queue) = &event.reply_to else {
                return Ok(routed);
            };
            match self.confirm(&event, Some(queue)).await? {
                Published::Routed => Ok(routed),
                Published::Unrouted => Ok(Published::Unrouted),
            }
        }
        .boxed()
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        let ended = |channel: Option<&Channel>| match channel {
            Some(channel) if !channel.over => None,
            Some(_) | None => Some(()),
        };
        self.link
            .broker
            .until(move |state, _| ended(state.channels.get(&self.channel)))
            .boxed()
    }

    fn settle(mut self: Box<Self>, settlement: Settlement) -> BoxFuture<'static, Result<bool>> {
        async move {
            self.settled = true;
            let (channel, tag) = (self.channel, self.tag);
            let settle = |state: &mut State, at| state.settle(channel, tag, settlement, at);
            Ok(self.link.broker.with(settle))
        }
        .boxed()
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        if !self.settled {
            self.link
                .broker
                .with(|state, at| state.drop_delivery(self.channel, self.tag, at));
        }
    }
}
