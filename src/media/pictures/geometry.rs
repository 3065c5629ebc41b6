//! Geometry: how large a picture becomes, what is cut from it, and where it stands between bars.
//!
//! In come the size of a source picture and the [`Picture`] asked for; out go whole numbers of
//! pixels. Nothing here sees a pixel, and no side is ever 0.

use image::DynamicImage;

use crate::job::{Padding, Picture, Sizing};

/// Pixels across and down; neither is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Size {
    pub(super) fn new(width: u32, height: u32) -> Self {
        Size {
            width: width.max(1),
            height: height.max(1),
        }
    }

    /// The size of a picture.
    pub(super) fn of(image: &DynamicImage) -> Self {
        Size::new(image.width(), image.height())
    }

    /// Whether both sides are at most those of `other`.
    pub(super) fn is_within(self, other: Size) -> bool {
        self.width <= other.width && self.height <= other.height
    }

    fn at_most(self, other: Size) -> Size {
        Size::new(self.width.min(other.width), self.height.min(other.height))
    }

    fn at_least(self, other: Size) -> Size {
        Size::new(self.width.max(other.width), self.height.max(other.height))
    }

    /// In the same shape, as large as goes into `most`.
    pub(super) fn fitted(self, most: Size) -> Size {
        let (to_width, to_height) = (self.with_width(most.width), self.with_height(most.height));
        if to_width.is_within(to_height) {
            to_width.at_most(most)
        } else {
            to_height.at_most(most)
        }
    }

    /// In the same shape, as small as covers `least`.
    fn filled(self, least: Size) -> Size {
        let (to_width, to_height) = (self.with_width(least.width), self.with_height(least.height));
        let larger = if to_width.is_within(to_height) {
            to_height
        } else {
            to_width
        };
        larger.at_least(least)
    }

    fn with_width(self, width: u32) -> Size {
        Size::new(width, scaled(self.height, width, self.width))
    }

    fn with_height(self, height: u32) -> Size {
        Size::new(scaled(self.width, height, self.height), height)
    }
}

/// `length * by / of`, rounded.
fn scaled(length: u32, by: u32, of: u32) -> u32 {
    let (length, by, of) = (u64::from(length), u64::from(by), u64::from(of.max(1)));
    u32::try_from((length * by + of / 2) / of).unwrap_or(u32::MAX)
}

/// A part of a picture, in pixels from its upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) size: Size,
}

impl Part {
    /// A part of this size in the middle of `whole`, which is not smaller.
    fn centred(size: Size, whole: Size) -> Part {
        Part {
            left: whole.width.saturating_sub(size.width) / 2,
            top: whole.height.saturating_sub(size.height) / 2,
            size,
        }
    }
}

/// What is done with one picture: it is scaled, then cut, then set between bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// What it is scaled to. It may be far larger than what is left after the cut.
    pub(super) scaled: Size,
    /// What is left of it, in pixels of `scaled`.
    pub(super) crop: Part,
    /// Where that stands in the full picture; of the same size as `crop`.
    pub(super) content: Part,
    /// The full picture, bars included.
    pub(super) full: Size,
}

impl Geometry {
    /// For a source picture of this size.
    pub(super) fn new(source: Size, picture: &Picture) -> Self {
        let most = Size::new(picture.max_width, picture.max_height);
        let filled = source.filled(most);
        let scaled = match picture.sizing {
            Sizing::Stretch => most,
            Sizing::Fit => source.fitted(most),
            Sizing::ShrinkToFit if source.is_within(most) => source,
            Sizing::ShrinkToFit => source.fitted(most),
            Sizing::Fill => filled,
            Sizing::ShrinkToFill if filled.is_within(source) => filled,
            Sizing::Keep | Sizing::ShrinkToFill => source,
        };
        let cut = scaled.at_most(most);
        let full = match picture.padding {
            Padding::Pad => most,
            Padding::NoPad => cut,
        };
        Geometry {
            scaled,
            crop: Part::centred(cut, scaled),
            content: Part::centred(cut, full),
            full,
        }
    }
}

#[cfg(test)]
mod tests;
