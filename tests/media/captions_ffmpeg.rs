//! Beside ffmpeg: what both read the same way, and that it reads what we write.

use std::io::Write as _;
use std::process::{Command, Stdio};

use ciphermill_captions::{Output, Track, parse, write};

/// Runs ffmpeg from a format to another through pipes.
fn ffmpeg(from: &str, to: &str, input: &str) -> String {
    let mut child = Command::new("ffmpeg")
        .args([
            "-nostdin", "-v", "error", "-f", from, "-i", "pipe:0", "-f", to, "pipe:1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{from} to {to}");
    String::from_utf8(output.stdout).unwrap()
}

/// Start, end and plain lines.
fn told(track: &Track) -> Vec<(u64, u64, Vec<String>)> {
    let text = |cue: &ciphermill_captions::Cue| {
        cue.lines
            .iter()
            .map(|line| line.iter().map(|span| span.text.as_str()).collect())
            .collect()
    };
    track
        .cues
        .iter()
        .map(|cue| (cue.start_ms, cue.end_ms, text(cue)))
        .collect()
}

fn read(text: &str) -> Track {
    parse(text.as_bytes()).unwrap().track
}

const SRT: &str = "1\n00:00:01,000 --> 00:00:02,500\nHello, <i>world</i>\nsecond <b>line</b>\n\n\
    2\n00:00:02,000 --> 00:00:04,000\n{\\an8}overlapping, at the top\n\n\
    00:01:00,000 --> 00:01:01,000\nno number\n4\n00:59:59,999 --> 01:00:01,000\nno blank line & 1 < 2\n\n\
    5\n25:00:00,000 --> 25:00:01,040\n<font color=\"#ff0000\">late</font> naïve 日本 🙂\n";

#[test]
fn srt_to_vtt_by_ffmpeg_and_by_us_say_the_same() {
    let theirs = ffmpeg("srt", "webvtt", SRT);
    let ours = write(&read(SRT), Output::Vtt);
    assert_eq!(told(&read(&ours)), told(&read(SRT)));
    assert_eq!(told(&read(&theirs)), told(&read(SRT)));
}

#[test]
fn ffmpeg_reads_what_we_write() {
    let track = read(SRT);
    let srt = ffmpeg("srt", "srt", &write(&track, Output::Srt));
    assert_eq!(read(&srt), track, "styles and places too");
    let vtt = ffmpeg("webvtt", "srt", &write(&track, Output::Vtt));
    assert_eq!(told(&read(&vtt)), told(&track));
    let vtt = ffmpeg("webvtt", "webvtt", &write(&track, Output::Vtt));
    assert_eq!(told(&read(&vtt)), told(&track));
}

#[test]
fn we_read_the_ttml_of_ffmpeg_and_ours_is_well_formed() {
    let track = read(SRT);
    let theirs = parse(ffmpeg("srt", "ttml", SRT).as_bytes()).unwrap();
    assert_eq!(theirs.broken, []);
    let times = |track: &Track| -> Vec<_> {
        told(track)
            .into_iter()
            .map(|(s, e, t)| (s, e, t.len()))
            .collect()
    };
    assert_eq!(times(&theirs.track), times(&track));
    let mut hostile = track.clone();
    hostile.cues[0].lines[0][0].text = "<p>&amp;]]>\"'<!-- --".to_owned();
    let ours = write(&hostile, Output::Ttml);
    let script = "import sys, xml.dom.minidom as m; d = m.parseString(sys.stdin.buffer.read()); \
        print(len(d.getElementsByTagName('p')), d.getElementsByTagName('p')[0].firstChild.data)";
    let mut child = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(ours.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "5 <p>&amp;]]>\"'<!-- --\n"
    );
}

fn odd(byte: u8) -> u8 {
    byte | u8::from(byte.count_ones().is_multiple_of(2)) << 7
}

/// A file of lines; words in braces are text, with `_` for spaces.
fn scc(lines: &[(&str, &str)]) -> String {
    let mut out = String::from("Scenarist_SCC V1.0\n");
    for (code, words) in lines {
        out.push_str(&format!("\n{code}\t"));
        let words = words.split(' ').map(|word| match word.strip_prefix('{') {
            None => word.to_owned(),
            Some(text) => {
                let text = text.trim_end_matches('}').replace('_', " ");
                let pairs = text.as_bytes().chunks(2).map(|pair| {
                    let second = pair.get(1).copied().unwrap_or(0);
                    format!("{:02x}{:02x}", odd(pair[0]), odd(second))
                });
                pairs.collect::<Vec<_>>().join(" ")
            }
        });
        out.push_str(&words.collect::<Vec<_>>().join(" "));
        out.push('\n');
    }
    out
}

/// Both decoders on one file: the same texts, and times that differ by at most `slack` ms.
fn compare(lines: &[(&str, &str)], slack: u64) {
    let file = scc(lines);
    let ours = told(&read(&file));
    let theirs = ffmpeg("scc", "srt", &file);
    let theirs = told(&read(&theirs));
    let texts = |cues: &[(u64, u64, Vec<String>)]| -> Vec<_> {
        // ffmpeg keeps the spaces that an attribute takes; inner ones are compared as one.
        let one = |line: &String| {
            line.split(' ')
                .filter(|w| !w.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        };
        cues.iter()
            .map(|(_, _, lines)| lines.iter().map(one).collect::<Vec<_>>())
            .collect()
    };
    assert_eq!(texts(&ours), texts(&theirs));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let near = ours.0.abs_diff(theirs.0) <= slack && ours.1.abs_diff(theirs.1) <= slack;
        assert!(near, "{ours:?} beside {theirs:?}");
    }
}

/// ffmpeg gives every code of a line the line's time, where we count frames: so what shows or
/// clears a caption has a line of its own here, as most files have it.
#[test]
fn pop_on_scc_is_read_as_ffmpeg_reads_it() {
    compare(
        &[
            ("00:00:01;00", "94ae 94ae 9420 9420 9470 9470 {Hello_there}"),
            ("00:00:02;00", "942f 942f"),
            (
                "00:00:03;00",
                "94ae 94ae 9420 9420 1340 1340 {row_12} 13e0 13e0 {row_13_e} 9231 9231 {_x} 9137 9137",
            ),
            ("00:00:05;15", "942c 942c"),
            ("00:00:06;00", "942f 942f"),
            (
                "00:00:08;00",
                "94ae 94ae 9420 9420 91d6 91d6 97a2 97a2 91ae 91ae {slanted} 9120 9120 {n/|} 92a7 92a7 {a} 13b0 13b0",
            ),
            ("00:00:09;00", "942f 942f"),
            ("00:01:10;02", "942c 942c"),
        ],
        34,
    );
}

#[test]
fn roll_up_scc_is_read_as_ffmpeg_reads_it() {
    compare(
        &[
            ("00:00:01;00", "9425 9425 94ad 94ad 9470 9470 {one_and}"),
            ("00:00:02;00", "94ad 94ad 9470 9470 {two_and}"),
            ("00:00:03;00", "94ad 94ad 9470 9470 {three}"),
            ("00:00:05;00", "94ad 94ad 9470 9470 {four}"),
            ("00:00:07;00", "942c 942c"),
        ],
        100,
    );
}

#[test]
fn paint_on_scc_is_read_as_ffmpeg_reads_it() {
    compare(
        &[
            (
                "00:00:01;00",
                "942c 942c 9429 9429 91d0 91d0 {painted} 9170 9170 {in_two_rows}",
            ),
            ("00:00:03;00", "942c 942c 9429 9429 9470 9470 {again}"),
            ("00:00:05;00", "942c 942c"),
        ],
        100,
    );
}

/// Every character of every set but `{ } \`, which are markup to ffmpeg's own subtitle text.
#[test]
fn all_characters_of_scc_are_those_of_ffmpeg() {
    let word = |first: u8, second: u8| format!("{:02x}{:02x}", odd(first), odd(second));
    let basic = (0x21..0x80).map(|code| word(code, b'.'));
    let special = (0x30..0x40).map(|code| word(0x11, code));
    let extended = [(0x12, 0x20..0x40), (0x13, 0x20..0x29), (0x13, 0x2c..0x40)];
    let extended = extended.into_iter().flat_map(|(set, codes)| {
        // Each takes the place of an `x`.
        codes.map(move |code| format!("{} {:02x}{:02x}", word(b'x', 0), odd(set), odd(code)))
    });
    let all: Vec<String> = basic.chain(special).chain(extended).collect();
    let lines: Vec<(String, String)> = all
        .chunks(8)
        .enumerate()
        .flat_map(|(index, words)| {
            let load = format!("94ae 9420 9470 {}", words.join(" "));
            let times = [
                format!("00:{index:02}:01;02"),
                format!("00:{index:02}:03;00"),
            ];
            let [first, second] = times;
            [(first, load), (second, "942f 942f".to_owned())]
        })
        .collect();
    let lines: Vec<(&str, &str)> = lines
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let ours = told(&read(&scc(&lines)));
    assert_eq!(ours.len(), all.len().div_ceil(8));
    // A last cue's end is each decoder's own affair, so it is not compared.
    let end = format!("00:{:02}:30;00", ours.len());
    let closed: Vec<_> = lines
        .into_iter()
        .chain([(end.as_str(), "942c 942c")])
        .collect();
    // ffmpeg reads drop-frame code as clock time, from which it strays by up to two frames.
    compare(&closed, 67);
}
