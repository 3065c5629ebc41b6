//! RabbitMQ as a producer sees it: queues of the test's own, raw messages in, events out.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;

use super::{until, variable};

/// One event as it arrived.
#[derive(Clone, Debug)]
pub struct News {
    pub routing_key: String,
    pub properties: BasicProperties,
    pub raw: Vec<u8>,
    pub json: Value,
    pub at: Instant,
}

impl News {
    pub fn state(&self) -> &str {
        self.json["type"]
            .as_str()
            .unwrap()
            .rsplit('.')
            .next()
            .unwrap()
    }

    pub fn data(&self) -> &Value {
        &self.json["data"]
    }

    pub fn is_of(&self, job: &str) -> bool {
        self.json["id"]
            .as_str()
            .is_some_and(|id| id.split(':').next() == Some(job))
    }
}

/// The queues of one test.
pub struct Broker {
    connection: Connection,
    channel: Channel,
    pub queue: String,
    pub exchange: String,
    pub dead: String,
    events: Arc<Mutex<Vec<News>>>,
}

impl Broker {
    /// Declares the topology under `name`; `delivery_limit` is the broker's own.
    pub async fn declare(name: &str, delivery_limit: i64) -> Broker {
        let broker = Broker::connect(&variable("CIPHERMILL_TEST_AMQP"), name).await;
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        for (exchange, kind) in [
            (&broker.exchange, ExchangeKind::Topic),
            (&broker.dead, ExchangeKind::Fanout),
        ] {
            let declared = broker.channel.exchange_declare(
                exchange.as_str().into(),
                kind,
                durable,
                FieldTable::default(),
            );
            declared.await.unwrap();
        }
        let quorum = AMQPValue::LongString("quorum".into());
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), quorum);
        broker.declare_queue(&broker.dead, arguments.clone()).await;
        arguments.insert(
            "x-delivery-limit".into(),
            AMQPValue::LongLongInt(delivery_limit),
        );
        arguments.insert(
            "x-dead-letter-exchange".into(),
            AMQPValue::LongString(broker.dead.as_str().into()),
        );
        broker.declare_queue(&broker.queue, arguments).await;
        broker.bind(&broker.dead, &broker.dead, "").await;
        broker.listen().await;
        broker
    }

    /// Names only; nothing is declared.
    pub async fn connect(url: &str, name: &str) -> Broker {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(url, properties).await;
        let connection = connection.expect("the broker of `make test`");
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        Broker {
            connection,
            channel,
            queue: format!("{name}.jobs"),
            exchange: format!("{name}.events"),
            dead: format!("{name}.dead"),
            events: Arc::default(),
        }
    }

    pub async fn declare_queue(&self, name: &str, arguments: FieldTable) {
        let durable = QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        self.channel
            .queue_declare(name.into(), durable, arguments)
            .await
            .unwrap();
    }

    async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let options = QueueBindOptions::default();
        let bound = self.channel.queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            options,
            FieldTable::default(),
        );
        bound.await.unwrap();
    }

    fn listening(&self) -> String {
        format!("{}.heard", self.exchange)
    }

    /// Hears every event from now on.
    pub async fn listen(&self) {
        let queue = self.listening();
        let options = QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        self.channel
            .queue_declare(queue.as_str().into(), options, FieldTable::default())
            .await
            .unwrap();
        self.bind(&queue, &self.exchange, "job.#").await;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let mut consumer = self
            .channel
            .basic_consume(
                queue.as_str().into(),
                "".into(),
                options,
                FieldTable::default(),
            )
            .await
            .unwrap();
        let events = Arc::clone(&self.events);
        tokio::spawn(async move {
            while let Some(Ok(message)) = consumer.next().await {
                let json = serde_json::from_slice(&message.data).unwrap_or(Value::Null);
                events.lock().unwrap().push(News {
                    routing_key: message.routing_key.to_string(),
                    properties: message.properties,
                    json,
                    raw: message.data,
                    at: Instant::now(),
                });
            }
        });
    }

    /// Nobody hears the events any more.
    pub async fn stop_listening(&self) {
        let queue = self.listening();
        self.channel
            .queue_delete(queue.as_str().into(), QueueDeleteOptions::default())
            .await
            .unwrap();
    }

    pub async fn publish(&self, body: &[u8]) {
        self.publish_to("", &self.queue, body).await;
    }

    pub async fn publish_to(&self, exchange: &str, key: &str, body: &[u8]) {
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let properties = BasicProperties::default().with_delivery_mode(2);
        let sent =
            self.channel
                .basic_publish(exchange.into(), key.into(), options, body, properties);
        let confirmed = sent.await.unwrap().await.unwrap();
        assert!(
            matches!(confirmed, lapin::Confirmation::Ack(None)),
            "{confirmed:?}"
        );
    }

    pub fn events(&self) -> Vec<News> {
        self.events.lock().unwrap().clone()
    }

    pub fn of(&self, job: &str, state: &str) -> Vec<News> {
        let events = self.events().into_iter();
        events
            .filter(|news| news.is_of(job) && news.state() == state)
            .collect()
    }

    /// The first event of this job in this state.
    pub async fn event(&self, job: &str, state: &str) -> News {
        until(&format!("{job} {state}"), async || {
            !self.of(job, state).is_empty()
        })
        .await;
        self.of(job, state).remove(0)
    }

    /// Messages that wait in a queue; `None` when there is no such queue.
    pub async fn length(&self, queue: &str) -> Option<u32> {
        let channel = self.connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let found = channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await
            .ok()?;
        channel.close(200, "".into()).await.ok();
        Some(found.message_count())
    }

    pub async fn until_length(&self, queue: &str, expected: u32) {
        let what = format!("{expected} messages in {queue}");
        until(&what, async || self.length(queue).await == Some(expected)).await;
    }

    /// Takes every message of a queue away.
    pub async fn drain(&self, queue: &str) -> Vec<(Vec<u8>, FieldTable)> {
        let mut taken = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = self.channel.basic_get(queue.into(), options).await.unwrap() {
            let headers = message
                .delivery
                .properties
                .headers()
                .clone()
                .unwrap_or_default();
            taken.push((message.delivery.data, headers));
        }
        taken
    }

    /// Takes a message and hands it back so often that the broker gives it up.
    pub async fn crash_loop(&self) {
        let options = BasicGetOptions { no_ack: false };
        let end = Instant::now() + Duration::from_secs(20);
        while self.length(&self.dead).await == Some(0) && Instant::now() < end {
            if let Some(message) = self
                .channel
                .basic_get(self.queue.as_str().into(), options)
                .await
                .unwrap()
            {
                let back = lapin::options::BasicRejectOptions { requeue: true };
                message.delivery.acker.reject(back).await.unwrap();
            }
        }
    }
}
