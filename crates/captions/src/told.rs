//! What tests compare: the cues of a file, a line each.

use super::{Line, Parsed};

/// A line without its styles.
pub fn plain(line: &Line) -> String {
    line.iter().map(|span| span.text.as_str()).collect()
}

/// `start-end first line|second line`, in milliseconds.
pub fn told(parsed: &Parsed) -> Vec<String> {
    let cues = parsed.track.cues.iter().map(|cue| {
        let lines: Vec<_> = cue.lines.iter().map(plain).collect();
        format!("{}-{} {}", cue.start_ms, cue.end_ms, lines.join("|"))
    });
    cues.collect()
}
