//! SCC: time code, the three modes, characters, and bytes that went wrong.

use super::*;
use crate::cue::{Align, Colour, Vertical};
use crate::told::{plain, told};
use crate::{Parsed, parse as parse_any};

fn odd(byte: u8) -> u8 {
    byte | u8::from(byte.count_ones().is_multiple_of(2)) << 7
}

/// A file of lines; words in braces are text, with `_` for spaces.
fn file(lines: &[(&str, &str)]) -> String {
    let mut out = String::from("Scenarist_SCC V1.0\n");
    for (code, words) in lines {
        out.push_str(&format!("\n{code}\t"));
        for word in words.split(' ') {
            let Some(text) = word.strip_prefix('{') else {
                out.push_str(&format!("{word} "));
                continue;
            };
            let text = text.trim_end_matches('}').replace('_', " ");
            for pair in text.as_bytes().chunks(2) {
                let second = pair.get(1).copied().unwrap_or(0);
                out.push_str(&format!("{:02x}{:02x} ", odd(pair[0]), odd(second)));
            }
        }
        out.push('\n');
    }
    out
}

fn read(lines: &[(&str, &str)]) -> Parsed {
    parse_any(file(lines).as_bytes()).unwrap()
}

#[test]
fn time_code_counts_frames() {
    for (code, ms) in [
        ("00:00:00:00", 0),
        ("00:00:01:00", 1001),
        ("01:00:00:00", 3_603_600),
        ("01:00:00;00", 3_599_996),
        ("00:01:00;02", 60_060),
        ("00:10:00.00", 600_000 - 1),
        ("25:00:00;00", 89_999_910),
    ] {
        assert_eq!(time_code(code).map(frame_ms), Some(ms), "{code}");
    }
    for code in [
        "",
        "00:00:00",
        "00:00:00:30",
        "00:60:00:00",
        "a:b:c:d",
        "0:0:0:0:0",
        "-1:00:00:00",
        "é;00",
    ] {
        assert_eq!(time_code(code), None, "{code}");
    }
}

#[test]
fn pop_on_captions_appear_at_once() {
    let parsed = read(&[
        (
            "00:00:01;00",
            "94ae 94ae 9420 9420 9470 9470 {Hello_} 91ae {sun} 9440 {line_2}",
        ),
        ("00:00:02;00", "942f 942f"),
        ("00:00:04;00", "942c 942c"),
        ("00:00:05;00", "9420 9152 {top} 942f"),
        ("00:00:06;00", "9420 {never_shown}"),
    ]);
    // The second PAC addresses row 14, above the first text.
    assert_eq!(
        told(&parsed),
        ["2002-4004 line 2|Hello  sun", "5138-22222 top"]
    );
    let cue = &parsed.track.cues[0];
    assert!(
        cue.lines[1]
            .iter()
            .any(|span| span.text.ends_with("sun") && span.style.italic)
    );
    assert_eq!(
        (cue.place.vertical, cue.place.align),
        (Vertical::Bottom, Align::Left)
    );
    assert_eq!(parsed.track.cues[1].place.vertical, Vertical::Top);
}

#[test]
fn roll_up_rolls() {
    let parsed = read(&[
        ("00:00:01:00", "9425 9425 94ad 94ad 9470 9470 {one}"),
        ("00:00:02:00", "94ad 94ad 9470 9470 {two}"),
        ("00:00:03:00", "94ad 94ad 9470 9470 {three}"),
        ("00:00:04:00", "942c 942c"),
    ]);
    assert_eq!(
        told(&parsed),
        ["1001-2002 one", "2002-3003 one|two", "3003-4004 two|three"]
    );
    let deeper = read(&[
        (
            "00:00:01:00",
            "94a7 94ad 9470 {a} 94ad {b} 94ad {c} 94ad {d} 94ad {e}",
        ),
        ("00:00:02:00", "942c"),
    ]);
    assert!(told(&deeper)[4].ends_with(" b|c|d|e"));
}

#[test]
fn paint_on_is_seen_while_it_is_written() {
    let parsed = read(&[
        ("00:00:01:00", "9429 9429 91d0 {first}"),
        ("00:00:03:00", "9429 9429 9170 {then}"),
        ("00:00:05:00", "942c"),
    ]);
    assert_eq!(told(&parsed), ["1001-3003 first", "3003-5005 first|then"]);
}

#[test]
fn characters_of_all_sets_and_corrections() {
    let parsed = read(&[
        (
            "00:00:01:00",
            "9420 94d0 {e} 9231 {a} 13b0 {*x} 9137 9137 97a2 {yz} 94a1 94a1 {!} 94f4 {cut_here} 94a1 94a1 94a4",
        ),
        ("00:00:02:00", "942f"),
        ("00:00:03:00", "942c"),
    ]);
    assert_eq!(told(&parsed), ["2002-3003 ÂÄáx♪  y!|cut her"]);
}

#[test]
fn colours_and_doubled_codes() {
    let parsed = read(&[
        (
            "00:00:01:00",
            "9420 9420 9420 94c2 {green} 91a8 91a8 {red} 91a8 8080 91a8 {wide}",
        ),
        ("00:00:02:00", "942f 942f 8080"),
        ("00:00:03:00", "942c"),
    ]);
    assert_eq!(told(&parsed), ["2002-3003 green red  wide"]);
    let line = &parsed.track.cues[0].lines[0];
    assert_eq!(line[0].style.colour, Some(Colour::Lime));
    assert_eq!(line[1].style.colour, Some(Colour::Red));
}

#[test]
fn channel_2_and_text_mode_are_left_out_and_told() {
    let parsed = read(&[
        (
            "00:00:01:00",
            "9420 9470 {one} 1c20 1c70 {two} 1cae 9420 {_more} 942f",
        ),
        ("00:00:02:00", "942a {text} 942c"),
    ]);
    assert!(
        told(&parsed)[0].ends_with(" one more"),
        "{:?}",
        told(&parsed)
    );
    let what: Vec<_> = parsed.broken.iter().map(|b| (b.number, b.what)).collect();
    assert_eq!(
        what,
        [(3, "channel 2 is not read"), (5, "text mode is not read")]
    );
}

#[test]
fn bad_parity_is_a_block_or_nothing() {
    let parsed = read(&[
        ("00:00:01:00", "9420 9470 {ok} 6363 142c 942f"),
        ("00:00:02:00", "9420 zz20 94 94a 942g {x} 942f"),
        ("bad", "942c"),
        ("00:00:01:29", "942c"),
        ("00:00:03:00", "942c"),
    ]);
    assert!(told(&parsed)[0].ends_with("ok██"));
    let what: Vec<_> = parsed.broken.iter().map(|b| (b.number, b.line)).collect();
    assert_eq!(what, [(3, 3), (5, 5), (7, 7), (9, 9)]);
}

#[test]
fn files_without_parity_are_read() {
    let parsed = read(&[
        ("00:00:01:00", "1420 1470 4869 142f"),
        ("00:00:02:00", "142c"),
    ]);
    assert!(told(&parsed)[0].ends_with(" Hi"));
    assert_eq!(parsed.broken, []);
}

#[test]
fn pairs_do_not_run_past_the_next_line() {
    let long = format!("9420 9470 {{{}}}", "x".repeat(60));
    let parsed = read(&[
        ("00:00:01:00", long.as_str()),
        ("00:00:01:10", "942f"),
        ("00:00:02:00", "942c"),
    ]);
    assert_eq!(parsed.track.cues[0].start_ms, 1335);
    assert_eq!(plain(&parsed.track.cues[0].lines[0]), "x".repeat(32));
}
