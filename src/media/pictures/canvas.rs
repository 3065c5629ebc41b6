//! The canvas: scaling, cutting, and laying a picture on a plain ground.
//!
//! Pictures come in and go out as `Rgb8` or `Rgba8`.

use fast_image_resize as fir;
use image::{DynamicImage, Rgb, RgbImage, RgbaImage};

use super::geometry::{Geometry, Part, Size};
use super::{Refused, Result};

/// Scales a picture and cuts out what the geometry leaves of it, in one step: what is cut away is
/// never computed.
pub(super) fn scale_and_cut(source: &DynamicImage, geometry: &Geometry) -> Result<DynamicImage> {
    let Geometry {
        scaled,
        crop: Part { left, top, size },
        ..
    } = *geometry;
    let side = |from: u32, length: u32, of: u32, source: u32| {
        let ratio = f64::from(source) / f64::from(of);
        let from = f64::from(from) * ratio;
        (
            from,
            (f64::from(length) * ratio).min(f64::from(source) - from),
        )
    };
    let (left, width) = side(left, size.width, scaled.width, source.width());
    let (top, height) = side(top, size.height, scaled.height, source.height());
    resample(
        source,
        fir::ResizeOptions::new().crop(left, top, width, height),
        size,
    )
}

/// Scales a whole picture.
pub(super) fn scale(source: &DynamicImage, size: Size) -> Result<DynamicImage> {
    resample(source, fir::ResizeOptions::new(), size)
}

fn resample(source: &DynamicImage, how: fir::ResizeOptions, size: Size) -> Result<DynamicImage> {
    let failed = || Refused::new("the picture cannot be scaled");
    let alpha = source.color().has_alpha();
    let pixel = if alpha {
        fir::PixelType::U8x4
    } else {
        fir::PixelType::U8x3
    };
    let from =
        fir::images::ImageRef::new(source.width(), source.height(), source.as_bytes(), pixel)
            .map_err(|_| failed())?;
    let Size { width, height } = size;
    let mut to = fir::images::Image::new(width, height, pixel);
    let lanczos = fir::ResizeAlg::Convolution(fir::FilterType::Lanczos3);
    fir::Resizer::new()
        .resize(&from, &mut to, &how.resize_alg(lanczos))
        .map_err(|_| failed())?;
    let pixels = to.into_vec();
    let image = if alpha {
        RgbaImage::from_raw(width, height, pixels).map(DynamicImage::from)
    } else {
        RgbImage::from_raw(width, height, pixels).map(DynamicImage::from)
    };
    image.ok_or_else(failed)
}

/// Lays a picture on a ground of this colour, as large as the full picture, where the geometry has
/// it stand.
pub(super) fn lay_on(picture: DynamicImage, geometry: &Geometry, colour: [u8; 3]) -> DynamicImage {
    let Size { width, height } = geometry.full;
    if !picture.color().has_alpha() && geometry.content.size == geometry.full {
        return picture;
    }
    let mut ground = RgbImage::from_pixel(width, height, Rgb(colour)).into();
    let Part { left, top, .. } = geometry.content;
    let corner = (left.into(), top.into());
    over(&mut ground, &picture.into_rgba8(), corner, geometry.content);
    ground
}

/// Paints a picture over a canvas, its upper left corner at `(left, top)`, within `clip` only.
pub(super) fn over(
    canvas: &mut DynamicImage,
    picture: &RgbaImage,
    (left, top): (i64, i64),
    clip: Part,
) {
    let (across, down) = (
        overlap(left, picture.width(), clip.left, clip.size.width),
        overlap(top, picture.height(), clip.top, clip.size.height),
    );
    let channels = usize::from(canvas.color().channel_count());
    let stride = canvas.width() as usize * channels;
    let pixels: &mut [u8] = match canvas {
        DynamicImage::ImageRgba8(canvas) => canvas,
        DynamicImage::ImageRgb8(canvas) => canvas,
        _ => return,
    };
    let rows = pixels
        .chunks_exact_mut(stride)
        .skip(down.to)
        .zip(picture.rows().skip(down.from));
    for (row, source) in rows.take(down.length) {
        let row = row.chunks_exact_mut(channels).skip(across.to);
        let source = source.skip(across.from).take(across.length);
        for (pixel, source) in row.zip(source) {
            blend(pixel, source.0);
        }
    }
}

/// A run of pixels that a picture and a canvas share: where it starts in each, and its length.
struct Overlap {
    from: usize,
    to: usize,
    length: usize,
}

fn overlap(place: i64, length: u32, clip: u32, clip_length: u32) -> Overlap {
    let start = place.max(clip.into());
    let end = (place + i64::from(length)).min(i64::from(clip) + i64::from(clip_length));
    let count = |pixels: i64| usize::try_from(pixels).unwrap_or(0);
    Overlap {
        from: count(start - place),
        to: count(start),
        length: count(end - start),
    }
}

/// Paints one pixel over another, which has three channels or four.
fn blend(under: &mut [u8], [red, green, blue, alpha]: [u8; 4]) {
    let [r, g, b, rest @ ..] = under else { return };
    let below = rest.first().copied().unwrap_or(u8::MAX);
    let weight = u32::from(alpha) * 255;
    let left = u32::from(below) * (255 - u32::from(alpha));
    let total = weight + left;
    if total == 0 {
        return;
    }
    for (under, over) in [(r, red), (g, green), (b, blue)] {
        let sum = u32::from(over) * weight + u32::from(*under) * left;
        *under = ((sum + total / 2) / total) as u8;
    }
    if let Some(below) = rest.first_mut() {
        *below = ((total + 127) / 255) as u8;
    }
}

#[cfg(test)]
mod tests;
