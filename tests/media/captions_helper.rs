//! The helper in the sandbox: sidecars of every format and encoding, under each policy.

use crate::captioned as films;

use crate::run::*;
use ciphermill::media::caption_helper::{Answer, Order, Report, Source, read_answer};
use ciphermill::media::helper::{VERB, Work};
use ciphermill::media::sandbox::{Program, Stdin};
use ciphermill_captions::Output;
use ciphermill_captions::merge::Policy;

const TTML: &str = "<?xml version='1.0'?>\n<tt xmlns='http://www.w3.org/ns/ttml' xml:lang='it'>\
    <body><div><p begin='1s' end='2s'>perché</p><p begin='10s' end='12s'>no</p></div></body></tt>";

/// Sidecars in four formats and as many encodings.
fn sidecars() -> Vec<(Source, Vec<u8>)> {
    let utf16 = |text: &str| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    let latin1 =
        "1\n00:00:01,000 --> 00:00:02,000\ncaf\u{e9}\n\n2\n00:00:05,000 --> 00:00:04,000\nback\n";
    let latin1 = latin1
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    vec![
        (
            Source {
                offset_ms: 500,
                ..source(Some("fr"))
            },
            latin1,
        ),
        (
            Source {
                offset_ms: -1_500,
                label: Some("Deutsch".into()),
                ..source(Some("de"))
            },
            utf16(films::VTT),
        ),
        (
            Source {
                offset_ms: -5_000,
                ..source(None)
            },
            TTML.into(),
        ),
        (source(Some("en")), films::SCC.into()),
        (
            source(Some("es")),
            b"\x89PNG\r\n\x1a\n\0\0\0\0\0\0\0\0\0\0".to_vec(),
        ),
        (
            Source {
                label: Some(String::new()),
                ..source(Some("pt"))
            },
            films::SRT.into(),
        ),
    ]
}

fn languages(answer: &Answer) -> Vec<&str> {
    let all = answer.tracks.iter().step_by(3);
    all.map(|track| {
        track
            .language
            .as_ref()
            .map_or("und", |language| language.as_str())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_and_embedded_tracks_are_merged_under_each_policy() {
    let sandbox = sandbox().await;
    for (policy, expected, from_film) in [
        (
            Policy::MergeOverride,
            vec!["fr", "de", "it", "en", "ja"],
            false,
        ),
        (
            Policy::MergeRetain,
            vec!["ger", "ja", "fr", "it", "en"],
            true,
        ),
        (Policy::Override, vec!["fr", "de", "it", "en"], false),
    ] {
        let mut sources = sidecars();
        for (language, label) in [("ger", " \u{7}Film title"), ("ja", ""), ("deu", "second")] {
            let label = Some(label.to_owned());
            let embedded = Source {
                embedded: true,
                label,
                ..source(Some(language))
            };
            sources.push((embedded, films::SRT.into()));
        }
        let (order, files) = order(sources, policy);
        let answer = helped(&sandbox, &order, &files).await;
        assert_eq!(languages(&answer), expected);
        let french = told(&cues(&answer, "fr"));
        assert_eq!(french, [(1500, 2500, "café".to_owned())]);
        assert_eq!(told(&cues(&answer, "it")), [(5000, 7000, "no".to_owned())]);
        assert_eq!(told(&cues(&answer, "en")).len(), 2);
        let german = &cues(&answer, if from_film { "ger" } else { "de" });
        let label = answer
            .tracks
            .iter()
            .find_map(|track| track.label.as_deref());
        if from_film {
            assert_eq!((german, label), (&parsed(films::SRT), Some("Film title")));
        } else {
            let mut moved = parsed(films::VTT);
            for cue in &mut moved {
                (cue.start_ms, cue.end_ms) = (cue.start_ms.saturating_sub(1500), cue.end_ms - 1500);
            }
            assert_eq!((german, label), (&moved, Some("Deutsch")));
        }
        check_reports(&answer);
    }
}

fn check_reports(answer: &Answer) {
    use ciphermill_captions::{Encoding, Format};
    let read = |index: usize| match &answer.sources[index] {
        Report::Read {
            format,
            encoding,
            dropped,
            faults,
            all_faults,
            ..
        } => (*format, *encoding, *dropped, faults.len(), *all_faults),
        refused => panic!("{refused:?}"),
    };
    assert_eq!(read(0), (Format::Srt, Encoding::Latin1, 0, 1, 1));
    assert_eq!(read(1), (Format::Vtt, Encoding::Utf16Le, 0, 0, 0));
    assert_eq!(read(2), (Format::Ttml, Encoding::Utf8, 1, 0, 0));
    assert_eq!(read(3), (Format::Scc, Encoding::Utf8, 0, 0, 0));
    assert!(matches!(&answer.sources[4], Report::Refused { why } if why.contains("text")));
    assert!(matches!(&answer.sources[5], Report::Refused { why } if why.contains("label")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_comes_through_stdin_too_and_one_that_is_missing_is_reported() {
    let sandbox = sandbox().await;
    let sources = vec![
        Source {
            descriptor: 0,
            ..source(Some("en"))
        },
        Source {
            descriptor: 9,
            ..source(None)
        },
    ];
    let order = Order {
        sources,
        policy: Policy::Override,
        outputs: vec![Output::Vtt],
    };
    let args = [
        VERB.to_owned(),
        serde_json::to_string(&Work::Captions(order.clone())).unwrap(),
    ];
    let mut child = sandbox
        .command(Program::Own, args)
        .stdin(Stdin::Pipe)
        .start()
        .await
        .unwrap();
    let mut stdin = child.take_stdin().unwrap();
    let write = async move {
        tokio::io::AsyncWriteExt::write_all(&mut stdin, films::SRT.as_bytes())
            .await
            .unwrap();
    };
    let (outcome, ()) = tokio::join!(child.wait(), write);
    let answer = read_answer(&outcome.unwrap().stdout, &order).unwrap();
    assert_eq!(parsed(&answer.tracks[0].text), parsed(films::SRT));
    assert!(
        matches!(&answer.sources[1], Report::Refused { why } if why.contains("cannot be read"))
    );
}
