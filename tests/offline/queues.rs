//! The queue suite over the broker in memory: promises P1 and P10 as far as a queue keeps them.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ciphermill::inject::{Call, Injection, Injector};
use ciphermill::queue::faulty::FaultyQueue;
use ciphermill::queue::memory::{Broker, Cut, QueueRules, Rules};
use ciphermill::queue::{Backend, DeadLetters, Producer, Queue};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use self::queue_suite::{Onward, Subject};

#[path = "../support/queue_suite.rs"]
mod queue_suite;

/// Wraps each worker's connection.
type Wrap = fn(Arc<dyn Queue>) -> Arc<dyn Queue>;

struct Memory {
    broker: Broker,
    wrap: Wrap,
    connections: Mutex<Vec<u64>>,
}

impl Subject for Memory {
    fn connect(&self, slots: usize) -> BoxFuture<'_, Arc<dyn Queue>> {
        let queue = self.broker.connect(slots);
        self.connections.lock().unwrap().push(queue.connection());
        std::future::ready((self.wrap)(queue)).boxed()
    }

    fn producer(&self) -> BoxFuture<'_, Arc<dyn Producer>> {
        async { Backend::producer(&self.broker).await.unwrap() }.boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Box<dyn DeadLetters>> {
        async { Backend::dead_letters(&self.broker).await.unwrap() }.boxed()
    }

    fn connect_to<'a>(&'a self, queue: &'a str, slots: usize) -> BoxFuture<'a, Arc<dyn Queue>> {
        let queue = self.broker.connect_to(queue, slots).unwrap();
        std::future::ready((self.wrap)(queue)).boxed()
    }

    fn declare<'a>(&'a self, queue: &'a str, onward: Option<Onward<'a>>) -> BoxFuture<'a, ()> {
        let rules = QueueRules {
            ttl: onward.map(|onward| onward.ttl),
            dead_letter_to: onward.map(|onward| onward.queue.to_owned()),
            delivery_limit: None,
        };
        self.broker.declare(queue, rules).unwrap();
        std::future::ready(()).boxed()
    }

    fn send<'a>(&'a self, queue: &'a str, id: &'a str) -> BoxFuture<'a, ()> {
        let body = Bytes::from(id.to_owned());
        self.broker.send(queue, id, body).unwrap();
        std::future::ready(()).boxed()
    }

    fn length(&self, queue: &str) -> usize {
        self.broker.length(queue)
    }

    fn set_consumer_timeout(&self, consumer_timeout: Duration) {
        self.broker.set_rules(Rules {
            consumer_timeout,
            ..self.broker.rules()
        });
    }

    fn cut_publishing(&self) {
        for connection in self.connections.lock().unwrap().iter() {
            self.broker.cut_publishing(*connection);
        }
    }

    fn cut_consuming(&self) {
        for connection in self.connections.lock().unwrap().iter() {
            self.broker.cut(*connection, Cut::OneByOne);
        }
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        async {
            sleep(Duration::from_millis(10)).await;
            self.broker.down(Cut::OneByOne);
            sleep(Duration::from_secs(1)).await;
            self.broker.up();
        }
        .boxed()
    }
}

async fn run(wrap: Wrap) -> Broker {
    let subject = Memory {
        broker: Broker::default(),
        wrap,
        connections: Mutex::default(),
    };
    let queue = subject.connect(2).await;
    assert!(queue.ready());
    queue_suite::keeps_its_promises(&subject, queue).await;
    subject.broker
}

/// Holds every call up before and after.
struct Slow;

impl Injector for Slow {
    fn decide(&self, _: &Call) -> Injection {
        let pause = || sleep(Duration::from_millis(7));
        Injection::none().wait_before(pause()).wait_after(pause())
    }
}

#[tokio::test(start_paused = true)]
async fn the_broker_in_memory_keeps_what_a_queue_must() {
    let broker = run(|queue| queue).await;
    assert_eq!(broker.length("ciphermill.jobs"), 0);
    assert!(broker.unacked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_queue_keeps_the_same() {
    run(|queue| Arc::new(FaultyQueue::new(queue, Arc::new(Slow)))).await;
}

/// The same calls give the same events, messages and counts.
#[tokio::test(start_paused = true)]
async fn two_runs_are_alike() {
    let (one, other) = (run(|queue| queue).await, run(|queue| queue).await);
    assert_eq!(
        format!("{:?}", one.events()),
        format!("{:?}", other.events())
    );
    assert_eq!(one.ready("ciphermill.dead"), other.ready("ciphermill.dead"));
    assert_eq!(one.counts(), other.counts());
}
