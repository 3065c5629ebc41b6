//! Captions: sidecar files and embedded tracks, read from untrusted media and written again.
//!
//! Bytes of SRT, WebVTT, TTML/DFXP or SCC come in through [`parse`], which looks at the content and
//! never at a name; a [`Parsed`] track goes out, the cues that could not be read listed beside it.
//! [`merge`](mod@merge) puts sidecars and embedded tracks together, [`write`] makes SRT, WebVTT or TTML of
//! them. This module opens nothing, runs nothing, sees no key and keeps no state; whatever it is
//! given, it neither panics nor takes more than linear time.

#![forbid(unsafe_code)]

mod cc;
mod clock;
mod collect;
pub mod cue;
pub mod language;
mod markup;
pub mod merge;
mod samples;
mod scc;
mod sniff;
mod source;
mod srt;
mod text;
mod timed_text;
#[cfg(test)]
mod told;
mod ttml;
mod vtt;

use serde::{Deserialize, Serialize};

pub use cue::{Align, Colour, Cue, Line, Place, Span, Style, Track, Vertical};
pub use language::Language;
pub use sniff::Format;
pub use source::{Kind, parse_as};
pub use text::Encoding;

/// Largest caption file.
pub const MOST_FILE_BYTES: usize = 16 << 20;
/// Most cues of a file, broken ones counted too.
pub const MOST_CUES: usize = 100_000;
/// Longest text of one cue.
pub const MOST_CUE_BYTES: usize = 64 << 10;

/// One cue, or one place in the file, that was left out. The others are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which cue of the file, from 1; in SCC, which has no cues of its own, the line.
    pub number: usize,
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Nothing of the file can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why, for the one who sent it. Never a piece of the file.
    pub what: String,
}

impl Refused {
    /// Refused, and why. `what` holds no piece of the file.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Refused {}

/// What was made of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The cues, by start time; language and label only where the file tells them.
    pub track: Track,
    /// What was left out, in the order of the file.
    pub broken: Vec<Broken>,
    /// What the file is.
    pub format: Format,
    /// How its text was written.
    pub encoding: Encoding,
}

/// Formats that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
    /// TTML 1, which Elastic Transcoder calls dfxp.
    Ttml,
}

impl Output {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Srt, Self::Vtt, Self::Ttml];

    /// What its file names end in.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Ttml => "ttml",
        }
    }
}

/// Reads a caption file of any of the four formats.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Refused> {
    if bytes.len() > MOST_FILE_BYTES {
        return Err(Refused::new(
            "caption files of more than 16 MiB are not read",
        ));
    }
    let (text, encoding) = text::decode(bytes)?;
    let format = sniff::sniff(&text)?;
    let collected = match format {
        Format::Srt => srt::parse(&text),
        Format::Vtt => vtt::parse(&text),
        Format::Ttml => ttml::parse(&text),
        Format::Scc => scc::parse(&text),
    }?;
    let (track, broken) = collected.finish()?;
    Ok(Parsed {
        track,
        broken,
        format,
        encoding,
    })
}

/// Writes a track as UTF-8 with LF line ends.
pub fn write(track: &Track, output: Output) -> String {
    match output {
        Output::Srt => srt::write(track),
        Output::Vtt => vtt::write(track),
        Output::Ttml => ttml::write(track),
    }
}
