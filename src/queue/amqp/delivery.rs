//! One delivery's tie to its broker.
//!
//! A message comes in from a consumer, a [`Delivery`] goes out. The tie keeps the channel and the
//! epoch it was taken from: it is settled there or nowhere.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Acker, Channel};
use tokio::time::timeout;
use tracing::debug;

use super::session::{Epoch, Session};
use crate::fault::Result;
use crate::queue::{Delivery, Handle, Outgoing, Published, Settlement};

const SETTLE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// A channel that the broker closed by itself is noticed by looking.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(500);

/// What a delivery needs to be settled.
pub(super) struct Tie {
    pub(super) session: Arc<Session>,
    pub(super) epoch: Arc<Epoch>,
    pub(super) channel: Channel,
    pub(super) slot: usize,
    pub(super) acker: Acker,
}

/// Makes a delivery of a message.
pub(super) fn deliver(message: lapin::message::Delivery, tie: Tie) -> Delivery {
    let redelivered = message.redelivered;
    let count = message
        .properties
        .headers()
        .as_ref()
        .and_then(delivery_count);
    let attempt = attempt(count, redelivered);
    Delivery::new(message.data.into(), attempt, redelivered, Box::new(tie))
}

/// Hands a message back that nobody has worked on.
pub(super) async fn hand_back(acker: &Acker) -> lapin::Result<bool> {
    acker
        .nack(BasicNackOptions {
            multiple: false,
            requeue: true,
        })
        .await
}

fn attempt(failed: Option<u32>, redelivered: bool) -> u32 {
    match failed {
        Some(failed) => failed.saturating_add(1),
        None => 1 + u32::from(redelivered),
    }
}

fn delivery_count(headers: &FieldTable) -> Option<u32> {
    let count = match headers.inner().get("x-delivery-count")? {
        AMQPValue::ShortShortInt(count) => i64::from(*count),
        AMQPValue::ShortShortUInt(count) => i64::from(*count),
        AMQPValue::ShortInt(count) => i64::from(*count),
        AMQPValue::ShortUInt(count) => i64::from(*count),
        AMQPValue::LongInt(count) => i64::from(*count),
        AMQPValue::LongUInt(count) => i64::from(*count),
        AMQPValue::LongLongInt(count) => *count,
        _ => return None,
    };
    u32::try_from(count).ok()
}

impl Tie {
    async fn end(&self, settlement: Settlement) -> lapin::Result<bool> {
        match settlement {
            Settlement::Done => self.acker.ack(BasicAckOptions::default()).await,
            Settlement::Dead => {
                self.acker
                    .reject(BasicRejectOptions { requeue: false })
                    .await
            }
            // Reject and nack differ: from RabbitMQ 4.3 on, only a reject counts towards the
            // delivery limit.
            Settlement::Retry => {
                self.acker
                    .reject(BasicRejectOptions { requeue: true })
                    .await
            }
            Settlement::Return => hand_back(&self.acker).await,
        }
    }
}

impl Handle for Tie {
    fn publish(&self, event: Outgoing) -> BoxFuture<'_, Result<Published>> {
        async move { self.session.publish(self.slot, &event).await }.boxed()
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        async move {
            while self.channel.status().connected() {
                if timeout(LOOK_EVERY, self.epoch.over.cancelled())
                    .await
                    .is_ok()
                {
                    return;
                }
            }
        }
        .boxed()
    }

    fn settle(self: Box<Self>, settlement: Settlement) -> BoxFuture<'static, Result<bool>> {
        async move {
            let settled = match timeout(SETTLE_TIMEOUT, self.end(settlement)).await {
                Ok(Ok(settled)) => settled,
                Ok(Err(error)) => {
                    debug!(epoch = self.epoch.id, %error, "delivery not settled");
                    false
                }
                Err(_) => false,
            };
            Ok(settled && self.channel.status().connected())
        }
        .boxed()
    }
}

impl Drop for Tie {
    /// A delivery that is dropped unsettled (its task panicked) would block its slot until the
    /// broker's timeout.
    fn drop(&mut self) {
        if !self.acker.usable() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (acker, channel) = (self.acker.clone(), self.channel.clone());
            runtime.spawn(async move {
                let back = acker.reject(BasicRejectOptions { requeue: true }).await;
                debug!(
                    channel = channel.id(),
                    ?back,
                    "dropped delivery handed back"
                );
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_start_at_one() {
        assert_eq!(attempt(None, false), 1);
        assert_eq!(attempt(None, true), 2);
        assert_eq!(attempt(Some(0), true), 1);
        assert_eq!(attempt(Some(3), true), 4);
    }

    #[test]
    fn delivery_counts_of_any_width_are_read() {
        for value in [AMQPValue::LongLongInt(7), AMQPValue::ShortShortUInt(7)] {
            let mut headers = FieldTable::default();
            headers.insert("x-delivery-count".into(), value);
            assert_eq!(delivery_count(&headers), Some(7));
        }
        assert_eq!(delivery_count(&FieldTable::default()), None);
    }
}
