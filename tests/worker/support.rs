//! What the tests share: a bench with queues, buckets, keys and a folder of its own, from which programs are
//! started. When the bench is taken down, everything that left them is searched for the keys (P8).

pub mod broker;
pub mod process;
pub mod secrets;
pub mod store;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciphermill::keys::keyring::Keyring;
use ciphermill_cipher::secret::Secret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::broker::Broker;
use self::process::{Program, Text};
use self::secrets::Secrets;
use self::store::S3;

/// Longest wait for anything that should happen.
pub const SOON: Duration = Duration::from_secs(60);
pub const MIB: usize = 1 << 20;

/// A setting of the test run. Its absence is a failure, never a reason to skip.
pub fn variable(name: &str) -> String {
    let help = "these tests need RabbitMQ, Garage and the AWS double: run `make test`";
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; {help}"))
}

/// Waits until `holds`.
pub async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    assert!(becomes(SOON, holds).await, "did not happen: {what}");
}

/// Whether `holds` comes true in time.
pub async fn becomes(within: Duration, mut holds: impl AsyncFnMut() -> bool) -> bool {
    let end = Instant::now() + within;
    loop {
        if holds().await {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `http://HOST:PORT` or `amqp://user@HOST:PORT/vhost` to its address.
pub fn address(url: &str) -> SocketAddr {
    let url = url::Url::parse(url).unwrap();
    let host = url.host_str().unwrap();
    format!("{host}:{}", url.port().unwrap()).parse().unwrap()
}

/// The first 16 hex digits of the SHA-256: the last piece of an end event's id.
pub fn short_digest(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..8])
}

/// Bytes that look random and are the same every time.
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// Queues, buckets, keys and a folder for one test.
pub struct Bench {
    pub name: String,
    pub dir: TempDir,
    pub broker: Broker,
    pub s3: S3,
    pub ring: Keyring,
    pub secrets: Secrets,
    /// Settings that every program of this bench gets.
    pub env: BTreeMap<String, String>,
    /// What programs printed and answered.
    printed: std::sync::Mutex<Vec<Text>>,
}

impl Bench {
    pub async fn new(test: &str) -> Bench {
        Bench::with_delivery_limit(test, 20).await
    }

    pub async fn with_delivery_limit(test: &str, limit: i64) -> Bench {
        let name = unique(test);
        let broker = Broker::declare(&name, limit).await;
        Bench::around(name, broker).await
    }

    /// With a broker that was prepared elsewhere.
    pub async fn around(name: String, broker: Broker) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let s3 = S3::connect();
        s3.create_bucket(&format!("{name}-in")).await;
        s3.create_bucket(&format!("{name}-out")).await;
        let file = dir.path().join("keyring");
        let ring = Keyring::create(&file).unwrap();
        let secrets = Secrets::default();
        let parsed: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        secrets.add(&STANDARD.decode(parsed["master"].as_str().unwrap()).unwrap());
        let env = settings(&broker, &file);
        Bench {
            name,
            dir,
            broker,
            s3,
            ring,
            secrets,
            env,
            printed: Default::default(),
        }
    }

    /// `bucket/key` in the bucket that is read from.
    pub fn inn(&self, key: &str) -> String {
        format!("{}-in/{key}", self.name)
    }

    /// `bucket/key` in the bucket that is written to.
    pub fn out(&self, key: &str) -> String {
        format!("{}-out/{key}", self.name)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.env.insert(name.into(), value.to_string());
    }

    /// A key that the search knows, and its reference in a job.
    pub fn key(&self, bytes: usize) -> (Vec<u8>, Value) {
        let key = Secret::random(bytes).unwrap().expose().to_vec();
        let reference = self.wrap(&key, &[]);
        (key, reference)
    }

    pub fn wrap(&self, key: &[u8], context: &[(&str, &str)]) -> Value {
        self.secrets.add(key);
        let context: BTreeMap<String, String> = context
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        let wrapped = self
            .ring
            .wrap_key(&Secret::new(key.to_vec()), &context)
            .unwrap();
        let mut key = json!({ "wrapped": STANDARD.encode(wrapped) });
        if !context.is_empty() {
            key["context"] = json!(context);
        }
        json!({ "keyring": key })
    }

    /// A job that encrypts `bucket/key` to `bucket/key`.
    pub fn job(&self, id: &str, from: &str, to: &str, encryption: Value) -> Value {
        json!({ "version": 1, "id": id, "input": { "url": format!("s3://{from}") },
            "outputs": [ { "url": format!("s3://{to}"), "encryption": encryption } ] })
    }

    /// The usual one: cobblestone under a fresh keyring key.
    pub fn cobblestone(&self, id: &str, from: &str, to: &str) -> Value {
        let (_, key) = self.key(32);
        self.job(id, from, to, json!({ "mode": "cobblestone", "key": key }))
    }

    pub async fn publish(&self, job: &Value) {
        self.broker.publish(job.to_string().as_bytes()).await;
    }

    /// Starts `ciphermill` with these arguments.
    pub fn start(&self, arguments: &[&str], input: &[u8]) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ciphermill"));
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_clear()
            .envs(&self.env);
        let program = Program::start(command, input);
        let mut printed = self.printed.lock().unwrap();
        printed.extend([program.out.clone(), program.err.clone()]);
        program
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> process::Ended {
        self.start(arguments, b"").ended_now(SOON)
    }

    /// A worker that takes jobs by now.
    pub async fn worker(&self, arguments: &[&str]) -> Worker<'_> {
        let worker = self.launch(arguments).await;
        until("the worker starts", async || {
            worker.program.logged("worker started").is_some()
        })
        .await;
        worker
    }

    /// A worker whose admin port answers by now.
    pub async fn launch(&self, arguments: &[&str]) -> Worker<'_> {
        let program = self.start(&[&["work"], arguments].concat(), b"");
        until("the admin port opens", async || {
            program.logged("admin endpoints").is_some()
        })
        .await;
        let line = program.logged("admin endpoints").unwrap();
        let admin = line["address"].as_str().unwrap().parse().unwrap();
        Worker {
            program,
            admin,
            bench: self,
        }
    }

    /// Keeps a text for the search.
    pub fn note(&self, bytes: &[u8]) {
        let text = Text::default();
        text.add(bytes);
        self.printed.lock().unwrap().push(text);
    }

    /// Where keys were found in all that left the programs.
    pub fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        for text in self.printed.lock().unwrap().iter() {
            leaks.extend(self.secrets.found_in(&text.bytes()));
        }
        for news in self.broker.events() {
            leaks.extend(self.secrets.found_in(&news.raw));
        }
        leaks
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.secrets.count() > 0);
            let leaks = self.leaks();
            assert!(leaks.is_empty(), "P8: {leaks:?}");
        }
    }
}

/// A worker and its admin port.
pub struct Worker<'a> {
    pub program: Program,
    admin: SocketAddr,
    bench: &'a Bench,
}

impl Worker<'_> {
    /// Status and body of an admin page.
    pub async fn page(&self, path: &str) -> (u16, String) {
        let Ok(mut stream) = tokio::net::TcpStream::connect(self.admin).await else {
            return (0, String::new());
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        self.bench.note(&answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.unwrap_or(0), answer)
    }

    /// The value of a metric, by its name with labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, page) = self.page("/metrics").await;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line?.trim().parse().ok()
    }

    /// Waits for the end.
    pub async fn ended(self) -> process::Ended {
        self.program.ended(SOON).await
    }
}

fn unique(test: &str) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("{test}-{}", &id[..8])
}

fn settings(broker: &Broker, keyring: &std::path::Path) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
    set("PATH", std::env::var("PATH").unwrap_or_default());
    set("HOME", keyring.parent().unwrap().display().to_string());
    set("CIPHERMILL_AMQP__URLS", variable("CIPHERMILL_TEST_AMQP"));
    set("CIPHERMILL_AMQP__QUEUE", broker.queue.clone());
    set("CIPHERMILL_AMQP__EVENTS_EXCHANGE", broker.exchange.clone());
    set("CIPHERMILL_AMQP__DEAD_LETTER_QUEUE", broker.dead.clone());
    set("CIPHERMILL_KEYRING__FILE", keyring.display().to_string());
    set("CIPHERMILL_LOG__FORMAT", "json".into());
    set("CIPHERMILL_WORKER__ADMIN_LISTEN", "127.0.0.1:0".into());
    set("CIPHERMILL_WORKER__BUDGET_BYTES", (128 * MIB).to_string());
    set("CIPHERMILL_WORKER__SLOTS", "2".into());
    set("CIPHERMILL_ENGINE__THREADS", "1".into());
    set("CIPHERMILL_S3__FLAVOUR", "garage".into());
    set("CIPHERMILL_S3__PART_BYTES", (5 * MIB).to_string());
    set("CIPHERMILL_S3__REQUESTS_IN_FLIGHT", "2".into());
    set("AWS_ENDPOINT_URL_S3", variable("CIPHERMILL_TEST_GARAGE"));
    set("AWS_ENDPOINT_URL_KMS", variable("CIPHERMILL_TEST_AWS"));
    set("AWS_ACCESS_KEY_ID", variable("CIPHERMILL_TEST_GARAGE_KEY"));
    set(
        "AWS_SECRET_ACCESS_KEY",
        variable("CIPHERMILL_TEST_GARAGE_SECRET"),
    );
    set("AWS_REGION", "us-east-1".into());
    set("AWS_EC2_METADATA_DISABLED", "true".into());
    env
}
