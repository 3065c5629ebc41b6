//! A section's figures as a table for the page.

use super::Spread;
use super::report::{Row, Section};
use super::table::marked;
use super::words::{escape, quartiles, span, words};

/// In a box of its own, so that on a phone the table scrolls and not the page.
pub fn table(section: &Section) -> String {
    let title = escape(&section.title);
    let mut out = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Figures: {title}\">\n<table>\n<thead><tr>"
    );
    let pairs = section.rows.iter().any(|row| row.beside.is_some());
    out.push_str("<th scope=\"col\" class=\"words\">What</th>");
    out.push_str("<th scope=\"col\">GB/s</th><th scope=\"col\">Quartiles</th><th scope=\"col\">All turns</th>");
    if pairs {
        out.push_str("<th scope=\"col\" class=\"words\">Beside</th><th scope=\"col\">GB/s</th>");
        out.push_str("<th scope=\"col\">Times as fast</th><th scope=\"col\">Quartiles</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &section.rows {
        out.push_str(&line(row, pairs));
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
    if section.has_scatter() {
        out.push_str("<p class=\"key\">~ marks a figure that is too scattered to trust.</p>\n");
    }
    out
}

fn line(row: &Row, pairs: bool) -> String {
    let note = row.note.as_ref();
    let note = note.map(|note| format!("<span class=\"note\">{}</span>", escape(note)));
    let mut out = format!(
        "<tr><th scope=\"row\" class=\"words\">{}{}</th>{}",
        words(&row.what),
        note.unwrap_or_default(),
        figures(&row.gb_per_second, true),
    );
    match &row.beside {
        Some(beside) => out.push_str(&format!(
            "<td class=\"words\">{}</td>{}{}",
            words(&beside.what),
            cell("side", &marked(&beside.gb_per_second)),
            figures(&beside.ratio, false),
        )),
        None if pairs => out.push_str("<td class=\"words\"></td><td></td><td></td><td></td>"),
        None => {}
    }
    out.push_str("</tr>\n");
    out
}

/// The median, the quartiles and, if so wished, the extremes.
fn figures(spread: &Spread, extremes: bool) -> String {
    let mut out = cell("best", &marked(spread));
    out.push_str(&cell("side", &quartiles(spread)));
    if extremes {
        out.push_str(&cell("side", &span(spread.least, spread.most)));
    }
    out
}

fn cell(class: &str, text: &str) -> String {
    format!("<td class=\"{class}\">{}</td>", escape(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::sample;

    #[test]
    fn every_row_has_as_many_cells_as_there_are_headings() {
        let mut section = sample().sections.remove(0);
        let count = |text: &str| text.matches("<th").count() + text.matches("<td").count();
        section.rows[1].beside = None;
        for (cells, lone) in [(8, false), (4, true)] {
            if lone {
                section.rows[0].beside = None;
            }
            let text = table(&section);
            let head = text.split("<tr>").nth(1).expect("headings");
            assert_eq!(count(head), cells, "{head}");
            for row in text.split("<tr>").skip(2) {
                assert_eq!(count(row), cells, "{row}");
            }
        }
    }

    #[test]
    fn a_row_tells_all_that_is_known() {
        let mut section = sample().sections.remove(0);
        section.rows[0].note = Some("a <note>".into());
        let text = table(&section);
        for said in [
            "GPU, 1\u{a0}MiB",
            "a &lt;note&gt;",
            ">20.0<",
            ">CPU<",
            ">2.00<",
            ">~4.00<",
            ">2.00–6.00<",
        ] {
            assert!(text.contains(said), "{said} is missing from {text}");
        }
        assert!(text.contains("too scattered"));
        section.rows.truncate(1);
        assert!(!table(&section).contains("too scattered"));
    }
}
