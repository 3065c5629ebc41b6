//! Sources: what the bytes of a caption source are, and the parser of each kind.
//!
//! The format of a caption file is found by its content. Samples of embedded tracks come as ffprobe prints them
//! (JSON), closed captions as a Matroska file without pictures.

use serde::{Deserialize, Serialize};

use crate::{Encoding, Format, Parsed, Refused, cc, parse, samples};

/// What a source's bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A caption file; its content tells of which format.
    #[default]
    File,
    /// Samples of WebVTT, as ffprobe prints them.
    WebVttSamples,
    /// Samples of 3GPP timed text, as ffprobe prints them.
    TimedTextSamples,
    /// Samples of TTML, as ffprobe prints them.
    TtmlSamples,
    /// Samples of CEA-608 pairs, as ffprobe prints them.
    ClosedCaptionSamples,
    /// A film whose pictures were left out but for their closed captions: Matroska.
    ClosedCaptions,
}

/// Reads the bytes of one source.
pub fn parse_as(kind: Kind, bytes: &[u8]) -> Result<Parsed, Refused> {
    let (collected, format) = match kind {
        Kind::File => return parse(bytes),
        Kind::WebVttSamples => (samples::parse_webvtt(bytes)?, Format::Vtt),
        Kind::TimedTextSamples => (samples::parse_timed_text(bytes)?, Format::Srt),
        Kind::TtmlSamples => (samples::parse_ttml(bytes)?, Format::Ttml),
        Kind::ClosedCaptionSamples => (samples::parse_608(bytes)?, Format::Scc),
        Kind::ClosedCaptions => (cc::parse(bytes)?, Format::Scc),
    };
    let (track, broken) = collected.finish()?;
    Ok(Parsed {
        track,
        broken,
        format,
        encoding: Encoding::Utf8,
    })
}
