//! What every test here needs: endpoints from the environment, pipelines against them, the captured log, and bytes.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, Region, RequestChecksumCalculation};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciphermill::aws::{self, Aws};
use ciphermill::buffers::Pool;
use ciphermill::clock::SystemClock;
use ciphermill::engine::cpu::CpuEngine;
use ciphermill::keys::Keys;
use ciphermill::media::Media;
use ciphermill::pipeline::Pipeline;
use ciphermill::plan::Limits;
use ciphermill::settings::{self, Flags, Flavour, Settings};
use ciphermill::store::Stores;
use ciphermill::store::files::Access;
use ciphermill_cipher::cpu;
use serde_json::{Value, json};

use crate::proxy::Proxy;

pub const MIB: usize = 1 << 20;

/// A variable that `make test` sets. A missing one fails the test: nothing here is skipped.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: this test needs real parts. Run `make test`, which starts them")
    })
}

/// A service that speaks AWS's protocols.
#[derive(Clone)]
pub struct Endpoint {
    pub url: String,
    access: String,
    secret: String,
    pub flavour: Flavour,
}

pub fn garage() -> Endpoint {
    Endpoint {
        url: variable("CIPHERMILL_TEST_GARAGE"),
        access: variable("CIPHERMILL_TEST_GARAGE_KEY"),
        secret: variable("CIPHERMILL_TEST_GARAGE_SECRET"),
        flavour: Flavour::Garage,
    }
}

pub fn aws_double() -> Endpoint {
    Endpoint {
        url: variable("CIPHERMILL_TEST_AWS"),
        access: "test".into(),
        secret: "test".into(),
        flavour: Flavour::Aws,
    }
}

impl Endpoint {
    /// The same service, seen through the proxy.
    pub fn behind(&self, proxy: &Proxy) -> Endpoint {
        Endpoint {
            url: proxy.endpoint(),
            ..self.clone()
        }
    }

    pub fn addr(&self) -> SocketAddr {
        let addr = self.url.trim_start_matches("http://");
        addr.parse().expect("a loopback address")
    }

    pub async fn config(&self) -> aws_config::SdkConfig {
        let credentials = Credentials::new(&self.access, &self.secret, None, None, "test");
        let loader = aws::loader()
            .endpoint_url(&self.url)
            .credentials_provider(credentials)
            .region(Region::new("us-east-1"));
        loader.load().await
    }

    /// A client that knows nothing of ciphermill.
    pub async fn client(&self) -> Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config().await)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .build();
        Client::from_conf(config)
    }

    pub fn settings(&self) -> settings::S3 {
        settings::S3 {
            flavour: self.flavour,
            path_style: Some(true),
            part_bytes: 8 * MIB,
            requests_in_flight: 4,
        }
    }
}

/// What differs between the pipelines of these tests.
#[derive(Clone)]
pub struct Options {
    pub store: Endpoint,
    pub kms: Endpoint,
    pub part_bytes: usize,
    pub threads: usize,
    pub budget_bytes: usize,
    pub slots: usize,
    pub allow_kms: Option<Vec<String>>,
    /// How long a silent store is waited for.
    pub patience: Option<Duration>,
}

impl Options {
    pub fn on(store: Endpoint) -> Options {
        Options {
            store,
            kms: aws_double(),
            part_bytes: 8 * MIB,
            threads: 2,
            budget_bytes: 256 * MIB,
            slots: 2,
            allow_kms: None,
            patience: None,
        }
    }
}

pub async fn pipeline(options: &Options, dir: &std::path::Path) -> Pipeline {
    let text = format!(
        "[worker]\nbudget_bytes = {}",
        options.budget_bytes.max(64 * MIB)
    );
    let settings = Settings::from_parts(&text, &Default::default(), &Flags::default());
    let mut settings = settings.expect("good settings");
    settings.worker.budget_bytes = options.budget_bytes;
    let mut config = options.store.config().await;
    if let Some(patience) = options.patience {
        config = impatient(config, patience);
    }
    let kms = Aws::from_config(options.kms.config().await);
    Pipeline {
        stores: Stores::open(
            Aws::from_config(config),
            options.store.settings(),
            Access::Below(dir.into()),
        ),
        keys: Arc::new(Keys::new(kms, options.allow_kms.clone(), dir.join("ring"))),
        engine: Arc::new(CpuEngine::start(options.threads, false).expect("threads")),
        kernel: cpu::best(),
        clock: Arc::new(SystemClock),
        pool: Pool::new(options.budget_bytes),
        limits: Limits {
            part_bytes: options.part_bytes as u64,
            parts_in_flight: 4,
            slots: options.slots,
            budget_bytes: options.budget_bytes,
            ..Limits::from_settings(&settings)
        },
        media: Media::new(settings.media).launched_by(env!("CARGO_BIN_EXE_ciphermill").into()),
        worker: settings.worker,
        files: true,
    }
}

/// The same limits as always, but shorter, so that a test need not wait for them.
fn impatient(config: aws_config::SdkConfig, patience: Duration) -> aws_config::SdkConfig {
    let timeouts = aws_config::timeout::TimeoutConfig::builder()
        .connect_timeout(patience)
        .read_timeout(patience)
        .build();
    let stalls = aws_config::stalled_stream_protection::StalledStreamProtectionConfig::enabled()
        .grace_period(patience)
        .build();
    let config = config.into_builder();
    config
        .timeout_config(timeouts)
        .stalled_stream_protection(stalls)
        .build()
}

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Captured;

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&LOG).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Everything that ciphermill logs in this process goes where [`logged`] finds it.
pub fn capture_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let logs = tracing_subscriber::fmt().with_ansi(false);
        logs.with_env_filter("ciphermill=trace")
            .with_writer(|| Captured)
            .init();
    });
}

pub fn logged() -> Vec<u8> {
    lock(&LOG).clone()
}

pub fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn random(bytes: usize) -> Vec<u8> {
    let mut random = vec![0; bytes];
    ciphermill_cipher::secret::fill_random(&mut random).expect("randomness");
    random
}

/// Random bytes, quickly: the system's randomness would be the slowest stage.
pub fn noise(bytes: usize) -> Vec<u8> {
    let piece = random(bytes.min(MIB));
    let mut noise = Vec::with_capacity(bytes + MIB);
    while noise.len() < bytes {
        noise.extend_from_slice(&(noise.len() as u64).to_be_bytes());
        noise.extend_from_slice(&piece);
    }
    noise.truncate(bytes);
    noise
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A job with one input and these outputs.
pub fn job(id: &str, input: Value, outputs: Vec<Value>) -> Value {
    json!({"version": 1, "id": id, "input": input, "outputs": outputs})
}
