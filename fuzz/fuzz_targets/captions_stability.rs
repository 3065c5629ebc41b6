//! Parse, write, parse: any file that is read at all is written in each format so that the same
//! cues are read again, and the same text written again.
#![no_main]

use ciphermill_captions::{Cue, Output, Track, parse, write};
use libfuzzer_sys::fuzz_target;

const STARTS: [&[u8]; 5] = [
    b"",
    b"1\n00:00:01,000 --> 00:00:02,000\n",
    b"WEBVTT\n\n00:01.000 --> 00:02.000\n",
    b"<tt xml:lang='en'><body><div><p begin='1s' end='2s'>",
    b"Scenarist_SCC V1.0\n\n00:00:01;00\t9429 ",
];

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let start = STARTS[usize::from(*first) % STARTS.len()];
    let Ok(parsed) = parse(&[start, rest].concat()) else {
        return;
    };
    if parsed.track.cues.is_empty() {
        return;
    }
    for output in Output::ALL {
        let written = write(&parsed.track, output);
        let again = parse(written.as_bytes()).expect("what we write");
        assert!(again.broken.is_empty(), "{written}");
        assert_eq!(plain(&again.track), plain(&parsed.track), "{written}");
        let same = Track {
            language: parsed.track.language.clone(),
            ..again.track
        };
        assert_eq!(write(&same, output), written);
    }
});

/// Without the word joiners that SRT needs.
fn plain(track: &Track) -> Vec<Cue> {
    let mut cues = track.cues.clone();
    for cue in &mut cues {
        for span in cue.lines.iter_mut().flatten() {
            span.text = span.text.replace('\u{2060}', "");
        }
    }
    cues
}
