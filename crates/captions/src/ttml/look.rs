//! Looks: what TTML's styling and layout say, as far as the model carries it.
//!
//! Style attributes come in one by one; layered looks go out as a [`Style`] and a [`Place`]. A field
//! that nothing was said about stays open for the layer below.

use quick_xml::events::BytesStart;

use super::attributes::each;
use crate::cue::{Align, Colour, Place, Style, Vertical};

/// What was said about how text looks and where it stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    italic: Option<bool>,
    bold: Option<bool>,
    underline: Option<bool>,
    colour: Option<Colour>,
    align: Option<Align>,
    /// Where in its region the text stands.
    display: Option<Vertical>,
    /// Percent from the left and from the top.
    origin: Option<(f64, f64)>,
    extent: Option<(f64, f64)>,
}

/// What lengths are measured in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    /// Width and height of the picture in pixels, where it is said.
    pixels: Option<(f64, f64)>,
    cells: (f64, f64),
}

impl Default for Units {
    fn default() -> Self {
        Self {
            pixels: None,
            cells: (32.0, 15.0),
        }
    }
}

impl Units {
    /// The root element's `extent` and `cellResolution`.
    pub(super) fn read(tag: &BytesStart<'_>) -> Self {
        let mut units = Self::default();
        each(tag, |name, value| match name {
            "extent" => {
                let mut sizes = value.split_ascii_whitespace();
                let mut size =
                    || number(sizes.next()?.strip_suffix("px")?).filter(|size| *size > 0.0);
                units.pixels = size().zip(size());
            }
            "cellResolution" => {
                let mut counts = value.split_ascii_whitespace();
                let mut count = || number(counts.next()?).filter(|count| *count > 0.0);
                units.cells = count().zip(count()).unwrap_or(units.cells);
            }
            _ => {}
        });
        units
    }

    /// Two lengths as percent of the picture's width and height.
    fn percents(&self, value: &str) -> Option<(f64, f64)> {
        let mut lengths = value.split_ascii_whitespace();
        let x = self.percent(lengths.next()?, |(x, _)| x)?;
        let y = self.percent(lengths.next()?, |(_, y)| y)?;
        Some((x, y))
    }

    fn percent(&self, length: &str, side: fn((f64, f64)) -> f64) -> Option<f64> {
        if let Some(percent) = length.strip_suffix('%') {
            return number(percent);
        }
        if let Some(pixels) = length.strip_suffix("px") {
            return Some(number(pixels)? / side(self.pixels?) * 100.0);
        }
        Some(number(length.strip_suffix('c')?)? / side(self.cells) * 100.0)
    }
}

/// A plain decimal number; none of the words that Rust's own parser takes.
fn number(written: &str) -> Option<f64> {
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'-');
    let good = written.len() <= 12 && written.bytes().all(plain);
    good.then(|| written.parse().ok())?
}

impl Look {
    /// One style attribute; others are passed over.
    pub(super) fn set(&mut self, name: &str, value: &str, units: &Units) {
        match name {
            "fontStyle" => self.italic = Some(value == "italic" || value == "oblique"),
            "fontWeight" => self.bold = Some(value == "bold"),
            "textDecoration" => {
                for word in value.split_ascii_whitespace() {
                    match word {
                        "underline" => self.underline = Some(true),
                        "none" | "noUnderline" => self.underline = Some(false),
                        _ => {}
                    }
                }
            }
            "color" => self.colour = Colour::read(value).or(self.colour),
            "textAlign" => match value {
                "left" | "start" => self.align = Some(Align::Left),
                "center" => self.align = Some(Align::Centre),
                "right" | "end" => self.align = Some(Align::Right),
                _ => {}
            },
            "displayAlign" => match value {
                "before" => self.display = Some(Vertical::Top),
                "center" => self.display = Some(Vertical::Middle),
                "after" => self.display = Some(Vertical::Bottom),
                _ => {}
            },
            "origin" => self.origin = units.percents(value).or(self.origin),
            "extent" => self.extent = units.percents(value).or(self.extent),
            _ => {}
        }
    }

    /// This look, and another one above it.
    pub(super) fn under(self, above: Self) -> Self {
        Self {
            italic: above.italic.or(self.italic),
            bold: above.bold.or(self.bold),
            underline: above.underline.or(self.underline),
            colour: above.colour.or(self.colour),
            align: above.align.or(self.align),
            display: above.display.or(self.display),
            origin: above.origin.or(self.origin),
            extent: above.extent.or(self.extent),
        }
    }

    /// A base below this look, and an element's own attributes above it.
    pub(super) fn under_all(self, base: Self, own: Self) -> Self {
        base.under(self).under(own)
    }

    /// This look, in the box of a region.
    pub(super) fn placed_by(self, region: Self) -> Self {
        Self {
            display: region.display,
            origin: region.origin,
            extent: region.extent,
            ..self
        }
    }

    /// How the text looks. White is what captions are when nothing is said.
    pub(super) fn style(&self) -> Style {
        Style {
            bold: self.bold.unwrap_or(false),
            italic: self.italic.unwrap_or(false),
            underline: self.underline.unwrap_or(false),
            colour: self.colour,
        }
    }

    /// Where the text stands. Without an alignment the middle of its region tells, and not TTML's
    /// own default of left, which nobody means who does not write it.
    pub(super) fn place(&self) -> Place {
        let (left, top) = self.origin.unwrap_or((0.0, 0.0));
        let (width, height) = self.extent.unwrap_or((100.0 - left, 100.0 - top));
        let vertical = match (self.origin, self.display) {
            (None, display) => display.unwrap_or(Vertical::Bottom),
            (Some(_), Some(Vertical::Bottom)) => Vertical::at(top + height),
            (Some(_), Some(Vertical::Middle)) => Vertical::at(top + height / 2.0),
            (Some(_), _) => Vertical::at(top),
        };
        let centre = left + width / 2.0;
        let align = self.align.unwrap_or(match centre {
            centre if centre < 34.0 => Align::Left,
            centre if centre > 66.0 => Align::Right,
            _ => Align::Centre,
        });
        Place { vertical, align }
    }
}
