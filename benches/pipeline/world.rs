//! The surroundings of the run: the parts of `parts.sh`, the program under measurement, its data keys, and a folder
//! that goes when the run ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::jobs::MODES;
use crate::process::finished;
use crate::settings::Settings;
use crate::store::Store;
use crate::tools::Tools;
use crate::{Outcome, cannot, front};

/// Queues and exchange of this run.
pub const JOBS: &str = "bench.jobs";
pub const DEAD: &str = "bench.dead";
pub const EVENTS: &str = "bench.events";

/// A data key: in the clear for the check, wrapped for the jobs.
pub struct DataKey {
    pub hex: String,
    pub file: PathBuf,
    pub reference: Value,
}

/// How a client reaches the store.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// In tables: `http` or `TLS`.
    pub name: &'static str,
    pub url: String,
    /// The certificate authority that a client must know.
    pub ca: Option<PathBuf>,
}

pub struct World {
    pub store: Store,
    pub tools: Tools,
    pub amqp: String,
    /// By the mode's name.
    pub keys: BTreeMap<&'static str, DataKey>,
    pub http: Endpoint,
    pub tls: Endpoint,
    pub upstream: SocketAddr,
    parts: PathBuf,
    folder: tempfile::TempDir,
}

impl World {
    pub async fn new(settings: &Settings) -> Outcome<World> {
        let garage = variable("CIPHERMILL_TEST_GARAGE")?;
        let upstream = garage.trim_start_matches("http://").parse();
        let upstream = upstream.map_err(cannot("read the store's address"))?;
        let folder = tempfile::tempdir().map_err(cannot("make a folder"))?;
        let certificates = PathBuf::from(variable("CIPHERMILL_TEST_CA")?);
        let front = front::start(upstream, &certificates).await?;
        let mut world = World {
            store: Store::connect(&variable("CIPHERMILL_TEST_GARAGE_ADMIN")?).await?,
            tools: Tools::find(folder.path(), settings).await?,
            amqp: variable("CIPHERMILL_TEST_AMQP")?,
            keys: BTreeMap::new(),
            http: Endpoint {
                name: "http",
                url: garage,
                ca: None,
            },
            tls: Endpoint {
                name: "TLS",
                url: format!("https://localhost:{}", front.port()),
                ca: Some(certificates),
            },
            upstream,
            parts: variable("CIPHERMILL_TEST_PARTS")?.into(),
            folder,
        };
        finished("keys create", world.ciphermill_with(&["keys", "create"])).await?;
        for mode in MODES {
            let key = world.make_key(mode).await?;
            world.keys.insert(mode, key);
        }
        Ok(world)
    }

    async fn make_key(&self, mode: &str) -> Outcome<DataKey> {
        let key = random_bytes::<32>()?;
        let file = self.path(&format!("{mode}.key"));
        std::fs::write(&file, key).map_err(cannot("write a key"))?;
        let mut wrap = self.ciphermill_with(&["keys", "wrap", "--key-file"]);
        wrap.arg(&file);
        let line = finished("keys wrap", wrap).await?;
        let reference = serde_json::from_str(&line).map_err(cannot("read the wrapped key"))?;
        Ok(DataKey {
            hex: hex::encode(key),
            file,
            reference,
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program under measurement, for an errand of its own.
    pub fn ciphermill_with(&self, arguments: &[&str]) -> Command {
        let mut command = self.ciphermill(&self.http);
        command.args(arguments);
        command
    }

    /// The program under measurement, with its settings.
    pub fn ciphermill(&self, endpoint: &Endpoint) -> Command {
        let mut command = client(Path::new(env!("CARGO_BIN_EXE_ciphermill")), endpoint);
        command
            .current_dir(self.folder())
            .env("CIPHERMILL_AMQP__URLS", &self.amqp)
            .env("CIPHERMILL_AMQP__QUEUE", JOBS)
            .env("CIPHERMILL_AMQP__DEAD_LETTER_QUEUE", DEAD)
            .env("CIPHERMILL_AMQP__EVENTS_EXCHANGE", EVENTS)
            .env("CIPHERMILL_S3__FLAVOUR", "garage")
            .env("CIPHERMILL_KEYRING__FILE", self.path("keyring"))
            .env_remove("RUST_LOG");
        command
    }

    /// The store with nothing in it: Garage keeps a block of which there is another copy only once, and what was
    /// deleted for ten minutes.
    pub async fn empty_store(&self) -> Outcome<()> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/parts.sh");
        let mut empty = Command::new(script);
        empty.arg("empty-garage").arg(&self.parts);
        finished("empty the store", empty).await.map(drop)
    }

    /// Length of all blocks that the store holds.
    pub fn stored_bytes(&self) -> u64 {
        file_bytes(&self.parts.join("garage/data"))
    }

    /// CPU time of the store so far.
    pub fn store_cpu_seconds(&self) -> f64 {
        let note = std::fs::read_to_string(self.parts.join("garage.pid")).unwrap_or_default();
        let pid = note
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        pid.map_or(f64::NAN, crate::process::cpu_seconds)
    }
}

/// Length of all files below a folder.
fn file_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(facts) if facts.is_dir() => file_bytes(&entry.path()),
        Ok(facts) => facts.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// A client of the store by the AWS SDK's variables. Credentials and region come from our own environment.
pub fn client(program: &Path, endpoint: &Endpoint) -> Command {
    let mut command = Command::new(program);
    command.env("AWS_ENDPOINT_URL", &endpoint.url);
    if let Some(ca) = &endpoint.ca {
        // Rust and Go look at the first, the AWS CLI at the second.
        command.env("SSL_CERT_FILE", ca).env("AWS_CA_BUNDLE", ca);
    }
    command
}

/// An environment variable of `parts.sh`.
pub fn variable(name: &str) -> Outcome<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set: use make bench-e2e"))
}

pub fn random_bytes<const N: usize>() -> Outcome<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(cannot("get random bytes"))?;
    Ok(bytes)
}
