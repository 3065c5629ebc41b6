//! One message on its way out, with its confirmation.
//!
//! A message and a channel come in, the broker's answer goes out. Each channel carries one
//! unanswered message at a time: lapin hands a returned message to the next confirmation it sees,
//! whosever that is.

use std::time::Duration;

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection};

use super::broker::down;
use crate::fault::{Code, Fault, Result};
use crate::queue::{Outgoing, Published};

const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
const PERSISTENT: u8 = 2;
const TRANSIENT: u8 = 1;

/// A message ready to be sent any number of times.
pub(super) struct Message {
    exchange: ShortString,
    routing_key: ShortString,
    properties: BasicProperties,
    body: Bytes,
}

/// Why a message is not known to have arrived.
pub(super) enum Trouble {
    /// The channel or its connection is gone: another one may do.
    Lost(lapin::Error),
    /// The broker is there but does not take the message.
    Held(Fault),
}

impl Message {
    /// An event for the events exchange.
    pub(super) fn event(exchange: &str, event: &Outgoing) -> Result<Self> {
        Self::from_event(exchange, &event.routing_key, event)
    }

    /// The same event for the one queue that asked for it.
    pub(super) fn reply(queue: &str, event: &Outgoing) -> Result<Self> {
        Self::from_event("", queue, event)
    }

    /// A job for the jobs queue.
    pub(super) fn job(queue: &str, id: &str, body: Bytes) -> Result<Self> {
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(short(id)?)
            .with_correlation_id(short(id)?);
        Self::new("", queue, properties, body)
    }

    /// Any message.
    pub(super) fn new(
        exchange: &str,
        routing_key: &str,
        properties: BasicProperties,
        body: Bytes,
    ) -> Result<Self> {
        let (exchange, routing_key) = (short(exchange)?, short(routing_key)?);
        Ok(Message {
            exchange,
            routing_key,
            properties,
            body,
        })
    }

    fn from_event(exchange: &str, routing_key: &str, event: &Outgoing) -> Result<Self> {
        let mode = if event.terminal {
            PERSISTENT
        } else {
            TRANSIENT
        };
        let properties = BasicProperties::default()
            .with_content_type("application/cloudevents+json".into())
            .with_delivery_mode(mode)
            .with_message_id(short(&event.message_id)?)
            .with_correlation_id(short(&event.correlation_id)?);
        Self::new(exchange, routing_key, properties, event.body.clone())
    }

    /// Publishes and waits until the broker has taken it. `channel` must be in confirm mode.
    pub(super) async fn confirm(&self, channel: &Channel) -> Result<Published, Trouble> {
        let sent = async { self.publish(channel, true).await?.await };
        match tokio::time::timeout(CONFIRM_TIMEOUT, sent).await {
            Ok(Ok(Confirmation::Ack(None))) => Ok(Published::Routed),
            Ok(Ok(Confirmation::Ack(Some(_)))) => Ok(Published::Unrouted),
            Ok(Ok(Confirmation::Nack(_))) => {
                Err(held("the broker refuses the message (queue full?)"))
            }
            Ok(Ok(Confirmation::NotRequested)) => {
                let fault = Fault::new(Code::Internal, "publishing channel without confirms");
                Err(Trouble::Held(fault))
            }
            Ok(Err(error)) => Err(Trouble::Lost(error)),
            Err(_) => Err(held(
                "the broker does not confirm in time (memory or disk alarm?)",
            )),
        }
    }

    /// Publishes without waiting for an answer.
    pub(super) async fn publish(
        &self,
        channel: &Channel,
        mandatory: bool,
    ) -> lapin::Result<lapin::PublisherConfirm> {
        let (exchange, key) = (self.exchange.clone(), self.routing_key.clone());
        let options = BasicPublishOptions {
            mandatory,
            immediate: false,
        };
        channel
            .basic_publish(exchange, key, options, &self.body, self.properties.clone())
            .await
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Fault {
        match trouble {
            Trouble::Lost(error) => down(&error),
            Trouble::Held(fault) => fault,
        }
    }
}

/// A new channel in confirm mode.
pub(super) async fn confirm_channel(connection: &Connection) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

/// AMQP keeps names and ids in 255 bytes; lapin panics on longer ones.
pub(super) fn short(text: &str) -> Result<ShortString> {
    ShortString::try_new(text).map_err(|_| {
        let message = format!("{} bytes do not fit an AMQP name: 255 at most", text.len());
        Fault::new(Code::LimitExceeded, message)
    })
}

fn held(message: &str) -> Trouble {
    Trouble::Held(Fault::new(Code::BrokerDown, message))
}
