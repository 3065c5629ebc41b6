//! Layout: where plaintext bytes lie in an encrypted object.

use std::ops::Range;

use super::cobblestone::{CHUNK_BYTES, HEADER_BYTES, MAX_CHUNKS, SEALED_CHUNK_BYTES};
use super::{BLOCK_BYTES, PartAt, TAG_BYTES};
use crate::error::{Error, Result};

/// The form of an object, as far as lengths go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Not encrypted.
    Plain,
    /// aes-ctr.
    Ctr,
    /// aes-cbc-pkcs7.
    Cbc,
    /// aes-gcm.
    Gcm,
    /// cobblestone.
    Cobblestone,
}

impl Form {
    /// Length of the object that holds `plain` bytes of plaintext.
    pub fn sealed_len(self, plain: u64) -> u64 {
        match self {
            Form::Plain | Form::Ctr => plain,
            Form::Cbc => plain - plain % 16 + 16,
            Form::Gcm => plain + TAG_BYTES as u64,
            Form::Cobblestone => {
                let chunks = plain / CHUNK_BYTES as u64 + 1;
                HEADER_BYTES as u64 + plain + chunks * TAG_BYTES as u64
            }
        }
    }

    /// Length of the plaintext in an object of `sealed` bytes; for CBC an upper bound (the padding
    /// is inside, 1 to 16 bytes). Lengths that no encryption yields are refused.
    pub fn plain_len(self, sealed: u64) -> Result<u64> {
        let tag = TAG_BYTES as u64;
        match self {
            Form::Plain | Form::Ctr => Ok(sealed),
            Form::Cbc if sealed > 0 && sealed.is_multiple_of(16) => Ok(sealed - 1),
            Form::Cbc => Err(Error::DecryptFailed),
            Form::Gcm => sealed.checked_sub(tag).ok_or(Error::DecryptFailed),
            Form::Cobblestone => {
                let body = sealed
                    .checked_sub(HEADER_BYTES as u64)
                    .ok_or(Error::DecryptFailed)?;
                let full = body / SEALED_CHUNK_BYTES as u64;
                let short = body % SEALED_CHUNK_BYTES as u64;
                if short < tag || full >= MAX_CHUNKS {
                    return Err(Error::DecryptFailed);
                }
                Ok(full * CHUNK_BYTES as u64 + short - tag)
            }
        }
    }

    /// Number of parts of an object whose plaintext has (at most) `plain` bytes: at least one.
    pub fn parts(plain: u64, part_bytes: u64) -> u64 {
        plain.div_ceil(part_bytes).max(1)
    }

    /// The bytes of the object that must be read to decrypt the part whose plaintext is `plain`.
    pub fn read_range(self, plain: Range<u64>, last: bool, sealed: u64) -> Range<u64> {
        let end = |end: u64| if last { sealed } else { end };
        let chunk = |offset: u64| {
            HEADER_BYTES as u64 + offset / CHUNK_BYTES as u64 * SEALED_CHUNK_BYTES as u64
        };
        match self {
            Form::Plain | Form::Ctr | Form::Gcm => plain.start..end(plain.end),
            Form::Cbc => plain.start.saturating_sub(BLOCK_BYTES as u64)..end(plain.end),
            Form::Cobblestone => chunk(plain.start)..end(chunk(plain.end)),
        }
    }

    /// Bytes that a part of `plain` bytes becomes when it is encrypted.
    pub fn sealed_part_len(self, at: PartAt, plain: usize) -> usize {
        match self {
            Form::Plain | Form::Ctr => plain,
            Form::Cbc if at.last => plain - plain % BLOCK_BYTES + BLOCK_BYTES,
            Form::Cbc => plain,
            Form::Gcm => plain + if at.last { TAG_BYTES } else { 0 },
            Form::Cobblestone => {
                let header = if at.offset == 0 { HEADER_BYTES } else { 0 };
                let chunks = plain / CHUNK_BYTES + usize::from(at.last);
                header + plain + chunks * TAG_BYTES
            }
        }
    }

    /// Most bytes that a part of `part_bytes` plaintext bytes can take in any form, read or
    /// written.
    pub fn buffer_bytes(part_bytes: u64) -> usize {
        let tags = (part_bytes / CHUNK_BYTES as u64 + 1) as usize * TAG_BYTES;
        part_bytes as usize + tags + HEADER_BYTES + 2 * BLOCK_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: [Form; 5] = [
        Form::Plain,
        Form::Ctr,
        Form::Cbc,
        Form::Gcm,
        Form::Cobblestone,
    ];

    #[test]
    fn lengths_round_trip_and_parts_add_up() {
        let part_bytes = 4 * CHUNK_BYTES as u64;
        let edges = [
            0,
            1,
            15,
            16,
            17,
            16_383,
            16_384,
            16_385,
            part_bytes - 1,
            part_bytes,
            part_bytes + 1,
            200_000,
        ];
        for form in FORMS {
            for plain in edges {
                let sealed = form.sealed_len(plain);
                let back = form.plain_len(sealed).expect("a possible length");
                let exact = if form == Form::Cbc {
                    plain / 16 * 16 + 15
                } else {
                    plain
                };
                assert_eq!(back, exact, "{form:?} {plain}");
                let parts = Form::parts(plain, part_bytes);
                let written: u64 = (0..parts)
                    .map(|index| {
                        let offset = index * part_bytes;
                        let at = PartAt {
                            offset,
                            last: index + 1 == parts,
                        };
                        form.sealed_part_len(at, (plain - offset).min(part_bytes) as usize) as u64
                    })
                    .sum();
                assert_eq!(written, sealed, "{form:?} {plain}");
            }
        }
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for (form, sealed) in [
            (Form::Cbc, 0),
            (Form::Cbc, 17),
            (Form::Gcm, 15),
            (Form::Cobblestone, 55),
            (Form::Cobblestone, 56),
            (Form::Cobblestone, 56 + 15),
            (Form::Cobblestone, 56 + 16_400),
            (Form::Cobblestone, 56 + 16_400 + 15),
        ] {
            assert!(form.plain_len(sealed).is_err(), "{form:?} {sealed}");
        }
    }
}
