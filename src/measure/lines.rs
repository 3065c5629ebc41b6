//! Lines over an axis of sizes, with their quartiles as bands and upright lines at certain places.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::plot::{Area, Drawn, GRID, LABEL, MUTED, RULE, Size, dashed, mark, paint, solid};
use super::report::{Lines, Marker, Point, Series};
use super::ticks::{Axis, Scale};
use super::words::wrap;

/// What can be drawn of a series, in pixels: the lower quartile, the median and the upper.
type Path = Vec<[(i32, i32); 3]>;

struct Frame {
    x: Axis,
    y: Axis,
    /// The markers that can be drawn, from left to right: place, and the label's lines.
    markers: Vec<(f64, Vec<String>)>,
}

impl Frame {
    fn of(lines: &Lines, size: Size) -> Option<Frame> {
        let points = || lines.series.iter().flat_map(|series| &series.points);
        let shown = |point: &&Point| point.y.is_finite() && point.x.is_finite();
        let marks = lines.markers.iter().map(|marker| marker.x);
        let x = Axis::over(
            points().filter(shown).map(|point| point.x).chain(marks),
            Scale {
                log: lines.x_log,
                bytes: lines.x_bytes,
                whole: false,
                most: if size == Size::Wide { 9 } else { 5 },
            },
        )?;
        // A quartile that is far off on a scale of ratios still has to be seen.
        let y = Axis::over(
            points()
                .filter(shown)
                .flat_map(|point| [point.low, point.y, point.high]),
            Scale {
                log: lines.y_log,
                bytes: false,
                whole: true,
                most: 6,
            },
        )?;
        points().find(|point| x.place(point.x).is_some() && y.place(point.y).is_some())?;
        let markers = markers(&lines.markers, &x, size);
        Some(Frame { x, y, markers })
    }

    /// The height of what stands above the plot: its title and the markers' labels.
    fn head(&self, size: Size) -> i32 {
        let rows: usize = self.markers.iter().map(|(_, label)| label.len()).sum();
        size.line() * (rows as i32 + 1) + 10
    }
}

fn markers(markers: &[Marker], x: &Axis, size: Size) -> Vec<(f64, Vec<String>)> {
    let room = (f64::from(size.width()) * 0.8 / (size.font() * 0.56)) as usize;
    let place = |marker: &Marker| Some((x.place(marker.x)?, wrap(&marker.label, room)));
    let mut placed: Vec<_> = markers.iter().filter_map(place).collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    placed
}

/// The lines as an `<svg>`; None if none can be drawn.
pub fn draw(lines: &Lines, size: Size, title: &str) -> Option<String> {
    let frame = Frame::of(lines, size)?;
    let plot = if size == Size::Wide { 300 } else { 250 };
    let foot = size.line() * 2 + 16;
    let height = frame.head(size) + plot + foot;
    paint((size.width(), height), title, |area| {
        let titled = size.style(MUTED, HPos::Left, VPos::Top);
        area.draw(&Text::new(lines.y_title.clone(), (2, 2), titled))?;
        let y_labels = size.text(frame.y.longest()) + 12;
        let mut chart = ChartBuilder::on(area)
            .margin_top(frame.head(size))
            .margin_right(size.text(4))
            .margin_bottom(size.line() + 4)
            .x_label_area_size(size.line() + 10)
            .y_label_area_size(y_labels)
            .build_cartesian_2d(frame.x.clone(), frame.y.clone())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(MUTED)
            .label_style(size.style(MUTED, HPos::Left, VPos::Top))
            .draw()?;
        let middle = (y_labels + size.width() - size.text(4)) / 2;
        let titled = size.style(MUTED, HPos::Center, VPos::Bottom);
        area.draw(&Text::new(
            lines.x_title.clone(),
            (middle, height - 2),
            titled,
        ))?;
        let to_pixel = |x: f64, y: f64| chart.plotting_area().map_coordinate(&(x, y));
        draw_markers(area, &frame, size, &to_pixel)?;
        draw_series(area, &lines.series, &frame, &to_pixel)
    })
}

/// Values are places already: the scale is the axis's affair.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.from) / (self.to - self.from);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|tick| tick.0).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.label(*value)
    }
}

/// Upright lines, whose labels have rows of their own.
fn draw_markers(
    area: &Area,
    frame: &Frame,
    size: Size,
    to_pixel: &dyn Fn(f64, f64) -> (i32, i32),
) -> Drawn {
    let mut placed: Vec<_> = frame
        .markers
        .iter()
        .map(|(at, label)| (to_pixel(*at, frame.y.from), label, label_width(label, size)))
        .collect();
    // Labels all go to one side of their lines, and the line furthest to the other side has the top
    // row: then no line comes down through another's label.
    let fits = |((x, _), _, width): &((i32, i32), _, i32)| x + width < size.width();
    let to_right = placed.last().is_none_or(fits);
    if !to_right {
        placed.reverse();
    }
    let mut y = size.line() + 6;
    let mut labels = Vec::new();
    for ((x, bottom), label, width) in placed {
        let (at, side) = match x {
            _ if to_right && x + width < size.width() => (x + 6, HPos::Left),
            _ if x > width => (x - 6, HPos::Right),
            _ if x + width < size.width() => (x + 6, HPos::Left),
            _ => (size.width() - 2, HPos::Right),
        };
        // A label with no room on either side stands on top of its line.
        let above = at > x + 6;
        let top = y + i32::from(above) * size.line() * label.len() as i32;
        area.draw(&PathElement::new(vec![(x, top), (x, bottom)], RULE))?;
        for line in label {
            let style = size.style(LABEL, side, VPos::Top);
            labels.push(Text::new(line.clone(), (at, y), style));
            y += size.line();
        }
    }
    // Last, so that a label hides the lines that it has to cross all the same.
    for label in labels {
        area.draw(&label)?;
    }
    Ok(())
}

fn label_width(label: &[String], size: Size) -> i32 {
    let lengths = label.iter().map(|line| line.chars().count());
    size.text(lengths.max().unwrap_or(0)) + 8
}

/// The bands first: no line is to lie beneath another's.
fn draw_series(
    area: &Area,
    series: &[Series],
    frame: &Frame,
    to_pixel: &dyn Fn(f64, f64) -> (i32, i32),
) -> Drawn {
    let paths: Vec<Path> = series
        .iter()
        .map(|series| path(series, frame, to_pixel))
        .collect();
    for (index, path) in paths.iter().enumerate() {
        if let [[low, _, high]] = path.as_slice() {
            area.draw(&PathElement::new(
                vec![*low, *high],
                solid(index).stroke_width(2),
            ))?;
        } else if path.len() > 1 {
            let there = path.iter().map(|point| point[0]);
            let back = path.iter().rev().map(|point| point[2]);
            let band: Vec<_> = there.chain(back).collect();
            area.draw(&Polygon::new(band, solid(index).mix(0.18)))?;
        }
    }
    for (index, path) in paths.iter().enumerate() {
        let line: Vec<_> = path.iter().map(|point| point[1]).collect();
        if line.len() > 1 {
            area.draw(&PathElement::new(
                line.clone(),
                dashed(index).stroke_width(2),
            ))?;
        }
        for at in line {
            mark(area, index, at)?;
        }
    }
    Ok(())
}

fn path(series: &Series, frame: &Frame, to_pixel: &dyn Fn(f64, f64) -> (i32, i32)) -> Path {
    let points = series.points.iter().filter_map(|point| {
        let (x, y) = (frame.x.place(point.x)?, frame.y.place(point.y)?);
        // Quartiles that cannot be drawn lie on the median.
        let [low, high] = [point.low, point.high].map(|value| frame.y.place(value).unwrap_or(y));
        Some([low, y, high].map(|y| to_pixel(x, y)))
    });
    points.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::plot::{PALETTE, svg};
    use crate::measure::report::Chart;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        let points = points.iter().map(|(x, y)| Point {
            x: *x,
            low: y * 0.9,
            y: *y,
            high: y * 1.1,
        });
        Series {
            name: name.into(),
            points: points.collect(),
        }
    }

    fn both(lines: Lines) -> Option<String> {
        let chart = Chart::Lines(lines);
        let wide = svg(&chart, Size::Wide, "A <chart>")?;
        for text in [&wide, &svg(&chart, Size::Narrow, "A <chart>")?] {
            roxmltree::Document::parse(text).expect("XML");
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
            assert!(text.contains("A &lt;chart&gt;"));
            // Every colour is the page's.
            assert!(!text.contains("=\"#"), "{text}");
        }
        Some(wide)
    }

    #[test]
    fn every_series_and_marker_is_there() {
        let some = |index: usize| series("s", &[(1024.0, 1.0 + index as f64), (4096.0, 3.0)]);
        let text = both(Lines {
            x_title: "size".into(),
            y_title: "speed & so on".into(),
            x_log: true,
            x_bytes: true,
            series: (0..PALETTE).map(some).collect(),
            markers: vec![Marker {
                x: 2048.0,
                label: "here <b>".into(),
            }],
            ..Lines::default()
        });
        let text = text.expect("a chart");
        for index in 0..PALETTE {
            let line = format!("stroke:var(--s{index});stroke-dasharray:");
            assert_eq!(text.matches(&line).count(), 1, "{index}: {text}");
            assert!(text.contains(&format!(
                "<polygon opacity=\"0.18\" style=\"fill:var(--s{index})"
            )));
        }
        for said in ["2 KiB", "here &lt;b&gt;", "speed &amp; so on", "size"] {
            assert!(text.contains(said), "{said}");
        }
    }

    #[test]
    fn a_single_point_is_a_shape_with_a_whisker() {
        let text = both(Lines {
            series: vec![series("one", &[(5.0, 2.0)])],
            ..Lines::default()
        });
        let text = text.expect("a chart");
        assert!(
            text.contains("<circle") && !text.contains("<polygon"),
            "{text}"
        );
        assert!(
            text.contains("stroke:var(--s0)\" stroke-width=\"2\" points"),
            "{text}"
        );
    }

    #[test]
    fn markers_stay_within_the_picture() {
        let marker = |x, label: &str| Marker {
            x,
            label: label.into(),
        };
        let long = "a label with far too many words for one line of a phone's narrow chart";
        let lines = Lines {
            series: vec![series("s", &[(1.0, 1.0), (9.0, 2.0)])],
            markers: vec![
                marker(8.5, "to the right"),
                marker(5.0, long),
                marker(f64::NAN, "no"),
            ],
            ..Lines::default()
        };
        let text = svg(&Chart::Lines(lines), Size::Narrow, "t").expect("a chart");
        let document = roxmltree::Document::parse(&text).expect("XML");
        let mut labels = Vec::new();
        for label in document.descendants().filter(|node| {
            let style = node.attribute("style").unwrap_or_default();
            style.contains("paint-order")
        }) {
            let said = label.text().unwrap_or_default().trim();
            let x: i32 = label.attribute("x").unwrap_or_default().parse().expect("x");
            let width = Size::Narrow.text(said.chars().count());
            let (from, to) = match label.attribute("text-anchor") {
                Some("start") => (x, x + width),
                _ => (x - width, x),
            };
            assert!(
                from >= 0 && to <= Size::Narrow.width(),
                "{said}: {from} to {to}"
            );
            labels.push(said);
        }
        // The rightmost has no room at its right, so it is on top.
        assert_eq!(labels.first(), Some(&"to the right"));
        assert_eq!(labels[1..].join(" "), long);
    }

    #[test]
    fn nothing_that_can_be_drawn_is_no_chart() {
        assert!(both(Lines::default()).is_none());
        let bad = series("bad", &[(f64::NAN, 1.0), (1.0, f64::NAN)]);
        let lines = |series, log| Lines {
            series,
            x_log: log,
            y_log: log,
            ..Lines::default()
        };
        assert!(both(lines(vec![bad.clone()], false)).is_none());
        assert!(both(lines(vec![series("zero", &[(0.0, 0.0)])], true)).is_none());
        assert!(both(lines(vec![series("zero", &[(0.0, 0.0)])], false)).is_some());
        let good = series("good", &[(1.0, f64::INFINITY), (2.0, 3.0), (4.0, 5.0)]);
        assert!(both(lines(vec![bad, good], true)).is_some());
    }

    #[test]
    fn without_quartiles_the_median_stands_alone() {
        let mut only = series("only", &[(1.0, 2.0), (2.0, 3.0)]);
        for point in &mut only.points {
            (point.low, point.high) = (f64::NAN, f64::NAN);
        }
        let lines = Lines {
            series: vec![only],
            ..Lines::default()
        };
        assert!(both(lines).is_some());
    }
}
