//! SRT as it comes: mostly broken.

use super::*;
use crate::{Encoding, Output, Span};
use crate::{Parsed, parse as parse_any, write as write_any};

fn read(text: &str) -> Parsed {
    parse_any(text.as_bytes()).unwrap()
}

/// `start-end text|text`, one for each cue.
fn told(parsed: &Parsed) -> Vec<String> {
    let line = |line: &Line| {
        line.iter()
            .map(|span| span.text.as_str())
            .collect::<String>()
    };
    let cues = parsed.track.cues.iter().map(|cue| {
        let lines: Vec<_> = cue.lines.iter().map(line).collect();
        format!("{}-{} {}", cue.start_ms, cue.end_ms, lines.join("|"))
    });
    cues.collect()
}

fn broken(parsed: &Parsed) -> Vec<(usize, usize)> {
    parsed.broken.iter().map(|b| (b.number, b.line)).collect()
}

#[test]
fn a_well_made_file_is_read() {
    let parsed = read(
        "\u{feff}1\r\n00:00:01,000 --> 00:00:02,500\r\nHello\r\nworld\r\n\r\n\
         2\r\n00:00:03,000 --> 00:00:04,000\r\nBye\r\n",
    );
    assert_eq!(told(&parsed), ["1000-2500 Hello|world", "3000-4000 Bye"]);
    assert_eq!(parsed.broken, []);
}

#[test]
fn numbers_and_blank_lines_may_lack_or_abound() {
    let parsed = read(
        "00:00:01,000 --> 00:00:02,000\nno number\n2\n00:00:03,000 --> 00:00:04,000\nno blank line\n\n\
         stands on\n\n99999999999999999999\n\n00:00:05.000-->00:00:06.000 X1:1 X2:2\nlate\n42",
    );
    let expected = [
        "1000-2000 no number",
        "3000-4000 no blank line|stands on",
        "5000-6000 late|42",
    ];
    assert_eq!(told(&parsed)[0], expected[0]);
    assert_eq!(told(&parsed)[2], expected[2]);
    assert!(told(&parsed)[1].starts_with(expected[1]));
}

#[test]
fn broken_cues_are_told_and_the_others_kept() {
    let parsed = read(
        "1\n00:00:01,000 --> 00:00:02,000\ngood\n\n2\n00:00:04,000 --> 00:00:03,000\nreversed\n\n\
         3\n-00:00:04,000 --> 00:00:05,000\nnegative\n\n4\n9999999:00:00,000 --> 9999999:00:01,000\nhuge\n\n\
         5\n00:00:07,000 -> 00:00:08,000\narrow\n\n6\nno times\n\n7\n00:00:09,0x0 --> 00:00:10,000\nletters\n\n\
         8\n25:00:00,000 --> 25:00:01,000\nlate\n",
    );
    assert_eq!(told(&parsed), ["1000-2000 good", "90000000-90001000 late"]);
    assert_eq!(
        broken(&parsed),
        [(2, 6), (3, 10), (4, 14), (5, 18), (6, 21), (7, 25)]
    );
}

#[test]
fn words_around_an_arrow_are_text() {
    let parsed = read(
        "1\n00:00:01,000 --> 00:00:02,000\n- Go --> there\n\n\
         2\n00:00:03,000 --> 00:00:04,000\n5 --> 6\nx\n",
    );
    let expected = ["1000-2000 - Go --> there", "3000-4000 5 --> 6|x"];
    assert_eq!(told(&parsed), expected);
    assert_eq!(parsed.broken, []);
}

#[test]
fn overlapping_cues_stay_and_early_ones_come_first() {
    let parsed = read(
        "1\n00:00:05,000 --> 00:00:09,000\nb\n\n\
         2\n00:00:01,000 --> 00:00:07,000\na\n\n3\n00:00:01,000 --> 00:00:02,000\n\n",
    );
    assert_eq!(told(&parsed), ["1000-7000 a", "5000-9000 b"]);
    assert_eq!(parsed.broken, [], "a cue without text is none");
}

#[test]
fn text_before_the_first_times_is_told() {
    let parsed = read("Some title\nmore\n\n1\n00:00:01,000 --> 00:00:02,000\na\n");
    assert_eq!(broken(&parsed), [(1, 1)]);
    assert_eq!(told(&parsed), ["1000-2000 a"]);
}

#[test]
fn nothing_readable_is_refused() {
    for text in [
        "",
        "hello",
        "1\nx --> y\nz\n",
        "00:00:02,000 --> 00:00:01,000\nx\n",
    ] {
        assert!(parse_any(text.as_bytes()).is_err(), "{text}");
    }
}

fn spans(text: &str) -> (Vec<Line>, Place) {
    let file = format!("1\n00:00:01,000 --> 00:00:02,000\n{text}\n");
    let cue = read(&file).track.cues.remove(0);
    (cue.lines, cue.place)
}

#[test]
fn tags_and_overrides_are_understood_and_soup_is_eaten() {
    let (lines, place) = spans(
        "{\\an8}<b>a<i>b</b>c</i> <FONT size=\"1\" color='#FF0000'>d</font>{\\i1}e{\\i0\\b1}f",
    );
    assert_eq!(place.vertical, Vertical::Top);
    let told: Vec<_> = lines[0]
        .iter()
        .map(|Span { text, style }| (text.as_str(), style.bold, style.italic, style.colour))
        .collect();
    assert_eq!(
        told,
        [
            ("a", true, false, None),
            ("b", true, true, None),
            ("c", false, true, None),
            (" ", false, false, None),
            ("d", false, false, Some(Colour::Red)),
            ("e", false, true, None),
            ("f", true, false, None),
        ]
    );
    for text in [
        "a < b > c",
        "<3",
        "<John> hi",
        "{x}",
        "1 <",
        "<b",
        "{\\an8",
        "&lt;b&gt;",
        "<<x>>",
        "10:30 - 11:45",
    ] {
        let (lines, place) = spans(text);
        let expected = Span {
            text: text.into(),
            style: Style::default(),
        };
        assert_eq!((lines, place), (vec![vec![expected]], Place::default()));
    }
    assert_eq!(spans("a<br/>b<v Bob>c</v>").0.len(), 2);
}

#[test]
fn captions_that_came_from_608_lose_their_false_place() {
    let (lines, place) = spans("<font face=\"Monospace\">{\\an7}HELLO\n{\\an7}WORLD</font>");
    assert_eq!(place, Place::default());
    assert_eq!(lines[1][0].text, "WORLD");
}

#[test]
fn text_that_looks_like_markup_is_written_so_that_it_is_none() {
    let mut track = read("1\n00:00:01,000 --> 00:00:02,000\nx\n").track;
    let text = "<b>{\\an8}</i> a<b 1 < 2";
    track.cues[0].lines = vec![
        vec![Span {
            text: text.into(),
            style: Style::default(),
        }],
        vec![Span {
            text: "00:00:07,000 --> 00:00:08,000".into(),
            style: Style::default(),
        }],
        vec![Span {
            text: "2".into(),
            style: Style::default(),
        }],
    ];
    let written = write_any(&track, Output::Srt);
    let again = read(&written);
    let plain = told(&again)[0].replace(WORD_JOINER, "");
    assert_eq!(
        plain,
        format!("1000-2000 {text}|00:00:07,000 --> 00:00:08,000|2")
    );
    assert_eq!(write_any(&again.track, Output::Srt), written);
}

#[test]
fn every_encoding_says_the_same() {
    let text = "1\r\n00:00:01,000 --> 00:00:02,000\r\nNa\u{ef}ve caf\u{e9}\r\n";
    let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let marked = format!("\u{feff}{text}");
        marked.encode_utf16().flat_map(bytes).collect()
    };
    let latin1: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
    for (bytes, encoding) in [
        (text.as_bytes().to_vec(), Encoding::Utf8),
        (utf16(u16::to_le_bytes), Encoding::Utf16Le),
        (utf16(u16::to_be_bytes), Encoding::Utf16Be),
        (latin1, Encoding::Latin1),
    ] {
        let parsed = parse_any(&bytes).unwrap();
        assert_eq!(parsed.encoding, encoding);
        assert_eq!(told(&parsed), ["1000-2000 Na\u{ef}ve caf\u{e9}"]);
    }
}
