//! The way to a broker: the list of URLs, TLS, and the pace of trying again.
//!
//! Settings come in, one open connection goes out. Nothing here is retried, and no password is ever
//! logged.

use std::time::Duration;

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Connect, Connection, ConnectionProperties, ErrorKind};

use crate::fault::{Code, Fault, Result};
use crate::settings::Amqp;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const HEARTBEAT_SECONDS: u16 = 30;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The brokers of one cluster.
pub(super) struct Brokers {
    brokers: Vec<Broker>,
    tls: OwnedTLSConfig,
}

struct Broker {
    uri: AMQPUri,
    label: String,
}

/// Capped exponential back-off with full jitter, so that a fleet does not come back all at once.
pub(super) struct Backoff {
    ceiling: Duration,
}

impl Brokers {
    /// Reads the URLs and the certificate authority.
    pub(super) fn new(settings: &Amqp) -> Result<Self> {
        let brokers = settings
            .urls
            .iter()
            .map(|url| Broker::parse(url))
            .collect::<Result<_>>()?;
        let cert_chain = match &settings.ca_file {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                let message = format!("cannot read {}: {error}", path.display());
                Fault::new(Code::Settings, message).at("amqp.ca_file")
            })?),
            None => None,
        };
        Ok(Brokers {
            brokers,
            tls: OwnedTLSConfig {
                identity: None,
                cert_chain,
            },
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.brokers.len()
    }

    /// The URL without its password; `turn` counts round and round.
    pub(super) fn label(&self, turn: usize) -> &str {
        &self.brokers[turn % self.brokers.len()].label
    }

    /// Opens a connection to the broker whose turn it is.
    pub(super) async fn connect(&self, turn: usize, name: &str) -> Result<Connection> {
        let broker = &self.brokers[turn % self.brokers.len()];
        let runtime = lapin::runtime::default_runtime().map_err(|error| down(&error))?;
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let attempt = broker
            .uri
            .clone()
            .connect_with_config(properties, self.tls.clone(), runtime);
        match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) if refused(&error) => {
                let message = format!("{} refuses access: {error}", broker.label);
                Err(Fault::new(Code::Settings, message).at("amqp.urls"))
            }
            Ok(Err(error)) => {
                let message = format!("cannot connect to {}: {error}", broker.label);
                Err(Fault::new(Code::BrokerDown, message))
            }
            Err(_) => {
                let message = format!("{} does not answer in time", broker.label);
                Err(Fault::new(Code::BrokerDown, message))
            }
        }
    }

    /// Opens a connection to the first broker that answers, trying each one once.
    pub(super) async fn connect_any(&self, name: &str) -> Result<Connection> {
        let first = random_below(self.len() as u64) as usize;
        let mut last = Fault::new(Code::Settings, "no broker is configured").at("amqp.urls");
        for turn in first..first + self.len() {
            match self.connect(turn, name).await {
                Ok(connection) => return Ok(connection),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }
}

impl Broker {
    fn parse(url: &str) -> Result<Self> {
        let label = redact(url);
        let mut uri: AMQPUri = url.parse().map_err(|_| {
            let message = format!("{label} is not an AMQP URL");
            Fault::new(Code::Settings, message).at("amqp.urls")
        })?;
        // The parser reads an IPv6 address as no host at all and would go to localhost.
        if let Ok(Some(url::Host::Ipv6(host))) =
            url::Url::parse(url).map(|url| url.host().map(|host| host.to_owned()))
        {
            uri.authority.host = host.to_string();
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        Ok(Broker { uri, label })
    }
}

impl Backoff {
    /// Starts with the shortest pause.
    pub(super) fn new() -> Self {
        Backoff {
            ceiling: FIRST_PAUSE,
        }
    }

    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = (ceiling * 2).min(LONGEST_PAUSE);
        Duration::from_millis(random_below(ceiling.as_millis() as u64).max(20))
    }
}

/// The URL with its password replaced, fit for logs.
pub fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "***".into();
    };
    // A password may itself hold `@` or `/` when its author forgot to escape them: the last `@`
    // decides.
    match rest.rsplit_once('@') {
        Some((user, place)) => {
            let user = user.split([':', '/']).next().unwrap_or_default();
            format!("{scheme}://{user}:***@{place}")
        }
        None => url.to_owned(),
    }
}

/// A lost or failing connection.
pub(super) fn down(error: &lapin::Error) -> Fault {
    Fault::new(Code::BrokerDown, error.to_string())
}

/// The AMQP reply code that the broker gave, if it was the broker who complained.
pub(super) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// A number below `bound`, for jitter only.
pub(super) fn random_below(bound: u64) -> u64 {
    getrandom::u64().unwrap_or(bound / 2) % bound.max(1)
}

fn refused(error: &lapin::Error) -> bool {
    matches!(reply_code(error), Some(403 | 530))
        || matches!(error.kind(), ErrorKind::AuthProviderError(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_redacted() {
        for (url, shown) in [
            ("amqp://host:5672/%2f", "amqp://host:5672/%2f"),
            ("amqp://me:secret@host/vhost", "amqp://me:***@host/vhost"),
            ("amqps://me:se@c/ret@host", "amqps://me:***@host"),
            ("amqp://se/cret@host", "amqp://se:***@host"),
            ("secret", "***"),
        ] {
            assert_eq!(redact(url), shown);
        }
    }

    #[test]
    fn urls_keep_their_heartbeat_and_host() {
        let broker = Broker::parse("amqp://a:b@[::1]:5673/v?heartbeat=5").unwrap();
        assert_eq!(broker.uri.authority.host, "::1");
        assert_eq!(broker.uri.query.heartbeat, Some(5));
        let broker = Broker::parse("amqp://127.0.0.1").unwrap();
        assert_eq!(broker.uri.authority.host, "127.0.0.1");
        assert_eq!(broker.uri.query.heartbeat, Some(HEARTBEAT_SECONDS));
        assert_eq!(broker.uri.vhost, "/");
        let fault = Broker::parse("http://me:secret@host").err().unwrap();
        assert!(!fault.to_string().contains("secret"));
    }

    #[test]
    fn pauses_grow_to_a_cap() {
        let mut backoff = Backoff::new();
        for _ in 0..20 {
            assert!(backoff.pause() <= LONGEST_PAUSE);
        }
        assert_eq!(backoff.ceiling, LONGEST_PAUSE);
    }
}
