//! What the helper answers, and how the worker reads it.
//!
//! JSON comes in from a child that a hostile file may have taken over; an [`Answer`] goes out only
//! if it could be one to the order that was given. Its texts remain what they are: foreign.

use ciphermill_captions::cue::label;
use ciphermill_captions::merge::Policy;
use ciphermill_captions::{Broken, Encoding, Format, Language, MOST_CUES, Output, Refused};
use serde::{Deserialize, Serialize};

use super::{MOST_FAULTS, MOST_SPANS, MOST_TEXT_BYTES, Order};

/// Longest answer: its texts, each quote and line end written as two characters, and the reports.
/// The child's `stdout_bytes`.
pub const MOST_ANSWER_BYTES: usize = 2 * MOST_TEXT_BYTES + (16 << 20);
/// Longest reason or fault, in characters.
const LONGEST_WHAT: usize = 200;

/// What the helper made of its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The texts, all formats of a track together, in the order of the merge.
    pub tracks: Vec<Written>,
    /// One report for each source of the order.
    pub sources: Vec<Report>,
    /// Why nothing was written, if nothing could be.
    pub refused: Option<String>,
}

/// A track in one format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Its language, where known.
    pub language: Option<Language>,
    /// Its name for people.
    pub label: Option<String>,
    /// How many cues it has.
    pub cues: usize,
    /// The format.
    pub format: Output,
    /// The file, UTF-8 with LF line ends.
    pub text: String,
}

/// How a source fared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Report {
    /// It was read.
    Read {
        /// What it is; closed captions are SCC.
        format: Format,
        /// How its text was written.
        encoding: Encoding,
        /// The cues that it has, moved by its offset.
        cues: usize,
        /// The cues that its offset moved out of the film.
        dropped: usize,
        /// The first of what was left out.
        faults: Vec<Fault>,
        /// How many were left out in all.
        all_faults: usize,
    },
    /// Nothing of it can be used.
    Refused {
        /// Why, for the one who sent it.
        why: String,
    },
}

impl Report {
    /// A refusal, in a form that [`read_answer`] takes.
    pub(super) fn refused(refused: &Refused) -> Self {
        let plain = refused.what.chars().filter(|c| !c.is_control());
        Report::Refused {
            why: plain.take(LONGEST_WHAT).collect(),
        }
    }
}

/// A cue that was left out: see [`Broken`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which cue, from 1.
    pub number: usize,
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl From<&Broken> for Fault {
    fn from(broken: &Broken) -> Self {
        Self {
            number: broken.number,
            line: broken.line,
            what: broken.what.to_owned(),
        }
    }
}

/// Reads what a helper answered to this order. Languages are checked as they are read.
pub fn read_answer(bytes: &[u8], order: &Order) -> Result<Answer, Refused> {
    if bytes.len() > MOST_ANSWER_BYTES {
        return Err(Refused::new("the caption helper says too much"));
    }
    let wrong = |_| Refused::new("the caption helper says something strange");
    let answer: Answer = serde_json::from_slice(bytes).map_err(wrong)?;
    let fits = answer.sources.len() == order.sources.len()
        && answer.sources.iter().all(report_fits)
        && answer.refused.as_deref().is_none_or(is_plain)
        && tracks_fit(&answer, order);
    fits.then_some(answer)
        .ok_or_else(|| Refused::new("the caption helper's answer does not fit its order"))
}

fn report_fits(report: &Report) -> bool {
    match report {
        Report::Refused { why } => is_plain(why),
        Report::Read {
            cues,
            dropped,
            faults,
            all_faults,
            ..
        } => {
            *cues <= MOST_CUES
                && *dropped <= MOST_CUES
                && *all_faults <= MOST_CUES
                && faults.len() == MOST_FAULTS.min(*all_faults)
                && faults.iter().all(|fault| is_plain(&fault.what))
        }
    }
}

/// As many tracks as there can be, each in every format that was asked for, in their order, and no
/// language twice.
fn tracks_fit(answer: &Answer, order: &Order) -> bool {
    if answer.refused.is_some() || order.outputs.is_empty() {
        return answer.tracks.is_empty();
    }
    let counts = |(source, report): (&super::Source, &Report)| {
        let used = !source.embedded || order.policy != Policy::Override;
        used && matches!(report, Report::Read { .. })
    };
    let most = order
        .sources
        .iter()
        .zip(&answer.sources)
        .filter(|pair| counts(*pair))
        .count();
    let groups = answer.tracks.chunks(order.outputs.len());
    let key = |track: &Written| {
        track
            .language
            .as_ref()
            .map(|language| language.key().to_owned())
    };
    let keys: std::collections::BTreeSet<_> = answer.tracks.iter().map(key).collect();
    let (cues, bytes) = answer
        .tracks
        .iter()
        .fold((0_usize, 0_usize), |(cues, bytes), track| {
            (
                cues.saturating_add(track.cues),
                bytes.saturating_add(track.text.len()),
            )
        });
    groups.len() <= most
        && keys.len() == groups.len()
        && cues <= MOST_SPANS * order.outputs.len()
        && bytes <= MOST_TEXT_BYTES
        && groups
            .clone()
            .all(|group| group_fits(group, &order.outputs))
}

fn group_fits(group: &[Written], outputs: &[Output]) -> bool {
    let formats = group.iter().map(|track| track.format);
    let same = |track: &Written| {
        group.first().is_some_and(|first| {
            (&first.language, &first.label, first.cues)
                == (&track.language, &track.label, track.cues)
        })
    };
    let named = |track: &Written| {
        track
            .label
            .as_deref()
            .is_none_or(|name| label(name).is_ok())
    };
    formats.eq(outputs.iter().copied()) && group.iter().all(|track| same(track) && named(track))
}

/// Short, and without what could rewrite a log on somebody's screen.
fn is_plain(what: &str) -> bool {
    what.chars().count() <= LONGEST_WHAT && !what.chars().any(char::is_control)
}
