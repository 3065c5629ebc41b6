//! Merging: sidecar and embedded tracks under one of Elastic Transcoder's policies.
//!
//! Tracks come in from both sides, one track for each language goes out, moved by the offset of its
//! file. Nothing is read or written.

use serde::{Deserialize, Serialize};

use super::{Refused, Track};

/// Most sidecar tracks of a job.
pub const MOST_SIDECARS: usize = 20;
/// Most embedded tracks that are looked at.
pub const MOST_EMBEDDED: usize = 300;

/// Who wins where both sides have a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The sidecar wins.
    MergeOverride,
    /// The embedded track wins; without any sidecar listed, embedded tracks pass through.
    MergeRetain,
    /// Sidecars only.
    Override,
}

/// One track for each language, the winning side's first, each side in its order. Of two tracks of
/// one side and language the first counts, and all tracks of unknown language are one language.
pub fn merge(
    policy: Policy,
    sidecars: Vec<Track>,
    embedded: Vec<Track>,
) -> Result<Vec<Track>, Refused> {
    if sidecars.len() > MOST_SIDECARS {
        return Err(Refused::new("a job has at most 20 caption files"));
    }
    if embedded.len() > MOST_EMBEDDED {
        return Err(Refused::new("a file has at most 300 caption tracks"));
    }
    let (first, second) = match policy {
        Policy::MergeOverride => (sidecars, embedded),
        Policy::MergeRetain => (embedded, sidecars),
        Policy::Override => (sidecars, Vec::new()),
    };
    let mut merged: Vec<Track> = Vec::new();
    for track in first.into_iter().chain(second) {
        if !merged.iter().any(|other| key(other) == key(&track)) {
            merged.push(track);
        }
    }
    Ok(merged)
}

fn key(track: &Track) -> &str {
    track
        .language
        .as_ref()
        .map_or("und", |language| language.key())
}

/// Moves all cues. What would end at or before 0 is dropped, what would begin before 0 begins there;
/// the other end is at 999 hours. How many were dropped is the answer.
pub fn shift(track: &mut Track, offset_ms: i64) -> usize {
    let before = track.cues.len();
    track.cues.retain_mut(|cue| {
        cue.shift(offset_ms);
        cue.end_ms > cue.start_ms
    });
    before - track.cues.len()
}

#[cfg(test)]
mod tests;
