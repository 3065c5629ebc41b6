//! What the suite for all queues does not reach: waiting queues, faults, observers.

use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::queue::{Delivery, Outgoing, Published, Queue, Settlement};

const AGAIN: &str = "again";
const WAIT: &str = "wait";

fn broker() -> Broker {
    Broker::default()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn submit(broker: &Broker, ids: &[&str]) {
    for id in ids {
        let body = Bytes::from((*id).to_owned());
        broker.producer().submit(id, body).await.unwrap();
    }
}

async fn take(queue: &MemoryQueue, slot: usize) -> Delivery {
    let next = timeout(seconds(3600), queue.next(slot)).await;
    next.unwrap().unwrap().unwrap()
}

async fn idle(queue: &MemoryQueue, slot: usize) {
    assert!(timeout(Duration::ZERO, queue.next(slot)).await.is_err());
}

fn ended(job: &str) -> Outgoing {
    Outgoing {
        routing_key: "job.succeeded".into(),
        message_id: format!("{job}:succeeded"),
        correlation_id: job.into(),
        body: Bytes::from_static(b"{}"),
        terminal: true,
        reply_to: None,
    }
}

fn bodies(messages: &[Message]) -> Vec<&[u8]> {
    messages.iter().map(|message| &message.body[..]).collect()
}

fn waiting(broker: &Broker, ttl: Duration) {
    broker.declare(AGAIN, QueueRules::default()).unwrap();
    let rules = QueueRules {
        ttl: Some(ttl),
        dead_letter_to: Some(AGAIN.into()),
        delivery_limit: None,
    };
    broker.declare(WAIT, rules).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_has_waited_comes_in_order_and_uncounted() {
    let broker = broker();
    waiting(&broker, seconds(2));
    let queue = broker.connect_to(AGAIN, 1).unwrap();
    let begun = Instant::now();
    for number in 0..100 {
        let id = format!("job-{number}");
        broker.send(WAIT, &id, Bytes::from(id.clone())).unwrap();
        advance(Duration::from_millis(5)).await;
    }
    assert_eq!(broker.length(WAIT), 100);
    for number in 0..100 {
        let delivery = take(&queue, 0).await;
        let due = seconds(2) + Duration::from_millis(5 * number);
        assert_eq!(begun.elapsed(), due);
        assert_eq!(delivery.body, format!("job-{number}"));
        assert_eq!((delivery.attempt, delivery.redelivered), (1, false));
        let death = Death {
            queue: WAIT.into(),
            reason: Reason::Expired,
            count: 1,
        };
        assert_eq!(broker.unacked()[0].message.deaths, [death]);
        assert!(delivery.settle(Settlement::Done).await.unwrap());
    }
    assert_eq!((broker.length(WAIT), broker.length(AGAIN)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_needs_to_wait_for_a_timer() {
    let broker = broker();
    waiting(&broker, seconds(2));
    broker.send(WAIT, "a", Bytes::from("a")).unwrap();
    advance(Duration::from_millis(1999)).await;
    assert_eq!(bodies(&broker.ready(WAIT)), [b"a"]);
    advance(Duration::from_millis(1)).await;
    assert_eq!(bodies(&broker.ready(AGAIN)), [b"a"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_says_what_it_is() {
    let broker = broker();
    waiting(&broker, seconds(2));
    waiting(&broker, seconds(2));
    let fault = broker.declare(WAIT, QueueRules::default()).unwrap_err();
    assert_eq!(fault.code, Code::TopologyMissing);
    let nowhere = QueueRules {
        dead_letter_to: Some("nowhere".into()),
        ..QueueRules::default()
    };
    assert!(broker.declare("other", nowhere).is_err());
    assert!(broker.connect_to("other", 1).is_err());
    assert!(broker.send("other", "a", Bytes::new()).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_goes_round_by_itself_is_dropped() {
    let broker = broker();
    let rules = QueueRules {
        ttl: Some(seconds(1)),
        dead_letter_to: Some("round".into()),
        delivery_limit: None,
    };
    broker.declare("round", rules).unwrap();
    broker.send("round", "a", Bytes::new()).unwrap();
    sleep(seconds(2)).await;
    assert_eq!(broker.length("round"), 0);
    assert_eq!(broker.counts().dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn the_consumer_that_waits_longest_is_served_first() {
    let broker = broker();
    let (one, other) = (broker.connect(1), broker.connect(1));
    idle(&other, 0).await;
    idle(&one, 0).await;
    submit(&broker, &["a", "b", "c"]).await;
    assert_eq!(bodies(&broker.ready(JOBS)), [b"c"]);
    let (a, b) = (take(&other, 0).await, take(&one, 0).await);
    assert_eq!((&a.body[..], &b.body[..]), (&b"a"[..], &b"b"[..]));
    b.settle(Settlement::Done).await.unwrap();
    assert_eq!(take(&one, 0).await.body, "c");
}

#[tokio::test(start_paused = true)]
async fn the_timeout_runs_for_what_was_prefetched_too() {
    let rules = Rules {
        consumer_timeout: seconds(10),
        ..Rules::default()
    };
    let broker = Broker::new(rules);
    let (idling, working) = (broker.connect(1), broker.connect(1));
    idle(&idling, 0).await;
    submit(&broker, &["a"]).await;
    let delivery = take(&working, 0).await;
    assert_eq!((delivery.attempt, delivery.lease), (2, Some(seconds(1800))));
    let lost = Instant::now();
    delivery.lost().await;
    assert_eq!(lost.elapsed(), seconds(10));
    assert!(idling.ready() && working.ready());
    assert!(!delivery.settle(Settlement::Done).await.unwrap());
    assert_eq!(take(&working, 0).await.attempt, 3);
}

#[tokio::test(start_paused = true)]
async fn what_one_channel_held_may_reach_the_next_one_to_be_cut() {
    for (how, attempt) in [(Cut::AtOnce, 2), (Cut::OneByOne, 3)] {
        let broker = broker();
        let queue = broker.connect(2);
        submit(&broker, &["a"]).await;
        let held = take(&queue, 0).await;
        idle(&queue, 1).await;
        broker.cut(queue.connection(), how);
        assert!(!queue.ready());
        held.lost().await;
        assert!(!held.settle(Settlement::Done).await.unwrap());
        assert_eq!(take(&queue, 0).await.attempt, attempt);
        assert!(queue.ready());
    }
}

#[tokio::test(start_paused = true)]
async fn newer_brokers_do_not_count_what_is_returned() {
    let rules = Rules {
        count_returned: false,
        ..Rules::default()
    };
    let queue = Broker::new(rules);
    submit(&queue, &["a"]).await;
    let queue = queue.connect(1);
    take(&queue, 0)
        .await
        .settle(Settlement::Return)
        .await
        .unwrap();
    let again = take(&queue, 0).await;
    assert_eq!((again.attempt, again.redelivered), (1, true));
    again.settle(Settlement::Retry).await.unwrap();
    assert_eq!(take(&queue, 0).await.attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn publishes_meet_the_fate_that_was_set() {
    let broker = broker();
    let queue = broker.connect(1);
    submit(&broker, &["a"]).await;
    let delivery = take(&queue, 0).await;
    for answer in [Answer::Nack, Answer::LoseConfirm, Answer::Return] {
        broker.next_publish(Kind::Event, answer);
    }
    for expected in [
        None,
        None,
        Some(Published::Unrouted),
        Some(Published::Routed),
    ] {
        let published = delivery.publish(ended("a")).await;
        assert_eq!(published.clone().ok(), expected);
        let down = |fault: Fault| fault.code == Code::BrokerDown;
        assert!(published.err().is_none_or(down));
    }
    let confirms: Vec<Confirm> = broker.events().iter().map(|one| one.confirm).collect();
    assert_eq!(confirms, [Confirm::Missing, Confirm::Given, Confirm::Given]);
    assert_eq!(broker.length(RESULTS), 2);
    broker.every_publish(Kind::Job, Answer::LoseConfirm);
    let unknown = broker.producer().submit("b", Bytes::from("b")).await;
    assert_eq!(unknown.unwrap_err().code, Code::BrokerDown);
    assert_eq!(bodies(&broker.ready(JOBS)), [b"b"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_a_broker_that_is_down() {
    let broker = broker();
    let queue = broker.connect(1);
    submit(&broker, &["a"]).await;
    let delivery = take(&queue, 0).await;
    broker.down(Cut::AtOnce);
    assert_eq!(broker.ready(JOBS)[0].count, 1);
    let begun = Instant::now();
    let fault = delivery.publish(ended("a")).await.unwrap_err();
    assert_eq!(
        (fault.code, begun.elapsed()),
        (Code::BrokerDown, seconds(60))
    );
    let later = async {
        sleep(seconds(30)).await;
        broker.up();
    };
    let (published, ()) = tokio::join!(delivery.publish(ended("a")), later);
    assert_eq!(published.unwrap(), Published::Routed);
    let mut hint = ended("a");
    hint.terminal = false;
    broker.down(Cut::AtOnce);
    assert_eq!(delivery.publish(hint).await.unwrap(), Published::Routed);
    assert_eq!(broker.events().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_was_cut_off_stays_so() {
    let broker = broker();
    let producer = broker.producer();
    let mut events = producer.watch(&["a".into()]).await.unwrap();
    broker.cut_all(Cut::AtOnce);
    assert_eq!(events.next().await.unwrap_err().code, Code::BrokerDown);
    let fault = producer.submit("a", Bytes::new()).await.unwrap_err();
    assert_eq!(fault.code, Code::BrokerDown);
    submit(&broker, &["b"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_keeps_its_connection_open() {
    let broker = broker();
    let queue = broker.connect(1);
    submit(&broker, &["a", "b"]).await;
    let a = take(&queue, 0).await;
    drop(queue);
    assert!(a.settle(Settlement::Done).await.unwrap());
    assert_eq!(bodies(&broker.ready(JOBS)), [b"b"]);
    assert!(broker.unacked().is_empty());
}

/// Cuts the connection between the first event and its confirm; checks P1 at each acknowledgement.
struct Watch {
    broker: Broker,
    cut: Mutex<bool>,
    seen: Mutex<Vec<&'static str>>,
}

impl Observer for Watch {
    fn notice(&self, notice: &Notice) {
        let name = match notice {
            Notice::Delivered { .. } => "delivered",
            Notice::Published(record) => {
                if !std::mem::replace(&mut *self.cut.lock().unwrap(), true) {
                    self.broker.cut(record.connection, Cut::AtOnce);
                }
                "published"
            }
            Notice::Confirmed(_) => "confirmed",
            Notice::Settled { message, .. } => {
                let about = |one: &EventRecord| one.about == Some(message.number);
                let given = |one: &EventRecord| one.confirm == Confirm::Given;
                let events = self.broker.events();
                assert!(events.iter().any(|one| about(one) && given(one)));
                "settled"
            }
            Notice::Returned { .. } => "returned",
            Notice::DeadLettered { .. } => "dead",
            Notice::Cut { .. } => "cut",
        };
        self.seen.lock().unwrap().push(name);
    }
}

#[tokio::test(start_paused = true)]
async fn observers_see_each_step_and_may_interfere() {
    let broker = broker();
    let queue = broker.connect(1);
    let watch = Arc::new(Watch {
        broker: broker.clone(),
        cut: Mutex::new(false),
        seen: Mutex::default(),
    });
    broker.observe(Arc::clone(&watch) as Arc<dyn Observer>);
    submit(&broker, &["a"]).await;
    let first = take(&queue, 0).await;
    assert_eq!(first.publish(ended("a")).await.unwrap(), Published::Routed);
    assert!(!first.settle(Settlement::Done).await.unwrap());
    let second = take(&queue, 0).await;
    assert_eq!(second.attempt, 2);
    assert!(second.settle(Settlement::Done).await.unwrap());
    let confirms: Vec<Confirm> = broker.events().iter().map(|one| one.confirm).collect();
    assert_eq!(confirms, [Confirm::Missing, Confirm::Given]);
    let seen = watch.seen.lock().unwrap().join(" ");
    let expected = "delivered cut returned published published confirmed delivered settled";
    assert_eq!(seen, expected);
    let counts = Counts {
        queued: 3,
        delivered: 2,
        acked: 1,
        returned: 1,
        ..Counts::default()
    };
    assert_eq!(broker.counts(), counts);
}
