//! Whether a container can be read from start to end: the first bytes come in, yes or no goes out.
//!
//! Only MP4 and MOV are in doubt: their index may stand after the media. This walks over top-level
//! boxes by their sizes alone and never looks into one.

use crate::FileType;

/// Whether a film that begins with `head` (64 KiB are plenty) can be read through a pipe. What
/// cannot be decided from `head` cannot.
pub fn streams(head: &[u8], file_type: FileType) -> bool {
    file_type != FileType::Mov || index_first(head)
}

/// The index, or a first fragment's, stands before the media.
fn index_first(head: &[u8]) -> bool {
    let mut rest = head;
    // A box is at least 8 bytes long, so this comes to an end.
    while let Some((name, next)) = next_box(rest) {
        match &name {
            b"moov" | b"moof" => return true,
            b"mdat" => return false,
            _ => rest = next,
        }
    }
    false
}

/// A box's name and what follows the box: nothing where that is past the end, or where the box has
/// no end of its own. `None` where no whole header is left.
fn next_box(bytes: &[u8]) -> Option<([u8; 4], &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_first_chunk::<4>()?;
    let (least, size) = match u32::from_be_bytes(*size) {
        0 => (8, u64::MAX),
        1 => (16, u64::from_be_bytes(*rest.first_chunk::<8>()?)),
        size => (8, u64::from(size)),
    };
    if size < least {
        return None;
    }
    let next = usize::try_from(size)
        .ok()
        .and_then(|size| bytes.get(size..));
    Some((*name, next.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxed(name: &[u8; 4], content: usize) -> Vec<u8> {
        let mut bytes = (content as u32 + 8).to_be_bytes().to_vec();
        bytes.extend(name);
        bytes.resize(content + 8, 0);
        bytes
    }

    #[test]
    fn the_index_must_stand_before_the_media() {
        let moov = boxed(b"moov", 100_000);
        let cases: [(&[&[u8]], bool); 9] = [
            (&[&boxed(b"ftyp", 24), &boxed(b"free", 9), &moov], true),
            (&[&boxed(b"ftyp", 24), &moov[..8]], true),
            (
                &[&boxed(b"styp", 24), &boxed(b"sidx", 44), &boxed(b"moof", 9)],
                true,
            ),
            (&[&boxed(b"ftyp", 24), &boxed(b"mdat", 9), &moov], false),
            (
                &[
                    &boxed(b"ftyp", 24),
                    &boxed(b"wide", 0),
                    &boxed(b"mdat", 9),
                    &moov,
                ],
                false,
            ),
            (&[&boxed(b"ftyp", 24), &moov[..7]], false),
            (&[&boxed(b"free", 99_999)[..64]], false),
            (&[b"\0\0\0\x07free", &moov], false),
            (&[b"\0\0\0\0free", &moov], false),
        ];
        for (parts, yes) in cases {
            assert_eq!(
                streams(&parts.concat(), FileType::Mov),
                yes,
                "{:?}",
                &parts[..1]
            );
        }
    }

    #[test]
    fn sizes_of_64_bits_are_followed() {
        let long = |size: u64| {
            let head = [&b"\0\0\0\x01free"[..], &size.to_be_bytes(), &[0; 4]].concat();
            streams(&[head, boxed(b"moov", 0)].concat(), FileType::Mov)
        };
        assert!(long(20));
        assert!(!long(15) && !long(21) && !long(u64::MAX) && !long(0));
    }

    #[test]
    fn other_containers_always_stream() {
        for form in [
            FileType::Matroska,
            FileType::MpegTs,
            FileType::Mp3,
            FileType::Ogg,
            FileType::Wav,
        ] {
            assert!(streams(b"", form));
        }
        assert!(!streams(b"", FileType::Mov));
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer(head in proptest::collection::vec(any::<u8>(), 0..300)) {
            // No index is named, so no answer can be yes.
            let named = |name: &[u8]| head.windows(4).any(|four| four == name);
            let yes = streams(&head, FileType::Mov);
            prop_assert!(!yes || named(b"moov") || named(b"moof"));
        }

        #[test]
        fn boxes_before_the_index_do_not_matter(
            sizes in proptest::collection::vec(0usize..99, 0..9),
        ) {
            let mut head: Vec<u8> = sizes.iter().flat_map(|size| boxed(b"free", *size)).collect();
            head.extend(boxed(b"moov", 0));
            prop_assert!(streams(&head, FileType::Mov));
            head.truncate(head.len() - 1);
            prop_assert!(!streams(&head, FileType::Mov));
        }
    }
}
