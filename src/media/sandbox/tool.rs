//! ffmpeg as it is called here: never with a name or an address from outside, always with the
//! demuxer that the first bytes ask for, a list of decoders, and a list of protocols.
//!
//! Left to itself ffmpeg takes a playlist for a film and opens what it names, and offers hundreds of
//! decoders that nobody has looked at for years. Here a container gets the decoders in common use; a
//! picture gets the one that it needs.

use super::{Failure, RANGE_URL, Result};

/// What the first bytes say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// MP4, MOV, M4A and their fragments.
    Mov,
    /// Matroska and WebM.
    Matroska,
    /// MPEG transport stream.
    MpegTs,
    /// MP3, with or without a tag before it.
    Mp3,
    /// AAC in ADTS frames.
    Adts,
    /// FLAC.
    Flac,
    /// Ogg: Vorbis, Opus.
    Ogg,
    /// RIFF WAVE.
    Wav,
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    Webp,
    /// GIF.
    Gif,
}

/// Decoders in common use in films and music.
const COMMON: &str = "h264,hevc,vp8,vp9,libdav1d,av1,mpeg4,mpeg2video,mpeg1video,mjpeg,png,prores,\
    aac,mp3,mp3float,ac3,eac3,opus,libopus,vorbis,flac,alac,pcm_s16le,pcm_s16be,pcm_s24le,\
    pcm_s24be,pcm_s32le,pcm_f32le,mov_text,srt,subrip,webvtt,ass,ssa,cc_dec,dvbsub,\
    libzvbi_teletextdec";

impl Form {
    /// Looks at the first bytes (564 are enough); `None` for everything that is not on the list,
    /// playlists above all.
    pub fn sniff(head: &[u8]) -> Option<Form> {
        let at = |place: usize, bytes: &[u8]| {
            head.get(place..)
                .is_some_and(|rest| rest.starts_with(bytes))
        };
        let box_names: [&[u8]; 8] = [
            b"ftyp", b"moov", b"moof", b"styp", b"sidx", b"mdat", b"free", b"wide",
        ];
        let frame = |mask: u8, bits: u8| {
            at(0, b"\xff") && head.get(1).is_some_and(|byte| byte & mask == bits)
        };
        let signs = [
            (box_names.iter().any(|name| at(4, name)), Form::Mov),
            (at(0, b"\x1a\x45\xdf\xa3"), Form::Matroska),
            (at(0, b"G") && at(188, b"G") && at(376, b"G"), Form::MpegTs),
            (at(0, b"fLaC"), Form::Flac),
            (at(0, b"OggS"), Form::Ogg),
            (at(0, b"RIFF") && at(8, b"WAVE"), Form::Wav),
            (at(0, b"\xff\xd8\xff"), Form::Jpeg),
            (at(0, b"\x89PNG\r\n\x1a\n"), Form::Png),
            (at(0, b"RIFF") && at(8, b"WEBP"), Form::Webp),
            (at(0, b"GIF87a") || at(0, b"GIF89a"), Form::Gif),
            // Sync bits and layer: 00 is ADTS, 01 layer III.
            (frame(0xf6, 0xf0), Form::Adts),
            (at(0, b"ID3") || frame(0xe6, 0xe2), Form::Mp3),
        ];
        signs.into_iter().find_map(|(is, form)| is.then_some(form))
    }

    /// The demuxer, and the decoders that it may be followed by.
    fn demuxer(self) -> (&'static str, &'static str) {
        match self {
            Form::Mov => ("mov", COMMON),
            Form::Matroska => ("matroska", COMMON),
            Form::MpegTs => ("mpegts", COMMON),
            Form::Mp3 => ("mp3", "mp3,mp3float,mjpeg,png"),
            Form::Adts => ("aac", "aac"),
            Form::Flac => ("flac", "flac,mjpeg,png"),
            Form::Ogg => ("ogg", "vorbis,opus,libopus,flac,mjpeg,png"),
            Form::Wav => ("wav", COMMON),
            Form::Jpeg => ("jpeg_pipe", "mjpeg"),
            Form::Png => ("png_pipe", "png"),
            Form::Webp => ("webp_pipe", "webp,vp8"),
            Form::Gif => ("gif", "gif"),
        }
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
pub fn arguments(form: Form, input: Input) -> Vec<String> {
    let (address, protocols) = match input {
        Input::Pipe => ("pipe:0".to_owned(), "pipe"),
        // Any file, but inside there is no other.
        Input::Memory(number) => (format!("/proc/self/fd/{number}"), "file"),
        Input::Range => (RANGE_URL.to_owned(), "http,tcp"),
    };
    let (demuxer, decoders) = form.demuxer();
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

    #[test]
    fn what_is_not_on_the_list_is_nothing() {
        for text in [
            "#EXTM3U\n",
            "ffconcat version 1.0",
            "<svg",
            "<?xml",
            "",
            "\u{feff}#EXTM3U",
            "[Script Info]",
        ] {
            assert_eq!(Form::sniff(text.as_bytes()), None, "{text}");
        }
    }
}
