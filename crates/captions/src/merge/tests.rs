//! Policies, offsets and names.

use super::*;
use crate::Cue;
use crate::Language;

fn track(language: &str, label: &str) -> Track {
    Track {
        language: Language::parse(language).ok(),
        label: Some(label.to_owned()),
        cues: Vec::new(),
    }
}

fn labels(policy: Policy, sidecars: &[(&str, &str)], embedded: &[(&str, &str)]) -> Vec<String> {
    let tracks = |list: &[(&str, &str)]| list.iter().map(|(l, n)| track(l, n)).collect();
    let merged = merge(policy, tracks(sidecars), tracks(embedded)).unwrap();
    merged.into_iter().filter_map(|track| track.label).collect()
}

#[test]
fn policies_say_who_wins() {
    let sidecars = [("en", "s-en"), ("fre", "s-fr"), ("fr", "s-fr-2")];
    let embedded = [("deu", "e-de"), ("eng", "e-en"), ("", "e-?"), ("", "e-??")];
    assert_eq!(
        labels(Policy::MergeOverride, &sidecars, &embedded),
        ["s-en", "s-fr", "e-de", "e-?"]
    );
    assert_eq!(
        labels(Policy::MergeRetain, &sidecars, &embedded),
        ["e-de", "e-en", "e-?", "s-fr"]
    );
    assert_eq!(
        labels(Policy::MergeRetain, &[], &embedded),
        ["e-de", "e-en", "e-?"]
    );
    assert_eq!(
        labels(Policy::Override, &sidecars, &embedded),
        ["s-en", "s-fr"]
    );
    assert!(labels(Policy::Override, &[], &embedded).is_empty());
}

#[test]
fn numbers_of_tracks_are_limited() {
    let many = |count| vec![track("en", "x"); count];
    assert!(merge(Policy::Override, many(21), Vec::new()).is_err());
    assert!(merge(Policy::MergeRetain, Vec::new(), many(301)).is_err());
    assert!(merge(Policy::MergeRetain, many(20), many(300)).is_ok());
}

fn cue(start_ms: u64, end_ms: u64) -> Cue {
    Cue {
        start_ms,
        end_ms,
        lines: Vec::new(),
        place: Default::default(),
    }
}

#[test]
fn shifting_clips_at_the_beginning() {
    let mut track = track("en", "x");
    track.cues = vec![cue(0, 1000), cue(500, 1500), cue(2000, 3000)];
    assert_eq!(shift(&mut track, -1000), 1);
    assert_eq!(track.cues, [cue(0, 500), cue(1000, 2000)]);
    assert_eq!(shift(&mut track, 86_399_999), 0);
    assert_eq!(track.cues[0], cue(86_399_999, 86_400_499));
}
