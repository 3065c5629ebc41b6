//! Decoding: one picture file becomes 8-bit RGB, or RGBA if some of it is see-through.
//!
//! In come the bytes and the format that their first bytes name; out goes the first picture, turned
//! as its EXIF orientation says. Whoever made the bytes is not trusted: a size is checked before
//! anything is allocated for it. Colour profiles are not applied, and no metadata is kept.

use std::io::{Cursor, Read};

use image::codecs::{gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::error::ImageError;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageResult};

use super::{ImageForm, Refused, Result, webp_chunks};

/// Longest picture file, in bytes.
const LONGEST_FILE: u64 = 256 << 20;
/// Most memory for what a PNG has beside its pixels (profiles, texts), in bytes.
const PNG_EXTRA: u64 = 64 << 20;

/// How large a source picture may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pixels: u64,
    width: u32,
    height: u32,
}

impl Bounds {
    /// At most this many pixels.
    pub(super) fn of(pixels: u64) -> Self {
        let longest = u32::from(u16::MAX);
        Bounds {
            pixels,
            width: longest,
            height: longest,
        }
    }

    /// At most this many pixels across and down as well.
    pub(super) fn with_largest(self, (width, height): (u32, u32)) -> Self {
        Bounds {
            width,
            height,
            ..self
        }
    }

    /// Refuses what is larger, and what has no pixels at all.
    pub(super) fn check(self, width: u32, height: u32) -> Result<()> {
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 {
            return Err(Refused::new("the picture has no pixels"));
        }
        if width > self.width || height > self.height {
            let Bounds { width, height, .. } = self;
            return Err(Refused::new(format!(
                "the picture is larger than {width}x{height}"
            )));
        }
        if pixels > self.pixels {
            let most = self.pixels;
            return Err(Refused::new(format!(
                "the picture has more than {most} pixels"
            )));
        }
        Ok(())
    }

    fn limits(self, extra_bytes: u64) -> image::Limits {
        let mut limits = image::Limits::no_limits();
        limits.max_image_width = Some(self.width);
        limits.max_image_height = Some(self.height);
        limits.max_alloc = Some(extra_bytes);
        limits
    }
}

impl ImageForm {
    /// What the first bytes say that it is.
    pub(super) fn sniff(bytes: &[u8]) -> Result<ImageForm> {
        match image::guess_format(bytes) {
            Ok(ImageFormat::Jpeg) => Ok(ImageForm::Jpeg),
            Ok(ImageFormat::Png) => Ok(ImageForm::Png),
            Ok(ImageFormat::WebP) => Ok(ImageForm::Webp),
            Ok(ImageFormat::Gif) => Ok(ImageForm::Gif),
            _ => Err(Refused::new(
                "the picture is neither JPEG, PNG, WebP nor GIF",
            )),
        }
    }
}

/// Reads a picture file whole.
pub(super) fn read(file: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(LONGEST_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|_| Refused::new("the file cannot be read"))?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(Refused::new(format!(
            "the file is longer than {LONGEST_FILE} bytes"
        )));
    }
    Ok(bytes)
}

/// Decodes a picture file of this format into `Rgb8` or `Rgba8`.
pub(super) fn decode(bytes: &[u8], form: ImageForm, bounds: Bounds) -> Result<DynamicImage> {
    let file = Cursor::new(bytes);
    let extra = bounds.pixels.saturating_mul(4);
    match form {
        ImageForm::Jpeg => {
            let mut decoder = opened(JpegDecoder::new(file), bounds, extra)?;
            let orientation = decoder.orientation();
            pixels(decoder, orientation)
        }
        ImageForm::Png => {
            // Lines are allocated with the header, so their length is bounded before.
            let widest = Bounds::of(bounds.pixels).limits(PNG_EXTRA);
            let decoder = PngDecoder::with_limits(file, widest);
            let mut decoder = opened(decoder, bounds, PNG_EXTRA)?;
            let orientation = decoder.orientation();
            pixels(decoder, orientation)
        }
        ImageForm::Webp => {
            let orientation = webp_chunks::check(bytes, bounds)?;
            let decoder = opened(WebPDecoder::new(file), bounds, extra)?;
            pixels(decoder, Ok(orientation))
        }
        ImageForm::Gif => {
            let decoder = opened(GifDecoder::new(file), bounds, extra)?;
            pixels(decoder, Ok(Orientation::NoTransforms))
        }
    }
}

/// A decoder that has read the header, and found nothing too large in it.
fn opened<D: ImageDecoder>(decoder: ImageResult<D>, bounds: Bounds, extra: u64) -> Result<D> {
    let mut decoder = decoder.map_err(refused)?;
    let (width, height) = decoder.dimensions();
    bounds.check(width, height)?;
    // The header may be read again for the pixels, and is then not to name more.
    let same = Bounds {
        width,
        height,
        ..bounds
    };
    decoder.set_limits(same.limits(extra)).map_err(refused)?;
    Ok(decoder)
}

/// The pixels, turned; a picture with a broken orientation stays as it is.
fn pixels(decoder: impl ImageDecoder, turn: ImageResult<Orientation>) -> Result<DynamicImage> {
    let image = DynamicImage::from_decoder(decoder).map_err(refused)?;
    let mut image = if image.color().has_alpha() {
        let image = image.into_rgba8();
        let opaque = image.pixels().all(|pixel| pixel.0[3] == u8::MAX);
        let image = DynamicImage::ImageRgba8(image);
        if opaque {
            image.into_rgb8().into()
        } else {
            image
        }
    } else {
        image.into_rgb8().into()
    };
    image.apply_orientation(turn.unwrap_or(Orientation::NoTransforms));
    Ok(image)
}

/// What a decoder complains of, in words that hold nothing of the file.
fn refused(error: ImageError) -> Refused {
    Refused::new(match error {
        ImageError::Limits(_) => "the picture is too large",
        ImageError::Unsupported(_) => "the picture is of a kind that is not supported",
        _ => "the picture is damaged",
    })
}

#[cfg(test)]
mod tests;
