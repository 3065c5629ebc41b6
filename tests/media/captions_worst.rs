//! What takes quadratic time in careless parsers takes linear time here, and no more memory than
//! the limits allow.

use std::time::{Duration, Instant};

use ciphermill_captions::{MOST_CUES, MOST_FILE_BYTES, Output, parse, write};

const MIB: usize = 1 << 20;

fn filled(start: &str, piece: &str, bytes: usize) -> Vec<u8> {
    let mut text = start.as_bytes().to_vec();
    text.extend_from_slice(piece.repeat(bytes / piece.len()).as_bytes());
    text
}

const SRT: &str = "1\n00:00:01,000 --> 00:00:02,000\n";
const VTT: &str = "WEBVTT\n\n00:01.000 --> 00:02.000\n";
const TTML: &str = "<tt><body><div><p begin='1s' end='2s'>";
const SCC: &str = "Scenarist_SCC V1.0\n\n00:00:01;00\t9420 ";

/// 1 MiB of each, in time for 100 ms in release.
const WORST: &[(&str, &str)] = &[
    (SRT, "<"),
    (SRT, "{\\"),
    (SRT, "<b"),
    (SRT, "<b>"),
    (SRT, "<b><i></b>"),
    (SRT, "<b>a</b>b"),
    (SRT, "{\\i1}a"),
    (SRT, "<font color=red>x"),
    (SRT, "1\n"),
    (SRT, "\n2\n"),
    (SRT, "\n"),
    (SRT, " "),
    (SRT, "a<i> </i>"),
    (SRT, "-->"),
    (SRT, "--> \n"),
    (SRT, "0 --> \n"),
    (SRT, "00:00:01,000 --> 00:00:02,000\n"),
    (SRT, "00:00:01,000 --> 00:00:02,000\na\n"),
    (SRT, "9"),
    ("", "a\n"),
    (VTT, "<"),
    (VTT, "<b"),
    (VTT, "<b\n"),
    (VTT, "<b>"),
    (VTT, "<c.red>a"),
    (VTT, "<b.a.a.a.a.a.a.a.a>"),
    (VTT, "<rt>"),
    (VTT, "&"),
    (VTT, "&amp"),
    (VTT, "&#1"),
    (VTT, "a\n"),
    (VTT, "\n"),
    (VTT, "-->\n"),
    (VTT, "00:01.000 --> 00:02.000\n"),
    (VTT, "\n\n00:01.000 --> 00:02.000 line:1\na"),
    ("WEBVTT\n", "NOTE\n\n"),
    (TTML, "<"),
    (TTML, "&"),
    (TTML, "&amp;"),
    (TTML, "&#65;"),
    (TTML, "&x"),
    (TTML, "a "),
    (TTML, "<br/>"),
    (TTML, "<span/>"),
    (TTML, "<span begin='1s' dur='1s'>a</span>"),
    (TTML, "</p><p begin='1s' end='2s'>a"),
    (TTML, "<!---->"),
    (TTML, "<![CDATA["),
    (TTML, "<![CDATA[]]>"),
    (TTML, "<?x?>"),
    (TTML, "<span a='"),
    ("<tt ", "a='' "),
    ("<tt ", "xmlns:a='' "),
    ("<tt><head><styling>", "<style id='a' style='a a a'/>"),
    ("<tt><head><layout><region id='a'>", "<style color='red'/>"),
    ("<", "!--"),
    ("", "<!---->"),
    ("", "<"),
    (SCC, "942f "),
    (SCC, "94ad "),
    (SCC, "9425 94ad 6161 "),
    (SCC, "9425 9470 91d0 6161 "),
    (SCC, "9429 6161 942c "),
    (SCC, "6161 942f 9420 "),
    (SCC, "zz "),
    (SCC, "1c20 "),
    ("Scenarist_SCC V1.0\n", "00:00:01;00\t9429 6161 942c\n"),
    ("Scenarist_SCC V1.0\n", "x\n"),
];

#[test]
fn a_mebibyte_of_the_worst_takes_a_moment() {
    let most = Duration::from_millis(if cfg!(debug_assertions) { 2000 } else { 100 });
    let mut slowest = (Duration::ZERO, "", "");
    for (start, piece) in WORST {
        let bytes = filled(start, piece, MIB);
        // The best of three: the machine is not ours alone.
        let took = (0..3).map(|_| {
            let begun = Instant::now();
            let parsed = parse(&bytes);
            let took = begun.elapsed();
            drop(parsed);
            took
        });
        let took = took.min().unwrap();
        slowest = slowest.max((took, start, piece));
        if took > most / 4 {
            println!("{took:?} {start:?} {piece:?}");
        }
        assert!(took < most, "{start:?} {piece:?} took {took:?}");
    }
    println!("slowest: {slowest:?}");
}

#[test]
fn other_encodings_take_no_longer() {
    let latin1 = [SRT.as_bytes(), &b"\xe9\x80 a\r".repeat(MIB / 5)].concat();
    let damaged = [SRT.as_bytes(), &"é".repeat(MIB / 2).as_bytes()[1..]].concat();
    let utf16 = [
        b"\xff\xfe".to_vec(),
        b"W\0E\0B\0V\0T\0T\0\n\0".to_vec(),
        b"\x00\xd8".repeat(MIB / 2),
    ]
    .concat();
    for bytes in [latin1, damaged, utf16] {
        let begun = Instant::now();
        let _ = parse(&bytes);
        assert!(begun.elapsed() < Duration::from_millis(1000));
    }
}

#[test]
fn timed_spans_in_great_number_and_styles_in_great_number() {
    let mut spans = TTML.to_owned();
    let mut styles = String::from("<tt><head><styling>");
    for index in 0..30_000 {
        spans.push_str(&format!("<span begin='{index}ms'>a</span>"));
        styles.push_str(&format!("<style id='s{}' style='s{index}'/>", index % 9000));
    }
    for text in [spans, styles] {
        let begun = Instant::now();
        let _ = parse(text.as_bytes());
        assert!(begun.elapsed() < Duration::from_millis(2000));
    }
}

#[test]
fn the_limits_refuse() {
    let what = |bytes: &[u8]| parse(bytes).unwrap_err().what;
    assert!(what(&vec![b'a'; MOST_FILE_BYTES + 1]).contains("16 MiB"));
    let cue = "00:01.000 --> 00:02.000\na\n";
    assert!(what(&filled("WEBVTT\n\n", cue, cue.len() * (MOST_CUES + 1))).contains("100000"));
    let many = parse(&filled("WEBVTT\n\n", cue, cue.len() * MOST_CUES)).unwrap();
    assert_eq!(many.track.cues.len(), MOST_CUES);
    for output in Output::ALL {
        let again = parse(write(&many.track, output).as_bytes()).unwrap();
        assert_eq!(again.track.cues.len(), MOST_CUES);
    }
    let mut styles = String::from("<tt><head><styling>");
    (0..10_001).for_each(|index| styles.push_str(&format!("<style id='s{index}'/>")));
    assert!(what(styles.as_bytes()).contains("10000"));
    let pieces = (0..=MOST_CUES).map(|index| format!("<span begin='{index}ms'>a</span>"));
    let pieces = format!("{TTML}{}</p>", pieces.collect::<String>());
    assert!(what(pieces.as_bytes()).contains("100000"));
    let long = "x".repeat(70_000);
    let parsed = parse(format!("{VTT}{long}\n\n00:01.000 --> 00:02.000\nkept").as_bytes()).unwrap();
    assert_eq!((parsed.track.cues.len(), parsed.broken.len()), (1, 1));
    let text = format!(
        "{SRT}{}\n2\n00:00:03,000 --> 00:00:04,000\nkept",
        "a\n".repeat(200_000)
    );
    let parsed = parse(text.as_bytes()).unwrap();
    assert_eq!((parsed.track.cues.len(), parsed.broken.len()), (1, 1));
}
