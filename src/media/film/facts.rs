//! Facts: what ffprobe says of a film comes in as JSON, what the worker needs of it goes out.
//!
//! The JSON tells what a hostile file says of itself: nothing in it is taken for granted, neither
//! that it is there nor its type, its size or its count.

use ciphermill_formats::FileType;

use serde_json::Value;

use super::run::{self, Task};
use super::{Failure, Film, Kind, Limits, Result, Tools, sandbox};

const ENTRIES: &str = "stream=index,codec_type,codec_name,codec_tag_string,width,height,sample_aspect_ratio,\
    avg_frame_rate,start_time,duration,nb_frames,closed_captions,color_space\
    :stream_disposition=default,attached_pic:stream_tags=language,title,comment,DURATION\
    :stream_side_data=displaymatrix:format=start_time,duration";
/// What ffprobe may say: some 4,000 streams.
const MOST_JSON_BYTES: u64 = 4 << 20;
const MOST_SUBTITLES: usize = 300;
const MOST_PICTURES: usize = 32;
const MOST_SIDE: u64 = 1 << 20;
const MOST_SECONDS: f64 = 1e8;
/// As long as a name that a job gives. All of a film's go into one argument of the helper, where a
/// character takes up to four bytes.
const MOST_TITLE_CHARS: usize = 40;
const MOST_LANGUAGE_CHARS: usize = 16;
const MOST_NAME_CHARS: usize = 32;

/// What is known of a film.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// How long the container says it is, in seconds; more than 0.
    pub duration_seconds: Option<f64>,
    /// The container's own time of the film's time 0, in seconds.
    pub start_seconds: f64,
    /// The video to take frames of.
    pub video: Option<Video>,
    /// How many audio streams there are.
    pub audio: usize,
    /// Subtitle streams, at most 300.
    pub subtitles: Vec<Subtitle>,
    /// Covers and the like, at most 32.
    pub pictures: Vec<AttachedPicture>,
}

impl Facts {
    /// Pixels of a delivered frame; none where there is no video.
    pub fn pixels(&self) -> u64 {
        let size = self.video.as_ref().map(Video::upright);
        size.map_or(0, |(width, height)| width.saturating_mul(height))
    }

    /// Whether there is only something to hear.
    pub fn is_audio_only(&self) -> bool {
        self.audio > 0 && self.video.is_none()
    }
}

/// A video stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    /// Its place among all streams.
    pub stream: usize,
    /// ffmpeg's name of its coding.
    pub codec: String,
    /// Coded pixels across; at least 1.
    pub width: u32,
    /// Coded pixels down; at least 1.
    pub height: u32,
    /// A coded pixel's width by its height; both at least 1.
    pub pixel_aspect: (u32, u32),
    /// How a coded frame is turned to stand upright.
    pub orientation: Orientation,
    /// Mean frames a second.
    pub frame_rate: Option<f64>,
    /// When its first frame begins, in seconds of the film's time.
    pub start_seconds: f64,
    /// When its last frame ends, in seconds of the film's time; as the container
    /// says, where that can be trusted.
    pub end_seconds: Option<f64>,
    /// Whether it says by which matrix its colours are coded.
    pub colours_tagged: bool,
    /// Whether it may carry closed captions (CEA-608 or 708): newer versions of ffprobe do not say.
    pub closed_captions: bool,
}

impl Video {
    /// Size of a delivered frame, upright and with square pixels: the coded height is kept, the
    /// coded width is stretched, and both change places where the frame is turned on its side.
    pub fn upright(&self) -> (u64, u64) {
        let (width, height) = (self.square_width(), u64::from(self.height));
        match self.orientation.transpose {
            true => (height, width),
            false => (width, height),
        }
    }

    /// The coded width in square pixels, at least 1.
    pub(super) fn square_width(&self) -> u64 {
        let (across, down) = self.pixel_aspect;
        let (across, down) = (u64::from(across), u64::from(down.max(1)));
        ((u64::from(self.width) * across + down / 2) / down).max(1)
    }
}

/// How a coded frame is turned: first transposed (mirrored at its main diagonal), then mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orientation {
    /// Columns become rows.
    pub transpose: bool,
    /// Left becomes right.
    pub mirror_x: bool,
    /// Top becomes bottom.
    pub mirror_y: bool,
}

/// A subtitle stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subtitle {
    /// Its place among the subtitle streams (`0:s:N`); of WebVTT and TTML in MP4, which ffprobe
    /// takes for data, among those (`0:d:N`).
    pub index: usize,
    /// ffmpeg's name of its coding; of data its tag, `wvtt` or `stpp`.
    pub codec: String,
    /// As it stands in the file, at most 16 characters.
    pub language: Option<String>,
    /// As it stands in the file, at most 40 characters.
    pub title: Option<String>,
}

/// A picture that is attached to the film, such as a cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedPicture {
    /// Its place among all streams.
    pub stream: usize,
    /// ffmpeg's name of its coding.
    pub codec: String,
    /// Whether it is the front cover, by its own word.
    pub front: bool,
}

/// Asks ffprobe. A film without video or without an end is not an error here.
pub async fn probe(tools: &Tools, film: &Film, limits: &Limits) -> Result<Facts> {
    let wall = limits.wall;
    let words = ["-of", "json=compact=1", "-show_entries", ENTRIES];
    let task = Task {
        program: &tools.ffprobe,
        before: Vec::new(),
        after: words.map(str::to_owned).to_vec(),
        limits: sandbox::Limits {
            memory: limits.memory_bytes,
            cpu_seconds: wall.as_secs().max(1),
            wall,
            stdout_bytes: MOST_JSON_BYTES,
            range_bytes: 1 << 30,
            ..sandbox::Limits::default()
        },
    };
    let mut json = Vec::new();
    let done = run::run(tools, film, task, &mut json).await?;
    run::check(&done.outcome)?;
    let value = serde_json::from_slice(&json);
    let value: Value =
        value.map_err(|_| Failure::new(Kind::Broken, "ffprobe made no sense of it"))?;
    let facts = read(&value, film.form);
    match value["streams"]
        .as_array()
        .is_some_and(|streams| !streams.is_empty())
    {
        true => Ok(facts),
        false => Err(Failure::new(Kind::Broken, "there is no stream in it")),
    }
}

/// Reads ffprobe's JSON; what is missing or wrong in it is taken as not said.
fn read(value: &Value, form: FileType) -> Facts {
    let none = Vec::new();
    let streams = value["streams"].as_array().unwrap_or(&none);
    let format = &value["format"];
    let start_seconds = seconds(&format["start_time"]).unwrap_or(0.0);
    let duration_seconds = seconds(&format["duration"]).filter(|duration| *duration > 0.0);
    let of = |kind: &'static str| streams.iter().filter(move |s| s["codec_type"] == kind);
    let attached = |s: &Value| s["disposition"]["attached_pic"] == 1;
    let moving = || of("video").filter(|s| !attached(s));
    let default = moving().find(|s| s["disposition"]["default"] == 1);
    let mut facts = Facts {
        duration_seconds,
        start_seconds,
        video: None,
        audio: of("audio").count(),
        subtitles: (of("subtitle").enumerate().map(subtitle))
            .chain(of("data").enumerate().filter_map(timed_data))
            .take(MOST_SUBTITLES)
            .collect(),
        pictures: of("video")
            .filter(|s| attached(s))
            .take(MOST_PICTURES)
            .filter_map(picture)
            .collect(),
    };
    let mut candidates = default.into_iter().chain(moving());
    facts.video = candidates.find_map(|stream| video(stream, &facts, form));
    facts
}

fn video(stream: &Value, facts: &Facts, form: FileType) -> Option<Video> {
    let side = |name: &str| {
        let pixels = stream[name]
            .as_u64()
            .filter(|pixels| (1..=MOST_SIDE).contains(pixels));
        pixels.and_then(|pixels| u32::try_from(pixels).ok())
    };
    // A tag holds the end; a duration counts from the stream's own start.
    let start = seconds(&stream["start_time"]).unwrap_or(facts.start_seconds);
    let tagged = stream["tags"]["DURATION"].as_str().and_then(clock);
    let end = seconds(&stream["duration"])
        .map(|duration| start + duration)
        .or(tagged);
    let end = end
        .map(|end| end - facts.start_seconds)
        .filter(|end| *end > 0.0);
    // Of fragments, ffprobe counts those that it came by.
    let whole = form != FileType::Mov || !stream["nb_frames"].is_null();
    let rate = stream["avg_frame_rate"]
        .as_str()
        .and_then(|text| ratio(text, '/'));
    Some(Video {
        stream: usize::try_from(stream["index"].as_u64()?).ok()?,
        codec: text(&stream["codec_name"], MOST_NAME_CHARS).unwrap_or_default(),
        width: side("width")?,
        height: side("height")?,
        pixel_aspect: stream["sample_aspect_ratio"]
            .as_str()
            .and_then(|text| ratio(text, ':'))
            .unwrap_or((1, 1)),
        orientation: orientation(&stream["side_data_list"]),
        frame_rate: rate.map(|(frames, seconds)| f64::from(frames) / f64::from(seconds)),
        start_seconds: start - facts.start_seconds,
        end_seconds: end.or(facts.duration_seconds).filter(|_| whole),
        colours_tagged: stream["color_space"]
            .as_str()
            .is_some_and(|name| name != "unknown"),
        closed_captions: stream["closed_captions"] != 0,
    })
}

fn subtitle((index, stream): (usize, &Value)) -> Subtitle {
    Subtitle {
        index,
        codec: text(&stream["codec_name"], MOST_NAME_CHARS).unwrap_or_default(),
        language: text(&stream["tags"]["language"], MOST_LANGUAGE_CHARS),
        title: text(&stream["tags"]["title"], MOST_TITLE_CHARS),
    }
}

/// WebVTT and TTML in MP4, which ffprobe does not know.
fn timed_data((index, stream): (usize, &Value)) -> Option<Subtitle> {
    let tag = stream["codec_tag_string"].as_str()?;
    matches!(tag, "wvtt" | "stpp").then(|| Subtitle {
        codec: tag.into(),
        ..subtitle((index, stream))
    })
}

fn picture(stream: &Value) -> Option<AttachedPicture> {
    Some(AttachedPicture {
        stream: usize::try_from(stream["index"].as_u64()?).ok()?,
        codec: text(&stream["codec_name"], MOST_NAME_CHARS).unwrap_or_default(),
        front: stream["tags"]["comment"] == "Cover (front)",
    })
}

/// From a display matrix as ffprobe prints it: rows of three after `NNNNNNNN:`. What is not turned
/// by quarters is turned by the nearest.
fn orientation(side_data: &Value) -> Orientation {
    let printed = side_data.as_array().into_iter().flatten();
    let Some(printed) = printed
        .filter_map(|side| side["displaymatrix"].as_str())
        .next()
    else {
        return Orientation::default();
    };
    let rows = printed.lines().filter_map(|line| line.split_once(':'));
    let cells: Vec<i64> = rows
        .flat_map(|(_, row)| row.split_whitespace().take(2))
        .filter_map(|cell| cell.parse().ok())
        .take(4)
        .collect();
    let [a, b, c, d] = cells[..] else {
        return Orientation::default();
    };
    let transpose = b.unsigned_abs() + c.unsigned_abs() > a.unsigned_abs() + d.unsigned_abs();
    let (x, y) = if transpose { (c, b) } else { (a, d) };
    Orientation {
        transpose,
        mirror_x: x < 0,
        mirror_y: y < 0,
    }
}

/// A sensible number of seconds, written as a text or as a number.
fn seconds(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    number.filter(|number| number.abs() <= MOST_SECONDS)
}

/// `HH:MM:SS.fraction`.
fn clock(text: &str) -> Option<f64> {
    let parts: Vec<f64> = text
        .split(':')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let [hours, minutes, seconds] = parts[..] else {
        return None;
    };
    Some(hours * 3600.0 + minutes * 60.0 + seconds).filter(|t| (0.0..=MOST_SECONDS).contains(t))
}

/// Two numbers of at least 1.
fn ratio(text: &str, between: char) -> Option<(u32, u32)> {
    let (over, under) = text.split_once(between)?;
    let (over, under): (u32, u32) = (over.parse().ok()?, under.parse().ok()?);
    (over > 0 && under > 0).then_some((over, under))
}

/// A text of at most so many characters, without control characters; `None` when nothing is left.
fn text(value: &Value, most: usize) -> Option<String> {
    let chars = value.as_str()?.chars().filter(|c| !c.is_control());
    let text: String = chars.take(most).collect();
    (!text.trim().is_empty()).then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests;
