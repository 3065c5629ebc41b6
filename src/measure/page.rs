//! The report as one page that needs nothing else: no script, no font and no picture from elsewhere.
//!
//! It is well-formed XML as well as HTML, so that a test can read it back.

use super::plot::{self, Size};
use super::report::{Chart, Report, Section};
use super::rows::table;
use super::table::facts;
use super::words::escape;

const STYLE: &str = include_str!("page.css");

const METHOD: &str = "\
<section id=\"method\">\n<h2>How it was measured</h2>\n\
<p class=\"about\">Two things that are compared ran in turn: one, then the other, then again, and who \
began changed every time. A machine that slowed down slowed both. Each was done once or twice before, \
uncounted, so that memory and kernels were ready; how often it was done in a turn follows from how long \
that took. Where one takes long there were fewer rounds, and the table says so.</p>\n\
<p class=\"about\">Each thread of the CPU stayed on a core of its own.</p>\n\
<p class=\"about\">No timed turn was thrown away. The figure to quote is the median: half of the turns \
were faster. A quarter of the turns lie below the lower quartile and a quarter above the upper. Ratios \
were taken turn by turn, so that the median ratio is not quite the ratio of the medians.</p>\n\
<p class=\"about\">1 GB is 10<sup>9</sup> bytes; 1 KiB is 1024 bytes.</p>\n</section>\n";

/// The whole page.
pub fn html(report: &Report) -> String {
    let mut page =
        String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n");
    page.push_str(&format!("<title>{}</title>\n", escape(headline(report))));
    page.push_str(&format!("<style>\n{STYLE}</style>\n</head>\n<body>\n"));
    page.push_str(&head(report));
    page.push_str("<main>\n");
    for (index, section) in report.sections.iter().enumerate() {
        page.push_str(&part(index, section));
    }
    page.push_str(METHOD);
    page.push_str(
        "</main>\n<footer><p>The same figures are in <code>bench.json</code>, and within ",
    );
    page.push_str("this page's source under <code>bench-data</code>.</p></footer>\n");
    page.push_str(&data(report));
    page.push_str("</body>\n</html>\n");
    page
}

fn headline(report: &Report) -> &str {
    let first = report.verdict.first().map(String::as_str);
    first.unwrap_or("Too little was measured for a verdict.")
}

fn head(report: &Report) -> String {
    let quick = if report.quick { " · quick run" } else { "" };
    let mut out = format!(
        "<header>\n<p class=\"eyebrow\">ciphermill {} bench · {}{quick}</p>\n<h1>{}</h1>\n",
        escape(&report.version),
        escape(&report.when),
        escape(headline(report)),
    );
    out.push_str("<div class=\"verdict\">\n");
    for sentence in report.verdict.iter().skip(1) {
        out.push_str(&format!("<p>{}</p>\n", escape(sentence)));
    }
    out.push_str("</div>\n");
    let quick = "A quick run: fewer turns than usual, so take the figures as a sketch.";
    let quick = report.quick.then(|| quick.to_owned());
    let all: Vec<String> = quick.into_iter().chain(report.warnings.clone()).collect();
    out.push_str(&warnings(&all));
    out.push_str("<dl>\n");
    for (name, value) in facts(report) {
        out.push_str(&format!("<dt>{name}</dt><dd>{}</dd>\n", escape(&value)));
    }
    out.push_str("</dl>\n");
    out.push_str(&contents(&report.sections));
    out.push_str("</header>\n");
    out
}

/// Links to the sections, if there are enough to lose oneself in.
fn contents(sections: &[Section]) -> String {
    if sections.len() < 3 {
        return String::new();
    }
    let mut out = String::from("<nav aria-label=\"Sections\"><ul>\n");
    for (index, section) in sections.iter().enumerate() {
        let title = escape(&section.title);
        out.push_str(&format!(
            "<li><a href=\"#{}\">{title}</a></li>\n",
            anchor(index, section)
        ));
    }
    out.push_str("<li><a href=\"#method\">How it was measured</a></li>\n</ul></nav>\n");
    out
}

/// Unique by its number, readable by the rest.
fn anchor(index: usize, section: &Section) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = section.id.chars().map(plain).collect();
    format!("s{}-{name}", index + 1)
}

fn part(index: usize, section: &Section) -> String {
    let mut out = format!(
        "<section id=\"{}\">\n<h2>{}</h2>\n<p class=\"about\">{}</p>\n",
        anchor(index, section),
        escape(&section.title),
        escape(&section.about),
    );
    if let Some(chart) = &section.chart {
        out.push_str(&picture(chart, &section.title));
    }
    out.push_str(&warnings(&section.warnings));
    if !section.rows.is_empty() {
        out.push_str(&table(section));
    }
    out.push_str("</section>\n");
    out
}

fn warnings(warnings: &[String]) -> String {
    let one = |text: &String| format!("<p><strong>Warning:</strong> {}</p>\n", escape(text));
    let item = |text: &String| format!("<li>{}</li>\n", escape(text));
    let inner = match warnings {
        [] => return String::new(),
        [warning] => one(warning),
        many => {
            let items: String = many.iter().map(item).collect();
            format!("<p><strong>Warnings</strong></p>\n<ul>\n{items}</ul>\n")
        }
    };
    format!("<div class=\"warnings\" role=\"note\">\n{inner}</div>\n")
}

fn picture(chart: &Chart, title: &str) -> String {
    let draw = |size, class: &str| {
        let text = plot::svg(chart, size, title)?;
        Some(text.replacen("<svg", &format!("<svg class=\"plot {class}\""), 1))
    };
    let (Some(wide), Some(narrow)) = (draw(Size::Wide, "wide"), draw(Size::Narrow, "narrow"))
    else {
        return "<p class=\"key\">There is no figure to draw.</p>\n".into();
    };
    let (legend, caption) = match chart {
        Chart::Lines(lines) => {
            let names = lines.series.iter().map(|series| series.name.as_str());
            (
                legend(names),
                "Lines: medians. Bands: from the lower quartile to the upper.",
            )
        }
        Chart::Bars(_) => (
            String::new(),
            "Bars: medians. Whiskers: from the lower quartile to the upper.",
        ),
    };
    format!("<figure>\n{legend}{wide}{narrow}<figcaption>{caption}</figcaption>\n</figure>\n")
}

fn legend<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let item = |(index, name)| {
        format!(
            "<li>{}<span>{}</span></li>\n",
            plot::swatch(index),
            escape(name)
        )
    };
    let items: String = names.enumerate().map(item).collect();
    format!("<ul class=\"legend\">\n{items}</ul>\n")
}

/// The report itself. No `<` is left, so nothing in it can end the element or open a comment.
fn data(report: &Report) -> String {
    let json = report
        .json()
        .replace('<', "\\u003c")
        .replace('&', "\\u0026");
    let json = json.replace("]]>", "]]\\u003e");
    format!("<script type=\"application/json\" id=\"bench-data\">\n{json}\n</script>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::report::{Bar, Bars};
    use crate::measure::sample::{sample, spread};

    /// The page, which has to be well-formed.
    fn read(report: &Report) -> String {
        let page = html(report);
        let text = page.strip_prefix("<!doctype html>\n").expect("a doctype");
        if let Err(fault) = roxmltree::Document::parse(text) {
            panic!("{fault}\n{text}");
        }
        page
    }

    /// Every string, whatever it is for.
    fn fill(value: &mut serde_json::Value, with: &str) {
        match value {
            // The chart's form is no text.
            serde_json::Value::String(text) if text != "lines" => *text = with.into(),
            serde_json::Value::Array(all) => all.iter_mut().for_each(|value| fill(value, with)),
            serde_json::Value::Object(all) => all.values_mut().for_each(|value| fill(value, with)),
            _ => {}
        }
    }

    #[test]
    fn everything_is_on_the_page_headline_first() {
        let page = read(&sample());
        let order = [
            "<h1>The headline",
            "The rest",
            "hot",
            "a machine",
            "Test GPU",
            "One thing",
            "GPU line",
            "20.0",
        ];
        let mut from = 0;
        for said in order {
            let at = page[from..].find(said);
            from += at.unwrap_or_else(|| panic!("{said} is missing or out of place"));
        }
        assert!(page.contains("vaes-avx512, aes-ni") && page.contains("~4.00"));
        assert_eq!(page.matches("<svg class=\"plot").count(), 2);
    }

    #[test]
    fn no_text_becomes_markup() {
        let evil = "</script><script>alert('1')</script><!-- <b a=\"&amp;]]>\u{c}\u{1b}";
        let mut value = serde_json::to_value(sample()).expect("a value");
        fill(&mut value, evil);
        let report: Report = serde_json::from_value(value).expect("a report");
        let page = read(&report);
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(page.matches("</script>").count(), 1);
        assert!(!page.contains("<b ") && !page.contains("<!--"));
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)"));
    }

    #[test]
    fn the_data_can_be_read_out_again() {
        let mut report = sample();
        report.machine = "</script> & <!--".into();
        let page = read(&report);
        let from = page.split("id=\"bench-data\">").nth(1).expect("the data");
        let json = from.split("</script>").next().expect("its end");
        assert_eq!(serde_json::from_str::<Report>(json).expect("JSON"), report);
    }

    #[test]
    fn it_needs_nothing_from_elsewhere() {
        let page = read(&sample());
        for bad in ["http:", "https:", "src=", "@import", "url(", "<link"] {
            assert!(!page.contains(bad), "{bad}");
        }
    }

    #[test]
    fn odd_reports_are_pages_too() {
        let mut report = sample();
        let nan = f64::NAN;
        report.sections[0].rows[0].gb_per_second = spread(nan, nan, nan);
        report.sections[0].rows[1].beside = None;
        report.sections[0].chart = Some(Chart::Bars(Bars {
            title: "GB/s".into(),
            bars: vec![Bar {
                label: "a".into(),
                group: String::new(),
                y: nan,
                low: nan,
                high: nan,
            }],
        }));
        let page = read(&report);
        assert!(!page.contains("NaN") && page.contains("There is no figure to draw"));
        report.sections.clear();
        report.verdict.clear();
        report.warnings.clear();
        report.adapter = None;
        report.no_adapter = Some("no Vulkan driver".into());
        let page = read(&report);
        assert!(
            page.contains("none: no Vulkan driver") && page.contains("Too little was measured")
        );
        assert!(!page.contains("class=\"warnings\""));
    }
}
