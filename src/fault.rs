//! Faults: what can go wrong, said once.
//!
//! Every module reports failure as a [`Fault`]: a stable [`Code`], a message that says what happened,
//! and, where there is one, the JSON pointer or setting at fault. This file holds the only table
//! that turns a code into a class (which decides how a message is settled), an exit code and a help
//! text, and maps the errors of the crates to codes. It imports no other module, and no fault ever
//! carries key bytes.

use std::fmt;

/// Result of anything that can fail in this program.
pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// How the worker must treat a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Trying again cannot help: failure event, then the dead-letter queue.
    Permanent,
    /// Trying again may help: back to the queue, up to `max_attempts`.
    Transient,
    /// Something the worker needs is down: stop consuming, keep the job, try again; no attempt is
    /// burnt.
    Dependency,
    /// The worker is stopping: the job goes back to the queue untouched.
    Shutdown,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $class:ident, $exit:literal, $help:literal;)+) => {
        /// A stable failure code. Codes are part of the contract with producers: they are never
        /// renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $help] $name),+ }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$name),+];

            /// The code as it stands in events, logs and metrics.
            pub const fn as_str(self) -> &'static str { match self { $(Code::$name => $text),+ } }

            /// What the worker does with a job that failed this way.
            pub const fn class(self) -> Class { match self { $(Code::$name => Class::$class),+ } }

            /// The process exit code when this is what ended a verb (sysexits.h where one fits).
            pub const fn exit_code(self) -> u8 { match self { $(Code::$name => $exit),+ } }

            /// What the reader can do about it.
            pub const fn help(self) -> &'static str { match self { $(Code::$name => $help),+ } }
        }
    };
}

codes! {
    // The message
    MessageTooLarge = "message_too_large", Permanent, 65,
        "send references, not payloads: a job message is at most 256 KiB";
    InvalidJson = "invalid_json", Permanent, 65,
        "the message must be one JSON object in UTF-8; `ciphermill check` shows where it breaks";
    UnknownField = "unknown_field", Permanent, 65,
        "remove the field or correct its spelling; `ciphermill schema job` lists every field";
    MissingField = "missing_field", Permanent, 65,
        "add the field; `ciphermill schema job` lists what is required";
    WrongType = "wrong_type", Permanent, 65,
        "give the value the type that the schema names";
    InvalidValue = "invalid_value", Permanent, 65,
        "see docs/jobs.md for what this field accepts";
    LimitExceeded = "limit_exceeded", Permanent, 65,
        "shorten the value; docs/jobs.md lists the limits";
    UnsupportedVersion = "unsupported_version", Permanent, 65,
        "this worker understands job version 1";
    Unsupported = "unsupported", Permanent, 65,
        "this version does not do that yet; docs/jobs.md says what it does";
    PlaintextKey = "plaintext_key", Permanent, 65,
        "never put a key in a message: wrap it (`ciphermill keys wrap`, KMS), and treat this key as leaked";

    // Keys, IVs and modes
    InvalidKeyLength = "invalid_key_length", Permanent, 65,
        "AES keys have 16, 24 or 32 bytes; cobblestone takes 16 or 32";
    InvalidIvLength = "invalid_iv_length", Permanent, 65,
        "give 16 bytes (12 or 16 for aes-ctr and aes-gcm; none for cobblestone)";
    KeyReuse = "key_reuse", Permanent, 65,
        "use a key of its own for each mode";
    KeystreamReuse = "keystream_reuse", Permanent, 65,
        "give each output its own key or a fresh IV (leave `iv` out and the worker makes one)";
    CounterWrap = "counter_wrap", Permanent, 65,
        "use a 16-byte IV, or split the object: a 32-bit counter covers 64 GiB at most";
    GcmTooLarge = "gcm_too_large", Permanent, 65,
        "aes-gcm ends at 2^36 - 32 bytes: use mode cobblestone";
    KeyDigestMismatch = "key_digest_mismatch", Permanent, 65,
        "`ciphertext_md5` must be the MD5 of the decoded ciphertext blob";
    KeyRefused = "key_refused", Permanent, 1,
        "the key service refused to unwrap: check the ciphertext, the encryption context and the key id";
    KeyDisabled = "key_disabled", Permanent, 1,
        "enable the KMS key, or wrap the data key under another one, and submit again";
    KeyNotFound = "key_not_found", Permanent, 1,
        "check the key id, its region and the worker's account";
    KeyDenied = "key_denied", Permanent, 1,
        "grant the worker kms:Decrypt (and kms:GenerateDataKey for generated keys) on this key";
    KeyNotAllowed = "key_not_allowed", Permanent, 1,
        "add the key to `worker.allow_kms_keys`";
    KeyServiceDown = "key_service_down", Dependency, 69,
        "the key service does not answer: check its endpoint, network and credentials";
    KeyRegionDown = "key_region_down", Transient, 75,
        "the key service does not answer in the region that the job names: check `region`";
    KeyringMissing = "keyring_missing", Transient, 78,
        "create one with `ciphermill keys create`, or set `keyring.file`";
    KeyringBroken = "keyring_broken", Transient, 78,
        "only its owner may read it (chmod 600); a damaged one is restored from a backup";

    // Data
    DecryptFailed = "decrypt_failed", Permanent, 65,
        "wrong key, iv or context, or the object was changed or cut: nothing was published";
    ChecksumMismatch = "checksum_mismatch", Permanent, 65,
        "the plaintext is not what the job promised (`sha256`, `bytes`): nothing was published";
    PartTooLarge = "part_too_large", Permanent, 1,
        "raise `worker.budget_bytes`: four parts of this object must fit";
    SourceChanged = "source_changed", Permanent, 1,
        "the object was overwritten while it was read, or since the IV was first used: submit a new job";
    SourceNotFound = "source_not_found", Permanent, 1,
        "check bucket, key and version of the input";
    SourceDenied = "source_denied", Permanent, 1,
        "grant the worker s3:GetObject on the input";
    BucketNotFound = "bucket_not_found", Permanent, 1,
        "create the bucket or correct its name";
    BucketNotAllowed = "bucket_not_allowed", Permanent, 1,
        "add the bucket to `worker.allow_buckets`";
    ReservedPlace = "reserved_place", Permanent, 1,
        "choose a key or path outside of `worker.ledger_prefix`: it is the worker's own";
    FileNotAllowed = "file_not_allowed", Permanent, 1,
        "file:// from a broker needs `worker.file_root`, and a path below it";
    ReplyNotAllowed = "reply_not_allowed", Permanent, 1,
        "add the queue to `worker.allow_reply_queues`";
    SinkDenied = "sink_denied", Permanent, 1,
        "grant the worker s3:PutObject and s3:AbortMultipartUpload on the output";
    OutputExists = "output_exists", Permanent, 1,
        "the output is there already and the job says `if_exists: fail`";
    ServerSideIgnored = "server_side_ignored", Permanent, 1,
        "this store ignores server-side encryption: drop `storage.server_side` or use another store";
    StoreRejected = "store_rejected", Permanent, 1,
        "the store refused the request as invalid: see its message";
    MediaUnreadable = "media_unreadable", Permanent, 65,
        "the media is damaged, or nothing that is read here; `required: false` lets the job go on without it";
    MediaTooLarge = "media_too_large", Permanent, 1,
        "ask for less (size, number, interval), or raise `worker.budget_bytes` and the limits under `[media]`";
    MediaTimeout = "media_timeout", Permanent, 1,
        "ask for less, or raise `media.seconds`";
    MediaUnavailable = "media_unavailable", Transient, 69,
        "install ffmpeg and bubblewrap, and see the settings under `[media]` for what protection they need";
    IntegrityMismatch = "integrity_mismatch", Transient, 75,
        "the store holds other bytes than were sent; the worker tries again";
    StoreDown = "store_down", Dependency, 69,
        "the object store does not answer: check AWS_ENDPOINT_URL, network and credentials";
    SourceBroken = "source_broken", Transient, 75,
        "the store kept breaking the download off: the worker tries again";
    FileIo = "file_io", Transient, 1,
        "check that the path exists, is writable and has room";
    DeadlineExceeded = "deadline_exceeded", Permanent, 1,
        "raise `deadline_seconds` or submit again";
    LeaseTooShort = "lease_too_short", Transient, 75,
        "raise the broker's consumer_timeout and `amqp.consumer_timeout_seconds` together";
    AttemptsExhausted = "attempts_exhausted", Permanent, 1,
        "every attempt failed or crashed its worker: see the worker's logs before you submit it again";
    ReservedByOther = "job_id_conflict", Permanent, 65,
        "this id belongs to another job that uses a given iv: choose a new id";

    // The worker's own world
    Settings = "invalid_settings", Permanent, 78,
        "see the settings table in README.md";
    GpuUnavailable = "gpu_unavailable", Dependency, 69,
        "check driver and device (`vulkaninfo`, `nvidia-smi`), or let the engine be `auto` or `cpu`";
    BrokerDown = "broker_down", Dependency, 69,
        "RabbitMQ does not answer: check `amqp.urls`, credentials and TLS";
    TopologyMissing = "topology_missing", Permanent, 78,
        "create it with `ciphermill work --declare` or deploy/rabbitmq/definitions.json";
    Superseded = "superseded", Transient, 75,
        "another worker took the same job over: its result counts";
    DeliveryLost = "delivery_lost", Shutdown, 75,
        "the broker took the job back and delivers it again";
    Stopping = "worker_stopping", Shutdown, 75,
        "the worker is stopping; the job went back to the queue";
    Interrupted = "interrupted", Shutdown, 130,
        "stopped by a signal; what was not finished was not published: run the command again";
    ToolMissing = "tool_missing", Permanent, 69,
        "install the program, or run `make demo`, which does it";
    Usage = "usage", Permanent, 2,
        "see `ciphermill --help`";
    Internal = "internal", Transient, 70,
        "this is a bug in ciphermill: please report it with the log lines around it";
}

/// One failure: what happened, where, and (through its code) what to do.
#[derive(Clone, PartialEq, Eq)]
pub struct Fault {
    /// Stable code; the key into the table above.
    pub code: Code,
    /// What happened, in lower case, without key material.
    pub message: String,
    /// JSON pointer into the job (`/outputs/0/url`) or the name of a setting
    /// (`worker.budget_bytes`).
    pub pointer: Option<String>,
}

impl Fault {
    /// A fault without a place.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Fault {
            code,
            message: message.into(),
            pointer: None,
        }
    }

    /// The same fault, naming the JSON pointer or setting at fault; a place named earlier (deeper)
    /// wins.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer.get_or_insert_with(|| pointer.into());
        self
    }

    /// A failed file operation, with the path and what the system said.
    pub fn io(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Fault::new(
            Code::FileIo,
            format!("cannot {what} {}: {error}", path.display()),
        )
    }

    /// How the worker treats it.
    pub fn class(&self) -> Class {
        self.code.class()
    }

    /// Whether the same job may succeed later without being changed.
    pub fn retryable(&self) -> bool {
        self.class() != Class::Permanent
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)?;
        if let Some(pointer) = &self.pointer {
            write!(f, " (at {pointer})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Fault {}

impl From<ciphermill_cipher::Error> for Fault {
    fn from(error: ciphermill_cipher::Error) -> Fault {
        use ciphermill_cipher::Error;
        let code = match &error {
            Error::KeyLength { .. } | Error::CobblestoneKeyLength { .. } | Error::KeyExpansion => {
                Code::InvalidKeyLength
            }
            Error::IvLength { .. } | Error::IvEmpty => Code::InvalidIvLength,
            Error::UnknownKernel { .. } => Code::Settings,
            Error::DecryptFailed => Code::DecryptFailed,
            Error::NoRandomness(_) => Code::Internal,
        };
        Fault::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_helpful() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| code.help().len() > 20));
    }

    #[test]
    fn the_deepest_place_wins() {
        let fault = Fault::new(Code::InvalidValue, "x")
            .at("/outputs/0/url")
            .at("/outputs/0");
        assert_eq!(fault.pointer.as_deref(), Some("/outputs/0/url"));
    }
}
