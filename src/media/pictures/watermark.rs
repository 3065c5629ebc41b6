//! Watermarks: pictures painted over others, by Elastic Transcoder's rules.
//!
//! In come a JPEG or PNG and its [`Placement`]; what changes is the canvas under it. Each is
//! decoded once, and scaled again only when the pictures under it change in size.

use std::io::{Read, Seek};

use image::{DynamicImage, RgbaImage};

use super::decode::{self, Bounds};
use super::geometry::{Geometry, Part, Size};
use super::{ImageForm, Refused, Result, Watermark, canvas, pick};
use crate::job::{Extent, HorizontalAlign, Placement, Target, VerticalAlign, WatermarkSizing};

/// A watermark, decoded.
pub(super) struct Mark {
    placement: Placement,
    image: DynamicImage,
    scaled: Option<RgbaImage>,
}

impl Mark {
    /// Decodes a watermark, and applies its opacity.
    pub(super) fn read<F: Read + Seek>(
        watermark: &Watermark,
        files: &mut [F],
        bounds: Bounds,
    ) -> Result<Mark> {
        if !matches!(watermark.form, ImageForm::Jpeg | ImageForm::Png) {
            return Err(Refused::new("neither JPEG nor PNG"));
        }
        let bytes = decode::read(pick(files, watermark.file)?)?;
        let mut image = decode::decode(&bytes, watermark.form, bounds)?.into_rgba8();
        let opacity = watermark.placement.opacity.clamp(0.0, 100.0) / 100.0;
        for pixel in image.pixels_mut() {
            pixel.0[3] = (f64::from(pixel.0[3]) * opacity).round() as u8;
        }
        Ok(Mark {
            placement: watermark.placement.clone(),
            image: image.into(),
            scaled: None,
        })
    }

    /// Paints it over a picture of this geometry, and never beyond what it stands on.
    pub(super) fn paint(&mut self, canvas: &mut DynamicImage, geometry: &Geometry) -> Result<()> {
        let ground = match self.placement.target {
            Target::Content => geometry.content,
            Target::Frame => Part {
                left: 0,
                top: 0,
                size: geometry.full,
            },
        };
        let size = size(&self.placement, Size::of(&self.image), ground.size);
        let ready = self.scaled.take();
        let ready = ready.filter(|ready| ready.dimensions() == (size.width, size.height));
        let scaled = match ready {
            Some(scaled) => scaled,
            None => canvas::scale(&self.image, size)?.into_rgba8(),
        };
        let corner = corner(&self.placement, size, ground);
        canvas::over(canvas, &scaled, corner, ground);
        self.scaled = Some(scaled);
        Ok(())
    }
}

/// How large it becomes on a ground of this size; never larger than the ground.
fn size(placement: &Placement, own: Size, ground: Size) -> Size {
    let side = |extent, of: u32| pixels(extent, of).min(of);
    let most = Size::new(
        side(placement.max_width, ground.width),
        side(placement.max_height, ground.height),
    );
    match placement.sizing {
        WatermarkSizing::Stretch => most,
        WatermarkSizing::ShrinkToFit if own.is_within(most) => own,
        WatermarkSizing::Fit | WatermarkSizing::ShrinkToFit => own.fitted(most),
    }
}

/// Where its upper left corner stands in the full picture; this may be outside.
fn corner(placement: &Placement, size: Size, ground: Part) -> (i64, i64) {
    let Size { width, height } = ground.size;
    let x = i64::from(pixels(placement.horizontal_offset, width));
    let y = i64::from(pixels(placement.vertical_offset, height));
    let space_across = i64::from(width) - i64::from(size.width);
    let space_down = i64::from(height) - i64::from(size.height);
    let left = match placement.horizontal_align {
        HorizontalAlign::Left => x,
        HorizontalAlign::Right => space_across - x,
        HorizontalAlign::Center => space_across / 2 + x,
    };
    let top = match placement.vertical_align {
        VerticalAlign::Top => y,
        VerticalAlign::Bottom => space_down - y,
        VerticalAlign::Center => space_down / 2 + y,
    };
    (i64::from(ground.left) + left, i64::from(ground.top) + top)
}

/// An extent in pixels, where all of it is `of`.
fn pixels(extent: Extent, of: u32) -> u32 {
    match extent {
        Extent::Pixels(pixels) => pixels,
        Extent::Percent(percent) => (f64::from(of) * percent / 100.0).round() as u32,
    }
}

#[cfg(test)]
mod tests;
