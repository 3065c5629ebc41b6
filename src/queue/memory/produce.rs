//! The producer's side of the broker in memory.
//!
//! Jobs come in and go to the jobs queue; events of the jobs that are watched go out. Nothing is
//! retried, and a connection that was cut is not made again.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::channel::Link;
use super::publish::{Watcher, down};
use super::{Broker, JOBS};
use crate::fault::Result;
use crate::queue::{Backend, DeadLetters, Events, Producer, Queue};

/// A connection that submits jobs.
pub struct MemoryProducer {
    link: Link,
}

/// Events of some jobs.
pub struct MemoryEvents {
    broker: Broker,
    watcher: u64,
}

impl MemoryProducer {
    /// A connection of its own.
    pub(super) fn new(broker: Broker) -> Self {
        let link = Link::new(broker, JOBS, 0);
        MemoryProducer { link }
    }
}

impl Producer for MemoryProducer {
    fn submit<'a>(&'a self, job_id: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>> {
        async move {
            self.link
                .broker
                .with(|state, at| state.submit(self.link.id, JOBS, job_id, body, at))
        }
        .boxed()
    }

    fn watch<'a>(&'a self, job_ids: &'a [String]) -> BoxFuture<'a, Result<Box<dyn Events>>> {
        async move {
            let watcher = self.link.broker.with(|state, _| {
                let connection = state.connections.get(&self.link.id);
                if !connection.is_some_and(|connection| connection.linked) {
                    return Err(down("the connection is lost"));
                }
                let id = state.id();
                let watcher = Watcher {
                    connection: self.link.id,
                    jobs: job_ids.iter().cloned().collect(),
                    bodies: VecDeque::new(),
                    open: true,
                };
                state.watchers.insert(id, watcher);
                Ok(id)
            })?;
            let broker = self.link.broker.clone();
            Ok(Box::new(MemoryEvents { broker, watcher }) as Box<dyn Events>)
        }
        .boxed()
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

impl Events for MemoryEvents {
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes>> {
        self.broker
            .until(|state, _| {
                let ended = || Some(Err(down("the broker ended the event queue")));
                let Some(watcher) = state.watchers.get_mut(&self.watcher) else {
                    return ended();
                };
                match (watcher.bodies.pop_front(), watcher.open) {
                    (Some(body), _) => Some(Ok(body)),
                    (None, true) => None,
                    (None, false) => ended(),
                }
            })
            .boxed()
    }
}

impl Drop for MemoryEvents {
    fn drop(&mut self) {
        self.broker
            .with(|state, _| state.watchers.remove(&self.watcher));
    }
}

impl Backend for Broker {
    /// The queues are always there, whatever `declare` says.
    fn queue(&self, slots: usize, _declare: bool) -> BoxFuture<'_, Result<Arc<dyn Queue>>> {
        async move {
            self.until(|state, _| state.up.then_some(())).await;
            Ok(self.connect(slots) as Arc<dyn Queue>)
        }
        .boxed()
    }

    fn producer(&self) -> BoxFuture<'_, Result<Arc<dyn Producer>>> {
        async move {
            self.reachable()?;
            Ok(Broker::producer(self))
        }
        .boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Box<dyn DeadLetters>>> {
        async move {
            self.reachable()?;
            Ok(Box::new(Broker::dead_letters(self)) as Box<dyn DeadLetters>)
        }
        .boxed()
    }
}

impl Broker {
    fn reachable(&self) -> Result<()> {
        match self.with(|state, _| state.up) {
            true => Ok(()),
            false => Err(down("the broker is down")),
        }
    }
}
