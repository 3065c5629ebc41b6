//! Any track, written in any text format and read again, is the same track, within what the format
//! carries: SRT puts word joiners into text that looks like markup.

use ciphermill_captions::{
    Align, Colour, Cue, Language, Line, Output, Place, Span, Style, Track, Vertical, parse, write,
};
use proptest::prelude::*;

fn style() -> impl Strategy<Value = Style> {
    let colour = prop::option::of(prop::sample::select(Colour::ALL.to_vec()));
    let flags = any::<(bool, bool, bool)>();
    (flags, colour).prop_map(|((bold, italic, underline), colour)| Style {
        bold,
        italic,
        underline,
        colour,
    })
}

/// Text that tempts the parsers, and any other.
fn text() -> impl Strategy<Value = String> {
    let tempting = prop::sample::select(vec![
        "<b>",
        "</i>",
        "{\\an8}",
        "{\\i1}",
        "-->",
        "00:00:01,000 --> 00:00:02,000",
        "12",
        "&amp;",
        "&lt",
        "&#65;",
        "]]>",
        "<!--",
        "WEBVTT",
        "NOTE",
        "STYLE",
        "<tt>",
        "\u{a0}",
        "<",
        "{",
        "&",
        "-",
        "\\N",
        "é",
        "日本",
        "🙂",
        "\u{2060}",
        "<font color=red>",
        "X1:1",
        "1\u{2028}2",
    ]);
    prop_oneof![
        tempting.prop_map(str::to_owned),
        "[a-z0-9<>{}&;:/#!\\\\ -]{1,12}",
        "\\PC{1,12}",
    ]
}

/// Lines in the shape of the model: no empty ones, no spaces at the ends, styles change at spans.
fn line() -> impl Strategy<Value = Line> {
    prop::collection::vec((text(), style()), 1..4).prop_map(|pieces| {
        let mut line = Line::new();
        for (text, style) in pieces {
            let text: String = text.chars().filter(|c| *c != '\u{feff}').collect();
            match line.last_mut() {
                Some(Span {
                    text: last,
                    style: same,
                }) if *same == style => last.push_str(&text),
                _ => line.push(Span { text, style }),
            }
        }
        let first = line.first_mut().unwrap();
        first.text = format!("a{}", first.text);
        let last = line.last_mut().unwrap();
        last.text.push('z');
        line
    })
}

fn place() -> impl Strategy<Value = Place> {
    let verticals = vec![Vertical::Bottom, Vertical::Middle, Vertical::Top];
    let sides = vec![Align::Left, Align::Centre, Align::Right];
    (prop::sample::select(verticals), prop::sample::select(sides))
        .prop_map(|(vertical, align)| Place { vertical, align })
}

fn cue() -> impl Strategy<Value = Cue> {
    let times = (0..3_500_000_000_u64, 1..90_000_000_u64);
    (times, prop::collection::vec(line(), 1..4), place()).prop_map(
        |((start, lasts), lines, place)| Cue {
            start_ms: start,
            end_ms: start + lasts,
            lines,
            place,
        },
    )
}

fn track() -> impl Strategy<Value = Track> {
    prop::collection::vec(cue(), 1..6).prop_map(|mut cues| {
        cues.sort_by_key(|cue| cue.start_ms);
        Track {
            language: Language::parse("en").ok(),
            label: None,
            cues,
        }
    })
}

/// Without what SRT adds to text, and without spans that this leaves alike.
fn without_joiners(track: &Track) -> Vec<Cue> {
    let mut cues = track.cues.clone();
    for span in cues
        .iter_mut()
        .flat_map(|cue| cue.lines.iter_mut().flatten())
    {
        span.text = span.text.replace('\u{2060}', "");
    }
    cues
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn vtt_and_ttml_carry_everything(track in track()) {
        for output in [Output::Vtt, Output::Ttml] {
            let written = write(&track, output);
            let parsed = parse(written.as_bytes()).unwrap();
            prop_assert_eq!(&parsed.broken, &[]);
            prop_assert_eq!(&parsed.track.cues, &track.cues, "{}", written);
            prop_assert_eq!(write(&Track { language: track.language.clone(), ..parsed.track }, output), written);
        }
    }

    #[test]
    fn srt_carries_everything_but_word_joiners(track in track()) {
        let written = write(&track, Output::Srt);
        let parsed = parse(written.as_bytes()).unwrap();
        prop_assert_eq!(&parsed.broken, &[]);
        prop_assert_eq!(without_joiners(&parsed.track), without_joiners(&track), "{}", written);
        prop_assert_eq!(write(&parsed.track, Output::Srt), written);
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), start in 0..5_usize) {
        let starts: [&[u8]; 5] = [b"", b"WEBVTT\n\n", b"1\n00:00:01,000 --> 00:00:02,000\n", b"<tt><body>", b"Scenarist_SCC V1.0\n\n"];
        let _ = parse(&[starts[start], &bytes].concat());
    }
}
