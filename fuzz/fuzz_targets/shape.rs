//! What every parsed file must keep to, whatever it was.

use ciphermill_captions::{MOST_CUE_BYTES, MOST_CUES, Parsed, parse};

#[allow(dead_code, reason = "not every target has a text to begin with")]
/// Parses `start` + `data`, and looks at what comes out.
pub fn check(start: &[u8], data: &[u8]) {
    if let Ok(parsed) = parse(&[start, data].concat()) {
        check_parsed(&parsed);
    }
}

/// Looks at what came out.
pub fn check_parsed(parsed: &Parsed) {
    let cues = &parsed.track.cues;
    assert!(cues.len() + parsed.broken.len() <= MOST_CUES);
    assert!(cues.is_sorted_by_key(|cue| cue.start_ms));
    assert!(
        parsed
            .broken
            .iter()
            .all(|broken| broken.number > 0 && broken.line > 0)
    );
    for cue in cues {
        assert!(cue.start_ms < cue.end_ms && cue.end_ms < 3_600_000_000);
        assert!(!cue.lines.is_empty());
        let spans = || cue.lines.iter().flatten();
        assert!(spans().map(|span| span.text.len()).sum::<usize>() <= MOST_CUE_BYTES);
        assert!(spans().all(|span| !span.text.is_empty() && !span.text.contains(char::is_control)));
        for line in &cue.lines {
            let text: String = line.iter().map(|span| span.text.as_str()).collect();
            assert!(!text.is_empty() && text.trim_matches(' ') == text);
            assert!(line.windows(2).all(|pair| pair[0].style != pair[1].style));
        }
    }
}
