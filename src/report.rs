//! Report: an outcome comes in, the event that tells of it goes out. No other module formats results.

use std::sync::Arc;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::checksum;
use crate::clock::Clock;
use crate::fault::Fault;
use crate::job::event::{
    ChecksumResult, Event, EventData, FaultReport, InputResult, ObjectVersion, OutputResult,
    OutputStatus, State, terminal_id,
};
use crate::job::{
    Checksum, Encryption, GenerateKey, Input, Job, JobDigest, KeyRef, KeyringKey, KmsKey, Output,
};
use crate::sink::label::Label;
use crate::store::{Facts, Version};

/// Who reports about which attempt.
#[derive(Clone)]
pub struct Context {
    /// The `source` of the events: names the worker.
    pub worker: String,
    /// From 1.
    pub attempt: u32,
    /// Where the time of events comes from.
    pub clock: Arc<dyn Clock>,
}

/// What one output's transfer gave, besides what the store says.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// The engine and kernel that ciphered it.
    pub engine: Option<String>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// The checksum over the whole object, as computed here.
    pub checksum: Option<checksum::Checksum>,
}

/// The result of a written output: what the store says, and how the object was made.
pub fn written(output: &Output, facts: &Facts, label: &Label, made: &Made) -> OutputResult {
    let ours = made.checksum.as_ref().map(|sum| ChecksumResult {
        algorithm: match sum.algorithm() {
            checksum::Algorithm::Crc64Nvme => Checksum::Crc64nvme,
            checksum::Algorithm::Sha256 => Checksum::Sha256,
        },
        value: sum.to_base64(),
    });
    let stored = facts.crc64nvme.clone();
    let stored = stored.map(|value| ChecksumResult {
        algorithm: Checksum::Crc64nvme,
        value,
    });
    OutputResult {
        url: output.url.to_string(),
        status: OutputStatus::Written,
        bytes: Some(facts.len),
        etag: Some(facts.version.etag.clone()),
        version_id: facts.version.version_id.clone(),
        checksum: ours.or(stored),
        encryption: output
            .encryption
            .as_ref()
            .and_then(|encryption| opening(encryption, label)),
        salt: label.salt.clone(),
        wrapped_key: label.wrapped_key.clone(),
        server_side: facts.server_side.clone(),
        engine: made.engine.clone(),
        seconds: made.seconds,
        fault: None,
    }
}

/// The result of an object that is being written, as far as it is known.
pub fn begun(output: &Output, label: &Label) -> OutputResult {
    let facts = Facts::default();
    OutputResult {
        bytes: None,
        etag: None,
        ..written(output, &facts, label, &Made::default())
    }
}

/// Adds what its store says of an object.
pub fn fill(result: &mut OutputResult, facts: &Facts) {
    result.bytes = Some(facts.len);
    result.etag = Some(facts.version.etag.clone());
    result.version_id.clone_from(&facts.version.version_id);
    result.server_side.clone_from(&facts.server_side);
}

/// The result of companions that were not required and could not be made.
pub fn not_made(pattern: &str, fault: &Fault) -> OutputResult {
    OutputResult {
        url: pattern.into(),
        status: OutputStatus::Failed,
        fault: Some(fault.into()),
        ..OutputResult::default()
    }
}

/// The result of an output that was not required and failed.
pub fn not_written(output: &Output, fault: &Fault) -> OutputResult {
    OutputResult {
        url: output.url.to_string(),
        status: OutputStatus::Failed,
        fault: Some(fault.into()),
        ..OutputResult::default()
    }
}

/// The `encryption` block that opens the object: the job's own, with the IV that was used and the
/// key's wrapped form.
fn opening(encryption: &Encryption, label: &Label) -> Option<Value> {
    let mut block = encryption.clone();
    block.iv = block
        .iv
        .or_else(|| crate::job::Base64::decode(label.iv.as_deref()?));
    if let (KeyRef::Generate(wanted), Some(wrapped)) = (&encryption.key, label.wrapped()) {
        block.key = match wanted.clone() {
            GenerateKey::Kms(wanted) => KeyRef::Kms(KmsKey {
                ciphertext: wrapped,
                region: wanted.region,
                key_id: Some(wanted.key_id),
                context: wanted.context,
                ciphertext_md5: None,
            }),
            GenerateKey::Keyring(wanted) => KeyRef::Keyring(KeyringKey {
                wrapped,
                context: wanted.context,
            }),
        };
    }
    serde_json::to_value(block).ok()
}

/// What was read.
pub fn input(input: &Input, version: &Version, bytes: u64) -> InputResult {
    InputResult {
        url: input.url.to_string(),
        bytes,
        version: ObjectVersion {
            etag: Some(version.etag.clone()),
            version_id: version.version_id.clone(),
        },
    }
}

/// An event about a job that parsed.
pub fn event(
    context: &Context,
    job: &Job,
    digest: JobDigest,
    state: State,
    mut data: EventData,
) -> Event {
    data.job_id = Some(job.id.clone());
    data.job_digest = Some(digest.to_string());
    data.labels.clone_from(&job.labels);
    data.attempt = context.attempt;
    let id = match state.is_terminal() {
        true => terminal_id(Some(&job.id), state, digest),
        false => format!(
            "{}:{}:{}",
            job.id,
            state.as_str(),
            uuid::Uuid::new_v4().simple()
        ),
    };
    Event::new(
        state,
        Some(&job.id),
        id,
        &context.worker,
        time_of(context),
        data,
    )
}

/// The end of a job that failed.
pub fn failed(fault: &Fault) -> EventData {
    EventData {
        fault: Some(FaultReport::from(fault)),
        ..EventData::default()
    }
}

/// The end of a message that never was a job. `digest` is that of its bytes.
pub fn rejected(
    context: &Context,
    job_id: Option<&str>,
    digest: JobDigest,
    faults: &[Fault],
) -> Event {
    let data = EventData {
        job_id: job_id.map(Into::into),
        attempt: context.attempt,
        fault: faults.first().map(FaultReport::from),
        faults: faults.iter().map(FaultReport::from).collect(),
        ..EventData::default()
    };
    let id = terminal_id(job_id, State::Failed, digest);
    Event::new(
        State::Failed,
        job_id,
        id,
        &context.worker,
        time_of(context),
        data,
    )
}

fn time_of(context: &Context) -> String {
    OffsetDateTime::from(context.clock.now())
        .format(&Rfc3339)
        .unwrap_or_default()
}
