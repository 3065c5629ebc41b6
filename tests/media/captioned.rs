//! Films with captions in them, made by ffmpeg outside of the sandbox, and by hand where it cannot.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

pub const SRT: &str = "1\n00:00:01,000 --> 00:00:02,500\nHello <i>world</i>\nsecond <b>line</b> & 1 < 2\n\n\
    2\n00:00:03,001 --> 00:00:04,499\n<font color=\"#ff0000\">red</font> and <u>under</u>\n\n\
    3\n00:00:04,500 --> 00:00:06,000\n{\\an8}at the top\n\n\
    4\n00:00:08,040 --> 00:00:10,000\nnaïve 日本 🙂\n\n";

pub const VTT: &str = "WEBVTT\n\nid1\n00:01.000 --> 00:02.500 line:0 align:left\n\
    Hello <c.red>red</c> &amp; 1 &lt; 2 <v Bob>bob</v>\n\n00:02.000 --> 00:04.500\nover <i>it</i>\n\n\
    00:08.040 --> 00:10.000\nnaïve 日本 🙂\n";

const ASS: &str = "[Script Info]\nScriptType: v4.00+\nPlayResX: 384\nPlayResY: 288\n\n[V4+ Styles]\n\
    Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, \
    Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
    Alignment, MarginL, MarginR, MarginV, Encoding\n\
    Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0\n\
    Style: Top,Arial,16,&H0000ff,&Hffffff,&H0,&H0,-1,-1,0,0,100,100,0,0,1,1,0,8,10,10,10,0\n\n[Events]\n\
    Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n\
    Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,Hello {\\i1}world{\\i0}\\Nsecond {\\b1}line{\\b0}\n\
    Dialogue: 0,0:00:03.00,0:00:04.50,Top,,0,0,0,,style at the top\n\
    Dialogue: 0,0:00:03.50,0:00:06.00,Default,,0,0,0,,{\\c&H0000ff&}overlap{\\c} ends\n";

/// Pop-on captions, one pair a frame at 30000/1001: shown at 1.468, 3.470 and gone at 5.005.
pub const SCC: &str = "Scenarist_SCC V1.0\n\n\
    00:00:01:04\t94ae 94ae 9420 9420 9470 9470 c8e5 ecec ef80 942f 942f\n\n\
    00:00:03:04\t94ae 94ae 9420 9420 9470 9470 57ef f2ec 6480 942f 942f\n\n\
    00:00:05:00\t942c 942c\n\n00:00:07:00\t942c 942c\n";

/// A bitmap track: three empty pictures of the Blu-ray kind.
fn sup() -> Vec<u8> {
    let segment = |ms: u32, kind: u8, body: &[u8]| {
        let mut all = b"PG".to_vec();
        all.extend((ms * 90).to_be_bytes());
        all.extend([0, 0, 0, 0, kind]);
        all.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        all.extend(body);
        all
    };
    let one = |ms| {
        let window = [1, 0, 0, 0, 0, 0, 1, 64, 0, 180];
        let picture = [1, 64, 0, 180, 0x10, 0, 1, 0x80, 0, 0, 0];
        [
            segment(ms, 0x16, &picture),
            segment(ms, 0x17, &window),
            segment(ms, 0x80, &[]),
        ]
        .concat()
    };
    [one(1000), one(2000), one(3000)].concat()
}

fn make(folder: &Path, args: &str) {
    let mut ffmpeg = Command::new("/usr/bin/ffmpeg");
    ffmpeg
        .args(["-nostdin", "-v", "error", "-y"])
        .args(args.split_whitespace())
        .current_dir(folder);
    assert!(ffmpeg.status().unwrap().success(), "{args}");
}

/// The pair of each picture of a film at 30000/1001, for this field and channel.
fn pairs(channel2: bool) -> std::collections::HashMap<usize, [u8; 2]> {
    let mut pairs = std::collections::HashMap::new();
    for line in SCC.lines().filter_map(|line| line.split_once('\t')) {
        let part = |at: usize| line.0[at..at + 2].parse::<usize>().unwrap();
        let first = part(6) * 30 + part(9);
        for (word, frame) in line.1.split(' ').zip(first..) {
            let mut pair = u16::from_str_radix(word, 16).unwrap().to_be_bytes();
            if channel2 && matches!(pair[0] & 0x7f, 0x10..=0x1f) {
                pair[0] ^= 0x88;
            }
            pairs.insert(frame, pair);
        }
    }
    pairs
}

/// Puts caption data before each picture of an Annex B stream.
fn inject(stream: &[u8], hevc: bool, field: u8, channel2: bool) -> Vec<u8> {
    let pairs = pairs(channel2);
    let starts: Vec<usize> = stream
        .windows(3)
        .enumerate()
        .filter(|(_, w)| *w == [0, 0, 1])
        .map(|(at, _)| at)
        .collect();
    let (mut out, mut pictures) = (Vec::new(), 0);
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(stream.len());
        let unit = &stream[start + 3..end];
        let first = match hevc {
            true => unit[0] >> 1 & 0x3f < 32 && unit[2] & 0x80 != 0,
            false => matches!(unit[0] & 0x1f, 1 | 5) && unit[1] & 0x80 != 0,
        };
        if first {
            let pair = pairs.get(&pictures).copied().unwrap_or([0x80, 0x80]);
            pictures += 1;
            let (one, two) = if field == 0 {
                (pair, [0x80, 0x80])
            } else {
                ([0x80, 0x80], pair)
            };
            out.extend([0, 0, 0, 1]);
            out.extend(if hevc { vec![0x4e, 1] } else { vec![6] });
            out.extend([4, 17, 0xb5, 0, 0x31]);
            out.extend(b"GA94\x03\x42\xff\xfc");
            out.extend(one);
            out.push(0xfd);
            out.extend(two);
            out.extend([0xff, 0x80]);
        }
        out.extend([0, 0, 0, 1]);
        out.extend(unit);
    }
    assert_eq!(pictures, 270);
    out
}

/// Injected where pictures are coded in the order that they are seen in; the encoders that carry
/// caption data on then reorder them (`b`).
fn closed_captions(at: &Path) {
    let rate = "-r 30000/1001";
    let source = "-f lavfi -i testsrc2=size=320x180:rate=30000/1001:duration=9.009";
    make(
        at,
        &format!("{source} -c:v libx264 -preset veryfast -bf 0 -g 30 v.h264"),
    );
    make(
        at,
        &format!(
            "{source} -c:v libx265 -preset ultrafast -x265-params log-level=none:bframes=0 v.hevc"
        ),
    );
    for (kind, hevc) in [("h264", false), ("hevc", true)] {
        let stream = std::fs::read(at.join(format!("v.{kind}"))).unwrap();
        for (name, field, channel2) in [("cc1", 0, false), ("cc2", 0, true), ("cc3", 1, false)] {
            let injected = inject(&stream, hevc, field, channel2);
            std::fs::write(at.join(format!("{name}.{kind}")), injected).unwrap();
            make(
                at,
                &format!("{rate} -i {name}.{kind} -c copy {name}.{kind}.mp4"),
            );
        }
        make(at, &format!("-i cc1.{kind}.mp4 -c copy cc1.{kind}.ts"));
    }
    make(
        at,
        "-i cc1.h264.mp4 -c:v libx264 -a53cc 1 -bf 3 -g 30 cc1.b.mp4",
    );
    make(at, "-i cc1.b.mp4 -c copy cc1.b.ts");
    make(at, "-i cc1.b.mp4 -c copy cc1.b.mkv");
    make(
        at,
        "-i cc1.b.mp4 -c copy -movflags frag_keyframe+empty_moov cc1.f.mp4",
    );
    make(
        at,
        "-i cc1.h264.mp4 -c:v mpeg2video -a53cc 1 -bf 2 -b:v 2M cc1.mpeg2video.ts",
    );
    make(
        at,
        "-i cc1.b.mp4 -f scc -i a.scc -map 0 -map 1 -c copy c608.mov",
    );
}

/// The folder of all films, made once.
pub fn folder() -> &'static Path {
    static FILMS: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FILMS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let write = |name: &str, bytes: &[u8]| std::fs::write(at.join(name), bytes).unwrap();
        write("a.srt", SRT.as_bytes());
        write("b.srt", SRT.replace("Hello", "Hallo").as_bytes());
        write("a.vtt", VTT.as_bytes());
        write("a.ass", ASS.as_bytes());
        write("a.scc", SCC.as_bytes());
        write("a.sup", &sup());
        make(at, "-f lavfi -i testsrc2=size=320x180:rate=25:duration=11 -c:v libx264 \
            -preset veryfast -bf 0 -g 50 base.mp4");
        make(at, "-i base.mp4 -c copy none.ts");
        make(at, "-i base.mp4 -i a.srt -i b.srt -map 0 -map 1 -map 2 -c copy -c:s mov_text \
            -metadata:s:s:0 language=eng -metadata:s:s:1 language=deu text.mp4");
        make(at, "-i text.mp4 -map 0 -c copy -movflags frag_keyframe+empty_moov text_f.mp4");
        make(at, "-i base.mp4 -i a.srt -f sup -i a.sup -i a.ass -i a.vtt -map 0 -map 1 -map 2 -map 3 -map 4 \
            -c copy -metadata:s:s:0 language=eng -metadata:s:s:2 language=fre -metadata:s:s:3 language=de \
            -metadata:s:s:3 title=Deutsch text.mkv");
        make(at, "-i a.srt -c:s ttml -f mp4 ttml.mp4");
        closed_captions(at);
        folder
    });
    folder.path()
}

pub fn film(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

/// A text track of a film as ffmpeg writes it, outside.
pub fn text_of(name: &str, track: usize) -> Vec<u8> {
    let output = Command::new("/usr/bin/ffmpeg")
        .args(["-v", "error", "-i", name, "-map", &format!("0:s:{track}")])
        .args(["-f", "srt", "pipe:1"])
        .current_dir(folder())
        .output();
    output.unwrap().stdout
}
