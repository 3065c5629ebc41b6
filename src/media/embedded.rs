//! Embedded captions: which runs of ffmpeg take them out of a film, and who reads what comes out.
//!
//! What ffprobe found in a film comes in, words for ffmpeg and ffprobe go out, with the [`Kind`]
//! under which the caption helper reads their output. Nothing is run or parsed here. Where the film
//! has SubRip, WebVTT or samples of MP4 they are copied as they stand; SubStation alone is decoded,
//! no picture ever is, and every run has the demuxer, decoders and protocols of [`arguments`].

use ciphermill_captions::merge::MOST_EMBEDDED;
use ciphermill_formats::FileType;

use super::caption_helper::Kind;
use super::film::Subtitle;
use super::sandbox::{Input, arguments};

/// Most bytes that one run may say; the child's `stdout_bytes`.
pub const MOST_OUTPUT_BYTES: u64 = super::caption_helper::MOST_CLOSED_BYTES;

/// Whose words they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `ffmpeg`.
    Ffmpeg,
    /// `ffprobe`.
    Ffprobe,
}

/// One run, whose output is one source for the caption helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What to run.
    pub tool: Tool,
    /// Its arguments; it prints to stdout.
    pub args: Vec<String>,
    /// What it prints.
    pub kind: Kind,
}

/// How a track is taken out.
enum Way {
    /// By ffmpeg, with these words for its output.
    Text(&'static str),
    /// By ffprobe, sample by sample, this kind of stream.
    Samples(&'static str, Kind),
}

fn way(codec: &str) -> Option<Way> {
    Some(match codec {
        "subrip" | "srt" | "text" => Way::Text("-c copy -f srt"),
        "webvtt" => Way::Text("-c copy -f webvtt"),
        // Of what ffmpeg writes SubRip keeps most: colours and places too.
        "ass" | "ssa" => Way::Text("-c srt -f srt"),
        "mov_text" => Way::Samples("s", Kind::TimedTextSamples),
        "eia_608" => Way::Samples("s", Kind::ClosedCaptionSamples),
        "wvtt" => Way::Samples("d", Kind::WebVttSamples),
        "stpp" => Way::Samples("d", Kind::TtmlSamples),
        // Pictures of text, and what nobody here knows.
        _ => return None,
    })
}

/// The streams that can be read, in their order; the first of all are looked at, so that those in
/// the video have room too.
pub fn readable(streams: &[Subtitle]) -> impl Iterator<Item = &Subtitle> {
    let looked_at = streams.iter().take(MOST_EMBEDDED - 1);
    looked_at.filter(|stream| way(&stream.codec).is_some())
}

/// Takes one stream out. One run for each: what is wrong with a stream costs no other.
pub fn take(form: FileType, input: Input, stream: &Subtitle) -> Option<Run> {
    run(arguments(form, input), stream)
}

/// The same, out of what [`gather`] made; `input` is that.
pub fn take_gathered(input: Input, stream: &Subtitle) -> Option<Run> {
    // Its times are the film's already, and must not be counted from its own first cue.
    let words = words("-copyts").chain(arguments(FileType::Matroska, input));
    run(words.collect(), stream).filter(|run| run.tool == Tool::Ffmpeg)
}

fn run(mut args: Vec<String>, stream: &Subtitle) -> Option<Run> {
    let index = stream.index;
    let (tool, kind, after) = match way(&stream.codec)? {
        Way::Text(output) => {
            let after = format!("-map 0:s:{index} {output} pipe:1");
            (Tool::Ffmpeg, Kind::File, after)
        }
        Way::Samples(of, kind) => {
            let entries = "packet=pts_time,duration_time,data:stream=duration:format=start_time";
            let print = "-show_packets -show_data -of json=compact=1";
            let after = format!("-select_streams {of}:{index} {print} -show_entries {entries}");
            args.retain(|word| !["-nostdin", "-threads", "1"].contains(&word.as_str()));
            (Tool::Ffprobe, kind, after)
        }
    };
    args.extend(words(&after));
    Some(Run { tool, args, kind })
}

/// All text streams of a Matroska film in one small Matroska file, with their new places in it: a
/// Matroska file must be read as a whole for any of its tracks, and is read once this way. `None`
/// where that gains nothing.
pub fn gather(
    form: FileType,
    input: Input,
    streams: &[Subtitle],
) -> Option<(Vec<String>, Vec<Subtitle>)> {
    let text = |stream: &&Subtitle| matches!(way(&stream.codec), Some(Way::Text(_)));
    let chosen: Vec<_> = readable(streams).filter(text).collect();
    if form != FileType::Matroska || chosen.len() < 2 {
        return None;
    }
    let mut args = arguments(form, input);
    for stream in &chosen {
        args.extend(words(&format!("-map 0:s:{}", stream.index)));
    }
    args.extend(words(
        "-c copy -map_metadata -1 -map_chapters -1 -avoid_negative_ts disabled -f matroska pipe:1",
    ));
    let renumbered = chosen.into_iter().enumerate().map(|(index, stream)| {
        let stream = stream.clone();
        Subtitle { index, ..stream }
    });
    Some((args, renumbered.collect()))
}

/// Matroska takes no picture without a time, and a transport stream may leave times out: such a
/// picture (the second field of one, mostly) gets the time of the one before it.
const TIMED: &str = r"setts=pts=if(eq(PTS\,NOPTS)\,max(PREV_OUTPTS\,0)\,PTS)";

/// Takes the closed captions (CEA-608 by ATSC A/53) out of a film's first video stream, whose codec
/// ffprobe tells: the stream is copied with everything left out but the units that carry them.
pub fn in_video(form: FileType, input: Input, codec: &str) -> Option<Run> {
    // Supplemental enhancement information; in MPEG-2, user data.
    let units = match codec {
        "h264" => "h264_mp4toannexb,filter_units=pass_types=6",
        "hevc" => "hevc_mp4toannexb,filter_units=pass_types=39|40",
        "mpeg2video" => "filter_units=pass_types=178",
        _ => return None,
    };
    let mut args = arguments(form, input);
    let after = "-avoid_negative_ts disabled -map_metadata -1 -map_chapters -1 -f matroska pipe:1";
    args.extend(words("-map 0:V:0 -c copy -bsf:v"));
    args.push(format!("{TIMED},{units}"));
    args.extend(words(after));
    Some(Run {
        tool: Tool::Ffmpeg,
        args,
        kind: Kind::ClosedCaptions,
    })
}

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split(' ').map(str::to_owned)
}
