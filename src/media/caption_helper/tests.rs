//! What a taken-over helper could answer, and what an order may ask.

use ciphermill_captions::Cue;

use super::*;

const SRT: &str =
    "1\n00:00:01,000 --> 00:00:02,000\none\n\n2\n00:00:03,000 --> 00:00:02,000\nback\n";

fn source(language: &str, embedded: bool) -> Source {
    Source {
        descriptor: 3,
        piece: None,
        kind: Kind::File,
        language: Some(language.to_owned()),
        label: Some("a name".to_owned()),
        offset_ms: 0,
        embedded,
    }
}

fn order() -> Order {
    Order {
        sources: vec![source("en", false), source("de", true)],
        policy: Policy::MergeOverride,
        outputs: vec![Output::Srt, Output::Vtt],
    }
}

fn good() -> serde_json::Value {
    let answer = answer(&order(), &mut |_, _| Ok(SRT.into()));
    serde_json::to_value(answer).unwrap()
}

fn read(answer: &serde_json::Value) -> Result<Answer, Refused> {
    read_answer(answer.to_string().as_bytes(), &order())
}

#[test]
fn an_honest_answer_is_taken() {
    let answer = read(&good()).unwrap();
    assert_eq!(answer.tracks.len(), 4);
    let report = &answer.sources[0];
    assert!(
        matches!(
            report,
            Report::Read {
                cues: 1,
                all_faults: 1,
                ..
            }
        ),
        "{report:?}"
    );
}

#[test]
fn what_cannot_be_an_answer_to_the_order_is_not_taken() {
    let long = "x".repeat(201);
    let cases = [
        ("/tracks/0/language", serde_json::json!("../../etc")),
        ("/tracks/0/language", serde_json::json!("de")),
        ("/tracks/0/label", serde_json::json!("\u{1b}[2J")),
        ("/tracks/0/label", serde_json::json!("another")),
        ("/tracks/0/format", serde_json::json!("ttml")),
        ("/tracks/0/format", serde_json::json!("exe")),
        ("/tracks/0/cues", serde_json::json!(-1)),
        ("/tracks/0/cues", serde_json::json!(u64::MAX)),
        ("/tracks/0", serde_json::json!({})),
        ("/tracks/0/more", serde_json::json!(1)),
        (
            "/tracks/0/text",
            serde_json::json!("x".repeat(MOST_TEXT_BYTES)),
        ),
        ("/sources", serde_json::json!([])),
        ("/sources/0/read/faults/0/what", serde_json::json!(long)),
        ("/sources/0/read/faults", serde_json::json!([])),
        ("/sources/0/read/all_faults", serde_json::json!(1_000_000)),
        (
            "/sources/0",
            serde_json::json!({"refused": {"why": "a\nb"}}),
        ),
        ("/refused", serde_json::json!("and yet there are tracks")),
    ];
    for (place, value) in cases {
        let mut answer = good();
        let (parent, name) = place.rsplit_once('/').unwrap();
        match answer.pointer_mut(place) {
            Some(part) => *part = value,
            None => answer.pointer_mut(parent).unwrap()[name] = value,
        }
        assert!(read(&answer).is_err(), "{place}");
    }
    let mut doubled = good();
    let tracks = doubled["tracks"].as_array_mut().unwrap();
    tracks.extend(tracks.clone());
    assert!(read(&doubled).is_err());
    let spoiled = good().to_string().replacen("one", "on\u{0}", 1);
    assert!(read_answer(spoiled.as_bytes(), &order()).is_err());
    let mut latin1 = good().to_string().into_bytes();
    let at = latin1
        .windows(3)
        .position(|window| window == b"one")
        .unwrap();
    latin1[at] = 0xe9;
    assert!(read_answer(&latin1, &order()).is_err());
    assert!(read_answer(&vec![b' '; MOST_ANSWER_BYTES + 1], &order()).is_err());
}

#[test]
fn no_change_of_a_byte_makes_the_worker_panic() {
    let good = good().to_string().into_bytes();
    for at in 0..good.len() {
        for byte in [0, b'"', b'}', b'9', 0xff] {
            let mut bad = good.clone();
            bad[at] = byte;
            if let Ok(answer) = read_answer(&bad, &order()) {
                assert_eq!(answer.tracks.len(), 4);
            }
        }
    }
}

#[test]
fn names_of_the_film_are_cleaned_and_those_of_the_customer_checked() {
    let named = |language: &str, label: &str, embedded| {
        let label = Some(label.to_owned());
        names(&Source {
            label,
            ..source(language, embedded)
        })
    };
    let (language, label) = named("en-US", &"\n ä".repeat(60), true).unwrap();
    assert_eq!(language.unwrap().as_str(), "en");
    assert!(label.is_some_and(|label| super::label(&label).is_ok()));
    assert_eq!(named("?", " \t", true), Ok((None, None)));
    assert!(named("en-US", "x", false).is_err() && named("en", "", false).is_err());
}

#[test]
fn sources_share_a_limit_and_later_ones_are_still_reported() {
    let mut order = order();
    order.sources = vec![source("en", true); 400];
    let mut most = Vec::new();
    let answer = answer(&order, &mut |_, left| {
        most.push(left);
        Ok(SRT.into())
    });
    assert_eq!((answer.sources.len(), answer.tracks.len()), (320, 0));
    assert!(answer.refused.is_some(), "more than 300 embedded tracks");
    assert_eq!(most[0], MOST_FILE_BYTES as u64);
    assert!(most.is_sorted_by(|a, b| a >= b));
}

#[test]
fn a_track_without_a_word_takes_no_place() {
    let mut order = order();
    order.policy = Policy::MergeRetain;
    order.sources[1] = Source {
        kind: Kind::TimedTextSamples,
        ..source("en", true)
    };
    let answer = answer(&order, &mut |source, _| match source.embedded {
        true => Ok(br#"{"packets":[]}"#.into()),
        false => Ok(SRT.into()),
    });
    let cues: Vec<_> = answer.tracks.iter().map(|track| track.cues).collect();
    assert_eq!(cues, [1, 1], "{answer:?}");
    assert!(matches!(answer.sources[1], Report::Read { cues: 0, .. }));
}

#[test]
fn texts_without_end_are_not_written() {
    let span = ciphermill_captions::Span {
        text: "x".repeat(1 << 20),
        style: Default::default(),
    };
    let cue = Cue {
        start_ms: 0,
        end_ms: 1,
        lines: vec![vec![span]],
        place: Default::default(),
    };
    let track = Track {
        cues: vec![cue; 17],
        ..Track::default()
    };
    assert!(written(&[track.clone(), track.clone()], &[Output::Srt]).is_ok());
    assert!(written(&[track.clone(), track.clone(), track], &[Output::Srt]).is_err());
}
