//! What ffprobe prints, whole and broken.

use super::*;

fn dump(data: &[u8]) -> String {
    let line = |(index, line): (usize, &[u8])| {
        let pairs: Vec<String> = line
            .chunks(2)
            .map(|pair| pair.iter().map(|b| format!("{b:02x}")).collect())
            .collect();
        format!("{:08x}: {:<39}  ab: cd\\n", index * 16, pairs.join(" "))
    };
    data.chunks(16).enumerate().map(line).collect()
}

fn list(samples: &[(&str, &str, &[u8])]) -> String {
    let one = |(start, duration, data): &(&str, &str, &[u8])| {
        let data = dump(data);
        format!(
            "{{\"pts_time\":\"{start}\",\"duration_time\":\"{duration}\",\"data\":\"\\n{data}\"}}"
        )
    };
    let packets: Vec<String> = samples.iter().map(one).collect();
    format!(
        "{{\"packets\":[{}],\"format\":{{\"start_time\":\"1.400000\"}}}}",
        packets.join(",")
    )
}

const STYLED: &[u8] = b"\0\x0ca\xc3\xa4\nbold red\0\0\0\x22styl\0\x02\
    \0\x03\0\x07\0\x01\x01\x10\xff\xff\xff\xff\0\x08\0\x0b\0\x01\x06\x10\xff\0\0\xff";

fn timed_text(list: &str) -> Vec<crate::Cue> {
    parse_timed_text(list.as_bytes())
        .unwrap()
        .finish()
        .unwrap()
        .0
        .cues
}

#[test]
fn timed_text_has_its_styles_and_its_time_from_the_films_start() {
    let [cue] = &timed_text(&list(&[
        ("2.400000", "1.500400", STYLED),
        ("0.100000", "1.0", STYLED),
    ]))[..] else {
        panic!("what is before the start is left out");
    };
    assert_eq!((cue.start_ms, cue.end_ms), (1000, 2500));
    let spans: Vec<_> = cue
        .lines
        .iter()
        .flatten()
        .map(|span| (span.text.as_str(), span.style))
        .collect();
    let bold = crate::Style {
        bold: true,
        ..Default::default()
    };
    let red = crate::Style {
        italic: true,
        underline: true,
        colour: Some(crate::Colour::Red),
        ..Default::default()
    };
    assert_eq!(
        spans,
        [
            ("aä", Default::default()),
            ("bold", bold),
            (" ", Default::default()),
            ("red", red)
        ]
    );
}

#[test]
fn utf16_and_missing_durations_are_read() {
    let list = list(&[
        ("2.4", "N/A", b"\0\x06\xfe\xff\0a\x65\xe5"),
        ("4.4", "N/A", b"\0\0"),
        ("5.4", "", b"\0\x01x"),
    ]);
    let cues = timed_text(&list);
    let told: Vec<_> = cues
        .iter()
        .map(|cue| (cue.start_ms, cue.end_ms, cue.lines[0][0].text.as_str()))
        .collect();
    assert_eq!(told, [(1000, 3000, "a日"), (4000, 9000, "x")]);
}

#[test]
fn no_bytes_make_it_panic() {
    let vttc = b"\0\0\0\x20vttc\0\0\0\x0csttgx:y\n\0\0\0\x0cpayl<b>z\0\0\0\x08vtte";
    let good = list(&[
        ("2.4", "1.0", vttc),
        ("3.4", "1.0", vttc),
        ("4.4", "", STYLED),
    ]);
    let track = parse_webvtt(good.as_bytes()).unwrap().finish().unwrap().0;
    assert_eq!(track.cues.len(), 1);
    assert_eq!((track.cues[0].start_ms, track.cues[0].end_ms), (1000, 3000));
    for at in 0..good.len() {
        for byte in [b'0', b'f', b'"', b':', b' ', b'-', 0xff] {
            let mut bad = good.clone().into_bytes();
            bad[at] = byte;
            for parse in [parse_webvtt, parse_timed_text, parse_ttml, parse_608] {
                let _ = parse(&bad).and_then(Collected::finish);
            }
        }
    }
    let huge = list(&[
        ("4294967295.999999", "4294967295", STYLED),
        ("-4294967295", "-1", STYLED),
    ]);
    assert!(timed_text(&huge).len() <= 1);
}

/// A clip of a recording that began an hour before: its documents have the track's own times.
#[test]
fn documents_count_from_the_tracks_start() {
    let document = |begin: &str, end: &str| {
        format!(
            "<tt xmlns=\"http://www.w3.org/ns/ttml\"><body><div>\
             <p begin=\"{begin}\" end=\"{end}\">x</p></div></body></tt>"
        )
    };
    let one = document("01:00:01.000", "01:00:02.000");
    let two = document("01:00:07.000", "01:00:09.000");
    let list = list(&[
        ("3600.000000", "6.0", one.as_bytes()),
        ("3606.000000", "6.0", two.as_bytes()),
    ]);
    let list = list.replace("\"1.400000\"", "\"3600.000000\"");
    let (track, broken) = parse_ttml(list.as_bytes()).unwrap().finish().unwrap();
    let times: Vec<_> = track.cues.iter().map(|c| (c.start_ms, c.end_ms)).collect();
    assert_eq!(times, [(1000, 2000), (7000, 9000)]);
    assert_eq!(broken, []);
}
