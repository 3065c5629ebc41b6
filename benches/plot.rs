//! Draws a record, of `ratios` or of `pipeline`, and writes the tables of the latter into a page:
//! `cargo bench --bench plot -- RECORD.json OUT.svg [PAGE.md]`.

#[path = "plot/bars.rs"]
mod bars;
#[path = "plot/page.rs"]
mod page;
#[path = "plot/ratios.rs"]
mod ratios;
#[path = "pipeline/record.rs"]
mod record;
#[path = "pipeline/summary.rs"]
mod summary;
#[path = "plot/whole_way.rs"]
mod whole_way;

use serde_json::Value;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let (Some(path), Some(out)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: plot RECORD.json OUT.svg [PAGE.md]");
        return;
    };
    let text = std::fs::read_to_string(&path).expect("the record");
    let record: Value = serde_json::from_str(&text).expect("JSON");
    if record["kind"] != record::KIND {
        bars::draw(&[ratios::chart(&record)], &out).expect("the plot");
        return;
    }
    let run: record::Run = serde_json::from_value(record).expect("a record of `pipeline`");
    bars::draw(&whole_way::charts(&run), &out).expect("the plot");
    if let Some(page) = arguments.next() {
        page::write(&run, &path, &out, &page).expect("the page");
    }
}
