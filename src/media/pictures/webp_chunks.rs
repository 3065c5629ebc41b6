//! The chunks of a WebP file, looked at before its decoder is let near.
//!
//! In come the bytes of the file; out goes the orientation. Two things the decoder does not guard
//! against: a lossy frame that is far larger than the picture it belongs to, and an EXIF chunk that
//! claims gigabytes.

use image::metadata::Orientation;

use super::Result;
use super::decode::Bounds;

/// Refuses a file with a frame that is too large, and reads its orientation.
pub(super) fn check(bytes: &[u8], bounds: Bounds) -> Result<Orientation> {
    let mut orientation = None;
    for (name, body) in chunks(bytes.get(12..).unwrap_or_default()) {
        match name {
            b"VP8 " => check_frame(body, bounds)?,
            b"ANMF" => {
                let inner = chunks(body.get(16..).unwrap_or_default());
                for (_, frame) in inner.filter(|(name, _)| *name == b"VP8 ") {
                    check_frame(frame, bounds)?;
                }
            }
            b"EXIF" => {
                // Some writers leave in front what JPEG has there.
                let exif = body.strip_prefix(b"Exif\0\0").unwrap_or(body);
                orientation = orientation.or(Orientation::from_exif_chunk(exif));
            }
            _ => {}
        }
    }
    Ok(orientation.unwrap_or(Orientation::NoTransforms))
}

/// Name and body of each chunk; the last may be cut short.
fn chunks(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (name, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let body = rest.get(..length).unwrap_or(rest);
        bytes = rest.get(length + length % 2..).unwrap_or_default();
        Some((name, body))
    })
}

/// Width and height stand after a three-byte tag and a three-byte start code, in 14 bits each.
fn check_frame(body: &[u8], bounds: Bounds) -> Result<()> {
    match body {
        [_, _, _, _, _, _, a, b, c, d, ..] => {
            let side = |bytes| u32::from(u16::from_le_bytes(bytes) & 0x3fff);
            bounds.check(side([*a, *b]), side([*c, *d]))
        }
        _ => Ok(()),
    }
}
