//! The wrapper names each call, and applies what the injector decides.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::*;
use crate::fault::Code;
use crate::queue::memory::{Broker, JOBS, RESULTS};

/// What is done to the calls of each operation, in order; nothing when the list is over.
#[derive(Default)]
struct Script {
    acts: Mutex<BTreeMap<&'static str, VecDeque<Injection>>>,
    named: Mutex<Vec<String>>,
}

impl Script {
    fn then(&self, operation: &'static str, injection: Injection) {
        let mut acts = self.acts.lock().unwrap();
        acts.entry(operation).or_default().push_back(injection);
    }
}

impl Injector for Script {
    fn decide(&self, call: &Call) -> Injection {
        let Call {
            operation,
            target,
            number,
            ..
        } = call;
        let mut named = self.named.lock().unwrap();
        named.push(format!("{number} {operation} {target}"));
        let mut acts = self.acts.lock().unwrap();
        let next = acts.get_mut(operation).and_then(VecDeque::pop_front);
        next.unwrap_or_else(Injection::none)
    }
}

struct Setup {
    broker: Broker,
    script: Arc<Script>,
    queue: FaultyQueue,
}

async fn setup(jobs: &[&str]) -> Setup {
    let broker = Broker::default();
    for job in jobs {
        let body = Bytes::from((*job).to_owned());
        broker.producer().submit(job, body).await.unwrap();
    }
    let script = Arc::new(Script::default());
    let injector = Arc::clone(&script) as Arc<dyn Injector>;
    let queue = FaultyQueue::new(broker.connect(1), injector);
    Setup {
        broker,
        script,
        queue,
    }
}

fn fault() -> Fault {
    Fault::new(Code::BrokerDown, "as told")
}

fn ended() -> Outgoing {
    Outgoing {
        routing_key: "job.succeeded".into(),
        message_id: "a:succeeded".into(),
        correlation_id: "a".into(),
        body: Bytes::new(),
        terminal: true,
        reply_to: None,
    }
}

async fn take(queue: &FaultyQueue) -> Delivery {
    queue.next(0).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_call_is_named() {
    let Setup { script, queue, .. } = setup(&["a"]).await;
    let delivery = take(&queue).await;
    assert!(timeout(Duration::ZERO, delivery.lost()).await.is_err());
    delivery.publish(ended()).await.unwrap();
    assert!(delivery.settle(Settlement::Done).await.unwrap());
    queue.release(0).await;
    queue.close().await;
    let named = script.named.lock().unwrap().clone();
    let expected = [
        "1 next 0",
        "2 lost ",
        "3 publish job.succeeded",
        "4 settle done",
        "5 release 0",
        "6 close ",
    ];
    assert_eq!(named, expected);
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_is_not_made() {
    let Setup {
        broker,
        script,
        queue,
    } = setup(&["a"]).await;
    for operation in ["next", "publish", "settle", "close"] {
        script.then(operation, Injection::only(Act::Refuse(fault())));
    }
    assert_eq!(queue.next(0).await.err(), Some(fault()));
    let delivery = take(&queue).await;
    assert_eq!(delivery.publish(ended()).await, Err(fault()));
    assert_eq!(broker.length(RESULTS), 0);
    assert_eq!(delivery.settle(Settlement::Done).await, Err(fault()));
    queue.close().await;
    assert_eq!(take(&queue).await.attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_changes_nothing_else() {
    let Setup {
        broker,
        script,
        queue,
    } = setup(&["a"]).await;
    for operation in ["next", "publish", "settle"] {
        script.then(operation, Injection::only(Act::LoseAnswer(fault())));
    }
    assert_eq!(queue.next(0).await.err(), Some(fault()));
    let delivery = take(&queue).await;
    assert_eq!(delivery.attempt, 2);
    assert_eq!(delivery.publish(ended()).await, Err(fault()));
    assert_eq!(broker.length(RESULTS), 1);
    assert_eq!(delivery.settle(Settlement::Done).await, Err(fault()));
    assert_eq!(broker.length(JOBS), 0);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_delivery_survives_its_future() {
    let Setup {
        broker,
        script,
        queue,
    } = setup(&["a"]).await;
    let slow = || Injection::none().wait_after(sleep(Duration::from_secs(5)));
    let soon = Duration::from_secs(1);
    script.then("next", slow());
    assert!(timeout(soon, queue.next(0)).await.is_err());
    assert_eq!(broker.unacked().len(), 1);
    let delivery = take(&queue).await;
    assert_eq!(delivery.attempt, 1);
    assert!(delivery.settle(Settlement::Retry).await.unwrap());
    script.then("next", slow());
    assert!(timeout(soon, queue.next(0)).await.is_err());
    queue.release(0).await;
    assert!(broker.unacked().is_empty());
    assert_eq!(broker.ready(JOBS)[0].count, 2);
}

#[tokio::test(start_paused = true)]
async fn calls_wait_before_and_after() {
    let Setup {
        broker,
        script,
        queue,
    } = setup(&["a"]).await;
    let delivery = take(&queue).await;
    let pause = || sleep(Duration::from_secs(1));
    let both = Injection::none().wait_before(pause()).wait_after(pause());
    script.then("settle", both);
    let begun = tokio::time::Instant::now();
    let watch = async {
        sleep(Duration::from_millis(900)).await;
        assert_eq!(broker.length(JOBS), 1);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(broker.length(JOBS), 0);
    };
    let (settled, ()) = tokio::join!(delivery.settle(Settlement::Done), watch);
    assert!(settled.unwrap());
    // Both waits began when they were made.
    assert_eq!(begun.elapsed(), Duration::from_millis(1100));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_ends_holds_its_job() {
    let Setup {
        broker,
        script,
        queue,
    } = setup(&["a"]).await;
    let never = Injection::none().wait_before(std::future::pending());
    script.then("settle", never);
    let delivery = take(&queue).await;
    let settle = delivery.settle(Settlement::Done);
    assert!(timeout(Duration::from_secs(60), settle).await.is_err());
    let held = broker.unacked();
    assert_eq!((held[0].message.count, held[0].taken), (1, false));
}
