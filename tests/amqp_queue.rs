//! The queue suite over a real RabbitMQ: promises P1 and P10 as far as the broker keeps them.
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
use ciphermill::queue::amqp::{AmqpBackend, AmqpProducer, AmqpQueue};
use ciphermill::queue::{Backend, DeadLetters, Producer, Queue};
use ciphermill::settings::{Amqp, Flags, Settings};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};

use self::queue_suite::{Onward, Subject};

#[path = "support/queue_suite.rs"]
mod queue_suite;

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

/// RabbitMQ, in the suite's hands.
struct Rabbit;

impl Subject for Rabbit {
    fn connect(&self, slots: usize) -> BoxFuture<'_, Arc<dyn Queue>> {
        async move {
            let backend = AmqpBackend::new(settings(""));
            backend.queue(slots, false).await.unwrap()
        }
        .boxed()
    }

    fn producer(&self) -> BoxFuture<'_, Arc<dyn Producer>> {
        async { AmqpBackend::new(settings("")).producer().await.unwrap() }.boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Box<dyn DeadLetters>> {
        async {
            let backend = AmqpBackend::new(settings(""));
            backend.dead_letters().await.unwrap()
        }
        .boxed()
    }

    fn connect_to<'a>(&'a self, queue: &'a str, slots: usize) -> BoxFuture<'a, Arc<dyn Queue>> {
        async move {
            let settings = settings(&format!("queue = '{queue}'"));
            AmqpQueue::connect(&settings, slots, false).await.unwrap() as Arc<dyn Queue>
        }
        .boxed()
    }

    fn declare<'a>(&'a self, queue: &'a str, onward: Option<Onward<'a>>) -> BoxFuture<'a, ()> {
        declare(queue, onward).boxed()
    }

    fn send<'a>(&'a self, queue: &'a str, id: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let settings = settings(&format!("queue = '{queue}'"));
            let producer = AmqpProducer::connect(&settings).await.unwrap();
            let body = Bytes::from(id.to_owned());
            producer.submit(id, body).await.unwrap();
            producer.close().await;
        }
        .boxed()
    }

    fn length(&self, queue: &str) -> usize {
        let list = "rabbitmqctl -q list_queues name messages";
        let length = rabbitmqctl(&format!("{list} | awk '$1 == \"{queue}\" {{print $2}}'"));
        length.trim().parse().unwrap()
    }

    fn set_consumer_timeout(&self, timeout: Duration) {
        let (timeout, tick) = (timeout.as_millis(), (timeout * 2 / 5).as_millis());
        rabbitmqctl(&format!(
            "rabbitmqctl -q eval 'application:set_env(rabbit,consumer_timeout,{timeout}), \
             application:set_env(rabbit,channel_tick_interval,{}).'",
            tick.min(60_000)
        ));
    }

    fn cut_publishing(&self) {
        cut("publish");
    }

    fn cut_consuming(&self) {
        cut("consume");
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        async { tokio::task::spawn_blocking(restart_broker).await.unwrap() }.boxed()
    }
}

/// A quorum queue, whose messages wait and go on without a loss where `onward` says so.
async fn declare(queue: &str, onward: Option<Onward<'_>>) {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    if let Some(Onward { ttl, queue }) = onward {
        let ttl = i64::try_from(ttl.as_millis()).unwrap();
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(ttl));
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text(queue));
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        arguments.insert("x-overflow".into(), text("reject-publish"));
    }
    let url = variable("CIPHERMILL_TEST_AMQP");
    let connection = Connection::connect(&url, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(queue.into(), options, arguments);
    declared.await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

fn cut(name: &str) {
    rabbitmqctl(&format!(
        "for pid in $(rabbitmqctl -q list_connections pid client_properties | grep -F 'worker {name}' \
         | cut -f1); \
         do rabbitmqctl -q close_connection \"$pid\" test; done"
    ));
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
    speaks_tls().await;
    queue_suite::keeps_its_promises(&Rabbit, queue).await;
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
    let fault = AmqpProducer::connect(&refused).await.err().unwrap();
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
    let fault = AmqpProducer::connect(&tls).await.err().unwrap();
    assert_eq!(
        fault.code,
        Code::BrokerDown,
        "an unknown authority: {fault}"
    );
    tls.ca_file = Some(std::path::Path::new(&environment).with_file_name("tls/ca.pem"));
    AmqpProducer::connect(&tls).await.unwrap().close().await;
}
