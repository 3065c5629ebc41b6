//! Beside: what thumbnails, captions and artwork will take, and how the plaintext reaches their
//! parsers.
//!
//! A plaintext that is small enough is kept in memory as it passes by: one read. A larger one whose
//! container can be read from start to end is streamed to the decoder of dense thumbnails as it
//! passes by: one read as well; its first bytes say so, which are only known later. Everything else
//! reads it a second time, in the ranges that it asks for: where thumbnails are far apart these are
//! a small part of it, and decoding all of it would cost more.

use crate::fault::{Code, Fault};
use crate::job::Job;

/// First bytes of a large film that tell whether it can be streamed, and what is in it.
pub const HEAD_BYTES: usize = 4 << 20;
/// What reading in ranges keeps in flight, and a pipe.
const PIECES_BYTES: usize = 4 << 20;

/// What companions may take of the budget.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Private memory of a job's parsers.
    pub decoder_bytes: usize,
    /// Plaintext that is kept in memory for them.
    pub plaintext_bytes: usize,
    /// Finished companions.
    pub output_bytes: usize,
}

/// How the companions of a job are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Whether the plaintext is kept in memory as it passes by.
    pub in_memory: bool,
    /// Bytes of the budget that they take.
    pub reserve_bytes: usize,
}

/// Whether parsers need the job's own plaintext; caption files alone do not.
pub fn needs_plaintext(job: &Job) -> bool {
    let embedded = |captions: &crate::job::Captions| captions.uses_film();
    job.thumbnails.is_some() || job.artwork.is_some() || job.captions.as_ref().is_some_and(embedded)
}

/// Plans what stands beside the outputs, if anything does. `input_bytes` are no more than fit.
pub fn plan(
    job: &Job,
    plain_bytes: u64,
    input_bytes: u64,
    limits: &super::Limits,
) -> Option<Beside> {
    if !job.has_companions() {
        return None;
    }
    let media = &limits.media;
    let most = media.plaintext_bytes as u64;
    let needed = needs_plaintext(job);
    let in_memory = needed && plain_bytes + input_bytes <= most;
    let kept = match (needed, in_memory) {
        (true, true) => plain_bytes as usize,
        // The head is there twice: as it was read, and for its parser.
        (true, false) => 2 * HEAD_BYTES + PIECES_BYTES,
        (false, _) => 0,
    };
    Some(Beside {
        in_memory,
        // Each input is there twice too.
        reserve_bytes: media.decoder_bytes + media.output_bytes + 2 * input_bytes as usize + kept,
    })
}

/// The refusal of a job whose companions leave no room for its outputs.
pub fn too_large(needed: usize, limits: &super::Limits) -> Fault {
    let message = format!(
        "the outputs and their companions need {needed} bytes, the budget is {}",
        limits.budget_bytes
    );
    Fault::new(Code::MediaTooLarge, message)
}
