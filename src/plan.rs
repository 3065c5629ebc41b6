//! Plan: what will be read, transformed and written, decided before a byte moves.
//!
//! A job, the facts of its source and the settings come in; a [`Plan`] goes out, or a refusal with
//! help. Pure: no I/O, no clock, no randomness. What cannot fit memory, a counter or GCM's limit is
//! refused here (P9, P13).

pub mod admit;
pub mod beside;
pub mod reuse;

use ciphermill_cipher::{Form, gcm};

use self::beside::Beside;
use crate::buffers::Pool;
use crate::fault::{Code, Fault, Result};
use crate::job::{Encryption, Job, Mode, Output};
use crate::settings;
use crate::store::Facts;

/// Most parts of one object; S3 allows 10,000.
pub const MAX_PARTS: u64 = 9_000;
/// Part sizes are whole multiples of this, hence of every block and chunk.
const PART_STEP_BYTES: u64 = 1 << 20;
/// A 32-bit counter covers this many bytes.
const COUNTER32_BYTES: u64 = 16 << 32;

/// What a plan takes from the settings.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Plaintext bytes of one part, unless the object needs larger ones.
    pub part_bytes: u64,
    /// Parts that one job keeps in flight.
    pub parts_in_flight: usize,
    /// Jobs that share the budget.
    pub slots: usize,
    /// Bytes that all buffers together may take.
    pub budget_bytes: usize,
    /// The store wants all parts of an upload but the last to have one size.
    pub equal_parts: bool,
    /// What companions may take.
    pub media: beside::Limits,
}

impl Limits {
    /// From the settings.
    pub fn from_settings(settings: &settings::Settings) -> Limits {
        Limits {
            part_bytes: settings.s3.part_bytes as u64,
            parts_in_flight: settings.s3.requests_in_flight,
            slots: settings.worker.slots,
            budget_bytes: settings.worker.budget_bytes,
            equal_parts: settings.s3.flavour.wants_equal_parts(),
            media: beside::Limits {
                decoder_bytes: settings.media.decoder_bytes,
                plaintext_bytes: settings.media.plaintext_bytes,
                output_bytes: settings.media.output_bytes,
            },
        }
    }
}

/// How one job will be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Form of the source.
    pub source: Form,
    /// Length of the source as it is stored.
    pub sealed_bytes: u64,
    /// Length of the plaintext; for CBC sources an upper bound, 15 bytes too long at most.
    pub plain_bytes: u64,
    /// Plaintext bytes of every part but the last.
    pub part_bytes: u64,
    /// Number of parts: at least one.
    pub parts: u64,
    /// Bytes that one part's buffer must hold, in any form.
    pub buffer_bytes: usize,
    /// Parts in flight at once.
    pub lanes: usize,
    /// Bytes of the budget that the job holds while it runs, companions included.
    pub reserve_bytes: usize,
    /// How its companions are made, where it has any.
    pub beside: Option<Beside>,
    /// Whether outputs are multipart uploads.
    pub multipart: bool,
    /// Whether the job must be remembered across crashes.
    pub ledger: bool,
}

/// The form that an object has.
pub fn form(encryption: Option<&Encryption>) -> Form {
    match encryption.map(|encryption| encryption.mode) {
        None => Form::Plain,
        Some(Mode::AesCtr) => Form::Ctr,
        Some(Mode::AesCbcPkcs7) => Form::Cbc,
        Some(Mode::AesGcm) => Form::Gcm,
        Some(Mode::Cobblestone) => Form::Cobblestone,
    }
}

/// Plans the job over a source with these facts, and `input_bytes` of watermarks and caption files.
pub fn make(job: &Job, facts: &Facts, input_bytes: u64, limits: &Limits) -> Result<Plan> {
    let source = form(job.input.encryption.as_ref());
    let plain_bytes = source
        .plain_len(facts.len)
        .map_err(|e| Fault::from(e).at("/input"))?;
    check_promised_bytes(job, source, plain_bytes)?;
    check_counters(job, plain_bytes)?;
    let part_bytes = part_bytes(plain_bytes, limits)?;
    let parts = Form::parts(plain_bytes, part_bytes);
    let buffer_bytes = Form::buffer_bytes(part_bytes.min(plain_bytes.max(1)));
    let lane_bytes = Pool::cost_bytes(buffer_bytes) * (1 + job.outputs.len());
    if lane_bytes > limits.budget_bytes {
        let needed = format!(
            "{} outputs need {lane_bytes} bytes of buffers",
            job.outputs.len()
        );
        let message = format!("{needed}, the budget is {}", limits.budget_bytes);
        return Err(Fault::new(Code::PartTooLarge, message).at("/outputs"));
    }
    let beside = beside::plan(job, plain_bytes, input_bytes, limits);
    let beside_bytes = beside.as_ref().map_or(0, |beside| beside.reserve_bytes);
    if beside_bytes + lane_bytes > limits.budget_bytes {
        return Err(beside::too_large(beside_bytes + lane_bytes, limits));
    }
    let share = limits.budget_bytes / limits.slots;
    let share = share.saturating_sub(beside_bytes).max(lane_bytes);
    let lanes = (share / lane_bytes)
        .min(limits.parts_in_flight)
        .min(parts as usize)
        .max(1);
    let multipart = parts > 1;
    if multipart && limits.equal_parts {
        refuse_unequal_parts(job)?;
    }
    Ok(Plan {
        source,
        sealed_bytes: facts.len,
        plain_bytes,
        part_bytes,
        parts,
        buffer_bytes,
        lanes,
        reserve_bytes: lanes * lane_bytes + beside_bytes,
        multipart,
        // A CBC source's length is only known at its end, so no label can tell it.
        ledger: multipart
            || job.outputs.len() > 1
            || needs_memory(job)
            || source == Form::Cbc
            || beside.is_some(),
        beside,
    })
}

/// An IV given by the caller must never meet another plaintext, and files keep no metadata to know
/// them by.
fn needs_memory(job: &Job) -> bool {
    job.gives_iv() || job.outputs.iter().any(staged_alone)
}

/// Whether an output of a single part is staged as an upload all the same: a file, which one write
/// would leave half done, and an object that the store is to encrypt, since a store that ignores
/// the wish says so when the upload begins, but of a PUT only after the old object is gone.
pub fn staged_alone(output: &Output) -> bool {
    output.url.bucket().is_none() || output.storage.server_side.is_some()
}

fn part_bytes(plain_bytes: u64, limits: &Limits) -> Result<u64> {
    let needed = plain_bytes.div_ceil(MAX_PARTS);
    let part_bytes = match needed <= limits.part_bytes {
        true => limits.part_bytes,
        false => needed.next_multiple_of(PART_STEP_BYTES),
    };
    let four = 4 * Pool::cost_bytes(Form::buffer_bytes(part_bytes.min(plain_bytes.max(1)))) as u64;
    if part_bytes > limits.part_bytes && four > limits.budget_bytes as u64 {
        let message = format!(
            "an object of {plain_bytes} bytes needs parts of {part_bytes}; four do not fit the budget"
        );
        return Err(Fault::new(Code::PartTooLarge, message).at("/input"));
    }
    Ok(part_bytes)
}

/// A cobblestone object's header makes its first part longer than the others.
fn refuse_unequal_parts(job: &Job) -> Result<()> {
    let unequal = |output: &Output| form(output.encryption.as_ref()) == Form::Cobblestone;
    let Some(index) = job
        .outputs
        .iter()
        .position(|o| o.url.bucket().is_some() && unequal(o))
    else {
        return Ok(());
    };
    let message = "this store wants parts of one size, which cobblestone objects of several parts do not have";
    Err(Fault::new(Code::Unsupported, message).at(format!("/outputs/{index}/encryption/mode")))
}

/// Fails before the transfer when the length alone breaks the producer's promise.
fn check_promised_bytes(job: &Job, source: Form, plain_bytes: u64) -> Result<()> {
    let Some(promised) = job.input.bytes else {
        return Ok(());
    };
    let least = if source == Form::Cbc {
        plain_bytes - plain_bytes.min(15)
    } else {
        plain_bytes
    };
    if (least..=plain_bytes).contains(&promised) {
        return Ok(());
    }
    let message =
        format!("the input holds {plain_bytes} bytes of plaintext, the job promises {promised}");
    Err(Fault::new(Code::ChecksumMismatch, message).at("/input/bytes"))
}

/// GCM ends at 2^36 - 32 bytes; a 32-bit CTR counter may not wrap. Inputs are checked like outputs.
fn check_counters(job: &Job, plain_bytes: u64) -> Result<()> {
    let input = job
        .input
        .encryption
        .as_ref()
        .map(|encryption| ("/input/encryption".into(), encryption));
    let outputs = job
        .outputs
        .iter()
        .enumerate()
        .filter_map(|(index, output)| {
            Some((
                format!("/outputs/{index}/encryption"),
                output.encryption.as_ref()?,
            ))
        });
    for (pointer, encryption) in input.into_iter().chain(outputs) {
        check_counter(encryption, plain_bytes).map_err(|fault| fault.at(pointer))?;
    }
    Ok(())
}

fn check_counter(encryption: &Encryption, plain_bytes: u64) -> Result<()> {
    if encryption.mode == Mode::AesGcm && plain_bytes > gcm::MAX_BYTES {
        let message = format!("{plain_bytes} bytes are more than aes-gcm can take under one iv");
        return Err(Fault::new(Code::GcmTooLarge, message));
    }
    let short_iv = encryption.iv.as_ref().is_some_and(|iv| iv.0.len() == 12);
    let start = 16 * u64::from(encryption.ctr_start.unwrap_or(0));
    if encryption.mode == Mode::AesCtr && short_iv && plain_bytes > COUNTER32_BYTES - start {
        let message =
            format!("{plain_bytes} bytes would wrap the 32-bit counter after a 12-byte iv");
        return Err(Fault::new(Code::CounterWrap, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::check;

    const LIMITS: Limits = Limits {
        part_bytes: 8 << 20,
        parts_in_flight: 6,
        slots: 2,
        budget_bytes: 256 << 20,
        equal_parts: false,
        media: beside::Limits {
            decoder_bytes: 64 << 20,
            plaintext_bytes: 32 << 20,
            output_bytes: 32 << 20,
        },
    };

    fn job(encryption: &str) -> Job {
        let text = format!(
            r#"{{"version":1,"id":"x","input":{{"url":"s3://inn/a"}},"outputs":[{{"url":"s3://out/a",
                "encryption":{{"key":{{"keyring":{{"wrapped":"AAAA"}}}},{encryption}}}}}]}}"#
        );
        check::parse(text.as_bytes()).expect("a good job").job
    }

    fn facts(len: u64) -> Facts {
        Facts {
            len,
            ..Facts::default()
        }
    }

    #[test]
    fn parts_stay_below_the_stores_limit_and_inside_the_budget() {
        let job = job(r#""mode":"cobblestone""#);
        let small = make(&job, &facts(0), 0, &LIMITS).expect("an empty object");
        assert_eq!(
            (small.parts, small.multipart, small.ledger),
            (1, false, false)
        );
        let large = make(
            &job,
            &facts(200 << 30),
            0,
            &Limits {
                budget_bytes: 1 << 30,
                ..LIMITS
            },
        )
        .expect("200 GiB");
        assert!(large.parts <= MAX_PARTS && large.part_bytes.is_multiple_of(PART_STEP_BYTES));
        for budget_bytes in [64 << 20, 128 << 20, 1 << 30] {
            let plan = make(
                &job,
                &facts(5 << 30),
                0,
                &Limits {
                    budget_bytes,
                    ..LIMITS
                },
            )
            .expect("5 GiB");
            assert!(plan.reserve_bytes <= budget_bytes && plan.lanes >= 1 && plan.ledger);
        }
        let refused = make(&job, &facts(5 << 40), 0, &LIMITS).expect_err("5 TiB");
        assert_eq!(refused.code, Code::PartTooLarge);
    }

    #[test]
    fn counters_that_would_wrap_are_refused() {
        let gcm = job(r#""mode":"aes-gcm""#);
        assert!(make(&gcm, &facts(gcm::MAX_BYTES), 0, &LIMITS).is_ok());
        let refused = make(&gcm, &facts(gcm::MAX_BYTES + 1), 0, &LIMITS).expect_err("too long");
        assert_eq!(refused.code, Code::GcmTooLarge);
        assert_eq!(refused.pointer.as_deref(), Some("/outputs/0/encryption"));
        let zero = job(r#""mode":"aes-ctr","iv":"AAAAAAAAAAAAAAAA""#);
        assert!(make(&zero, &facts(64 << 30), 0, &LIMITS).is_ok());
        assert_eq!(
            make(&zero, &facts((64 << 30) + 1), 0, &LIMITS)
                .expect_err("wraps")
                .code,
            Code::CounterWrap
        );
        let one = job(r#""mode":"aes-ctr","iv":"AAAAAAAAAAAAAAAA","ctr_start":1"#);
        assert_eq!(
            make(&one, &facts(64 << 30), 0, &LIMITS)
                .expect_err("wraps")
                .code,
            Code::CounterWrap
        );
        assert!(make(&one, &facts((64 << 30) - 16), 0, &LIMITS).is_ok());
    }
}
