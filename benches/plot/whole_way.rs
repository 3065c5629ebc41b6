//! The record of `pipeline` as charts: one for each unit that its groups are read in.

use ciphermill::measure::Spread;

use crate::bars::{Bar, Chart, Group, Quartiles};
use crate::record::Run;
use crate::summary::{self, Line};

/// What a chart shows of a line.
struct View {
    /// How the names of its groups begin.
    groups: &'static str,
    title: &'static str,
    value: fn(&Line) -> Spread,
}

const VIEWS: [View; 4] = [
    View {
        groups: "large",
        title: "One large object, S3 to S3: seconds (median and quartiles; less is better)",
        value: |line| line.seconds,
    },
    View {
        groups: "large",
        title: "The same: client CPU seconds for a GiB (less is better)",
        value: |line| line.cpu_per_gib,
    },
    View {
        groups: "small",
        title: "Small objects: objects a second (more is better)",
        value: |line| line.jobs_per_second,
    },
    View {
        groups: "alone",
        title: "A lone job at a store that is far away, by slots: seconds (less is better)",
        value: |line| line.seconds,
    },
];

pub fn charts(run: &Run) -> Vec<Chart> {
    let groups = summary::groups(run);
    let chart = |view: &View| Chart {
        title: view.title.into(),
        groups: groups
            .iter()
            .filter(|group| group.name.starts_with(view.groups))
            .map(|group| drawn(group, view))
            .collect(),
    };
    let charts = VIEWS.iter().map(chart);
    charts.filter(|chart| !chart.groups.is_empty()).collect()
}

fn drawn(group: &summary::Group, view: &View) -> Group {
    let bars = group.lines.iter().map(|line| {
        let spread = (view.value)(line);
        Bar {
            label: line.who.clone(),
            ours: line.who.starts_with("ciphermill") || view.groups == "alone",
            median: spread.median,
            quartiles: Some(Quartiles {
                low: spread.low,
                high: spread.high,
            }),
        }
    });
    Group {
        name: group.name.clone(),
        bars: bars.collect(),
    }
}
