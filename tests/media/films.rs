//! Films whose frames say their number, and what stands where on them.
//!
//! A frame is 320x240: twenty bits of its number in 16-pixel columns across the middle, a white
//! mark in the first corner and a black one in the last, grey elsewhere.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

pub const FFMPEG: &str = "/usr/bin/ffmpeg";

/// One frame, 8-bit grey.
fn grey(number: usize) -> Vec<u8> {
    let mut pixels = vec![128; 320 * 240];
    for (place, pixel) in pixels.iter_mut().enumerate() {
        let (x, y) = (place % 320, place / 320);
        match (x, y) {
            (_, 80..160) => *pixel = if number >> (x / 16) & 1 == 1 { 255 } else { 0 },
            (0..64, 0..64) => *pixel = 255,
            (256.., 176..) => *pixel = 0,
            _ => {}
        }
    }
    pixels
}

fn ffmpeg(folder: &Path, args: &str) -> Command {
    let mut ffmpeg = Command::new(FFMPEG);
    ffmpeg
        .args(["-v", "error", "-y"])
        .args(args.split_whitespace())
        .current_dir(folder);
    ffmpeg
}

pub fn make(folder: &Path, args: &str) {
    assert!(ffmpeg(folder, args).status().unwrap().success(), "{args}");
}

/// Encodes so many numbered frames, 25 a second, with a tone.
fn encode(folder: &Path, frames: usize, args: &str) {
    let tone = format!(
        "-f lavfi -i sine=frequency=440:duration={}",
        frames as f64 / 25.0
    );
    let before = "-f rawvideo -pix_fmt gray -s 320x240 -r 25 -i -";
    let mut child = ffmpeg(folder, &format!("{before} {tone} {args}"));
    let mut child = child.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for number in 0..frames {
        stdin.write_all(&grey(number)).unwrap();
    }
    drop(stdin);
    assert!(child.wait().unwrap().success(), "{args}");
}

const X264: &str = "-c:v libx264 -preset veryfast -pix_fmt yuv420p";

/// All films, made once for each test program.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        films(folder.path());
        folder
    });
    folder.path()
}

fn films(folder: &Path) {
    let encode = |frames, args: &str| encode(folder, frames, args);
    let make = |args: &str| make(folder, args);
    encode(200, &format!("{X264} -bf 3 -g 50 -c:a aac base.mp4"));
    make("-i base.mp4 -c copy -movflags +faststart fast.mp4");
    make("-i base.mp4 -c copy -movflags +frag_keyframe+empty_moov+default_base_moof frag.mp4");
    for to in ["base.mkv", "base.mov", "base.ts"] {
        make(&format!("-i base.mp4 -c copy {to}"));
    }
    make("-i base.mp4 -c:v prores_ks -profile:v 0 -c:a copy prores.mov");
    make("-i base.mp4 -c:v mjpeg -q:v 3 -c:a copy mjpeg.mov");
    make(
        "-i base.mp4 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 500k \
          -c:a libopus vp9.webm",
    );
    make(
        "-i base.mp4 -c:v libx265 -preset ultrafast \
          -x265-params log-level=none:open-gop=1:keyint=25 \
          -pix_fmt yuv420p10 -tag:v hvc1 -c:a copy hevc.mp4",
    );
    make("-i base.mp4 -c:v mpeg2video -b:v 3M -g 15 -bf 2 -c:a copy mpeg2.ts");
    make(
        "-i base.mp4 -vf select='not(mod(n\\,3)*mod(n\\,7)*gt(n\\,9))' -fps_mode vfr \
          -c:v libx264 -bf 2 -an vfr.mp4",
    );
    make("-i vfr.mp4 -c copy vfr.mkv");
    make("-i base.mp4 -c copy -f matroska -live 1 live.mkv");
    make("-ss 1.1 -i base.mp4 -c copy edit.mp4");
    make("-itsoffset 0.7 -i base.mp4 -i base.mp4 -map 0:v -map 1:a -c copy late.mp4");
    make("-i late.mp4 -c copy late.mkv");
    make("-i late.mp4 -c copy late.ts");
    for turn in [90, 180, 270] {
        // This version of ffmpeg writes the matrix of the opposite turn.
        make(&format!(
            "-i fast.mp4 -c copy -metadata:s:v rotate={} -movflags +faststart turn{turn}.mp4",
            360 - turn
        ));
    }
    make("-i base.mp4 -c:a copy -vf setsar=2/1 -c:v libx264 -movflags +faststart wide.mp4");
    make("-i base.mp4 -c:a copy -vf setsar=8/9 -c:v libx264 narrow.mkv");
    encode(2250, &format!("{X264} -bf 3 -g 100 -c:a aac long.mp4"));
    for to in ["long.mkv", "long.ts"] {
        make(&format!("-i long.mp4 -c copy {to}"));
    }
    make("-i long.mp4 -c copy -movflags +frag_keyframe+empty_moov long_frag.mp4");
    make(
        "-i long.mp4 -an -c:v libx264 -preset veryfast \
          -x264-params open-gop=1:keyint=60:bframes=3 long_open.ts",
    );
    make(
        "-i long.mp4 -c:v libx265 -preset ultrafast \
          -x265-params log-level=none:open-gop=1:keyint=100 \
          -tag:v hvc1 -c:a copy long_hevc.mp4",
    );
}

pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

/// One delivered frame.
#[derive(Clone, PartialEq)]
pub struct Ppm {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

impl Ppm {
    /// All frames of a stream; panics at anything else.
    pub fn all(mut bytes: &[u8]) -> Vec<Ppm> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let mut lines = bytes.splitn(4, |byte| *byte == b'\n');
            assert_eq!(lines.next().unwrap(), b"P6");
            let size = std::str::from_utf8(lines.next().unwrap()).unwrap();
            let (width, height) = size.split_once(' ').unwrap();
            let (width, height) = (width.parse().unwrap(), height.parse().unwrap());
            assert_eq!(lines.next().unwrap(), b"255");
            let (pixels, rest) = lines.next().unwrap().split_at(width * height * 3);
            all.push(Ppm {
                width,
                height,
                pixels: pixels.to_vec(),
            });
            bytes = rest;
        }
        all
    }

    /// A pixel by its place, 0 to 1 each way.
    pub fn at(&self, (x, y): (f64, f64)) -> [u8; 3] {
        let (x, y) = (
            (x * self.width as f64) as usize,
            (y * self.height as f64) as usize,
        );
        let place = (y * self.width + x) * 3;
        self.pixels[place..place + 3].try_into().unwrap()
    }

    /// The number that it shows when it is turned clockwise by so many degrees; its marks must be
    /// in their corners then.
    pub fn number(&self, turn: u32) -> usize {
        let at = |x: f64, y: f64| {
            let place = match turn {
                90 => (1.0 - y, x),
                180 => (1.0 - x, 1.0 - y),
                270 => (y, 1.0 - x),
                _ => (x, y),
            };
            u32::from(self.at(place)[0])
        };
        let marks = [(0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)].map(|(x, y)| at(x, y));
        assert!(marks[0] > 230 && marks[3] < 25, "turned wrongly: {marks:?}");
        assert!(
            marks[1].abs_diff(128) < 30 && marks[2].abs_diff(128) < 30,
            "{marks:?}"
        );
        (0..20)
            .filter(|bit| at((f64::from(*bit) + 0.5) / 20.0, 0.5) > 128)
            .map(|bit| 1 << bit)
            .sum()
    }
}

/// Every frame's time (from the container's start) and number, as ffmpeg says outside.
pub struct Truth(pub Vec<(f64, usize)>);

impl Truth {
    pub fn of(name: &str, turn: u32) -> Truth {
        let path = folder().join(name);
        let said = |args: &str| {
            let mut ffprobe = Command::new("/usr/bin/ffprobe");
            let output = ffprobe
                .args(["-v", "error", "-of", "csv=p=0"])
                .args(args.split(' '))
                .arg(&path);
            String::from_utf8(output.output().unwrap().stdout).unwrap()
        };
        let first = |line: &str| {
            line.trim_matches(',')
                .split(',')
                .next()
                .unwrap()
                .parse::<f64>()
                .ok()
        };
        let start = first(said("-show_entries format=start_time").trim()).unwrap();
        let times = said("-select_streams v -show_entries frame=best_effort_timestamp_time");
        let times: Vec<f64> = times.lines().filter_map(first).collect();
        let mut ffmpeg = Command::new(FFMPEG);
        ffmpeg.args(["-v", "error", "-copyts", "-i"]).arg(&path);
        let after = "-map 0:v:0 -fps_mode passthrough -pix_fmt rgb24 -c:v ppm -f image2pipe -";
        let output = ffmpeg.args(after.split(' ')).output().unwrap().stdout;
        let numbers: Vec<_> = Ppm::all(&output)
            .iter()
            .map(|ppm| ppm.number(turn))
            .collect();
        assert_eq!(times.len(), numbers.len(), "{name}");
        assert!(
            numbers.is_sorted() && times.is_sorted() && numbers.len() > 80,
            "{name}"
        );
        Truth(
            times
                .into_iter()
                .map(|time| time - start)
                .zip(numbers)
                .collect(),
        )
    }

    /// The number on screen at a time.
    pub fn at(&self, seconds: f64) -> usize {
        let begun = self
            .0
            .iter()
            .take_while(|(time, _)| *time <= seconds + 1e-6);
        begun.last().or(self.0.first()).unwrap().1
    }

    /// When the last frame begins.
    pub fn last(&self) -> f64 {
        self.0.last().unwrap().0
    }
}

/// A Matroska file of ten thousand video tracks and no frame.
pub fn many_streams() -> Vec<u8> {
    let element = |id: &[u8], content: &[u8]| {
        let size = (content.len() as u64 | 1 << 56).to_be_bytes();
        [id, &size, content].concat()
    };
    let sides = [element(b"\xb0", &[64]), element(b"\xba", &[64])].concat();
    let track = |number: u16| {
        let number = number.to_be_bytes();
        let parts = [
            element(b"\xd7", &number),
            element(b"\x73\xc5", &number),
            element(b"\x83", &[1]),
            element(b"\x86", b"V_MPEG4/ISO/AVC"),
            element(b"\xe0", &sides),
        ];
        element(b"\xae", &parts.concat())
    };
    let tracks: Vec<u8> = (1..=10_000).flat_map(track).collect();
    let header = element(b"\x1a\x45\xdf\xa3", &element(b"\x42\x82", b"matroska"));
    let tracks = element(b"\x16\x54\xae\x6b", &tracks);
    [header, element(b"\x18\x53\x80\x67", &tracks)].concat()
}
