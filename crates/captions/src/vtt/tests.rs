//! WebVTT: blocks, text, and what browsers forgive.

use crate::cue::Line;
use crate::told::{plain, told};
use crate::{Align, Colour, Parsed, Vertical, parse as parse_any};

fn read(text: &str) -> Parsed {
    parse_any(text.as_bytes()).unwrap()
}

#[test]
fn blocks_that_are_no_cues_are_passed_over() {
    let parsed = read(
        "WEBVTT - title\nKind: captions\nLanguage: de-AT\n\nSTYLE\n::cue(b) { color: red }\n\nREGION\nid:x\n\n\
         NOTE one\ntwo\n\nNOTE\n\nintro\n00:01.000 --> 00:02.000 line:0 align:end\nHello\n\n\
         NOTE between\n\n01:00:00.000 --> 01:00:01.000\nlate\n\n",
    );
    assert_eq!(told(&parsed), ["1000-2000 Hello", "3600000-3601000 late"]);
    assert_eq!(parsed.track.language.unwrap().as_str(), "de");
    let place = parsed.track.cues[0].place;
    assert_eq!((place.vertical, place.align), (Vertical::Top, Align::Right));
}

#[test]
fn a_missing_blank_line_ends_a_cue_nevertheless() {
    let parsed = read(
        "WEBVTT\n00:01.000 --> 00:02.000\na\n00:03.000 --> 00:04.000\nb\nid\n\nx --> y\nlost\n\n\
         00:04.000 --> 00:03.000\nreversed\n\n-00:04.000 --> 00:05.000\nnegative\n\n00:05.000 --> 00:06.000\nc",
    );
    assert_eq!(
        told(&parsed),
        ["1000-2000 a", "3000-4000 b|id", "5000-6000 c"]
    );
    let broken: Vec<_> = parsed.broken.iter().map(|b| (b.number, b.line)).collect();
    assert_eq!(broken, [(3, 8), (4, 11), (5, 14)]);
}

fn lines(text: &str) -> Vec<Line> {
    let file = format!("WEBVTT\n\n00:01.000 --> 00:02.000\n{text}\n");
    read(&file).track.cues.remove(0).lines
}

#[test]
fn tags_change_the_style_or_nothing() {
    let lines = lines(
        "<v Bob Smith>Hi</v> <c.loud.yellow>yellow <b>bold</c> both</b></c> \
         <lang en><00:01.500><i.x>it</i></lang><u>u\n<b\nx>two</b>",
    );
    let told: Vec<_> = lines[0]
        .iter()
        .map(|span| {
            (
                span.text.as_str(),
                span.style.bold,
                span.style.italic,
                span.style.colour,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("Hi ", false, false, None),
            ("yellow ", false, false, Some(Colour::Yellow)),
            ("bold both", true, false, Some(Colour::Yellow)),
            (" ", false, false, None),
            ("it", false, true, None),
            ("u", false, false, None),
        ]
    );
    assert!(lines[0][5].style.underline);
    assert_eq!(plain(&lines[1]), "two");
    assert!(lines[1][0].style.bold && lines[1][0].style.underline);
}

#[test]
fn references_are_read_and_unknown_ones_are_text() {
    for (written, read) in [
        ("a &lt;b&gt; &amp;amp; c", "a <b> &amp; c"),
        ("&#65;&#x42;&#X43;", "ABC"),
        (
            "&eacute;t&eacute; &mdash; &copy;&hellip; &nothing;",
            "\u{e9}t\u{e9} \u{2014} \u{a9}\u{2026} &nothing;",
        ),
        ("&nbsp;&lrm;&rlm;&quot;&apos;", "\u{a0}\u{200e}\u{200f}\"'"),
        (
            "&bogus; & &; &#xD800; &#99999999999;",
            "&bogus; & &; &#xD800; &#99999999999;",
        ),
        ("x&#10;y&#0;&#7;z", "x|yz"),
        ("<ruby>漢<rt>kan</rt></ruby></rt>", "漢(kan)"),
        ("fish & chips &", "fish & chips &"),
        ("open <tag", "open"),
        ("1 < 2 <", "1 < 2 <"),
    ] {
        let lines: Vec<_> = lines(written).iter().map(plain).collect();
        assert_eq!(lines.join("|"), read, "{written}");
    }
}

#[test]
fn a_block_without_times_is_told() {
    let parsed = read("WEBVTT\n\nlost\ntext\n\n00:01.000 --> 00:02.000\na\n\nmore\n\n");
    assert_eq!(told(&parsed), ["1000-2000 a"]);
    let broken: Vec<_> = parsed.broken.iter().map(|b| (b.number, b.line)).collect();
    assert_eq!(broken, [(1, 3), (3, 9)]);
}

#[test]
fn an_empty_file_is_a_track_without_cues() {
    for text in ["WEBVTT", "WEBVTT\n", "\u{feff}WEBVTT\r\n\r\nNOTE x\r\n"] {
        assert_eq!(read(text).track.cues, []);
    }
    assert!(parse_any(b"WEBVTT\n\n1 --> 2\nx\n").is_err());
}
