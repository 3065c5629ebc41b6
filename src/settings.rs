//! Settings: what was typed becomes what the modules get.
//!
//! `ciphermill.toml`, `CIPHERMILL_SECTION__KEY` variables and flags come in (flags win over
//! environment over file), one validated [`Settings`] goes out. This is the only module that reads
//! the environment; the AWS SDK reads its own `AWS_*` variables. Unknown keys are an error, never
//! ignored.

mod engine;
mod media;
pub mod memory;
mod raw;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fault::{Code, Fault, Result};

pub use raw::Flags;

/// Everything the program can be told, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The worker itself.
    pub worker: Worker,
    /// RabbitMQ.
    pub amqp: Amqp,
    /// The object store.
    pub s3: S3,
    /// The local keyring.
    pub keyring: Keyring,
    /// Cipher engines.
    pub engine: Engine,
    /// Thumbnails, captions and artwork.
    pub media: Media,
    /// Logging.
    pub log: Log,
}

/// `[worker]`
#[derive(Clone, Debug)]
pub struct Worker {
    /// Jobs that run at once.
    pub slots: usize,
    /// Bytes that all buffers together may take.
    pub budget_bytes: usize,
    /// Time that running jobs get to finish after SIGTERM.
    pub drain: Duration,
    /// Attempts after which a transient failure becomes permanent; keep it below the broker's
    /// delivery limit.
    pub max_attempts: u32,
    /// Address of the live, ready and metrics endpoints; none when unset.
    pub admin_listen: Option<std::net::SocketAddr>,
    /// The only folder that `file://` URLs from a broker may name.
    pub file_root: Option<PathBuf>,
    /// Buckets that jobs may name; all when unset.
    pub allow_buckets: Option<Vec<String>>,
    /// KMS keys (id, ARN or alias) that jobs may name; all when unset.
    pub allow_kms_keys: Option<Vec<String>>,
    /// Queues that `reply_to` may name; none when unset.
    pub allow_reply_queues: Vec<String>,
    /// Prefix of ledger and probe objects, in the first output's bucket or folder.
    pub ledger_prefix: String,
    /// Age after which the reaper aborts an upload that a crashed job left, found through its
    /// ledger.
    pub reap_after: Duration,
}

/// `[amqp]`
#[derive(Clone, Debug)]
pub struct Amqp {
    /// Broker URLs, tried in turn: `amqp://user:password@host:port/vhost` or `amqps://`.
    pub urls: Vec<String>,
    /// Queue that jobs arrive on.
    pub queue: String,
    /// Topic exchange that events go to.
    pub events_exchange: String,
    /// Dead-letter exchange and queue.
    pub dead_letter_queue: String,
    /// The broker's consumer_timeout: a delivery must be settled within it.
    pub consumer_timeout: Duration,
    /// Extra certificate authority for `amqps://` (PEM).
    pub ca_file: Option<PathBuf>,
}

/// `[s3]`
#[derive(Clone, Copy, Debug)]
pub struct S3 {
    /// Which S3-compatible store this is.
    pub flavour: Flavour,
    /// Bucket in the path instead of the host name; the flavour decides when unset.
    pub path_style: Option<bool>,
    /// Plaintext bytes of one part.
    pub part_bytes: usize,
    /// Requests that one job keeps in flight in each direction.
    pub requests_in_flight: usize,
}

/// An S3-compatible store's quirks, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// Amazon S3.
    Aws,
    /// MinIO.
    Minio,
    /// Ceph RADOS Gateway.
    Ceph,
    /// Garage.
    Garage,
    /// Cloudflare R2.
    R2,
    /// Unknown: abilities are probed before they are relied upon.
    #[default]
    Generic,
}

/// `[keyring]`
#[derive(Clone, Debug)]
pub struct Keyring {
    /// The keyring file.
    pub file: PathBuf,
}

/// `[engine]`
#[derive(Clone, Debug)]
pub struct Engine {
    /// Which engine ciphers.
    pub choice: EngineChoice,
    /// Cipher threads; one per core when 0.
    pub threads: usize,
    /// Whether each cipher thread stays on a core of its own.
    pub pin: bool,
    /// The CPU kernel by name; the fastest one when `None`.
    pub kernel: Option<String>,
    /// Whether all that a GPU made is computed again, and not a sample.
    pub verify_all: bool,
    /// Threads that serve a GPU; by the cores when 0.
    pub gpu_threads: usize,
    /// Bytes of text in each slot of a GPU's ring.
    pub gpu_slot_bytes: usize,
    /// How long a batch may take on a GPU, in seconds.
    pub gpu_timeout_seconds: u64,
}

/// Engines that can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// Measured choice.
    #[default]
    Auto,
    /// CPU only.
    Cpu,
    /// The GPU, for all that it can do.
    Gpu,
}

/// `[media]`
#[derive(Clone, Debug)]
pub struct Media {
    /// Whether parsers must have namespaces of their own: less is an error then.
    pub full_protection: bool,
    /// The ffmpeg program.
    pub ffmpeg: PathBuf,
    /// The ffprobe program.
    pub ffprobe: PathBuf,
    /// The bubblewrap program.
    pub bubblewrap: PathBuf,
    /// The oldest ffmpeg that is used: major, minor, patch.
    pub oldest_ffmpeg: (u32, u32, u32),
    /// Private memory of a job's parsers, in the budget.
    pub decoder_bytes: usize,
    /// Plaintext of a job that is kept in memory for its parsers, in the budget.
    pub plaintext_bytes: usize,
    /// Finished companions of a job, kept until it publishes, in the budget.
    pub output_bytes: usize,
    /// How long one parser may take.
    pub limit: Duration,
    /// Sandboxes that stand ready once the first job needed one.
    pub warm: usize,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// One JSON object per line instead of text.
    pub json: bool,
    /// Filter in `tracing` syntax, where one was given; RUST_LOG wins.
    pub level: Option<String>,
}

impl Settings {
    /// Reads file, environment and flags. `file` must exist when given; `./ciphermill.toml` is read
    /// if it is there.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Settings> {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let file = file.map(Path::to_path_buf).or_else(|| {
            let default = PathBuf::from("ciphermill.toml");
            default.exists().then_some(default)
        });
        let text = match &file {
            Some(path) => std::fs::read_to_string(path).map_err(|e| {
                Fault::new(
                    Code::Settings,
                    format!("cannot read {}: {e}", path.display()),
                )
                .at("--config")
            })?,
            None => String::new(),
        };
        Settings::from_parts(&text, &environment, flags)
    }

    /// The same from given text and variables (for tests).
    pub fn from_parts(
        text: &str,
        environment: &BTreeMap<String, String>,
        flags: &Flags,
    ) -> Result<Settings> {
        raw::read(text, environment, flags)?.validate()
    }
}

impl Flavour {
    /// Every flavour with its name in settings.
    pub const NAMES: [(&'static str, Flavour); 6] = [
        ("aws", Flavour::Aws),
        ("minio", Flavour::Minio),
        ("ceph", Flavour::Ceph),
        ("garage", Flavour::Garage),
        ("r2", Flavour::R2),
        ("generic", Flavour::Generic),
    ];

    /// Whether the bucket stands in the path by default.
    pub fn path_style(self) -> bool {
        !matches!(self, Flavour::Aws | Flavour::R2)
    }

    /// Whether `If-None-Match` on writes is known to work (`None`: must be probed).
    pub fn conditional_writes(self) -> Option<bool> {
        match self {
            Flavour::Aws | Flavour::Minio | Flavour::R2 => Some(true),
            Flavour::Garage => Some(false),
            Flavour::Ceph | Flavour::Generic => None,
        }
    }

    /// Whether all parts of an upload but the last must have one size.
    pub fn wants_equal_parts(self) -> bool {
        self == Flavour::R2
    }

    /// Whether uploads can carry a CRC-64/NVME over the whole object.
    pub fn full_object_crc64(self) -> bool {
        matches!(self, Flavour::Aws | Flavour::Minio | Flavour::R2)
    }
}
