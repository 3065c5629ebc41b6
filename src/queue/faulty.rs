//! A queue with injected faults.
//!
//! Calls come in, are named to an [`Injector`] before they are made, and go on to the wrapped queue
//! or not. Deliveries that went through it are wrapped too. It decides nothing by itself and keeps
//! nothing but deliveries whose `next` was dropped while they were delayed.
//!
//! | operation | target | refused | answer lost |
//! |---|---|---|---|
//! | `next` | the slot | the fault | a delivery that came is dropped: it goes back and counts |
//! | `publish` | the routing key | the fault | the event is out |
//! | `settle` | `done`, `dead`, `retry`, `return` | the delivery is dropped | it is settled |
//! | `lost` | | it is never told | it is never told |
//! | `release` | the slot | not made | made |
//! | `close` | | not made | made |

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Delivery, Handle, Outgoing, Published, Queue, Settlement};
use crate::fault::{Fault, Result};
use crate::inject::{Act, Call, Injection, Injector, Seam, Wait};

/// Wraps a queue.
pub struct FaultyQueue {
    inner: Arc<dyn Queue>,
    calls: Arc<Calls>,
    buffered: Buffered,
}

/// Names calls to the injector.
struct Calls {
    injector: Arc<dyn Injector>,
    made: AtomicU64,
}

/// A delivery's handle, wrapped.
struct FaultyHandle {
    inner: Box<dyn Handle>,
    calls: Arc<Calls>,
}

/// Deliveries of dropped calls of `next`, by slot.
#[derive(Default)]
struct Buffered(Mutex<BTreeMap<usize, VecDeque<Delivery>>>);

/// A delivery that is delayed; it is buffered when its future is dropped.
struct Delayed<'a> {
    buffered: &'a Buffered,
    slot: usize,
    delivery: Option<Delivery>,
}

/// A call whose first wait is over.
struct Begun {
    effect: Effect,
    after: Option<Wait>,
}

/// What is left to do with a call.
enum Effect {
    Work,
    Refuse(Fault),
    LoseAnswer(Fault),
}

impl FaultyQueue {
    /// Wraps `inner`; the injector is asked about every call.
    pub fn new(inner: Arc<dyn Queue>, injector: Arc<dyn Injector>) -> Self {
        let made = AtomicU64::new(0);
        FaultyQueue {
            inner,
            calls: Arc::new(Calls { injector, made }),
            buffered: Buffered::default(),
        }
    }

    async fn take(&self, slot: usize) -> Result<Option<Delivery>> {
        let Begun { effect, after } = self.calls.begin("next", slot.to_string()).await;
        if let Effect::Refuse(fault) = effect {
            wait(after).await;
            return Err(fault);
        }
        let mut delayed = Delayed {
            buffered: &self.buffered,
            slot,
            delivery: self.buffered.take(slot),
        };
        let mut answer = Ok(());
        if delayed.delivery.is_none() {
            let next = self.inner.next(slot).await;
            answer = next.map(|delivery| delayed.delivery = delivery);
        }
        wait(after).await;
        let delivery = delayed.delivery.take();
        match effect {
            Effect::Work => answer.map(|()| delivery.map(|delivery| self.wrap(delivery))),
            Effect::Refuse(fault) | Effect::LoseAnswer(fault) => Err(fault),
        }
    }

    fn wrap(&self, delivery: Delivery) -> Delivery {
        let handle = FaultyHandle {
            inner: delivery.handle,
            calls: Arc::clone(&self.calls),
        };
        Delivery {
            handle: Box::new(handle),
            ..delivery
        }
    }

    /// Hands back what was buffered for a slot, as a release does with what had arrived.
    async fn return_buffered(&self, slot: usize) {
        while let Some(delivery) = self.buffered.take(slot) {
            delivery.settle(Settlement::Return).await.ok();
        }
    }
}

impl Queue for FaultyQueue {
    fn next(&self, slot: usize) -> BoxFuture<'_, Result<Option<Delivery>>> {
        self.take(slot).boxed()
    }

    fn release(&self, slot: usize) -> BoxFuture<'_, ()> {
        async move {
            let Begun { effect, after } = self.calls.begin("release", slot.to_string()).await;
            if effect.makes() {
                // First, or what is handed back would come straight again.
                self.inner.release(slot).await;
                self.return_buffered(slot).await;
            }
            wait(after).await;
        }
        .boxed()
    }

    fn ready(&self) -> bool {
        self.inner.ready()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            let Begun { effect, after } = self.calls.begin("close", String::new()).await;
            if effect.makes() {
                self.inner.close().await;
                for slot in self.buffered.slots() {
                    self.return_buffered(slot).await;
                }
            }
            wait(after).await;
        }
        .boxed()
    }
}

impl Handle for FaultyHandle {
    fn publish(&self, event: Outgoing) -> BoxFuture<'_, Result<Published>> {
        async move {
            let target = event.routing_key.clone();
            let Begun { effect, after } = self.calls.begin("publish", target).await;
            let answer = match effect {
                Effect::Work => self.inner.publish(event).await,
                Effect::Refuse(fault) => Err(fault),
                Effect::LoseAnswer(fault) => self.inner.publish(event).await.and(Err(fault)),
            };
            wait(after).await;
            answer
        }
        .boxed()
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        async move {
            let Begun { effect, after } = self.calls.begin("lost", String::new()).await;
            match effect {
                Effect::Work => self.inner.lost().await,
                Effect::Refuse(_) | Effect::LoseAnswer(_) => std::future::pending().await,
            }
            wait(after).await;
        }
        .boxed()
    }

    fn settle(self: Box<Self>, settlement: Settlement) -> BoxFuture<'static, Result<bool>> {
        async move {
            let target = match settlement {
                Settlement::Done => "done",
                Settlement::Dead => "dead",
                Settlement::Retry => "retry",
                Settlement::Return => "return",
            };
            let FaultyHandle { inner, calls } = *self;
            let Begun { effect, after } = calls.begin("settle", target.to_owned()).await;
            let answer = match effect {
                Effect::Work => inner.settle(settlement).await,
                Effect::Refuse(fault) => {
                    drop(inner);
                    Err(fault)
                }
                Effect::LoseAnswer(fault) => inner.settle(settlement).await.and(Err(fault)),
            };
            wait(after).await;
            answer
        }
        .boxed()
    }
}

impl Calls {
    /// Names a call, and waits as long as it is held up.
    async fn begin(&self, operation: &'static str, target: String) -> Begun {
        let call = Call {
            seam: Seam::Queue,
            operation,
            target,
            number: self.made.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let Injection { before, act, after } = self.injector.decide(&call);
        wait(before).await;
        let effect = match act {
            // Nothing is read here that could come slowly.
            Act::Work | Act::Trickle { .. } => Effect::Work,
            Act::Refuse(fault) | Act::Truncate { fault, .. } => Effect::Refuse(fault),
            Act::LoseAnswer(fault) => Effect::LoseAnswer(fault),
        };
        Begun { effect, after }
    }
}

impl Effect {
    /// Whether the call is made.
    fn makes(&self) -> bool {
        match self {
            Effect::Work | Effect::LoseAnswer(_) => true,
            Effect::Refuse(_) => false,
        }
    }
}

impl Buffered {
    fn take(&self, slot: usize) -> Option<Delivery> {
        self.all().get_mut(&slot)?.pop_front()
    }

    fn slots(&self) -> Vec<usize> {
        self.all().keys().copied().collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<usize, VecDeque<Delivery>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Delayed<'_> {
    fn drop(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            let mut buffered = self.buffered.all();
            buffered.entry(self.slot).or_default().push_back(delivery);
        }
    }
}

async fn wait(wait: Option<Wait>) {
    if let Some(wait) = wait {
        wait.await;
    }
}

#[cfg(test)]
mod tests;
