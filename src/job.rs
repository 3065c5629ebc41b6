//! Job: the contract with producers.
//!
//! A JSON message comes in ([`check::parse`] finds every fault of it at once, each with its JSON
//! pointer), a [`Job`] goes out to `plan`; events about it go back through [`event`]. This module is
//! pure: it opens nothing, reads no clock and knows no store, key service or queue. Every list and
//! string here is bounded; the bounds stand in [`limits`].

pub mod check;
pub mod companions;
pub mod digest;
pub mod event;
pub mod limits;
pub mod offset;
pub mod picture;
pub mod schema;
pub mod url;
mod wire;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use companions::{Artwork, Captions, Thumbnails};
pub use digest::JobDigest;
pub use picture::{
    Extent, HorizontalAlign, Padding, Picture, PictureFormat, Placement, Sizing, Target,
    VerticalAlign, WatermarkSizing,
};
pub use url::ObjectUrl;

/// One job message, version 1: one input, read once, and the outputs made of it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Message version: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// The producer's name for this job and its idempotency key:
    /// `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"))]
    pub id: String,
    /// What is read.
    pub input: Input,
    /// What is written: each output is the whole input under its own mode and key.
    #[schemars(length(min = 1, max = 32))]
    pub outputs: Vec<Output>,
    /// Pictures of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnails: Option<Thumbnails>,
    /// Captions of the input, and of files beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captions: Option<Captions>,
    /// Covers of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artwork: Option<Artwork>,
    /// The job fails if it takes longer than this many seconds from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604800))]
    pub deadline_seconds: Option<u32>,
    /// Handed back in every event: at most 16, keys up to 64 and values up to 256 bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,
    /// A queue that gets the end event too (it must be on the worker's allow-list).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub reply_to: Option<String>,
}

impl Job {
    /// Whether anything is made beside the outputs.
    pub fn has_companions(&self) -> bool {
        self.thumbnails.is_some() || self.captions.is_some() || self.artwork.is_some()
    }

    /// Whether an output uses an IV of the caller's: then no other plaintext may ever meet it.
    pub fn gives_iv(&self) -> bool {
        let given = |output: &Output| output.encryption.as_ref().is_some_and(|e| e.iv.is_some());
        self.outputs.iter().any(given)
    }
}

/// The object that is read, pinned to one version for the whole attempt.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// `s3://bucket/key` or `file:///path`.
    pub url: ObjectUrl,
    /// Read exactly this S3 version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub version_id: Option<String>,
    /// Refuse the object unless its ETag is this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub etag: Option<String>,
    /// SHA-256 of the plaintext, 64 hex digits: checked before anything is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{64}$"))]
    pub sha256: Option<String>,
    /// Length of the plaintext in bytes: checked before anything is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How the object is encrypted: it is decrypted as it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
}

/// One object that is written.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// `s3://bucket/key` or `file:///path`.
    pub url: ObjectUrl,
    /// How the object is encrypted; without it the plaintext is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// What the store is told about the object.
    #[serde(default, skip_serializing_if = "Storage::is_default")]
    pub storage: Storage,
    /// What to do when the object is there already.
    #[serde(default, skip_serializing_if = "is_default")]
    pub if_exists: IfExists,
    /// `false`: the job may succeed without this output.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub required: bool,
    /// The checksum that the store verifies and the result names.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checksum: Checksum,
}

/// Mode, key and IV of one object.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Encryption {
    /// The AES mode.
    pub mode: Mode,
    /// Where the data key comes from: exactly one reference. Key bytes never stand in a message.
    pub key: KeyRef,
    /// Base64 of 16 bytes (12 or 16 for `aes-ctr` and `aes-gcm`); none for `cobblestone`. Without
    /// it an output gets a fresh random one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iv: Option<Base64>,
    /// First value of the 32-bit counter that follows a 12-byte CTR IV: 0 (default) or 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub ctr_start: Option<u32>,
    /// Context bytes bound into a cobblestone object: base64, at most 1 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cobblestone_context: Option<Base64>,
    /// Keeps the key off GPUs: the CPU ciphers this object.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cpu_only: bool,
}

/// The AES modes a producer can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// NIST SP 800-38A counter mode; no integrity.
    AesCtr,
    /// NIST SP 800-38A CBC with PKCS#7 padding (RFC 5652, section 6.3); no integrity.
    AesCbcPkcs7,
    /// NIST SP 800-38D, 16-byte tag appended, no AAD; at most 2^36 - 32 bytes.
    AesGcm,
    /// C2SP chunked encryption: committed, seekable, any size. The mode we recommend.
    Cobblestone,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 4] = [
        Mode::AesCtr,
        Mode::AesCbcPkcs7,
        Mode::AesGcm,
        Mode::Cobblestone,
    ];

    /// The name that messages use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::AesCtr => "aes-ctr",
            Mode::AesCbcPkcs7 => "aes-cbc-pkcs7",
            Mode::AesGcm => "aes-gcm",
            Mode::Cobblestone => "cobblestone",
        }
    }

    /// The mode of that name.
    pub fn from_name(name: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

/// Where a data key comes from: exactly one of these.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum KeyRef {
    /// A data key wrapped by AWS KMS (or a service that speaks its protocol).
    Kms(KmsKey),
    /// A data key wrapped by the worker's local keyring.
    Keyring(KeyringKey),
    /// The worker makes a fresh data key (outputs only); its wrapped form goes into the object's
    /// metadata and result.
    Generate(GenerateKey),
}

/// A KMS `CiphertextBlob` and what KMS needs to open it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KmsKey {
    /// Base64 of the CiphertextBlob (1 to 6144 bytes).
    pub ciphertext: Base64,
    /// The key's region, when it is not the worker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"))]
    pub region: Option<String>,
    /// Key id, ARN or alias that must have wrapped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub key_id: Option<String>,
    /// Encryption context, as it was when the key was wrapped.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::context")]
    pub context: BTreeMap<String, String>,
    /// Base64 of the MD5 of the decoded ciphertext blob: checked before KMS is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ciphertext_md5: Option<Base64>,
}

/// A data key wrapped by `ciphermill keys wrap`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyringKey {
    /// Base64 of the wrapped key.
    pub wrapped: Base64,
    /// The context it was wrapped with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::context")]
    pub context: BTreeMap<String, String>,
}

/// A data key to be made by the worker.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum GenerateKey {
    /// By KMS GenerateDataKey.
    Kms(GenerateKms),
    /// By the worker's local keyring.
    Keyring(GenerateKeyring),
}

/// What KMS GenerateDataKey is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateKms {
    /// The KMS key (id, ARN or alias) that wraps the new data key.
    #[schemars(length(min = 1, max = 2048))]
    pub key_id: String,
    /// 128, 192 or 256.
    pub bits: KeyBits,
    /// The key's region, when it is not the worker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"))]
    pub region: Option<String>,
    /// Encryption context to bind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::context")]
    pub context: BTreeMap<String, String>,
}

/// What the keyring is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateKeyring {
    /// 128, 192 or 256.
    pub bits: KeyBits,
    /// Context to bind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::context")]
    pub context: BTreeMap<String, String>,
}

/// Length of an AES key in bits: 128, 192 or 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct KeyBits(u16);

impl KeyBits {
    /// The length, if AES has it.
    pub fn new(bits: u64) -> Option<KeyBits> {
        matches!(bits, 128 | 192 | 256).then_some(KeyBits(bits as u16))
    }

    /// In bytes.
    pub const fn bytes(self) -> usize {
        self.0 as usize / 8
    }
}

/// What the store is told about an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// Content-Type header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255), regex(pattern = r"^[ -~]+$"))]
    pub content_type: Option<String>,
    /// Storage class, in the store's own spelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Z0-9_-]{1,64}$"))]
    pub storage_class: Option<String>,
    /// User metadata; names starting with `ciphermill-` are the worker's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::metadata")]
    pub metadata: BTreeMap<String, String>,
    /// Object tags: at most 10.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::tags")]
    pub tags: BTreeMap<String, String>,
    /// Encryption by the store itself, with or without ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_side: Option<ServerSide>,
}

impl Storage {
    fn is_default(&self) -> bool {
        *self == Storage::default()
    }
}

/// Encryption at rest by the store.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "mode", deny_unknown_fields)]
pub enum ServerSide {
    /// SSE-S3.
    #[serde(rename = "s3")]
    S3,
    /// SSE-KMS.
    #[serde(rename = "s3-aws-kms")]
    Kms {
        /// The KMS key; without it the account's default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 2048))]
        kms_key_id: Option<String>,
        /// Encryption context.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        #[schemars(schema_with = "schema::context")]
        context: BTreeMap<String, String>,
    },
}

/// What to do when an output is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IfExists {
    /// Replace it.
    #[default]
    Overwrite,
    /// Fail the job.
    Fail,
}

/// The checksum an upload carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// CRC-64/NVME over the whole object (parts combine).
    #[default]
    Crc64nvme,
    /// SHA-256: slower than encrypting; composite over parts.
    Sha256,
}

/// Bytes that stand in JSON as standard base64 with padding (RFC 4648, section 4).
#[derive(Clone, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}
