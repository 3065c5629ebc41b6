//! Check: a message becomes a job, or the list of everything that is wrong with it.
//!
//! Bytes from a producer nobody trusts come in. [`parse`] walks them once and either a
//! [`ParsedJob`] goes out to `plan`, or a [`Rejection`] to `report`: every fault of the message,
//! each with its JSON pointer, so that a producer mends all in one go. `tree` reads the JSON,
//! `walk` holds the ways to ask a value for what it should be, `objects` and `encryption` know the
//! fields. Nothing here repeats a value of the message, and no key ever comes through.

mod companions;
mod encryption;
mod objects;
mod spelling;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Job, JobDigest, digest, limits};
use crate::fault::{Code, Fault};
use objects::Taken;
use walk::{Faults, Fields, Spot};

/// A job that may go on to `plan`, and the digest of its message.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedJob {
    /// The job.
    pub job: Job,
    /// Names the message: the same fields and values give the same digest, whatever their order and
    /// spacing.
    pub digest: JobDigest,
}

/// A message that is no job.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// The job's id, where it could be read and is well formed.
    pub job_id: Option<String>,
    /// What is wrong, in document order: at least one fault, at most `limits::FAULTS`.
    pub faults: Vec<Fault>,
}

/// Reads one job message and finds all its faults at once.
pub fn parse(bytes: &[u8]) -> Result<ParsedJob, Rejection> {
    if bytes.len() > limits::MESSAGE_BYTES {
        let message = format!("the message has {} bytes", bytes.len());
        return Err(unreadable(Code::MessageTooLarge, message));
    }
    let tree =
        tree::read(bytes).map_err(|error| unreadable(Code::InvalidJson, error.to_string()))?;
    let faults = Faults::default();
    if tree.too_deep {
        let message = format!("values are nested more than {} deep", limits::DEPTH);
        faults.note(0, String::new(), Code::LimitExceeded, message);
    }
    let mut id = None;
    let job = Spot::root(&tree.root, &faults).object(|f| read_job(f, &mut id));
    let job_id = id.filter(|_| !faults.name("/id"));
    match (job, faults.into_list()) {
        (Some(job), faults) if faults.is_empty() => Ok(ParsedJob {
            job,
            digest: digest::of(&Value::from(&tree.root)),
        }),
        (_, faults) => Err(Rejection { job_id, faults }),
    }
}

fn unreadable(code: Code, message: String) -> Rejection {
    Rejection {
        job_id: None,
        faults: vec![Fault::new(code, message)],
    }
}

/// Reads the whole message; the id is kept even where the job cannot be.
fn read_job(f: &mut Fields<'_, '_>, id: &mut Option<String>) -> Option<Job> {
    let version = f.required("version", version);
    *id = f.required("id", job_id);
    let mut taken = Taken::default();
    let input = f.required("input", |s| objects::input(s, &mut taken));
    let outputs = f.required("outputs", |s| {
        let items = s.items(limits::OUTPUTS)?;
        let read = items.iter().map(|item| objects::output(item, &mut taken));
        // Every output is read before the first unreadable one ends it: all faults at once.
        read.collect::<Vec<_>>().into_iter().collect()
    });
    let deadline_seconds = f.optional("deadline_seconds", deadline);
    let labels = f.optional("labels", labels).unwrap_or_default();
    let reply_to = f.optional("reply_to", |s| s.text(limits::QUEUE_NAME_BYTES));
    let (thumbnails, captions, artwork) = companions::companions(f, &mut taken);
    for (name, message) in [
        ("watermarks", "watermarks stand in `thumbnails`"),
        ("package", "this version does not package HLS or CENC yet"),
    ] {
        f.forbidden(name, Code::Unsupported, message);
    }
    Some(Job {
        version: version?,
        id: id.clone()?,
        input: input?,
        outputs: outputs?,
        thumbnails,
        captions,
        artwork,
        deadline_seconds,
        labels,
        reply_to: reply_to.map(Into::into),
    })
}

fn version(spot: &Spot<'_>) -> Option<u32> {
    match spot.integer()? {
        1 => Some(1),
        _ => spot.refuse(Code::UnsupportedVersion, "expected version 1"),
    }
}

fn job_id(spot: &Spot<'_>) -> Option<String> {
    let what = "A-Z, a-z, 0-9, '.', '_' and '-'";
    let id = spot.word(limits::JOB_ID_BYTES, what, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
    })?;
    if !id.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return spot.refuse(Code::InvalidValue, "must start with a letter or a digit");
    }
    Some(id)
}

fn deadline(spot: &Spot<'_>) -> Option<u32> {
    match spot.integer()? {
        0 => spot.refuse(Code::InvalidValue, "must be at least 1"),
        seconds @ 1..=limits::DEADLINE_SECONDS => u32::try_from(seconds).ok(),
        _ => {
            let message = format!("more than {} seconds (7 days)", limits::DEADLINE_SECONDS);
            spot.refuse(Code::LimitExceeded, message)
        }
    }
}

fn labels(spot: &Spot<'_>) -> Option<BTreeMap<String, String>> {
    spot.map(limits::LABELS, |name, value| {
        if name.len() > limits::LABEL_KEY_BYTES {
            let message = format!("the name is longer than {} bytes", limits::LABEL_KEY_BYTES);
            return value.refuse(Code::LimitExceeded, message);
        }
        value
            .text_or_empty(limits::LABEL_VALUE_BYTES)
            .map(Into::into)
    })
}
