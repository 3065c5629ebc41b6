//! What every queue must keep, whatever broker stands behind it.
//!
//! A [`Subject`] comes in: a broker with the worker's queues, empty and not used by anybody else.
//! The suite works on it as workers and producers do, and makes it fail. It runs over the broker in
//! memory (`tests/offline`) and over RabbitMQ (`tests/amqp_queue.rs`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ciphermill::fault::Code;
use ciphermill::queue::{
    DeadLetters, DeadMessage, Delivery, Outgoing, Producer, Published, Queue, Settlement,
    SweepReport,
};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout};

/// Time in which something must have happened.
pub const SOON: Duration = Duration::from_secs(20);

/// A broker, in the suite's hands.
pub trait Subject {
    /// One more worker's connection.
    fn connect(&self, slots: usize) -> BoxFuture<'_, Arc<dyn Queue>>;
    /// One more producer's connection.
    fn producer(&self) -> BoxFuture<'_, Arc<dyn Producer>>;
    /// One more sweeper of the dead letters.
    fn dead_letters(&self) -> BoxFuture<'_, Box<dyn DeadLetters>>;
    /// A worker's connection to another queue.
    fn connect_to<'a>(&'a self, queue: &'a str, slots: usize) -> BoxFuture<'a, Arc<dyn Queue>>;
    /// Makes a queue, whose messages go on to another one after `ttl` where one is given.
    fn declare<'a>(&'a self, queue: &'a str, onward: Option<Onward<'a>>) -> BoxFuture<'a, ()>;
    /// Puts a message into any queue; it is safely there afterwards.
    fn send<'a>(&'a self, queue: &'a str, id: &'a str) -> BoxFuture<'a, ()>;
    /// Messages in a queue, with those that are delivered and not settled.
    fn length(&self, queue: &str) -> usize;
    /// For consumers that begin from now on. It fires within 12 seconds when it is 5.
    fn set_consumer_timeout(&self, timeout: Duration);
    /// Cuts what all workers publish through, and nothing else.
    fn cut_publishing(&self);
    /// Cuts what all workers consume through, and nothing that a producer uses.
    fn cut_consuming(&self);
    /// Stops the broker and starts it again.
    fn restart(&self) -> BoxFuture<'_, ()>;
}

/// Where the messages of a waiting queue go.
#[derive(Clone, Copy)]
pub struct Onward<'a> {
    /// How long they wait.
    pub ttl: Duration,
    /// The queue that gets them.
    pub queue: &'a str,
}

/// Runs the whole suite; `queue` is a worker's connection with two slots.
pub async fn keeps_its_promises(subject: &dyn Subject, queue: Arc<dyn Queue>) {
    let producer = subject.producer().await;
    acks_retries_and_dead_letters(subject, &*queue, &*producer).await;
    delivers_again_before_what_is_new(&*queue, &*producer).await;
    publishes_and_tells_of_unrouted_events(subject, &*queue, &*producer).await;
    releases_what_it_prefetched(&*queue, &*producer).await;
    hands_back_what_is_dropped(&*queue, &*producer).await;
    delivers_what_has_waited(subject).await;
    rides_over_a_timeout(subject, &*queue, &*producer).await;
    rides_over_lost_connections(subject, &queue, &*producer).await;
    rides_over_a_restart(subject, &queue).await;
    sweeps_dead_letters(subject, &*queue).await;
    queue.close().await;
    assert!(!queue.ready());
    let fault = queue.next(0).await.err().unwrap();
    assert_eq!(fault.code, Code::Stopping);
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..60 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(250)).await;
    }
    panic!("{what}");
}

async fn take(queue: &dyn Queue, slot: usize) -> Delivery {
    let next = timeout(SOON, queue.next(slot)).await;
    next.expect("a delivery in time").unwrap().unwrap()
}

async fn submit(producer: &dyn Producer, id: &str) {
    producer
        .submit(id, Bytes::from(id.to_owned()))
        .await
        .unwrap();
}

/// An event of a job; progress is the only state that may be lost.
pub fn event(state: &str, id: &str, reply_to: Option<&str>) -> Outgoing {
    Outgoing {
        routing_key: format!("job.{state}"),
        message_id: format!("{id}:{state}"),
        correlation_id: id.into(),
        body: Bytes::from(format!("{id} {state}")),
        terminal: state != "progress",
        reply_to: reply_to.map(String::from),
    }
}

async fn acks_retries_and_dead_letters(
    subject: &dyn Subject,
    queue: &dyn Queue,
    producer: &dyn Producer,
) {
    submit(producer, "a").await;
    let delivery = take(queue, 0).await;
    assert_eq!((&delivery.body[..], delivery.attempt), (&b"a"[..], 1));
    assert!(!delivery.redelivered && delivery.lease == Some(Duration::from_secs(1800)));
    assert!(delivery.settle(Settlement::Retry).await.unwrap());
    let delivery = take(queue, 0).await;
    assert_eq!((delivery.attempt, delivery.redelivered), (2, true));
    assert!(delivery.settle(Settlement::Return).await.unwrap());
    assert!(take(queue, 0).await.settle(Settlement::Dead).await.unwrap());
    until("dead letter", || subject.length("ciphermill.dead") == 1).await;
    submit(producer, "b").await;
    assert!(take(queue, 0).await.settle(Settlement::Done).await.unwrap());
    until("empty queue", || subject.length("ciphermill.jobs") == 0).await;
}

/// What comes back is delivered in the order in which it came back, before what is new.
async fn delivers_again_before_what_is_new(queue: &dyn Queue, producer: &dyn Producer) {
    queue.release(0).await;
    queue.release(1).await;
    for id in ["order-1", "order-2", "order-3", "order-4"] {
        submit(producer, id).await;
    }
    let (first, second) = (take(queue, 0).await, take(queue, 1).await);
    assert_eq!(&first.body[..], b"order-1");
    assert_eq!(&second.body[..], b"order-2");
    queue.release(0).await;
    queue.release(1).await;
    assert!(second.settle(Settlement::Retry).await.unwrap());
    sleep(Duration::from_millis(300)).await;
    assert!(first.settle(Settlement::Retry).await.unwrap());
    sleep(Duration::from_millis(300)).await;
    for (id, attempt) in [
        ("order-2", 2),
        ("order-1", 2),
        ("order-3", 1),
        ("order-4", 1),
    ] {
        let delivery = take(queue, 0).await;
        let found = (&delivery.body[..], delivery.attempt, delivery.redelivered);
        assert_eq!(found, (id.as_bytes(), attempt, attempt > 1));
        assert!(delivery.settle(Settlement::Done).await.unwrap());
    }
}

async fn publishes_and_tells_of_unrouted_events(
    subject: &dyn Subject,
    queue: &dyn Queue,
    producer: &dyn Producer,
) {
    let mut events = producer.watch(&["c".into()]).await.unwrap();
    queue.release(0).await;
    let many = (0..50).map(|n| async move { submit(producer, &format!("many-{n}")).await });
    futures_util::future::join_all(many).await;
    for _ in 0..50 {
        assert!(take(queue, 1).await.settle(Settlement::Done).await.unwrap());
    }
    queue.release(1).await;
    submit(producer, "c").await;
    let delivery = take(queue, 0).await;
    for (outgoing, published) in [
        (event("started", "other", None), Published::Routed),
        (event("progress", "c", None), Published::Routed),
        (event("nowhere.deep", "c", None), Published::Unrouted),
        (
            event("succeeded", "c", Some("no.such.queue")),
            Published::Unrouted,
        ),
        (
            event("failed", "c", Some("ciphermill.results")),
            Published::Routed,
        ),
    ] {
        assert_eq!(delivery.publish(outgoing).await.unwrap(), published);
    }
    for expected in ["c progress", "c succeeded", "c failed"] {
        let body = timeout(SOON, events.next()).await.unwrap().unwrap();
        assert_eq!(&body[..], expected.as_bytes());
    }
    assert!(delivery.settle(Settlement::Done).await.unwrap());
    until("results", || subject.length("ciphermill.results") == 3).await;
}

async fn releases_what_it_prefetched(queue: &dyn Queue, producer: &dyn Producer) {
    submit(producer, "held").await;
    let held = take(queue, 0).await;
    submit(producer, "next").await;
    queue.release(1).await;
    queue.release(0).await;
    assert!(held.settle(Settlement::Done).await.unwrap());
    let other = take(queue, 1).await;
    assert_eq!(&other.body[..], b"next");
    submit(producer, "prefetched").await;
    assert!(other.settle(Settlement::Done).await.unwrap());
    sleep(Duration::from_millis(500)).await;
    queue.release(1).await;
    let taken = take(queue, 0).await;
    assert_eq!(&taken.body[..], b"prefetched");
    assert!(taken.settle(Settlement::Done).await.unwrap());
    for patience in [Duration::ZERO, Duration::from_millis(200)] {
        assert!(timeout(patience, queue.next(0)).await.is_err());
    }
    submit(producer, "late").await;
    sleep(Duration::from_millis(300)).await;
    let late = take(queue, 0).await;
    assert_eq!((&late.body[..], late.attempt), (&b"late"[..], 1));
    assert!(late.settle(Settlement::Done).await.unwrap());
}

async fn hands_back_what_is_dropped(queue: &dyn Queue, producer: &dyn Producer) {
    submit(producer, "dropped").await;
    drop(take(queue, 0).await);
    let again = take(queue, 0).await;
    assert_eq!((&again.body[..], again.attempt), (&b"dropped"[..], 2));
    assert!(again.settle(Settlement::Done).await.unwrap());
}

/// Messages wait for as long as their queue says, keep their order, and count from the beginning.
async fn delivers_what_has_waited(subject: &dyn Subject) {
    let (again, ttl) = ("suite.again", Duration::from_secs(2));
    subject.declare(again, None).await;
    let onward = Onward { ttl, queue: again };
    subject.declare("suite.wait", Some(onward)).await;
    let begun = Instant::now();
    for number in 0..20 {
        subject.send("suite.wait", &format!("wait-{number}")).await;
    }
    let queue = subject.connect_to(again, 1).await;
    for number in 0..20 {
        let delivery = take(&*queue, 0).await;
        assert!(begun.elapsed() >= ttl);
        assert_eq!(delivery.body, format!("wait-{number}"));
        assert_eq!((delivery.attempt, delivery.redelivered), (1, false));
        assert!(delivery.settle(Settlement::Done).await.unwrap());
    }
    until("nothing waits", || subject.length("suite.wait") == 0).await;
    queue.close().await;
}

async fn rides_over_a_timeout(subject: &dyn Subject, other: &dyn Queue, producer: &dyn Producer) {
    // A consumer that nobody asks keeps what it is given.
    other.release(0).await;
    other.release(1).await;
    subject.set_consumer_timeout(Duration::from_secs(5));
    let queue = subject.connect(2).await;
    submit(producer, "slow").await;
    let slow = take(&*queue, 0).await;
    assert!(timeout(Duration::from_secs(4), slow.lost()).await.is_err());
    sleep(Duration::from_secs(8)).await;
    timeout(SOON, slow.lost()).await.unwrap();
    assert!(!slow.settle(Settlement::Done).await.unwrap());
    assert!(queue.ready());
    let again = take(&*queue, 0).await;
    assert_eq!((&again.body[..], again.attempt), (&b"slow"[..], 2));
    assert!(again.settle(Settlement::Done).await.unwrap());
    queue.close().await;
    subject.set_consumer_timeout(Duration::from_secs(7200));
}

async fn rides_over_lost_connections(
    subject: &dyn Subject,
    queue: &Arc<dyn Queue>,
    producer: &dyn Producer,
) {
    submit(producer, "cut").await;
    let delivery = take(&**queue, 0).await;
    let waiting = tokio::spawn({
        let queue = Arc::clone(queue);
        async move { take(&*queue, 1).await }
    });
    sleep(Duration::from_millis(300)).await;
    // The publishing connection alone: the job in hand stays valid, its event finds the next epoch.
    subject.cut_publishing();
    let published = delivery
        .publish(event("succeeded", "cut", None))
        .await
        .unwrap();
    assert_eq!(published, Published::Routed);
    assert!(delivery.settle(Settlement::Done).await.unwrap());
    queue.release(0).await;
    submit(producer, "cut-2").await;
    let second = waiting.await.unwrap();
    assert_eq!(&second.body[..], b"cut-2");
    subject.cut_consuming();
    until("noticed", || !queue.ready()).await;
    timeout(SOON, second.lost()).await.unwrap();
    assert!(!second.settle(Settlement::Done).await.unwrap());
    let again = take(&**queue, 0).await;
    assert_eq!((&again.body[..], again.attempt), (&b"cut-2"[..], 2));
    assert!(again.settle(Settlement::Done).await.unwrap());
}

async fn rides_over_a_restart(subject: &dyn Subject, queue: &Arc<dyn Queue>) {
    let producer = subject.producer().await;
    submit(&*producer, "mid-job").await;
    let delivery = take(&**queue, 0).await;
    let waiting = tokio::spawn({
        let queue = Arc::clone(queue);
        async move { queue.next(1).await.unwrap().unwrap() }
    });
    subject.restart().await;
    assert!(!delivery.settle(Settlement::Done).await.unwrap());
    let again = timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap()
        .unwrap();
    // A broker that stops may hand the job to the other slot before it cuts that one off as well.
    assert!(&again.body[..] == b"mid-job" && again.redelivered && again.attempt >= 2);
    let published = again
        .publish(event("succeeded", "mid-job", None))
        .await
        .unwrap();
    assert_eq!(published, Published::Routed);
    assert!(again.settle(Settlement::Done).await.unwrap());
    assert!(queue.ready());
}

async fn sweeps_dead_letters(subject: &dyn Subject, queue: &dyn Queue) {
    let producer = subject.producer().await;
    let dead = subject.dead_letters().await;
    queue.release(1).await;
    submit(&*producer, "crasher").await;
    for attempt in 1..=21 {
        let delivery = take(queue, 0).await;
        assert_eq!(delivery.attempt, attempt);
        assert!(delivery.settle(Settlement::Retry).await.unwrap());
    }
    until("dead letters", || subject.length("ciphermill.dead") == 2).await;
    let mut seen = Vec::new();
    let mut report = |message: &DeadMessage| {
        seen.push((
            message.body.clone(),
            message.reason.clone(),
            message.queue.clone(),
        ));
        Some(event("failed", "crasher", None))
    };
    let swept = dead.sweep(&mut report).await.unwrap();
    assert_eq!(
        swept,
        SweepReport {
            seen: 2,
            marked: 2,
            reported: 1,
            unrouted: 0
        }
    );
    let expected = (
        Bytes::from("crasher"),
        "delivery_limit".into(),
        "ciphermill.jobs".into(),
    );
    assert_eq!(seen, [expected]);
    assert_eq!(subject.length("ciphermill.dead"), 2);
    let mut nothing = |_: &DeadMessage| -> Option<Outgoing> { panic!("reported twice") };
    let again = dead.sweep(&mut nothing).await.unwrap();
    assert_eq!(again, SweepReport::default());
    let other = subject.dead_letters().await;
    let again = other.sweep(&mut nothing).await.unwrap();
    let known = SweepReport {
        seen: 2,
        ..Default::default()
    };
    assert_eq!(again, known);
    assert_eq!(subject.length("ciphermill.dead"), 2);
}
