//! File types: the first bytes of a file come in, what it is goes out. Names and extensions are never looked at.

/// What the first bytes say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
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

impl FileType {
    /// Looks at the first bytes (564 are enough); `None` for everything that is not on the list,
    /// playlists above all.
    pub fn sniff(head: &[u8]) -> Option<FileType> {
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
            (box_names.iter().any(|name| at(4, name)), FileType::Mov),
            (at(0, b"\x1a\x45\xdf\xa3"), FileType::Matroska),
            (
                at(0, b"G") && at(188, b"G") && at(376, b"G"),
                FileType::MpegTs,
            ),
            (at(0, b"fLaC"), FileType::Flac),
            (at(0, b"OggS"), FileType::Ogg),
            (at(0, b"RIFF") && at(8, b"WAVE"), FileType::Wav),
            (at(0, b"\xff\xd8\xff"), FileType::Jpeg),
            (at(0, b"\x89PNG\r\n\x1a\n"), FileType::Png),
            (at(0, b"RIFF") && at(8, b"WEBP"), FileType::Webp),
            (at(0, b"GIF87a") || at(0, b"GIF89a"), FileType::Gif),
            // Sync bits and layer: 00 is ADTS, 01 layer III.
            (frame(0xf6, 0xf0), FileType::Adts),
            (at(0, b"ID3") || frame(0xe6, 0xe2), FileType::Mp3),
        ];
        signs.into_iter().find_map(|(is, form)| is.then_some(form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(FileType::sniff(text.as_bytes()), None, "{text}");
        }
    }
}
