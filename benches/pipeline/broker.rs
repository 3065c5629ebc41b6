//! The broker as a producer sees it: jobs are published with confirms, end events come back on a queue of our own.

use std::collections::BTreeSet;

use ciphermill::queue::amqp::RESULTS_QUEUE;
use futures_util::stream::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use serde_json::Value;

use crate::world::{EVENTS, JOBS};
use crate::{Outcome, cannot};

const PERSISTENT: u8 = 2;
const MINE: &str = "bench.ended";

pub struct Broker {
    connection: Connection,
    channel: Channel,
    ended: Consumer,
}

impl Broker {
    /// Connects and listens for end events; a worker has declared queues and exchange before.
    pub async fn connect(url: &str) -> Outcome<Broker> {
        let connection = Connection::connect(url, ConnectionProperties::default());
        let connection = connection.await.map_err(cannot("reach the broker"))?;
        let channel = connection.create_channel().await;
        let channel = channel.map_err(cannot("open a channel"))?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await.map_err(cannot("ask for confirms"))?;
        let ended = listen(&channel).await?;
        Ok(Broker {
            connection,
            channel,
            ended,
        })
    }

    /// Publishes these jobs and waits for the end of all. A job that fails is an error.
    pub async fn follow(&mut self, jobs: &[Value]) -> Outcome<()> {
        let (channel, ended) = (&self.channel, &mut self.ended);
        let published = async {
            let mut confirms = Vec::with_capacity(jobs.len());
            for job in jobs {
                confirms.push(publish(channel, job).await?);
            }
            for confirm in confirms {
                confirm.await.map_err(cannot("have a message confirmed"))?;
            }
            Ok::<_, String>(())
        };
        let ids = jobs.iter().filter_map(|job| job["id"].as_str());
        let mut waiting: BTreeSet<String> = ids.map(Into::into).collect();
        let heard = async {
            while !waiting.is_empty() {
                let event = next(ended).await?;
                waiting.remove(event["subject"].as_str().unwrap_or_default());
            }
            Ok::<_, String>(())
        };
        futures_util::future::try_join(published, heard)
            .await
            .map(drop)
    }

    /// Leaves nothing behind for the next turn: the results queue, which nobody reads here, grows otherwise.
    pub async fn close(self) {
        let options = QueuePurgeOptions::default();
        let _ = self
            .channel
            .queue_purge(RESULTS_QUEUE.into(), options)
            .await;
        let _ = self.connection.close(200, "done".into()).await;
    }
}

async fn publish(channel: &Channel, job: &Value) -> Outcome<lapin::PublisherConfirm> {
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let options = BasicPublishOptions::default();
    let body = job.to_string();
    let sent = channel.basic_publish("".into(), JOBS.into(), options, body.as_bytes(), properties);
    sent.await.map_err(cannot("publish"))
}

/// A queue of this connection's own with the end events from now on.
async fn listen(channel: &Channel) -> Outcome<Consumer> {
    let mine = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..Default::default()
    };
    let none = FieldTable::default;
    let declared = channel.queue_declare(MINE.into(), mine, none());
    declared.await.map_err(cannot("declare a queue"))?;
    for end in ["job.succeeded", "job.failed"] {
        let options = QueueBindOptions::default();
        let bound = channel.queue_bind(MINE.into(), EVENTS.into(), end.into(), options, none());
        bound.await.map_err(cannot("bind a queue"))?;
    }
    let options = BasicConsumeOptions {
        no_ack: true,
        ..Default::default()
    };
    let consumer = channel.basic_consume(MINE.into(), MINE.into(), options, none());
    consumer.await.map_err(cannot("consume"))
}

async fn next(ended: &mut Consumer) -> Outcome<Value> {
    let delivery = ended
        .next()
        .await
        .ok_or("the broker sends no more events")?;
    let delivery = delivery.map_err(cannot("hear of jobs"))?;
    let event: Value = serde_json::from_slice(&delivery.data).map_err(cannot("read an event"))?;
    match event["type"] == "dev.ciphermill.job.succeeded" {
        true => Ok(event),
        false => Err(format!("a job failed: {}", event["data"]["fault"])),
    }
}
