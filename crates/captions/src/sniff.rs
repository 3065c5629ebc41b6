//! Sniffing: which format a text is, by its content.
//!
//! Decoded text comes in, a [`Format`] goes out. File names and content types are never asked.

use serde::{Deserialize, Serialize};

use super::{Refused, clock};

/// Formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
    /// TTML 1, DFXP, SMPTE-TT, EBU-TT.
    Ttml,
    /// Scenarist closed captions: CEA-608 byte pairs.
    Scc,
}

/// How many lines are looked through for the first times of an SRT.
const SRT_LINES: usize = 1000;

/// The format of a text.
pub(super) fn sniff(text: &str) -> Result<Format, Refused> {
    let start = text.trim_start();
    if let Some(rest) = text.strip_prefix("WEBVTT")
        && (rest.is_empty() || rest.starts_with([' ', '\t', '\n']))
    {
        return Ok(Format::Vtt);
    }
    if start.starts_with("Scenarist_SCC") {
        return Ok(Format::Scc);
    }
    if start.starts_with('<') {
        return if root_is_tt(start) {
            Ok(Format::Ttml)
        } else {
            Err(Refused::new("XML or HTML, but not TTML"))
        };
    }
    let timed = |line: &str| clock::read_line(line).is_some_and(|times| times.is_ok());
    if text.lines().take(SRT_LINES).any(timed) {
        return Ok(Format::Srt);
    }
    Err(Refused::new("neither SRT, WebVTT, TTML nor SCC"))
}

/// Whether the first element is `tt`. A document type is left for the parser to refuse.
fn root_is_tt(text: &str) -> bool {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let after = if rest.starts_with("<?") {
            rest.split_once("?>")
        } else if rest.starts_with("<!--") {
            rest.split_once("-->")
        } else {
            break;
        };
        let Some((_, after)) = after else {
            return false;
        };
        rest = after;
    }
    let Some(tag) = rest.strip_prefix('<') else {
        return false;
    };
    let name = tag.split(['>', '/', ' ', '\t', '\n']).next().unwrap_or("");
    name == "!DOCTYPE" || name.rsplit(':').next() == Some("tt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_is_known_by_its_content() {
        for (text, format) in [
            ("WEBVTT", Format::Vtt),
            ("WEBVTT - a title\n\n", Format::Vtt),
            ("\n\nScenarist_SCC V1.0\n", Format::Scc),
            ("\n\n1\n00:00:01,000 --> 00:00:02,000\nx", Format::Srt),
            ("junk\n0:01 --> 0:02\nx", Format::Srt),
            ("<tt xmlns='x'/>", Format::Ttml),
            ("<?xml version='1.0'?>\n<!-- <b> -->\n<tt:tt>", Format::Ttml),
            ("<!DOCTYPE tt><tt/>", Format::Ttml),
        ] {
            assert_eq!(sniff(text), Ok(format), "{text}");
        }
        for text in [
            "",
            "WEBVTTX",
            "hello",
            "<SAMI>",
            "<!-- x",
            "<",
            "{1}{2}x",
            "a --> b",
            "[Script Info]",
        ] {
            assert!(sniff(text).is_err(), "{text}");
        }
    }
}
