//! The benchmark's report: what was measured and what it means, as it is written to `bench.json`.
//!
//! The terminal table and the page are drawn from the same values; nothing is computed on the way.

use serde::{Deserialize, Serialize};

use super::Spread;
use super::words::quartiles;

/// A figure whose quartiles lie further apart than this share of its median is not to be trusted.
pub const MOST_SCATTER: f64 = 0.15;

/// More figures than this are counted, not named, in a section's warnings.
const NAMED: usize = 3;

/// Everything that one run of `bench` found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of this file: 1.
    pub format: u32,
    /// The program's.
    pub version: String,
    /// When it began, as RFC 3339 has it.
    pub when: String,
    /// The machine, in one line.
    pub machine: String,
    /// CPU threads that were put to work.
    pub threads: usize,
    /// The CPU kernels that this machine can run, fastest first.
    pub kernels: Vec<String>,
    /// The GPU that was measured.
    pub adapter: Option<Adapter>,
    /// Why none was.
    pub no_adapter: Option<String>,
    /// Fewer rounds than a full run.
    pub quick: bool,
    /// Sentences; the first is the headline.
    pub verdict: Vec<String>,
    /// What was measured, in reading order.
    pub sections: Vec<Section>,
    /// About the run as a whole.
    pub warnings: Vec<String>,
}

/// A GPU, as its driver names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adapter {
    /// Such as `NVIDIA H200`.
    pub name: String,
    /// Such as `Vulkan`.
    pub backend: String,
    /// Name and version.
    pub driver: String,
    /// Such as `discrete GPU`.
    pub kind: String,
}

/// One question and the figures that answer it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// Stable, for whoever reads the JSON.
    pub id: String,
    /// The heading.
    pub title: String,
    /// What is measured and how to read it.
    pub about: String,
    /// The table.
    pub rows: Vec<Row>,
    /// The same as a picture.
    pub chart: Option<Chart>,
    /// About these figures.
    pub warnings: Vec<String>,
}

/// A measured figure, with what was measured in turn with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// In 10^9 bytes per second.
    pub gb_per_second: Spread,
    /// What ran in turn with it.
    pub beside: Option<Beside>,
    /// For the reader.
    pub note: Option<String>,
}

/// The other half of a pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// What was measured.
    pub what: String,
    /// In 10^9 bytes per second.
    pub gb_per_second: Spread,
    /// How many times as fast as this the row was, pair by pair.
    pub ratio: Spread,
}

/// A section's picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "lowercase")]
pub enum Chart {
    /// How figures change along an axis.
    Lines(Lines),
    /// Figures side by side.
    Bars(Bars),
}

/// Lines with their quartiles as bands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lines {
    /// What runs along the bottom.
    pub x_title: String,
    /// What is measured, with its unit.
    pub y_title: String,
    /// Equal steps are equal ratios.
    pub x_log: bool,
    /// Labels such as 64 KiB.
    pub x_bytes: bool,
    /// Equal heights are equal ratios, for figures that span decades.
    #[serde(default)]
    pub y_log: bool,
    /// The lines.
    pub series: Vec<Series>,
    /// Upright lines at places worth knowing.
    pub markers: Vec<Marker>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<Point>,
}

/// One figure on a line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// The lower quartile.
    pub low: f64,
    /// The median.
    pub y: f64,
    /// The upper quartile.
    pub high: f64,
}

/// An upright line, such as where two lines cross.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Marker {
    /// Where.
    pub x: f64,
    /// A few words.
    pub label: String,
}

/// Bars with their quartiles as whiskers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bars {
    /// What is measured, with its unit.
    pub title: String,
    /// From top to bottom; those of a group are drawn together.
    pub bars: Vec<Bar>,
}

/// One figure as a bar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// What it is; the same label has the same colour in every group.
    pub label: String,
    /// The heading it stands under; may be empty.
    pub group: String,
    /// The median.
    pub y: f64,
    /// The lower quartile.
    pub low: f64,
    /// The upper quartile.
    pub high: f64,
}

impl Report {
    /// `bench.json`. A figure that is not a number is `null`, as JSON has no other way.
    pub fn json(&self) -> String {
        // Nothing in a report can fail to be JSON: there are no maps with odd keys.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl Adapter {
    /// In one line.
    pub fn line(&self) -> String {
        let parts = [&self.kind, &self.backend, &self.driver];
        let parts: Vec<&str> = parts
            .into_iter()
            .map(|part| part.trim())
            .filter(|part| !part.is_empty())
            .collect();
        if parts.is_empty() {
            return self.name.clone();
        }
        format!("{} ({})", self.name, parts.join(", "))
    }
}

impl Section {
    /// Adds what `scatter_warning` has to say about the rows, and counts rather than names many.
    pub fn warn_of_scatter(&mut self) {
        let mut found: Vec<String> = self.rows.iter().flat_map(Row::scatter).collect();
        let more = found.len().saturating_sub(NAMED);
        // One more is as soon said as counted.
        if more > 1 {
            found.truncate(NAMED);
            found.push(format!(
                "{more} more figures are as scattered; the table marks them with ~."
            ));
        }
        self.warnings.extend(found);
    }

    /// Whether the table marks a figure.
    pub fn has_scatter(&self) -> bool {
        self.rows.iter().any(|row| !row.scatter().is_empty())
    }
}

impl Row {
    fn scatter(&self) -> Vec<String> {
        let ours = scatter_warning(&self.what, &self.gb_per_second);
        let Some(beside) = &self.beside else {
            return ours.into_iter().collect();
        };
        let name = format!("{} (beside {})", beside.what, self.what);
        let theirs = scatter_warning(&name, &beside.gb_per_second);
        let name = format!("{} against {}", self.what, beside.what);
        // That the ratio of scattered figures is scattered goes without saying.
        let ratio = match (&ours, &theirs) {
            (None, None) => scatter_warning(&name, &beside.ratio),
            _ => None,
        };
        [ours, theirs, ratio].into_iter().flatten().collect()
    }
}

/// Whether the quartiles lie too far apart, or there is no figure at all.
pub fn is_scattered(spread: &Spread) -> bool {
    // A NaN compares as false: asked this way round it counts as scattered.
    let steady = (spread.high - spread.low) <= MOST_SCATTER * spread.median;
    !(steady && spread.median > 0.0 && spread.median.is_finite())
}

/// A sentence about a figure that is too scattered to trust.
pub fn scatter_warning(what: &str, spread: &Spread) -> Option<String> {
    if !is_scattered(spread) {
        return None;
    }
    let apart = (spread.high - spread.low) / spread.median * 100.0;
    if !apart.is_finite() {
        return Some(format!("{what}: there is no usable figure."));
    }
    Some(format!(
        "{what}: the quartiles ({}) lie {apart:.0} % of the median apart; do not trust this figure.",
        quartiles(spread)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::spread;

    fn section(rows: usize) -> Section {
        let row = |index| Row {
            what: format!("row {index}"),
            gb_per_second: spread(8.0, 10.0, 12.0),
            beside: None,
            note: None,
        };
        Section {
            id: "s".into(),
            title: String::new(),
            about: String::new(),
            rows: (0..rows).map(row).collect(),
            chart: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn scatter_is_judged_by_the_quartiles() {
        assert!(!is_scattered(&spread(9.3, 10.0, 10.7)));
        assert!(is_scattered(&spread(9.2, 10.0, 10.8)));
        assert!(is_scattered(&spread(f64::NAN, f64::NAN, f64::NAN)));
        assert!(is_scattered(&spread(0.0, 0.0, 0.0)));
        let said = scatter_warning("GPU", &spread(9.0, 10.0, 11.0)).expect("a warning");
        assert!(
            said.contains("20 %") && said.contains("9.00–11.0"),
            "{said}"
        );
        let said = scatter_warning("GPU", &spread(0.0, 0.0, 0.0)).expect("a warning");
        assert!(said.contains("no usable figure"), "{said}");
    }

    #[test]
    fn many_scattered_figures_are_counted() {
        let mut few = section(4);
        few.warn_of_scatter();
        assert_eq!(few.warnings.len(), 4);
        let mut many = section(9);
        many.warn_of_scatter();
        assert_eq!(many.warnings.len(), 4);
        assert!(
            many.warnings[3].starts_with("6 more"),
            "{:?}",
            many.warnings
        );
        assert!(many.has_scatter() && !section(0).has_scatter());
    }

    #[test]
    fn the_json_comes_back() {
        let mut report = crate::measure::sample::sample();
        assert_eq!(
            serde_json::from_str::<Report>(&report.json()).expect("JSON"),
            report
        );
        report.sections[0].rows[0].gb_per_second.low = f64::NAN;
        assert!(report.json().contains("\"low\": null"));
    }
}
