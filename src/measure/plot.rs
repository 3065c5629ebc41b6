//! A chart as SVG, to be set into a page: it takes the page's font and, by way of CSS variables, the
//! page's colours, so that one drawing is right in light and in dark.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::report::Chart;
use super::words::escape;
use super::{bars, lines};

/// For whom it is drawn: a page shows the one that suits it, so that the writing is never tiny.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// A desk.
    Wide,
    /// A phone held upright.
    Narrow,
}

/// Series that can be told apart; more begin again.
pub const PALETTE: usize = 6;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), Box<dyn Error>>;

// The colours stand for roles; `themed` puts the page's variables in their places.
pub(super) const INK: RGBColor = RGBColor(1, 0, 1);
pub(super) const MUTED: RGBColor = RGBColor(1, 0, 2);
pub(super) const GRID: RGBColor = RGBColor(1, 0, 3);
const PAPER: RGBColor = RGBColor(1, 0, 4);
pub(super) const RULE: RGBColor = RGBColor(1, 0, 5);
pub(super) const LABEL: RGBColor = RGBColor(1, 0, 6);

/// Strokes, so that lines differ in more than colour.
const DASHES: [&str; PALETTE] = ["none", "9 4", "2 4", "12 4 2 4", "5 3", "16 5"];

/// plotters divides the sizes of fonts by this for SVG.
const FONT_SCALE: f64 = 1.24;

impl Size {
    pub(super) fn width(self) -> i32 {
        match self {
            Size::Wide => 760,
            Size::Narrow => 360,
        }
    }

    pub(super) fn font(self) -> f64 {
        match self {
            Size::Wide => 14.0,
            Size::Narrow => 13.0,
        }
    }

    /// From one line of writing to the next.
    pub(super) fn line(self) -> i32 {
        (self.font() * 1.45) as i32
    }

    /// About how wide so many characters are.
    pub(super) fn text(self, characters: usize) -> i32 {
        (characters as f64 * self.font() * 0.56) as i32
    }

    pub(super) fn style(self, colour: RGBColor, x: HPos, y: VPos) -> TextStyle<'static> {
        let mut style = TextStyle::from(("inherit", self.font() * FONT_SCALE));
        style.color = colour.to_backend_color();
        style.pos(Pos::new(x, y))
    }
}

/// A chart as an `<svg>`; None if it holds nothing that can be drawn.
pub fn svg(chart: &Chart, size: Size, title: &str) -> Option<String> {
    match chart {
        Chart::Lines(chart) => lines::draw(chart, size, title),
        Chart::Bars(chart) => bars::draw(chart, size, title),
    }
}

/// A line with its shape, for a legend.
pub fn swatch(index: usize) -> String {
    let drawn = paint((38, 16), "", |area| {
        let line = vec![(0, 8), (38, 8)];
        area.draw(&PathElement::new(line, dashed(index).stroke_width(2)))?;
        mark(area, index, (19, 8))
    });
    drawn.unwrap_or_default()
}

/// Draws on a fresh SVG of this size.
pub(super) fn paint(
    size: (i32, i32),
    title: &str,
    draw: impl FnOnce(&Area) -> Drawn,
) -> Option<String> {
    let (width, height) = (size.0.max(1) as u32, size.1.max(1) as u32);
    let mut text = String::new();
    {
        let backend = SVGBackend::with_string(&mut text, (width, height));
        let area = backend.into_drawing_area();
        draw(&area).ok()?;
        area.present().ok()?;
    }
    // A legend's shapes say nothing that the words beside them do not.
    let role = match title {
        "" => "aria-hidden=\"true\"".to_owned(),
        _ => format!("role=\"img\" aria-label=\"{}\"", escape(title)),
    };
    let body = text.split_once('>')?.1;
    Some(themed(&format!(
        "<svg {role} viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">{body}"
    )))
}

/// Replaces the colours by the page's.
fn themed(svg: &str) -> String {
    let hex = |colour: RGBColor| format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
    // XML has no place for control characters, and plotters lets them through.
    let legal = |c: &char| !c.is_control() || *c == '\n';
    let mut svg: String = svg.chars().filter(legal).collect();
    let mut put = |colour: RGBColor, name: &str, more: &str| {
        for what in ["fill", "stroke"] {
            let from = format!("{what}=\"{}\"", hex(colour));
            let to = format!("style=\"{what}:var(--{name}){more}\"");
            svg = svg.replace(&from, &to);
        }
    };
    put(INK, "ink", "");
    put(MUTED, "muted", "");
    put(GRID, "grid", "");
    put(PAPER, "paper", "");
    put(RULE, "ink", ";stroke-dasharray:3 3");
    let halo = ";stroke:var(--paper);stroke-width:5;paint-order:stroke";
    put(LABEL, "ink", halo);
    for (index, dashes) in DASHES.iter().enumerate() {
        put(solid(index), &format!("s{index}"), "");
        let more = format!(";stroke-dasharray:{dashes};stroke-linejoin:round");
        put(dashed(index), &format!("s{index}"), &more);
    }
    svg
}

pub(super) fn solid(index: usize) -> RGBColor {
    RGBColor(2, 0, (index % PALETTE) as u8)
}

pub(super) fn dashed(index: usize) -> RGBColor {
    RGBColor(3, 0, (index % PALETTE) as u8)
}

/// The shape of a series.
pub(super) fn mark(area: &Area, index: usize, at: (i32, i32)) -> Drawn {
    let (x, y) = at;
    let fill = solid(index).filled();
    let around = |shape: &[(i32, i32)]| {
        let points = shape.iter().map(|(dx, dy)| (x + dx, y + dy));
        Polygon::new(points.collect::<Vec<_>>(), fill)
    };
    match index % PALETTE {
        0 => area.draw(&Circle::new(at, 5, fill))?,
        1 => area.draw(&Rectangle::new([(x - 4, y - 4), (x + 5, y + 5)], fill))?,
        2 => area.draw(&around(&[(0, -6), (6, 5), (-6, 5)]))?,
        3 => area.draw(&around(&[(0, -6), (6, 0), (0, 6), (-6, 0)]))?,
        4 => area.draw(&around(&[(0, 6), (6, -5), (-6, -5)]))?,
        _ => {
            // A ring: what lies beneath would make it a disc.
            area.draw(&Circle::new(at, 5, PAPER.filled()))?;
            area.draw(&Circle::new(at, 5, solid(index).stroke_width(2)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_strokes_differ_and_begin_again() {
        let all: Vec<String> = (0..PALETTE).map(swatch).collect();
        for (index, one) in all.iter().enumerate() {
            roxmltree::Document::parse(one).expect("XML");
            assert!(
                one.contains("aria-hidden") && !one.contains("=\"#"),
                "{one}"
            );
            let line = format!("stroke:var(--s{index});stroke-dasharray:{};", DASHES[index]);
            assert!(one.contains(&line), "{one}");
            // Without its colour each is still unlike the others.
            let bare = |text: &str| {
                (0..PALETTE).fold(text.to_owned(), |text, index| {
                    text.replace(&format!("--s{index}"), "")
                })
            };
            assert_eq!(
                all.iter().filter(|other| bare(other) == bare(one)).count(),
                1
            );
        }
        assert_eq!(swatch(PALETTE), all[0]);
    }

    #[test]
    fn a_text_cannot_break_the_picture() {
        let evil = "<b>\u{1b}\u{c}\" fill=\"#010001\"";
        let text = paint((10, 10), evil, |area| {
            let style = Size::Wide.style(INK, HPos::Left, VPos::Top);
            area.draw(&Text::new(evil, (0, 0), style))?;
            Ok(())
        });
        let text = text.expect("a picture");
        let document = roxmltree::Document::parse(&text).expect("XML");
        assert_eq!(
            document
                .descendants()
                .filter(|node| node.is_element())
                .count(),
            2
        );
    }
}
