//! Encoding: 8-bit RGB or RGBA becomes the bytes of a JPEG, PNG or WebP file, without metadata.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageEncoder};

use super::{Refused, Result};
use crate::job::PictureFormat;

/// Quality of a JPEG when none is asked for.
const JPEG_QUALITY: u8 = 85;
/// Quality of a WebP when none is asked for.
const WEBP_QUALITY: u8 = 80;

/// Encodes an `Rgb8` or `Rgba8` picture; one for JPEG must be `Rgb8`.
pub(super) fn encode(
    image: &DynamicImage,
    format: PictureFormat,
    quality: Option<u8>,
) -> Result<Vec<u8>> {
    let failed = || Refused::new("the picture cannot be encoded");
    let (pixels, width, height) = (image.as_bytes(), image.width(), image.height());
    let color = image.color().into();
    let quality = |default: u8| quality.unwrap_or(default).clamp(1, 100);
    let mut bytes = Vec::new();
    let written = match format {
        PictureFormat::Jpg => JpegEncoder::new_with_quality(&mut bytes, quality(JPEG_QUALITY))
            .write_image(pixels, width, height, color),
        PictureFormat::Png => {
            let (level, filter) = (CompressionType::Default, FilterType::Adaptive);
            PngEncoder::new_with_quality(&mut bytes, level, filter)
                .write_image(pixels, width, height, color)
        }
        PictureFormat::Webp => {
            let encoder = match image {
                DynamicImage::ImageRgba8(_) => webp::Encoder::from_rgba(pixels, width, height),
                _ => webp::Encoder::from_rgb(pixels, width, height),
            };
            let encoded = encoder.encode_simple(false, quality(WEBP_QUALITY).into());
            return encoded.map(|bytes| bytes.to_vec()).map_err(|_| failed());
        }
    };
    written.map_err(|_| failed())?;
    Ok(bytes)
}
