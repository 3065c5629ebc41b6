//! A small report for the tests of this module.

use super::Spread;
use super::report::{Adapter, Beside, Chart, Lines, Point, Report, Row, Section, Series};

/// Without outliers.
pub fn spread(low: f64, median: f64, high: f64) -> Spread {
    Spread {
        least: low,
        low,
        median,
        high,
        most: high,
    }
}

/// One section with a chart and two rows, the second of them scattered.
pub fn sample() -> Report {
    let row = |what: &str, figure| Row {
        what: what.into(),
        gb_per_second: figure,
        beside: Some(Beside {
            what: "CPU".into(),
            gb_per_second: spread(10.0, 10.0, 10.0),
            ratio: spread(2.0, 2.0, 2.0),
        }),
        note: None,
    };
    let point = |x| Point {
        x,
        low: 1.0,
        y: 2.0,
        high: 3.0,
    };
    let lines = Lines {
        series: vec![Series {
            name: "GPU line".into(),
            points: vec![point(1.0), point(2.0)],
        }],
        ..Lines::default()
    };
    Report {
        format: 1,
        version: "0.1.0".into(),
        when: "2026-11-22T08:48:16Z".into(),
        machine: "a machine".into(),
        threads: 2,
        kernels: vec!["vaes-avx512".into(), "aes-ni".into()],
        adapter: Some(Adapter {
            name: "Test GPU".into(),
            backend: "Vulkan".into(),
            driver: "1.0".into(),
            kind: "discrete GPU".into(),
        }),
        no_adapter: None,
        quick: false,
        verdict: vec!["The headline".into(), "The rest".into()],
        sections: vec![Section {
            id: "one thing".into(),
            title: "One thing".into(),
            about: "About it".into(),
            rows: vec![
                row("GPU, 1 MiB", spread(20.0, 20.0, 20.0)),
                row("GPU, 4 KiB", spread(2.0, 4.0, 6.0)),
            ],
            chart: Some(Chart::Lines(lines)),
            warnings: Vec::new(),
        }],
        warnings: vec!["hot".into()],
    }
}
