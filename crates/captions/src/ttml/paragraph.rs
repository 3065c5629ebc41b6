//! A paragraph: text whose pieces may have times of their own.
//!
//! Pieces of text come in, each with the times, style and place that hold where it stands; one cue
//! for each span of time goes out. White space is treated as `xml:space` says.

use std::collections::BTreeMap;

use super::attributes::Attributes;
use super::clock::Rates;
use super::look::Look;
use crate::clock::LATEST_MS;
use crate::collect::{At, Collected};
use crate::cue::{Place, Text};
use crate::{MOST_CUES, Refused};

/// What holds inside an element.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scope {
    begin_ms: u64,
    end_ms: Option<u64>,
    preserve: bool,
    sequence: bool,
    pub(super) look: Look,
    /// Its times could not be read: its text belongs to no time.
    pub(super) fault: Option<&'static str>,
}

impl Scope {
    /// The scope inside an element that stands in this one. Its times count from this one's begin.
    pub(super) fn inner(self, attributes: &Attributes, rates: &Rates) -> Self {
        let mut inner = self;
        inner.preserve = attributes.preserve.unwrap_or(self.preserve);
        inner.sequence = attributes.sequence;
        if self.sequence {
            inner.fault = Some("its times are those of a sequence, which is not read");
        }
        let mut time = |written: &Option<String>| {
            let read = written.as_ref().map(|written| rates.time(written))?;
            read.map_err(|what| inner.fault = Some(what)).ok()
        };
        let begin = time(&attributes.begin);
        let end = time(&attributes.end);
        let duration = time(&attributes.duration);
        inner.begin_ms = (self.begin_ms + begin.unwrap_or(0)).min(LATEST_MS);
        let ends = [
            self.end_ms,
            end.map(|end| self.begin_ms + end),
            duration.map(|duration| inner.begin_ms + duration),
        ];
        let end = ends.into_iter().flatten().min();
        inner.end_ms = end.map(|end| end.min(LATEST_MS));
        inner
    }
}

/// The text of one span of time.
#[derive(Default)]
struct Piece {
    text: Text,
    place: Place,
    line: usize,
}

/// The paragraph that is being read.
pub(super) struct Paragraph {
    at: At,
    pieces: BTreeMap<(u64, Option<u64>), Piece>,
    line: usize,
    fault: Option<&'static str>,
}

impl Paragraph {
    pub(super) fn new(at: At) -> Self {
        Self {
            at,
            pieces: BTreeMap::new(),
            line: 0,
            fault: None,
        }
    }

    /// Something in it cannot be read; the rest is kept.
    pub(super) fn fault(&mut self, what: &'static str) {
        self.fault.get_or_insert(what);
    }

    /// `br`.
    pub(super) fn end_line(&mut self) {
        self.line += 1;
    }

    /// Text that stands in a scope.
    pub(super) fn push(&mut self, text: &str, scope: &Scope) {
        if scope.fault.is_some() {
            return;
        }
        let blank = |c: char| matches!(c, ' ' | '\t' | '\n');
        if !scope.preserve && self.pieces.is_empty() && text.chars().all(blank) {
            return;
        }
        // One more than a file may have is refused when the paragraph ends; no more are kept.
        if self.pieces.len() > MOST_CUES {
            return;
        }
        let times = (scope.begin_ms, scope.end_ms);
        let piece = self.pieces.entry(times).or_insert_with(|| Piece {
            place: scope.look.place(),
            ..Piece::default()
        });
        if piece.line != self.line {
            piece.line = self.line;
            piece.text.end_line();
        }
        let style = scope.look.style();
        for c in text.chars() {
            if scope.preserve || !blank(c) {
                piece.text.push_char(c, style);
            } else if !piece.text.after_space() {
                piece.text.push_char(' ', style);
            }
        }
    }

    /// Hands the cues over.
    pub(super) fn finish(self, collected: &mut Collected) -> Result<(), Refused> {
        if self.pieces.len() > MOST_CUES {
            return Err(Refused::new("files of more than 100000 cues are not read"));
        }
        let mut fault = self.fault;
        for ((begin, end), piece) in self.pieces {
            match end {
                Some(end) => collected.cue(self.at, (begin, end), piece.text, piece.place)?,
                None => fault = fault.or(piece.text.has_ink().then_some("it has no end")),
            }
        }
        match fault {
            Some(what) => collected.broken(self.at, what),
            None => Ok(()),
        }
    }
}
