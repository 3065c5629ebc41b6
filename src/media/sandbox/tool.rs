//! ffmpeg as it is called here: never with a name or an address from outside, always with the
//! demuxer that the first bytes ask for, a list of decoders, and a list of protocols.
//!
//! Left to itself ffmpeg takes a playlist for a film and opens what it names, and offers hundreds of
//! decoders that nobody has looked at for years. Here a container gets the decoders in common use; a
//! picture gets the one that it needs.

use ciphermill_formats::FileType;

use super::{Failure, RANGE_URL, Result};

/// Decoders in common use in films and music.
const COMMON: &str = "h264,hevc,vp8,vp9,libdav1d,av1,mpeg4,mpeg2video,mpeg1video,mjpeg,png,prores,\
    aac,mp3,mp3float,ac3,eac3,opus,libopus,vorbis,flac,alac,pcm_s16le,pcm_s16be,pcm_s24le,\
    pcm_s24be,pcm_s32le,pcm_f32le,mov_text,srt,subrip,webvtt,ass,ssa,cc_dec,dvbsub,\
    libzvbi_teletextdec";

/// The demuxer, and the decoders that it may be followed by.
fn demuxer(file_type: FileType) -> (&'static str, &'static str) {
    match file_type {
        FileType::Mov => ("mov", COMMON),
        FileType::Matroska => ("matroska", COMMON),
        FileType::MpegTs => ("mpegts", COMMON),
        FileType::Mp3 => ("mp3", "mp3,mp3float,mjpeg,png"),
        FileType::Adts => ("aac", "aac"),
        FileType::Flac => ("flac", "flac,mjpeg,png"),
        FileType::Ogg => ("ogg", "vorbis,opus,libopus,flac,mjpeg,png"),
        FileType::Wav => ("wav", COMMON),
        FileType::Jpeg => ("jpeg_pipe", "mjpeg"),
        FileType::Png => ("png_pipe", "png"),
        FileType::Webp => ("webp_pipe", "webp,vp8"),
        FileType::Gif => ("gif", "gif"),
    }
}

/// How the media comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Through stdin; not for a film whose index may stand at its end.
    Pipe,
    /// A sealed [`super::Memory`] under this number.
    Memory(i32),
    /// A [`super::RangeSource`].
    Range,
}

/// The words before the outputs. `ffprobe` takes the same without `-nostdin` and `-threads`.
pub fn arguments(file_type: FileType, input: Input) -> Vec<String> {
    let (address, protocols) = match input {
        Input::Pipe => ("pipe:0".to_owned(), "pipe"),
        // Any file, but inside there is no other.
        Input::Memory(number) => (format!("/proc/self/fd/{number}"), "file"),
        Input::Range => (RANGE_URL.to_owned(), "http,tcp"),
    };
    let (demuxer, decoders) = demuxer(file_type);
    let words = "-nostdin -hide_banner -loglevel error -threads 1 -protocol_whitelist";
    let words = words.split(' ').chain([
        protocols,
        "-format_whitelist",
        demuxer,
        "-codec_whitelist",
        decoders,
    ]);
    words
        .chain(["-f", demuxer, "-i", &address])
        .map(str::to_owned)
        .collect()
}

/// A released version of ffmpeg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

/// Reads the first line of `ffmpeg -version` and holds it against the oldest version allowed.
///
/// A distribution mends an old version without giving it a new number, so the number alone does not
/// say which holes are closed: the setting belongs to the operator.
pub fn check_version(said: &str, oldest: Version) -> Result<Version> {
    let line = said.lines().next().unwrap_or_default();
    let version = line
        .strip_prefix("ffmpeg version ")
        .or_else(|| line.strip_prefix("ffprobe version "));
    let version = version
        .and_then(|rest| rest.split([' ', '-', '+']).next())
        .map(|word| word.trim_start_matches('n'));
    let mut numbers = version
        .unwrap_or_default()
        .split('.')
        .map(str::parse::<u32>);
    let Some(Ok(major)) = numbers.next() else {
        return Err(Failure::unavailable(format!(
            "`{line}` names no release of ffmpeg"
        )));
    };
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    let found = Version(major, next(), next());
    if found < oldest {
        let Version(a, b, c) = oldest;
        return Err(Failure::unavailable(format!(
            "`{line}` is older than {a}.{b}.{c}"
        )));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let check = |text: &str| {
            check_version(
                &format!("ffmpeg version {text} Copyright (c)"),
                Version(5, 1, 8),
            )
            .ok()
        };
        assert_eq!(check("5.1.9-0+deb12u1"), Some(Version(5, 1, 9)));
        assert_eq!(check("n7.1"), Some(Version(7, 1, 0)));
        assert_eq!(check("10.0.2-static"), Some(Version(10, 0, 2)));
        for old in [
            "5.1.7",
            "4.4.6-0ubuntu1",
            "N-118123-g1234567",
            "",
            "git-2020",
        ] {
            assert_eq!(check(old), None, "{old}");
        }
    }
}
