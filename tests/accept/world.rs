//! The world of the run: the program under test, its neighbours, data keys, and a folder that goes when the run ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::broker::Broker;
use crate::cases::CIPHERS;
use crate::checks::{Outcome, cannot};
use crate::proxy::Proxy;
use crate::store::Store;

/// Queues and exchange of this run.
pub const JOBS: &str = "accept.jobs";
pub const DEAD: &str = "accept.dead";
const EVENTS: &str = "accept.events";

/// One data key: known to the oracle in the clear, to ciphermill wrapped.
pub struct DataKey {
    pub hex: String,
    pub reference: Value,
}

/// A plaintext. Its file is gone once the store has it, if it is the big one.
pub struct Source {
    pub path: PathBuf,
    pub sha256: String,
}

pub struct World {
    pub quick: bool,
    pub proxy: Proxy,
    pub store: Store,
    pub broker: Broker,
    /// One for each of [`CIPHERS`].
    pub keys: Vec<DataKey>,
    /// By length.
    pub sources: BTreeMap<u64, Source>,
    pub garage: String,
    /// The program under test.
    pub bin: PathBuf,
    dir: tempfile::TempDir,
    amqp: String,
}

impl World {
    pub async fn new(quick: bool) -> Outcome<World> {
        let garage = variable("CIPHERMILL_TEST_GARAGE")?;
        let amqp = variable("CIPHERMILL_TEST_AMQP")?;
        let upstream = garage.trim_start_matches("http://");
        let upstream = upstream
            .parse()
            .map_err(cannot("read the store's address"))?;
        let mut world = World {
            quick,
            proxy: Proxy::http(upstream).await,
            store: Store::connect().await,
            broker: Broker::new(&amqp),
            keys: Vec::new(),
            sources: BTreeMap::new(),
            garage,
            dir: tempfile::tempdir().map_err(cannot("make a folder"))?,
            bin: variable("CIPHERMILL_TEST_BIN")?.into(),
            amqp,
        };
        let mut create = world.ciphermill(&world.garage);
        create.args(["keys", "create"]);
        finished("keys create", create, Duration::from_secs(20)).await?;
        for (name, bits) in CIPHERS {
            let key = world
                .wrap(&format!("{name}-{bits}"), bits as usize / 8)
                .await?;
            world.keys.push(key);
        }
        Ok(world)
    }

    /// A data key from the name it is for: the same in every run, which is all that a test needs.
    async fn wrap(&self, name: &str, bytes: usize) -> Outcome<DataKey> {
        let key = &crate::cases::digest(name)[..bytes];
        let file = self.path("key");
        std::fs::write(&file, key).map_err(cannot("write a key"))?;
        let mut wrap = self.ciphermill(&self.garage);
        wrap.args(["keys", "wrap", "--key-file"]).arg(&file);
        let line = finished("keys wrap", wrap, Duration::from_secs(20)).await?;
        let reference = serde_json::from_str(&line).map_err(cannot("read the wrapped key"))?;
        Ok(DataKey {
            hex: hex::encode(key),
            reference,
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program under test, with its settings; the store is at `endpoint`.
    pub fn ciphermill(&self, endpoint: &str) -> Command {
        self.ciphermill_as(&self.bin, endpoint)
    }

    /// The same by way of another program.
    pub fn ciphermill_as(&self, program: &Path, endpoint: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("CIPHERMILL_AMQP__URLS", &self.amqp)
            .env("CIPHERMILL_AMQP__QUEUE", JOBS)
            .env("CIPHERMILL_AMQP__DEAD_LETTER_QUEUE", DEAD)
            .env("CIPHERMILL_AMQP__EVENTS_EXCHANGE", EVENTS)
            .env("CIPHERMILL_S3__FLAVOUR", "garage")
            .env("CIPHERMILL_KEYRING__FILE", self.path("keyring"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Publishes these messages with `ciphermill submit`.
    pub async fn submit(&self, messages: &[(String, Value)]) -> Outcome<()> {
        let mut submit = self.ciphermill(&self.garage);
        submit.arg("submit");
        for (id, message) in messages {
            submit.arg(self.write(&format!("{id}.json"), &message.to_string())?);
        }
        let printed = finished("submit", submit, Duration::from_secs(60)).await?;
        let lines = printed.lines().count();
        if lines == messages.len() {
            Ok(())
        } else {
            Err(format!(
                "submit confirmed {lines} of {} jobs",
                messages.len()
            ))
        }
    }

    /// Writes a file into the run's folder.
    pub fn write(&self, name: &str, text: &str) -> Outcome<PathBuf> {
        let path = self.path(name);
        std::fs::write(&path, text).map_err(cannot("write a file"))?;
        Ok(path)
    }
}

/// Runs a program to its end: its standard output, or how it failed.
pub async fn finished(what: &str, mut command: Command, limit: Duration) -> Outcome<String> {
    let command = command.kill_on_drop(true).stdin(Stdio::null());
    let output = tokio::time::timeout(limit, command.output()).await;
    let output = output
        .map_err(|_| format!("{what}: not done after {limit:?}"))?
        .map_err(cannot(what))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "{what}: {}: {}",
            output.status,
            last_lines(&errors, 8)
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The end of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n     | ")
}

/// An environment variable of `parts.sh`.
pub fn variable(name: &str) -> Outcome<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set: use tests/accept/run.sh"))
}

/// The folder of this crate: where the tests' scripts are.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/support")
        .join(name)
}
