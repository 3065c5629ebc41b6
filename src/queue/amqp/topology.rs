//! The topology: exchanges, queues and bindings, in one table.
//!
//! Names from the settings come in; declarations go out to the broker, and a test compares the
//! table with `deploy/rabbitmq/definitions.json`. Nothing is declared actively unless the operator
//! asked for it.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};

use super::broker::{down, reply_code};
use crate::fault::{Code, Fault, Result};
use crate::settings::Amqp;

/// Queue that keeps the end states for producers who were not listening.
pub const RESULTS_QUEUE: &str = "ciphermill.results";

/// Deliveries after which the broker gives up on a job; `worker.max_attempts` stays below it.
const DELIVERY_LIMIT: i64 = 20;

/// What must exist at the broker.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    exchanges: Vec<Exchange>,
    queues: Vec<Queue>,
    bindings: Vec<Binding>,
}

#[derive(Clone, Debug)]
struct Exchange {
    name: String,
    kind: ExchangeKind,
    setting: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Queue {
    name: String,
    arguments: Vec<(&'static str, Argument)>,
    setting: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum Argument {
    Text(String),
    Number(i64),
}

#[derive(Clone, Debug)]
struct Binding {
    exchange: String,
    queue: String,
    routing_key: &'static str,
}

impl Topology {
    /// The table. Only what carries the name of a setting must exist before a worker starts.
    pub(super) fn new(settings: &Amqp) -> Self {
        let (dead, events) = (&settings.dead_letter_queue, &settings.events_exchange);
        let text = |text: &str| Argument::Text(text.into());
        let jobs = vec![
            ("x-queue-type", text("quorum")),
            ("x-delivery-limit", Argument::Number(DELIVERY_LIMIT)),
            ("x-dead-letter-exchange", text(dead)),
            // At-least-once keeps a rejected job until the dead-letter queue has it; it demands
            // reject-publish.
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-overflow", text("reject-publish")),
        ];
        let quorum = || vec![("x-queue-type", text("quorum"))];
        let to_results = |routing_key| Binding {
            exchange: events.clone(),
            queue: RESULTS_QUEUE.into(),
            routing_key,
        };
        Topology {
            exchanges: vec![
                Exchange::new(dead, ExchangeKind::Fanout, None),
                Exchange::new(events, ExchangeKind::Topic, Some("amqp.events_exchange")),
            ],
            queues: vec![
                Queue::new(dead, quorum(), Some("amqp.dead_letter_queue")),
                Queue::new(&settings.queue, jobs, Some("amqp.queue")),
                Queue::new(RESULTS_QUEUE, quorum(), None),
            ],
            bindings: vec![
                Binding {
                    exchange: dead.clone(),
                    queue: dead.clone(),
                    routing_key: "",
                },
                to_results("job.succeeded"),
                to_results("job.failed"),
            ],
        }
    }

    /// Makes sure that everything a worker needs is there, without changing the broker.
    pub(super) async fn check(&self, connection: &Connection) -> Result<()> {
        let channel = connection
            .create_channel()
            .await
            .map_err(|error| down(&error))?;
        for exchange in self
            .exchanges
            .iter()
            .filter(|exchange| exchange.setting.is_some())
        {
            exchange.declare(&channel, true).await?;
        }
        for queue in self.queues.iter().filter(|queue| queue.setting.is_some()) {
            queue.declare(&channel, true).await?;
        }
        channel
            .close(200, "done".into())
            .await
            .map_err(|error| down(&error))
    }

    /// Creates what is missing.
    pub(super) async fn declare(&self, connection: &Connection) -> Result<()> {
        let channel = connection
            .create_channel()
            .await
            .map_err(|error| down(&error))?;
        for exchange in &self.exchanges {
            exchange.declare(&channel, false).await?;
        }
        for queue in &self.queues {
            queue.declare(&channel, false).await?;
        }
        for binding in &self.bindings {
            let bound = channel.queue_bind(
                binding.queue.as_str().into(),
                binding.exchange.as_str().into(),
                binding.routing_key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            bound
                .await
                .map_err(|error| complaint("binding of", &binding.queue, None, &error))?;
        }
        Ok(())
    }
}

impl Exchange {
    fn new(name: &str, kind: ExchangeKind, setting: Option<&'static str>) -> Self {
        Exchange {
            name: name.into(),
            kind,
            setting,
        }
    }

    async fn declare(&self, channel: &Channel, passive: bool) -> Result<()> {
        let options = ExchangeDeclareOptions {
            passive,
            durable: true,
            ..Default::default()
        };
        let name = self.name.as_str().into();
        let declared =
            channel.exchange_declare(name, self.kind.clone(), options, FieldTable::default());
        declared
            .await
            .map_err(|error| complaint("exchange", &self.name, self.setting, &error))
    }
}

impl Queue {
    fn new(
        name: &str,
        arguments: Vec<(&'static str, Argument)>,
        setting: Option<&'static str>,
    ) -> Self {
        Queue {
            name: name.into(),
            arguments,
            setting,
        }
    }

    async fn declare(&self, channel: &Channel, passive: bool) -> Result<()> {
        let options = QueueDeclareOptions {
            passive,
            durable: true,
            ..Default::default()
        };
        let mut table = FieldTable::default();
        for (name, argument) in &self.arguments {
            let value = match argument {
                Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
                Argument::Number(number) => AMQPValue::LongLongInt(*number),
            };
            table.insert((*name).into(), value);
        }
        let declared = channel
            .queue_declare(self.name.as_str().into(), options, table)
            .await;
        declared
            .map(drop)
            .map_err(|error| complaint("queue", &self.name, self.setting, &error))
    }
}

fn complaint(what: &str, name: &str, setting: Option<&str>, error: &lapin::Error) -> Fault {
    let (code, message) = match reply_code(error) {
        Some(404) => (
            Code::TopologyMissing,
            format!("{what} {name} does not exist: {error}"),
        ),
        Some(406) => (
            Code::TopologyMissing,
            format!("{what} {name} has other properties: {error}"),
        ),
        Some(403) => (
            Code::Settings,
            format!("{what} {name}: access refused: {error}"),
        ),
        _ => (Code::BrokerDown, format!("{what} {name}: {error}")),
    };
    Fault::new(code, message).at(setting.unwrap_or("amqp.urls"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kind(kind: &ExchangeKind) -> &'static str {
        match kind {
            ExchangeKind::Fanout => "fanout",
            ExchangeKind::Topic => "topic",
            _ => unreachable!(),
        }
    }

    fn definitions(topology: &Topology) -> Value {
        let exchanges: Vec<_> = topology.exchanges.iter().map(|exchange| json!({
            "name": exchange.name, "vhost": "/", "type": kind(&exchange.kind), "durable": true,
            "auto_delete": false, "internal": false, "arguments": {},
        })).collect();
        let queues: Vec<_> = topology
            .queues
            .iter()
            .map(|queue| {
                let arguments = queue.arguments.iter().map(|(name, argument)| {
                    let value = match argument {
                        Argument::Text(text) => json!(text),
                        Argument::Number(number) => json!(number),
                    };
                    ((*name).to_owned(), value)
                });
                json!({
                    "name": queue.name, "vhost": "/", "durable": true, "auto_delete": false,
                    "arguments": arguments.collect::<serde_json::Map<_, _>>(),
                })
            })
            .collect();
        let bindings: Vec<_> = topology.bindings.iter().map(|binding| json!({
            "source": binding.exchange, "vhost": "/", "destination": binding.queue,
            "destination_type": "queue", "routing_key": binding.routing_key, "arguments": {},
        })).collect();
        json!({
            "vhosts": [{ "name": "/" }],
            "exchanges": exchanges, "queues": queues, "bindings": bindings,
        })
    }

    #[test]
    fn definitions_file_says_the_same() {
        let flags = crate::settings::Flags::default();
        let settings = crate::settings::Settings::from_parts("", &Default::default(), &flags);
        let expected = definitions(&Topology::new(&settings.unwrap().amqp));
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/deploy/rabbitmq/definitions.json"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let actual: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(actual, expected, "expected {expected:#}");
    }
}
