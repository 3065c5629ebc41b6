//! The report as a table for the terminal: plain text that fits 100 columns.

use super::Spread;
use super::report::{Report, Row, Section, is_scattered};
use super::words::{figure, quartiles, wrap};

const WIDTH: usize = 100;
const GAP: usize = 2;
/// No column of words gets narrower than this.
const LEAST: usize = 12;

/// One column: its heading and its cells.
struct Column {
    cells: Vec<String>,
    words: bool,
}

/// The whole report.
pub fn text(report: &Report) -> String {
    let quick = if report.quick { ", quick run" } else { "" };
    let mut lines = vec![
        format!(
            "ciphermill {} bench, {}{quick}",
            report.version, report.when
        ),
        String::new(),
    ];
    for sentence in &report.verdict {
        lines.extend(wrap(sentence, WIDTH));
    }
    lines.push(String::new());
    for (name, value) in facts(report) {
        lines.extend(hanging(&format!("{name:<13}"), &value));
    }
    for warning in &report.warnings {
        lines.extend(hanging("Warning: ", warning));
    }
    for section in &report.sections {
        lines.extend(part(section));
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// What was measured on, by name.
pub fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let gpu = match (&report.adapter, &report.no_adapter) {
        (Some(adapter), _) => adapter.line(),
        (None, Some(why)) => format!("none: {why}"),
        (None, None) => "none".into(),
    };
    vec![
        ("Machine", report.machine.clone()),
        ("CPU threads", report.threads.to_string()),
        ("CPU kernels", report.kernels.join(", ")),
        ("GPU", gpu),
    ]
}

fn part(section: &Section) -> Vec<String> {
    let mut lines = vec![String::new(), section.title.clone()];
    lines.push("-".repeat(section.title.chars().count().min(WIDTH)));
    lines.extend(wrap(&section.about, WIDTH));
    if !section.rows.is_empty() {
        lines.push(String::new());
        lines.extend(layout(columns(&section.rows), &section.rows));
    }
    if section.has_scatter() {
        lines.push("~ too scattered to trust".into());
    }
    for warning in &section.warnings {
        lines.extend(hanging("Warning: ", warning));
    }
    lines
}

fn columns(rows: &[Row]) -> Vec<Column> {
    let column = |heading: &str, words, cell: &dyn Fn(&Row) -> Option<String>| {
        let cells = rows.iter().map(|row| cell(row).unwrap_or_default());
        Column {
            cells: std::iter::once(heading.to_owned()).chain(cells).collect(),
            words,
        }
    };
    let mut columns = vec![
        column("what", true, &|row| Some(row.what.clone())),
        column("GB/s", false, &|row| Some(marked(&row.gb_per_second))),
        column("quartiles", false, &|row| {
            Some(quartiles(&row.gb_per_second))
        }),
    ];
    if rows.iter().any(|row| row.beside.is_some()) {
        columns.extend([
            column("beside", true, &|row| {
                Some(row.beside.as_ref()?.what.clone())
            }),
            column("GB/s", false, &|row| {
                Some(marked(&row.beside.as_ref()?.gb_per_second))
            }),
            column("ratio", false, &|row| {
                Some(marked(&row.beside.as_ref()?.ratio))
            }),
            column("quartiles", false, &|row| {
                Some(quartiles(&row.beside.as_ref()?.ratio))
            }),
        ]);
    }
    columns
}

/// The median, with a mark if it is not to be trusted.
pub fn marked(spread: &Spread) -> String {
    let doubtful = is_scattered(spread) && spread.median.is_finite();
    let mark = if doubtful { "~" } else { "" };
    format!("{mark}{}", figure(spread.median))
}

fn layout(columns: Vec<Column>, rows: &[Row]) -> Vec<String> {
    let widths = widths(&columns);
    let notes = std::iter::once(None).chain(rows.iter().map(|row| row.note.as_ref()));
    let mut lines = Vec::new();
    for (index, note) in notes.enumerate() {
        let cells: Vec<Vec<String>> = columns
            .iter()
            .zip(&widths)
            .map(|(column, width)| wrap(column.cells.get(index).map_or("", |cell| cell), *width))
            .collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            lines.push(line_of(&columns, &widths, &cells, line));
        }
        if let Some(note) = note {
            lines.extend(hanging("    ", note));
        }
    }
    lines
}

fn line_of(columns: &[Column], widths: &[usize], cells: &[Vec<String>], line: usize) -> String {
    let mut out = String::new();
    for ((column, width), cell) in columns.iter().zip(widths).zip(cells) {
        let cell = cell.get(line).map_or("", |cell| cell);
        let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
        let (before, after) = if column.words {
            ("", &*pad)
        } else {
            (&*pad, "")
        };
        if !out.is_empty() {
            out.push_str(&" ".repeat(GAP));
        }
        out.extend([before, cell, after]);
    }
    out.truncate(out.trim_end().len());
    out
}

/// As wide as their cells; the columns of words give way, the widest first.
fn widths(columns: &[Column]) -> Vec<usize> {
    let natural = |column: &Column| {
        let cells = column.cells.iter().map(|cell| cell.chars().count());
        cells.max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = columns.iter().map(natural).collect();
    let room = WIDTH.saturating_sub(GAP * columns.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        let words = widths.iter_mut().zip(columns);
        let words = words.filter(|(width, column)| column.words && **width > LEAST);
        let Some((widest, _)) = words.max_by_key(|(width, _)| **width) else {
            break;
        };
        *widest -= 1;
    }
    widths
}

/// A text under a name, its later lines indented as far as the first.
fn hanging(name: &str, text: &str) -> Vec<String> {
    let indent = name.chars().count();
    let lines = wrap(text, WIDTH.saturating_sub(indent)).into_iter();
    let lines = lines.enumerate().map(|(index, line)| match index {
        0 => format!("{name}{line}"),
        _ => format!("{:indent$}{line}", ""),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::{sample, spread};

    #[test]
    fn everything_is_said_within_the_width() {
        let mut report = sample();
        report.machine = "a machine with a long name ".repeat(9);
        report.sections[0].rows[0].what = "counter mode at a size that has a long name ".repeat(4);
        report.sections[0].rows[0].note = Some("noted".into());
        let text = text(&report);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        for said in [
            "The headline",
            "Test GPU",
            "noted",
            "2.00",
            "20.0",
            "Warning: hot",
            "0.1.0",
        ] {
            assert!(text.contains(said), "{said} is missing from\n{text}");
        }
    }

    #[test]
    fn numbers_stand_in_columns() {
        let rows = sample().sections[0].rows.clone();
        let lines = layout(columns(&rows), &rows);
        let ends: Vec<usize> = ["GB/s", "20.0", "~4.00"]
            .iter()
            .zip(&lines)
            .map(|(cell, line)| line.find(cell).expect("the cell") + cell.len())
            .collect();
        assert_eq!(ends, [ends[0]; 3], "{lines:#?}");
    }

    #[test]
    fn a_scattered_figure_is_marked_and_an_absent_one_is_a_dash() {
        assert_eq!(marked(&spread(1.0, 2.0, 3.0)), "~2.00");
        assert_eq!(marked(&spread(2.0, 2.0, 2.0)), "2.00");
        assert_eq!(marked(&spread(f64::NAN, f64::NAN, f64::NAN)), "–");
    }

    #[test]
    fn an_empty_report_is_a_table_too() {
        let mut report = sample();
        report.sections[0].rows.clear();
        report.adapter = None;
        report.no_adapter = Some("no driver".into());
        report.verdict.clear();
        let text = text(&report);
        assert!(
            text.contains("none: no driver") && !text.contains("quartiles"),
            "{text}"
        );
    }
}
