//! Dead letters: failure events for jobs that the broker gave up on.
//!
//! A job that crashes its worker again and again is dead-lettered by the broker, and nobody tells
//! its producer. A sweep walks the dead-letter queue once: each message comes in, the caller's
//! failure event goes out, and the message goes back to the queue's tail with a mark. It is
//! acknowledged only after both are confirmed, so a crash may repeat an event but loses nothing.
//! Bodies are never read here.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::broker::{Brokers, down, reply_code};
use super::publish::{Message, confirm_channel, short};
use crate::fault::{Code, Fault, Result};
use crate::queue::{DeadLetters, DeadMessage, Outgoing, Published, Report, SweepReport};
use crate::settings::Amqp;

const MARK: &str = "x-ciphermill-reported";

/// The length of a queue does not tell that one message left while another came: look again after
/// this.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// The dead-letter queue, seen by its sweeper.
pub struct AmqpDeadLetters {
    brokers: Brokers,
    queue: String,
    events_exchange: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    link: Option<Link>,
    quiet: Option<(u32, Instant)>,
}

struct Link {
    connection: Connection,
    /// Takes and acknowledges.
    taking: Channel,
    /// Publishes with confirms.
    giving: Channel,
}

impl AmqpDeadLetters {
    /// Connects to the first broker that answers, trying each one once; makes sure that the queue
    /// exists.
    pub async fn connect(settings: &Amqp) -> Result<Self> {
        let dead = AmqpDeadLetters {
            brokers: Brokers::new(settings)?,
            queue: settings.dead_letter_queue.clone(),
            events_exchange: settings.events_exchange.clone(),
            state: Mutex::default(),
        };
        let link = Link::open(&dead.brokers).await?;
        link.length(&dead.queue).await?;
        dead.state.lock().await.link = Some(link);
        Ok(dead)
    }

    async fn walk(&self, report: &mut Report<'_>) -> Result<SweepReport> {
        let mut state = self.state.lock().await;
        // Taken out, and put back only after a whole pass: what a broken pass held goes back with
        // its channel.
        let link = match state.link.take().filter(Link::alive) {
            Some(link) => link,
            None => Link::open(&self.brokers).await?,
        };
        let length = link.length(&self.queue).await?;
        let mut swept = SweepReport::default();
        if !state
            .quiet
            .is_some_and(|(quiet, since)| quiet == length && since.elapsed() < LOOK_AGAIN)
        {
            while swept.seen < length {
                let Some(message) = link.take(&self.queue).await? else {
                    break;
                };
                swept.seen += 1;
                self.handle(&link, message, report, &mut swept).await?;
            }
            state.quiet = Some((swept.seen, Instant::now()));
        }
        state.link = Some(link);
        Ok(swept)
    }

    async fn handle(
        &self,
        link: &Link,
        message: BasicGetMessage,
        report: &mut Report<'_>,
        swept: &mut SweepReport,
    ) -> Result<()> {
        let BasicGetMessage { delivery, .. } = message;
        let (properties, body) = (delivery.properties, Bytes::from(delivery.data));
        let headers = properties.headers().clone().unwrap_or_default();
        if !headers.contains_key(MARK) {
            swept.marked += 1;
            let (reason, queue) = death(&headers);
            let dead = DeadMessage {
                body: body.clone(),
                reason,
                queue,
            };
            // The worker rejects a job only after its failure event was confirmed.
            let event = if dead.reason == "rejected" {
                None
            } else {
                report(&dead)
            };
            if let Some(event) = event {
                swept.reported += 1;
                swept.unrouted +=
                    u32::from(self.publish(link, &event).await? == Published::Unrouted);
            }
        }
        // Marked messages go to the tail too: handed back, each pass would count towards a delivery
        // limit.
        let marked = Message::new("", &self.queue, marked(&properties, headers), body)?;
        if marked.confirm(&link.giving).await? == Published::Unrouted {
            return Err(missing(&self.queue));
        }
        let acked = delivery.acker.ack(BasicAckOptions::default()).await;
        match acked.map_err(|error| down(&error))? {
            true => Ok(()),
            false => Err(Fault::new(
                Code::BrokerDown,
                "the dead-letter channel was closed",
            )),
        }
    }

    async fn publish(&self, link: &Link, event: &Outgoing) -> Result<Published> {
        let message = Message::event(&self.events_exchange, event)?;
        let routed = message.confirm(&link.giving).await?;
        let Some(queue) = &event.reply_to else {
            return Ok(routed);
        };
        match Message::reply(queue, event)?.confirm(&link.giving).await? {
            Published::Routed => Ok(routed),
            Published::Unrouted => Ok(Published::Unrouted),
        }
    }
}

impl DeadLetters for AmqpDeadLetters {
    fn sweep<'a>(&'a self, report: &'a mut Report<'a>) -> BoxFuture<'a, Result<SweepReport>> {
        self.walk(report).boxed()
    }
}

impl Link {
    async fn open(brokers: &Brokers) -> Result<Self> {
        let connection = brokers.connect_any("ciphermill dead letters").await?;
        let taking = connection
            .create_channel()
            .await
            .map_err(|error| down(&error))?;
        let giving = confirm_channel(&connection)
            .await
            .map_err(|error| down(&error))?;
        Ok(Link {
            connection,
            taking,
            giving,
        })
    }

    fn alive(&self) -> bool {
        self.connection.status().connected()
            && self.taking.status().connected()
            && self.giving.status().connected()
    }

    async fn length(&self, queue: &str) -> Result<u32> {
        let options = QueueDeclareOptions::durable().passive();
        let found = self
            .taking
            .queue_declare(short(queue)?, options, FieldTable::default())
            .await;
        match found {
            Ok(found) => Ok(found.message_count()),
            Err(error) if reply_code(&error) == Some(404) => Err(missing(queue)),
            Err(error) => Err(down(&error)),
        }
    }

    async fn take(&self, queue: &str) -> Result<Option<BasicGetMessage>> {
        let options = BasicGetOptions { no_ack: false };
        self.taking
            .basic_get(short(queue)?, options)
            .await
            .map_err(|error| down(&error))
    }
}

fn missing(queue: &str) -> Fault {
    let message = format!("queue {queue} does not exist");
    Fault::new(Code::TopologyMissing, message).at("amqp.dead_letter_queue")
}

/// Reason and queue of the latest death, as the broker noted them.
fn death(headers: &FieldTable) -> (String, String) {
    let deaths = headers.inner().get("x-death").and_then(AMQPValue::as_array);
    let latest = deaths.and_then(|deaths| deaths.as_slice().first()?.as_field_table());
    let text = |name| match latest.and_then(|death| death.inner().get(name)) {
        Some(AMQPValue::LongString(text)) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        Some(AMQPValue::ShortString(text)) => text.to_string(),
        _ => String::new(),
    };
    (text("reason"), text("queue"))
}

/// The message's properties with the mark, without those by which its producer could steer or stop
/// the copy: `CC` and `BCC` route it elsewhere, a foreign `user_id` is refused, an expiration would
/// remove it.
fn marked(properties: &BasicProperties, headers: FieldTable) -> BasicProperties {
    let mut kept = FieldTable::default();
    for (name, value) in headers.inner() {
        if !["CC", "BCC"].contains(&name.as_str()) {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept.insert(MARK.into(), AMQPValue::Boolean(true));
    type With = fn(BasicProperties, ShortString) -> BasicProperties;
    let texts: [(&Option<ShortString>, With); 7] = [
        (
            properties.content_type(),
            BasicProperties::with_content_type,
        ),
        (
            properties.content_encoding(),
            BasicProperties::with_content_encoding,
        ),
        (properties.reply_to(), BasicProperties::with_reply_to),
        (
            properties.correlation_id(),
            BasicProperties::with_correlation_id,
        ),
        (properties.message_id(), BasicProperties::with_message_id),
        (properties.kind(), BasicProperties::with_type),
        (properties.app_id(), BasicProperties::with_app_id),
    ];
    let mut marked = BasicProperties::default()
        .with_headers(kept)
        .with_delivery_mode(2);
    for (value, with) in texts {
        if let Some(value) = value {
            marked = with(marked, value.clone());
        }
    }
    if let Some(timestamp) = properties.timestamp() {
        marked = marked.with_timestamp(*timestamp);
    }
    marked
}
