//! What an event tells of thumbnails, captions and artwork.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FaultReport, OutputResult};

/// What became of one companion; or, where none could be made, of all that a field of the job asked
/// for: its pattern stands in place of the URL then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CompanionResult {
    /// What it is.
    #[serde(flatten)]
    pub about: About,
    /// Where it is, and how it was written.
    #[serde(flatten)]
    pub output: OutputResult,
}

/// What a companion is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct About {
    /// Which kind.
    pub kind: CompanionKind,
    /// Media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Pixels across.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// A film's thumbnail: its time in the film.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_seconds: Option<f64>,
    /// Captions: the language, `und` where it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Captions: their name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Captions: how many cues there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cues: Option<u64>,
}

/// Kinds of companions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompanionKind {
    /// A picture of the film.
    #[default]
    Thumbnail,
    /// A caption track.
    Caption,
    /// A cover.
    Artwork,
}

/// What was found in one caption file or embedded track.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaptionSourceResult {
    /// JSON pointer of the file in the job; `/input` for an embedded track.
    pub pointer: String,
    /// Its language, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// `srt`, `webvtt`, `ttml` or `scc`; of an embedded track, its codec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// How its text was written: `utf-8`, `utf-16` or `latin-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Cues that could not be read, the first hundred; the others were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<CueFault>,
    /// How many could not be read.
    #[serde(default)]
    pub broken_cues: u64,
    /// Cues that its time offset moved out of the film.
    #[serde(default)]
    pub dropped_cues: u64,
    /// Why nothing of it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultReport>,
}

/// A cue that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CueFault {
    /// Which cue of the file, from 1; in SCC the line.
    pub number: u64,
    /// Line of the file, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub what: String,
}
