//! Artwork: the pictures inside an audio file, as they stand there, undecoded.
//!
//! In comes an audio file of a known format; out go its pictures, front covers first, then in the
//! order of the file. Only tags are read, never sound.

use std::io::{BufReader, Read, Seek};

use lofty::config::{GlobalOptions, ParseOptions, apply_global_options};
use lofty::file::{FileType, TaggedFileExt};
use lofty::picture::PictureType;
use lofty::probe::Probe;

use super::{AudioForm, MOST_COVERS, Refused, Result};

/// Most memory for one item of a tag, in bytes. In MP4 all the tags together are one item.
const LARGEST_ITEM: usize = 64 << 20;
/// Bytes in which an Ogg file says what is in it: one page header and the start of a packet.
const OGG_HEAD: u64 = 64;

/// Takes out the pictures; more than [`MOST_COVERS`] are refused.
pub(super) fn covers(file: &mut (impl Read + Seek), form: AudioForm) -> Result<Vec<Vec<u8>>> {
    let kind = kind(file, form)?;
    // This holds for the calling thread only.
    apply_global_options(
        GlobalOptions::new()
            .allocation_limit(LARGEST_ITEM)
            .use_custom_resolvers(false)
            .preserve_format_specific_items(false),
    );
    let tagged = Probe::with_file_type(BufReader::new(file), kind)
        .options(ParseOptions::new().read_properties(false))
        .read()
        .map_err(|_| Refused::new("the tags of the audio file are damaged"))?;
    let mut covers: Vec<_> = tagged
        .tags()
        .iter()
        .flat_map(|tag| tag.pictures())
        .collect();
    if covers.len() > MOST_COVERS {
        return Err(Refused::new(format!(
            "the audio file has more than {MOST_COVERS} pictures"
        )));
    }
    covers.sort_by_key(|cover| cover.pic_type() != PictureType::CoverFront);
    Ok(covers
        .into_iter()
        .map(|cover| cover.data().to_vec())
        .collect())
}

/// The format in lofty's words; Ogg is one of two.
fn kind(file: &mut (impl Read + Seek), form: AudioForm) -> Result<FileType> {
    let kind = match form {
        AudioForm::Mp3 => FileType::Mpeg,
        AudioForm::Mp4 => FileType::Mp4,
        AudioForm::Flac => FileType::Flac,
        AudioForm::Ogg => {
            let mut head = Vec::new();
            let read = file
                .take(OGG_HEAD)
                .read_to_end(&mut head)
                .and_then(|_| file.rewind());
            read.map_err(|_| Refused::new("the file cannot be read"))?;
            let opus = head.windows(8).any(|bytes| bytes == b"OpusHead");
            if opus {
                FileType::Opus
            } else {
                FileType::Vorbis
            }
        }
    };
    Ok(kind)
}

#[cfg(test)]
mod tests;
