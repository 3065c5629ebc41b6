//! Languages of any text, and merging and shifting of parsed tracks.
#![no_main]

use ciphermill_captions::merge::{Policy, merge, shift};
use ciphermill_captions::{Language, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, i64, &[u8])| {
    let (language, ms, file) = input;
    let Ok(mut parsed) = parse(&[b"WEBVTT\n\n", file].concat()) else {
        return;
    };
    parsed.track.language = Language::parse(language).ok();
    let before = parsed.track.cues.len();
    let dropped = shift(&mut parsed.track, ms);
    assert_eq!(before, dropped + parsed.track.cues.len());
    assert!(
        parsed
            .track
            .cues
            .iter()
            .all(|cue| cue.start_ms < cue.end_ms)
    );
    let twice = vec![parsed.track.clone(), parsed.track.clone()];
    for policy in [Policy::MergeOverride, Policy::MergeRetain, Policy::Override] {
        let merged = merge(policy, twice.clone(), twice.clone()).expect("few tracks");
        assert_eq!(merged, [parsed.track.clone()]);
    }
});
