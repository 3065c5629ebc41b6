//! Event: what producers hear about their jobs.
//!
//! `report` comes in with what happened; a CloudEvents 1.0 message (JSON, structured mode) goes out
//! to the broker, and is read again where `ciphermill submit --wait` listens. Reading tolerates
//! fields it does not know, so that an older listener understands a newer worker. Ids and times are
//! the caller's: this module has no clock and no randomness. No field here ever holds a key in the
//! clear (P8).

mod companion;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::companion::{About, CaptionSourceResult, CompanionKind, CompanionResult, CueFault};
use super::{Checksum, JobDigest};
use crate::fault::Fault;

/// A CloudEvents 1.0 envelope around news of one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// CloudEvents version: `1.0`.
    #[schemars(extend("const" = "1.0"))]
    pub specversion: String,
    /// Names the event; an end event that is published again has the same id.
    pub id: String,
    /// The worker that speaks.
    pub source: String,
    /// `dev.ciphermill.job.started`, `.progress`, `.succeeded` or `.failed`.
    #[serde(rename = "type")]
    #[schemars(regex(pattern = r"^dev\.ciphermill\.job\.(started|progress|succeeded|failed)$"))]
    pub kind: String,
    /// The job's id; absent when the message had none that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub subject: Option<String>,
    /// When it happened (RFC 3339).
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// `application/json`.
    pub datacontenttype: String,
    /// The news.
    pub data: EventData,
}

impl Event {
    /// An event; `time` is RFC 3339. [`terminal_id`] makes the id of an end event.
    pub fn new(
        state: State,
        subject: Option<&str>,
        event_id: String,
        source: &str,
        time: String,
        data: EventData,
    ) -> Event {
        Event {
            specversion: "1.0".into(),
            id: event_id,
            source: source.into(),
            kind: state.event_type(),
            subject: subject.map(Into::into),
            time,
            datacontenttype: "application/json".into(),
            data,
        }
    }

    /// The state the event tells of; `None` for a type this version does not know.
    pub fn state(&self) -> Option<State> {
        State::ALL
            .into_iter()
            .find(|state| self.kind == state.event_type())
    }
}

/// The id of an end event: the same job, message and end give the same id, so a listener can drop a
/// repetition. A message without a readable job id has `-` in its place, which no job id can be.
pub fn terminal_id(job_id: Option<&str>, state: State, digest: JobDigest) -> String {
    let job_id = job_id.unwrap_or("-");
    format!("{job_id}:{}:{}", state.as_str(), digest.short())
}

/// What an event tells of its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// A worker took the job.
    Started,
    /// Some of the input is done.
    Progress,
    /// Every required output is readable.
    Succeeded,
    /// The job is over and will not be tried again.
    Failed,
}

impl State {
    /// Every state.
    pub const ALL: [State; 4] = [
        State::Started,
        State::Progress,
        State::Succeeded,
        State::Failed,
    ];

    /// The name in ids, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Started => "started",
            State::Progress => "progress",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
        }
    }

    /// The routing key on the topic exchange: `job.started`.
    pub const fn routing_key(self) -> &'static str {
        match self {
            State::Started => "job.started",
            State::Progress => "job.progress",
            State::Succeeded => "job.succeeded",
            State::Failed => "job.failed",
        }
    }

    /// The CloudEvents type: `dev.ciphermill.job.started`.
    pub fn event_type(self) -> String {
        format!("dev.ciphermill.{}", self.routing_key())
    }

    /// Whether nothing follows it.
    pub const fn is_terminal(self) -> bool {
        matches!(self, State::Succeeded | State::Failed)
    }
}

/// The news itself: one flat object; which fields stand in it follows from the event's type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventData {
    /// The job's id, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// SHA-256 of the message's canonical JSON, 64 hex digits; absent when the message was
    /// unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_digest: Option<String>,
    /// Which attempt this is, from 1.
    #[serde(default)]
    pub attempt: u32,
    /// The job's labels, as they came.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Progress: input bytes that are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_done: Option<u64>,
    /// Progress: input bytes in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
    /// Succeeded: what was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputResult>,
    /// Succeeded: what was written, in the job's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputResult>,
    /// Succeeded: the thumbnails, captions and artwork.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub companions: Vec<CompanionResult>,
    /// Succeeded: what was found in the caption files and tracks that were read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caption_sources: Vec<CaptionSourceResult>,
    /// Succeeded: how long the attempt took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Failed: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultReport>,
    /// Failed: everything that is wrong with a message that was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultReport>,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputResult {
    /// The input's URL.
    pub url: String,
    /// Length of the plaintext.
    pub bytes: u64,
    /// The version that every range was read from.
    #[serde(default)]
    pub version: ObjectVersion,
}

/// One version of an object, as far as its store names it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectVersion {
    /// Its ETag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Its version id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
}

/// What became of one output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutputResult {
    /// The output's URL.
    pub url: String,
    /// Whether it is there.
    pub status: OutputStatus,
    /// Length of the object as it stands in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The object's ETag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The object's version id, where the bucket keeps versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// Checksum of the object as it stands in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<ChecksumResult>,
    /// Ready to be pasted as `input.encryption` of a job that decrypts this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "object"))]
    pub encryption: Option<Value>,
    /// A cobblestone object's salt (base64).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// The wrapped form of a generated key (base64).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrapped_key: Option<String>,
    /// Encryption by the store, as the store answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_side: Option<String>,
    /// The engine that did the cipher work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// How long this output took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Why it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultReport>,
}

/// Whether an output is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputStatus {
    /// It is there and readable.
    #[default]
    Written,
    /// It is not there; the job did not require it.
    Failed,
}

/// A checksum as the store computed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChecksumResult {
    /// Which checksum.
    pub algorithm: Checksum,
    /// Base64 of its bytes, as S3 writes it.
    pub value: String,
}

/// A fault as producers see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultReport {
    /// Stable code, such as `decrypt_failed`.
    pub code: String,
    /// What happened.
    pub message: String,
    /// JSON pointer into the job, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// What to do about it.
    pub help: String,
    /// Whether the same message may succeed later.
    pub retryable: bool,
}

impl From<&Fault> for FaultReport {
    fn from(fault: &Fault) -> FaultReport {
        FaultReport {
            code: fault.code.as_str().into(),
            message: fault.message.clone(),
            pointer: fault.pointer.clone(),
            help: fault.code.help().into(),
            retryable: fault.retryable(),
        }
    }
}
