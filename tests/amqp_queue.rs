//! The queue room against a real RabbitMQ: promises P1 and P10 as far as the broker keeps them.
//!
//! `CIPHERMILL_TEST_AMQP` is the broker's URL and `CIPHERMILL_TEST_RABBIT_ENV` a shell file that
//! makes `rabbitmqctl` talk to it. The broker belongs to this test: it is stopped, started and
//! reconfigured. One test, so that nothing overlaps.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ciphermill::fault::Code;
use ciphermill::queue::amqp::{AmqpQueue, DeadLetters, Producer, SweepReport};
use ciphermill::queue::{Delivery, Outgoing, Published, Queue, Settlement};
use ciphermill::settings::{Amqp, Flags, Settings};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn variable(name: &str) -> String {
    let help =
        "start a private RabbitMQ and set CIPHERMILL_TEST_AMQP and CIPHERMILL_TEST_RABBIT_ENV";
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: {help}"))
}

fn settings(text: &str) -> Amqp {
    let text = format!(
        "[amqp]\nurls = ['{}']\n{text}",
        variable("CIPHERMILL_TEST_AMQP")
    );
    Settings::from_parts(&text, &BTreeMap::new(), &Flags::default())
        .unwrap()
        .amqp
}

fn rabbitmqctl(arguments: &str) -> String {
    let script = format!(
        "set -e; . '{}'; {arguments}",
        variable("CIPHERMILL_TEST_RABBIT_ENV")
    );
    let output = Command::new("bash")
        .arg("-c")
        .arg(&script)
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn restart_broker() {
    rabbitmqctl("rabbitmqctl -q stop_app");
    rabbitmqctl("rabbitmqctl -q start_app");
}

fn length(queue: &str) -> String {
    let command =
        format!("rabbitmqctl -q list_queues name messages | awk '$1 == \"{queue}\" {{print $2}}'");
    rabbitmqctl(&command).trim().to_owned()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..60 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("{what}");
}

async fn take(queue: &AmqpQueue, slot: usize) -> Delivery {
    let next = timeout(SOON, queue.next(slot)).await;
    next.expect("a delivery in time").unwrap().unwrap()
}

async fn submit(producer: &Producer, id: &str) {
    producer
        .submit(id, Bytes::from(id.to_owned()))
        .await
        .unwrap();
}

fn event(state: &str, id: &str, reply_to: Option<&str>) -> Outgoing {
    Outgoing {
        routing_key: format!("job.{state}"),
        message_id: format!("{id}:{state}"),
        correlation_id: id.into(),
        body: Bytes::from(format!("{id} {state}")),
        terminal: state != "progress",
        reply_to: reply_to.map(String::from),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_room_keeps_its_promises_with_a_real_broker() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    if std::env::var("RUST_LOG").is_ok() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .init();
    }
    starts_only_with_its_topology().await;
    let queue = AmqpQueue::connect(&settings(""), 2, true).await.unwrap();
    assert!(queue.ready());
    let producer = Producer::connect(&settings("")).await.unwrap();
    speaks_tls().await;
    acks_retries_and_dead_letters(&queue, &producer).await;
    publishes_and_tells_of_unrouted_events(&queue, &producer).await;
    releases_what_it_prefetched(&queue, &producer).await;
    hands_back_what_is_dropped(&queue, &producer).await;
    rides_over_a_timeout(&queue, &producer).await;
    rides_over_lost_connections(&queue, &producer).await;
    let queue = rides_over_a_restart(queue).await;
    sweeps_dead_letters(&queue).await;
    queue.close().await;
    assert!(!queue.ready());
    let fault = queue.next(0).await.err().unwrap();
    assert_eq!(fault.code, Code::Stopping);
}

async fn starts_only_with_its_topology() {
    for queue in ["ciphermill.jobs", "ciphermill.dead", "ciphermill.results"] {
        rabbitmqctl(&format!(
            "rabbitmqctl -q delete_queue {queue} 2>/dev/null || true"
        ));
    }
    let fault = AmqpQueue::connect(&settings(""), 1, false)
        .await
        .err()
        .unwrap();
    assert_eq!(fault.code, Code::TopologyMissing, "{fault}");
    assert!(
        fault.pointer.as_deref().unwrap().starts_with("amqp."),
        "{fault}"
    );
    let definitions = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/deploy/rabbitmq/definitions.json"
    );
    rabbitmqctl(&format!("rabbitmqctl -q import_definitions {definitions}"));
    AmqpQueue::connect(&settings(""), 1, false)
        .await
        .unwrap()
        .close()
        .await;

    let url = variable("CIPHERMILL_TEST_AMQP");
    let stranger = format!(
        "amqp://nobody:wrong-secret@{}",
        url.rsplit_once('@').unwrap().1
    );
    let mut refused = settings("");
    refused.urls = vec![stranger];
    let fault = AmqpQueue::connect(&refused, 1, false).await.err().unwrap();
    assert_eq!(fault.code, Code::Settings, "{fault}");
    assert!(!fault.to_string().contains("wrong-secret"));
    refused.urls = vec!["amqp://127.0.0.1:9".into()];
    let fault = Producer::connect(&refused).await.err().unwrap();
    assert_eq!(fault.code, Code::BrokerDown, "{fault}");
}

/// The start script puts the broker's certificate authority beside its `env.sh`, and TLS on the
/// next port.
async fn speaks_tls() {
    let environment = variable("CIPHERMILL_TEST_RABBIT_ENV");
    let mut tls = settings("");
    let mut url = url::Url::parse(&tls.urls[0]).unwrap();
    url.set_port(url.port().map(|port| port + 1)).unwrap();
    tls.urls = vec![url.as_str().replacen("amqp://", "amqps://", 1)];
    let fault = Producer::connect(&tls).await.err().unwrap();
    assert_eq!(
        fault.code,
        Code::BrokerDown,
        "an unknown authority: {fault}"
    );
    tls.ca_file = Some(std::path::Path::new(&environment).with_file_name("tls/ca.pem"));
    Producer::connect(&tls).await.unwrap().close().await;
}

async fn acks_retries_and_dead_letters(queue: &AmqpQueue, producer: &Producer) {
    submit(producer, "a").await;
    let delivery = take(queue, 0).await;
    assert_eq!((&delivery.body[..], delivery.attempt), (&b"a"[..], 1));
    assert!(!delivery.redelivered && delivery.lease == Some(Duration::from_secs(1800)));
    assert!(delivery.settle(Settlement::Retry).await.unwrap());
    let delivery = take(queue, 0).await;
    assert_eq!((delivery.attempt, delivery.redelivered), (2, true));
    assert!(delivery.settle(Settlement::Return).await.unwrap());
    assert!(take(queue, 0).await.settle(Settlement::Dead).await.unwrap());
    until("dead letter", || length("ciphermill.dead") == "1").await;
    submit(producer, "b").await;
    assert!(take(queue, 0).await.settle(Settlement::Done).await.unwrap());
    until("empty queue", || length("ciphermill.jobs") == "0").await;
}

async fn publishes_and_tells_of_unrouted_events(queue: &AmqpQueue, producer: &Producer) {
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
    until("results", || length("ciphermill.results") == "3").await;
}

async fn releases_what_it_prefetched(queue: &AmqpQueue, producer: &Producer) {
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
    tokio::time::sleep(Duration::from_millis(500)).await;
    queue.release(1).await;
    let taken = take(queue, 0).await;
    assert_eq!(&taken.body[..], b"prefetched");
    assert!(taken.settle(Settlement::Done).await.unwrap());
    for patience in [Duration::ZERO, Duration::from_millis(200)] {
        assert!(timeout(patience, queue.next(0)).await.is_err());
    }
    submit(producer, "late").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let late = take(queue, 0).await;
    assert_eq!((&late.body[..], late.attempt), (&b"late"[..], 1));
    assert!(late.settle(Settlement::Done).await.unwrap());
}

async fn hands_back_what_is_dropped(queue: &AmqpQueue, producer: &Producer) {
    submit(producer, "dropped").await;
    drop(take(queue, 0).await);
    let again = take(queue, 0).await;
    assert_eq!((&again.body[..], again.attempt), (&b"dropped"[..], 2));
    assert!(again.settle(Settlement::Done).await.unwrap());
}

async fn rides_over_a_timeout(other: &AmqpQueue, producer: &Producer) {
    // A consumer that nobody asks keeps what it is given.
    other.release(0).await;
    other.release(1).await;
    let set = |timeout, tick| {
        rabbitmqctl(&format!(
            "rabbitmqctl -q eval 'application:set_env(rabbit,consumer_timeout,{timeout}), \
             application:set_env(rabbit,channel_tick_interval,{tick}).'"
        ))
    };
    set(5_000, 2_000);
    let queue = AmqpQueue::connect(&settings(""), 2, false).await.unwrap();
    submit(producer, "slow").await;
    let slow = take(&queue, 0).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(!slow.settle(Settlement::Done).await.unwrap());
    let again = take(&queue, 0).await;
    assert_eq!((&again.body[..], again.attempt), (&b"slow"[..], 2));
    assert!(again.settle(Settlement::Done).await.unwrap());
    queue.close().await;
    set(7_200_000, 60_000);
}

async fn rides_over_lost_connections(queue: &Arc<AmqpQueue>, producer: &Producer) {
    submit(producer, "cut").await;
    let delivery = take(queue, 0).await;
    let waiting = tokio::spawn({
        let queue = Arc::clone(queue);
        async move { take(&queue, 1).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let cut = |name: &str| {
        rabbitmqctl(&format!(
            "for pid in $(rabbitmqctl -q list_connections pid client_properties | grep -F 'worker {name}' \
             | cut -f1); \
             do rabbitmqctl -q close_connection \"$pid\" test; done"
        ))
    };
    // The publishing connection alone: the job in hand stays valid, its event finds the next epoch.
    cut("publish");
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
    cut("consume");
    until("noticed", || !queue.ready()).await;
    assert!(!second.settle(Settlement::Done).await.unwrap());
    let again = take(queue, 0).await;
    assert_eq!((&again.body[..], again.attempt), (&b"cut-2"[..], 2));
    assert!(again.settle(Settlement::Done).await.unwrap());
}

async fn rides_over_a_restart(queue: Arc<AmqpQueue>) -> Arc<AmqpQueue> {
    let producer = Producer::connect(&settings("")).await.unwrap();
    submit(&producer, "mid-job").await;
    let delivery = take(&queue, 0).await;
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.next(1).await.unwrap().unwrap() }
    });
    tokio::task::spawn_blocking(restart_broker).await.unwrap();
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
    queue
}

async fn sweeps_dead_letters(queue: &AmqpQueue) {
    let producer = Producer::connect(&settings("")).await.unwrap();
    let dead = DeadLetters::connect(&settings("")).await.unwrap();
    queue.release(1).await;
    submit(&producer, "crasher").await;
    for attempt in 1..=21 {
        let delivery = take(queue, 0).await;
        assert_eq!(delivery.attempt, attempt);
        assert!(delivery.settle(Settlement::Retry).await.unwrap());
    }
    until("dead letters", || length("ciphermill.dead") == "2").await;
    let mut seen = Vec::new();
    let report = dead.sweep(|message| {
        seen.push((
            message.body.clone(),
            message.reason.clone(),
            message.queue.clone(),
        ));
        Some(event("failed", "crasher", None))
    });
    let swept = report.await.unwrap();
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
    assert_eq!(length("ciphermill.dead"), "2");
    let nothing = |_: &_| -> Option<Outgoing> { panic!("reported twice") };
    assert_eq!(dead.sweep(nothing).await.unwrap(), SweepReport::default());
    let other = DeadLetters::connect(&settings("")).await.unwrap();
    let again = other.sweep(nothing).await.unwrap();
    let known = SweepReport {
        seen: 2,
        ..Default::default()
    };
    assert_eq!(again, known);
    assert_eq!(length("ciphermill.dead"), "2");
}
