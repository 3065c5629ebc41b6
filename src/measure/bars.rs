//! Bars with whiskers, lying, so that their labels can be read; grouped under headings.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::plot::{Area, Drawn, INK, MUTED, PALETTE, Size, paint, solid};
use super::report::{Bar, Bars};
use super::words::figure;

const BAR: i32 = 16;

/// Where everything goes, in pixels.
struct Plan {
    size: Size,
    /// Where the bars begin.
    left: i32,
    /// How long the longest may be.
    room: i32,
    /// The value at its end.
    most: f64,
    /// The labels stand above the bars: there is no room beside them.
    above: bool,
    /// The labels that have colours of their own.
    labels: Vec<String>,
}

/// The bars as an `<svg>`; None if none can be drawn.
pub fn draw(bars: &Bars, size: Size, title: &str) -> Option<String> {
    let shown: Vec<&Bar> = bars.bars.iter().filter(|bar| bar.y.is_finite()).collect();
    let plan = Plan::of(&shown, size)?;
    let groups = groups(&shown);
    let headings = groups.iter().filter(|(name, _)| !name.is_empty()).count() as i32;
    let height = size.line()
        + 10
        + headings * (size.line() + 2)
        + groups.len() as i32 * 8
        + shown.len() as i32 * plan.step();
    paint((size.width(), height), title, |area| {
        let titled = size.style(MUTED, HPos::Left, VPos::Top);
        area.draw(&Text::new(bars.title.clone(), (2, 2), titled))?;
        let mut y = size.line() + 10;
        for (name, bars) in groups {
            if !name.is_empty() {
                let heading = size.style(INK, HPos::Left, VPos::Top);
                area.draw(&Text::new(name.to_owned(), (2, y), bold(heading)))?;
                y += size.line() + 2;
            }
            for bar in bars {
                plan.draw(area, bar, y)?;
                y += plan.step();
            }
            y += 8;
        }
        Ok(())
    })
}

fn bold(mut style: TextStyle<'static>) -> TextStyle<'static> {
    style.font = style.font.style(FontStyle::Bold);
    style
}

/// The bars by group, in the order in which the groups first appear.
fn groups<'a>(bars: &[&'a Bar]) -> Vec<(&'a str, Vec<&'a Bar>)> {
    let mut groups: Vec<(&str, Vec<&Bar>)> = Vec::new();
    for bar in bars {
        match groups.iter_mut().find(|(name, _)| *name == bar.group) {
            Some((_, bars)) => bars.push(bar),
            None => groups.push((&bar.group, vec![bar])),
        }
    }
    groups
}

impl Plan {
    fn of(bars: &[&Bar], size: Size) -> Option<Plan> {
        let ends = bars.iter().flat_map(|bar| [bar.y, bar.high]);
        let most = ends.filter(|end| end.is_finite()).fold(0.0, f64::max);
        let longest = bars.iter().map(|bar| bar.label.chars().count()).max()?;
        let beside = size.text(longest) + 14;
        let above = beside > size.width() * 2 / 5;
        let left = if above { 2 } else { beside };
        let mut labels: Vec<String> = Vec::new();
        for bar in bars {
            if !labels.contains(&bar.label) {
                labels.push(bar.label.clone());
            }
        }
        Some(Plan {
            size,
            left,
            room: size.width() - left - size.text(8),
            most,
            above,
            labels,
        })
    }

    /// From one bar to the next.
    fn step(&self) -> i32 {
        if self.above {
            BAR + self.size.line() + 8
        } else {
            BAR + 10
        }
    }

    fn place(&self, value: f64) -> i32 {
        let share = if self.most > 0.0 {
            value / self.most
        } else {
            0.0
        };
        self.left + (share.clamp(0.0, 1.0) * f64::from(self.room)) as i32
    }

    /// The label's colour; one for all if there are too many to tell apart.
    fn colour(&self, label: &str) -> RGBColor {
        let index = self.labels.iter().position(|known| known == label);
        match index {
            Some(index) if self.labels.len() <= PALETTE => solid(index),
            _ => solid(0),
        }
    }

    fn draw(&self, area: &Area, bar: &Bar, y: i32) -> Drawn {
        let (label, y) = if self.above {
            ((self.left, y), y + self.size.line())
        } else {
            ((2, y), y)
        };
        let middle = y + BAR / 2;
        let (label, side) = match self.above {
            true => (label, VPos::Top),
            false => ((2, middle), VPos::Center),
        };
        let style = self.size.style(INK, HPos::Left, side);
        area.draw(&Text::new(bar.label.clone(), label, style))?;
        let end = self.place(bar.y).max(self.left + 1);
        let fill = self.colour(&bar.label).mix(0.85).filled();
        area.draw(&Rectangle::new([(self.left, y), (end, y + BAR)], fill))?;
        let [low, high] = [bar.low, bar.high].map(|value| match value.is_finite() {
            true => self.place(value),
            false => end,
        });
        self.whisker(area, low, high, middle)?;
        let style = self.size.style(INK, HPos::Left, VPos::Center);
        let at = (end.max(high) + 8, middle);
        area.draw(&Text::new(figure(bar.y), at, style))?;
        Ok(())
    }

    fn whisker(&self, area: &Area, low: i32, high: i32, middle: i32) -> Drawn {
        // Narrower than its caps it would be a blot.
        if high - low < 3 {
            return Ok(());
        }
        let lines = [
            [(low, middle), (high, middle)],
            [(low, middle - 4), (low, middle + 4)],
            [(high, middle - 4), (high, middle + 4)],
        ];
        for line in lines {
            area.draw(&PathElement::new(line.to_vec(), INK.stroke_width(1)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, group: &str, y: f64) -> Bar {
        Bar {
            label: label.into(),
            group: group.into(),
            y,
            low: y * 0.9,
            high: y * 1.1,
        }
    }

    fn drawn(bars: Vec<Bar>, size: Size) -> Option<String> {
        let title = "GB/s".into();
        let text = draw(&Bars { title, bars }, size, "Bars & more")?;
        roxmltree::Document::parse(&text).expect("XML");
        assert!(!text.contains("NaN") && !text.contains("=\"#"), "{text}");
        Some(text)
    }

    #[test]
    fn every_bar_has_its_label_and_figure_and_the_same_label_the_same_colour() {
        let bars = vec![
            bar("GPU", "ctr", 20.0),
            bar("CPU <2>", "ctr", 7.0),
            bar("GPU", "gcm", 11.0),
        ];
        for size in [Size::Wide, Size::Narrow] {
            let text = drawn(bars.clone(), size).expect("bars");
            for said in ["ctr", "gcm", "CPU &lt;2&gt;", "20.0", "7.00", "11.0"] {
                assert!(text.contains(said), "{said}: {text}");
            }
            assert_eq!(text.matches("fill:var(--s0)").count(), 2);
            assert_eq!(text.matches("fill:var(--s1)").count(), 1);
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_figure() {
        let bars = [bar("a", "", 10.0), bar("b", "", 5.0)];
        let plan = Plan::of(&[&bars[0], &bars[1]], Size::Wide).expect("a plan");
        let long = plan.place(10.0) - plan.left;
        assert!((long - 2 * (plan.place(5.0) - plan.left)).abs() <= 1);
        assert_eq!(plan.place(11.0), plan.left + plan.room);
        assert!(plan.place(11.0) + plan.size.text(7) <= Size::Wide.width());
    }

    #[test]
    fn odd_bars_do_no_harm() {
        assert!(drawn(Vec::new(), Size::Wide).is_none());
        assert!(drawn(vec![bar("a", "", f64::NAN)], Size::Wide).is_none());
        assert!(drawn(vec![bar("a", "", 0.0)], Size::Wide).is_some());
        let many = (0..9).map(|index| bar(&index.to_string(), "", 1.0));
        let text = drawn(many.collect(), Size::Narrow).expect("bars");
        assert_eq!(text.matches("fill:var(--s0)").count(), 9);
    }
}
