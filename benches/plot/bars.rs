//! Bars that lie, in groups under headings: charts one below the other, each with a scale of its own.

use plotters::coord::Shift;
use plotters::prelude::*;

/// From one bar to the next.
const BAR: i32 = 22;
const WIDTH: i32 = 760;
/// Where labels begin, and what is left for the figure behind a bar.
const LABEL: i32 = 24;
const FIGURE: i32 = 60;
/// About as wide as a character.
const CHARACTER: i32 = 7;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

pub struct Chart {
    pub title: String,
    pub groups: Vec<Group>,
}

pub struct Group {
    pub name: String,
    pub bars: Vec<Bar>,
}

pub struct Bar {
    pub label: String,
    /// It has a colour of its own then.
    pub ours: bool,
    pub median: f64,
    /// The quartiles, where they are drawn.
    pub quartiles: Option<Quartiles>,
}

pub struct Quartiles {
    pub low: f64,
    pub high: f64,
}

impl Chart {
    fn bars(&self) -> impl Iterator<Item = &Bar> {
        self.groups.iter().flat_map(|group| &group.bars)
    }

    fn height(&self) -> i32 {
        let lines: usize = self.groups.iter().map(|group| group.bars.len() + 2).sum();
        40 + BAR * lines as i32
    }

    /// Where bars begin: behind the longest label.
    fn left(&self) -> i32 {
        let longest = self.bars().map(|bar| bar.label.chars().count()).max();
        LABEL + 10 + longest.unwrap_or(0) as i32 * CHARACTER
    }

    fn most(&self) -> f64 {
        let ends = self.bars().map(|bar| {
            let high = bar
                .quartiles
                .as_ref()
                .map_or(0.0, |quartiles| quartiles.high);
            bar.median.max(high)
        });
        ends.fold(f64::MIN_POSITIVE, f64::max)
    }

    fn place(&self, value: f64) -> i32 {
        let room = WIDTH - self.left() - FIGURE;
        self.left() + (value / self.most() * f64::from(room)) as i32
    }
}

pub fn draw(charts: &[Chart], out: &str) -> Drawn {
    let height: i32 = charts.iter().map(Chart::height).sum();
    let area = SVGBackend::new(out, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut y = 14;
    for chart in charts {
        area.draw(&Text::new(chart.title.clone(), (10, y), ("sans-serif", 15)))?;
        for group in &chart.groups {
            y += BAR + 6;
            area.draw(&Text::new(group.name.clone(), (10, y), ("sans-serif", 15)))?;
            for bar in &group.bars {
                y += BAR;
                one(&area, chart, bar, y)?;
            }
            y += BAR;
        }
        y += 26;
    }
    area.present()?;
    Ok(())
}

fn one(area: &Area, chart: &Chart, bar: &Bar, y: i32) -> Drawn {
    let colour = if bar.ours {
        RGBColor(0, 114, 178)
    } else {
        RGBColor(150, 150, 150)
    };
    let end = chart.place(bar.median);
    let place = [(chart.left(), y), (end, y + BAR - 6)];
    area.draw(&Rectangle::new(place, colour.filled()))?;
    let label = Text::new(bar.label.clone(), (LABEL, y + 2), ("sans-serif", 13));
    area.draw(&label)?;
    let mut behind = end;
    if let Some(quartiles) = &bar.quartiles {
        let [low, high] = [quartiles.low, quartiles.high].map(|value| chart.place(value));
        let middle = y + (BAR - 6) / 2;
        area.draw(&PathElement::new(
            vec![(low, middle), (high, middle)],
            BLACK,
        ))?;
        behind = behind.max(high);
    }
    let figure = match bar.median {
        small if small < 10.0 => format!("{small:.2}"),
        large => format!("{large:.1}"),
    };
    area.draw(&Text::new(figure, (behind + 6, y + 2), ("sans-serif", 13)))?;
    Ok(())
}
