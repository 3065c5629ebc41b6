//! The broker as the driver sees it: what lies in the queues, and messages that `submit` would refuse to send.

use std::collections::BTreeMap;

use ciphermill::queue::amqp::RESULTS_QUEUE;
use lapin::options::ConfirmSelectOptions;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::Value;

use crate::checks::{Outcome, cannot};
use crate::world::JOBS;

pub struct Broker {
    url: String,
}

impl Broker {
    pub fn new(url: &str) -> Broker {
        Broker { url: url.into() }
    }

    /// A connection for one errand: there is none to lose when the broker restarts.
    async fn open(&self) -> Outcome<(Connection, Channel)> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default());
        let connection = connection.await.map_err(cannot("reach the broker"))?;
        let channel = connection.create_channel().await;
        Ok((connection, channel.map_err(cannot("open a channel"))?))
    }

    /// Takes every message out of a queue.
    pub async fn take(&self, queue: &str) -> Outcome<Vec<Vec<u8>>> {
        let (connection, channel) = self.open().await?;
        let mut taken = Vec::new();
        loop {
            let got = channel.basic_get(queue.into(), BasicGetOptions::default());
            let Some(message) = got.await.map_err(cannot("get a message"))? else {
                break;
            };
            let acked = message.delivery.ack(BasicAckOptions::default());
            acked.await.map_err(cannot("ack a message"))?;
            taken.push(message.delivery.data);
        }
        // An ack has no answer; closing politely makes sure that the broker has read them all.
        let closed = connection.close(200, "done".into()).await;
        closed
            .map(|()| taken)
            .map_err(cannot("close the connection"))
    }

    /// How many messages are ready in a queue.
    pub async fn depth(&self, queue: &str) -> Outcome<u32> {
        let (connection, channel) = self.open().await?;
        let options = QueueDeclareOptions {
            passive: true,
            durable: true,
            ..Default::default()
        };
        let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
        let depth = declared
            .await
            .map_err(cannot("look at a queue"))?
            .message_count();
        let _ = connection.close(200, "done".into()).await;
        Ok(depth)
    }

    /// Puts raw bytes into the jobs queue.
    pub async fn publish(&self, body: &[u8]) -> Outcome<()> {
        let (connection, channel) = self.open().await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await.map_err(cannot("ask for confirms"))?;
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("".into(), JOBS.into(), options, body, properties);
        let confirm = sent.await.map_err(cannot("publish"))?;
        confirm.await.map_err(cannot("have a message confirmed"))?;
        let _ = connection.close(200, "done".into()).await;
        Ok(())
    }
}

/// End events, by job id; those of messages without a readable id by event id.
#[derive(Default)]
pub struct Ended(BTreeMap<String, Vec<Value>>);

impl Ended {
    /// Reads what has come since. A broker that is down has nothing new.
    pub async fn read(&mut self, broker: &Broker) {
        let Ok(bodies) = broker.take(RESULTS_QUEUE).await else {
            return;
        };
        for body in bodies {
            let event: Value = serde_json::from_slice(&body).unwrap_or_default();
            let name = event["subject"].as_str().or(event["id"].as_str());
            let name = name.unwrap_or("?").to_owned();
            self.0.entry(name).or_default().push(event);
        }
    }

    /// The last end event of a job.
    pub fn of(&self, name: &str) -> Option<&Value> {
        self.0.get(name).and_then(|events| events.last())
    }

    /// How many of these jobs have ended.
    pub fn count<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> usize {
        names
            .into_iter()
            .filter(|name| self.of(name).is_some())
            .count()
    }

    /// Events above one per job: those of jobs that came again.
    pub fn repeated(&self) -> usize {
        self.0.values().map(|events| events.len() - 1).sum()
    }

    /// What is wrong with a job's end, if anything: it should have succeeded, and said the same each time.
    pub fn complaint(&self, name: &str) -> Option<String> {
        let Some(events) = self.0.get(name) else {
            return Some(format!("{name} never ended"));
        };
        let other = events.iter().find(|event| event["id"] != events[0]["id"]);
        if let Some(event) = other {
            return Some(format!("{name}: {} and {}", events[0]["id"], event["id"]));
        }
        let fault = &events[0]["data"]["fault"];
        let failed = format!("{name}: {}: {}", fault["code"], fault["message"]);
        (events[0]["type"] != "dev.ciphermill.job.succeeded").then_some(failed)
    }
}
