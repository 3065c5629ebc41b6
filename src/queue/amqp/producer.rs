//! The producer's side: jobs in, their events out.
//!
//! Used by `ciphermill submit`. Job messages come in as bytes and go to the jobs queue with a
//! confirm each; events come back as bytes, unread. Nothing is retried: whoever submits sees the
//! fault.

use std::collections::HashSet;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};

use super::broker::{Brokers, down, reply_code};
use super::publish::{Message, confirm_channel, short};
use crate::fault::{Code, Fault, Result};
use crate::queue::{Events, Producer, Published};
use crate::settings::Amqp;

/// A connection that submits jobs.
pub struct AmqpProducer {
    connection: Connection,
    /// Confirming channels that are free. One message at a time on each, as many channels as
    /// submissions at once.
    lanes: Mutex<Vec<Channel>>,
    queue: String,
    events_exchange: String,
}

/// Events of some jobs, in the order the broker sends them.
pub struct AmqpEvents {
    consumer: Consumer,
    jobs: HashSet<String>,
    _channel: Channel,
}

impl AmqpProducer {
    /// Connects to the first broker that answers, trying each one once.
    pub async fn connect(settings: &Amqp) -> Result<Self> {
        let connection = Brokers::new(settings)?
            .connect_any("ciphermill submit")
            .await?;
        Ok(AmqpProducer {
            connection,
            lanes: Mutex::default(),
            queue: settings.queue.clone(),
            events_exchange: settings.events_exchange.clone(),
        })
    }

    async fn send(&self, job_id: &str, body: Bytes) -> Result<()> {
        let message = Message::job(&self.queue, job_id, body)?;
        let free = self.free_lanes().pop();
        let lane = match free {
            Some(lane) => lane,
            None => confirm_channel(&self.connection)
                .await
                .map_err(|error| down(&error))?,
        };
        let published = message.confirm(&lane).await?;
        self.free_lanes().push(lane);
        match published {
            Published::Routed => Ok(()),
            Published::Unrouted => {
                let message = format!("queue {} does not exist", self.queue);
                Err(Fault::new(Code::TopologyMissing, message).at("amqp.queue"))
            }
        }
    }

    async fn listen(&self, job_ids: &[String]) -> Result<AmqpEvents> {
        let channel = self
            .connection
            .create_channel()
            .await
            .map_err(|error| down(&error))?;
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..Default::default()
        };
        let queue = channel
            .queue_declare("".into(), options, FieldTable::default())
            .await
            .map_err(|error| down(&error))?;
        let (name, exchange) = (queue.name().clone(), short(&self.events_exchange)?);
        let bound = channel.queue_bind(
            name.clone(),
            exchange,
            "job.*".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.map_err(|error| self.unbound(&error))?;
        let options = BasicConsumeOptions {
            no_ack: true,
            exclusive: true,
            ..Default::default()
        };
        let consumer = channel
            .basic_consume(name, "".into(), options, FieldTable::default())
            .await
            .map_err(|error| down(&error))?;
        let jobs = job_ids.iter().cloned().collect();
        Ok(AmqpEvents {
            consumer,
            jobs,
            _channel: channel,
        })
    }

    fn unbound(&self, error: &lapin::Error) -> Fault {
        if reply_code(error) != Some(404) {
            return down(error);
        }
        let message = format!("exchange {} does not exist", self.events_exchange);
        Fault::new(Code::TopologyMissing, message).at("amqp.events_exchange")
    }

    fn free_lanes(&self) -> std::sync::MutexGuard<'_, Vec<Channel>> {
        self.lanes
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl AmqpEvents {
    async fn receive(&mut self) -> Result<Bytes> {
        loop {
            let message = match self.consumer.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(down(&error)),
                None => {
                    return Err(Fault::new(
                        Code::BrokerDown,
                        "the broker ended the event queue",
                    ));
                }
            };
            let job = message.properties.correlation_id().as_ref();
            if job.is_none_or(|job| self.jobs.contains(job.as_str())) {
                return Ok(message.data.into());
            }
        }
    }
}

impl Producer for AmqpProducer {
    fn submit<'a>(&'a self, job_id: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>> {
        self.send(job_id, body).boxed()
    }

    fn watch<'a>(&'a self, job_ids: &'a [String]) -> BoxFuture<'a, Result<Box<dyn Events>>> {
        async move { Ok(Box::new(self.listen(job_ids).await?) as Box<dyn Events>) }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            self.connection.close(200, "bye".into()).await.ok();
        }
        .boxed()
    }
}

impl Events for AmqpEvents {
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes>> {
        self.receive().boxed()
    }
}
