//! Collecting: where every parser puts its cues, and where the limits are kept.
//!
//! Cues come in one by one, good ones and broken ones; the sorted track and the list of what was
//! left out go out. A file never gets more than [`MOST_CUES`] of both together into memory.

use super::cue::{Cue, Place, Text, Track};
use super::language::Language;
use super::{Broken, MOST_CUES, Refused};

/// How many of the last cues are searched for the one that goes on.
const NEIGHBOURS: usize = 16;

/// What a parser has found so far.
#[derive(Debug, Default)]
pub(super) struct Collected {
    cues: Vec<Cue>,
    broken: Vec<Broken>,
    pub(super) language: Option<Language>,
}

/// Where in its file a cue stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) number: usize,
    pub(super) line: usize,
}

impl Collected {
    /// A cue; without text it says nothing and is left out in silence.
    pub(super) fn cue(
        &mut self,
        at: At,
        times: (u64, u64),
        text: Text,
        place: Place,
    ) -> Result<(), Refused> {
        let (start_ms, end_ms) = times;
        let lines = match text.finish() {
            Ok(Some(lines)) => lines,
            Ok(None) => return Ok(()),
            Err(what) => return self.broken(at, what),
        };
        if end_ms <= start_ms {
            return self.broken(at, "it does not end after its start");
        }
        self.room()?;
        self.cues.push(Cue {
            start_ms,
            end_ms,
            lines,
            place,
        });
        Ok(())
    }

    /// A cue that is left out.
    pub(super) fn broken(&mut self, at: At, what: &'static str) -> Result<(), Refused> {
        self.room()?;
        self.broken.push(Broken {
            number: at.number,
            line: at.line,
            what,
        });
        Ok(())
    }

    /// Whether anything readable was found.
    pub(super) fn has_cues(&self) -> bool {
        !self.cues.is_empty()
    }

    /// Moves every cue.
    pub(super) fn shift(&mut self, offset_ms: i64) {
        self.cues.iter_mut().for_each(|cue| cue.shift(offset_ms));
    }

    /// Another file's cues, as far as they lie between two times. One that was cut at the first of
    /// them before goes on.
    pub(super) fn append(&mut self, other: Self, from_ms: u64, to_ms: u64) -> Result<(), Refused> {
        for mut cue in other.cues {
            cue.start_ms = cue.start_ms.max(from_ms);
            cue.end_ms = cue.end_ms.min(to_ms);
            if cue.end_ms <= cue.start_ms {
                continue;
            }
            let near = self.cues.iter_mut().rev().take(NEIGHBOURS);
            let mut same = near.filter(|last| last.lines == cue.lines && last.place == cue.place);
            match same.find(|last| last.end_ms == cue.start_ms) {
                Some(last) => last.end_ms = cue.end_ms,
                None => {
                    self.room()?;
                    self.cues.push(cue);
                }
            }
        }
        for broken in other.broken {
            self.room()?;
            self.broken.push(broken);
        }
        self.language = self.language.take().or(other.language);
        Ok(())
    }

    fn room(&self) -> Result<(), Refused> {
        if self.cues.len() + self.broken.len() >= MOST_CUES {
            return Err(Refused::new("files of more than 100000 cues are not read"));
        }
        Ok(())
    }

    /// The track, unless everything in it was broken.
    pub(super) fn finish(mut self) -> Result<(Track, Vec<Broken>), Refused> {
        if let (true, Some(first)) = (self.cues.is_empty(), self.broken.first()) {
            let (count, line, what) = (self.broken.len(), first.line, first.what);
            let what =
                format!("no cue is readable; the first of {count} faults, line {line}: {what}");
            return Err(Refused { what });
        }
        self.cues.sort_by_key(|cue| cue.start_ms);
        self.broken.sort_by_key(|broken| broken.line);
        let track = Track {
            language: self.language,
            label: None,
            cues: self.cues,
        };
        Ok((track, self.broken))
    }
}
