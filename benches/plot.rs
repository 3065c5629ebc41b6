//! Draws the record of `ratios`: `cargo bench --bench plot -- RECORD.json OUT.svg`.

use plotters::prelude::*;
use serde_json::Value;

/// One group of bars: what, and everybody's GB/s.
type Group = (String, Vec<(String, f64)>);

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let (Some(record), Some(out)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: plot RECORD.json OUT.svg");
        return;
    };
    let text = std::fs::read_to_string(record).expect("the record");
    let record: Value = serde_json::from_str(&text).expect("JSON");
    let groups = groups(&record);
    draw(&groups, &out).expect("the plot");
}

/// The rows at 1 MiB of the kernel that is chosen, by task.
fn groups(record: &Value) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let rows = record["rows"].as_array().expect("rows");
    let first = rows[0]["what"].as_str().expect("what").to_owned();
    let kernel = first.rsplit(", ").next().expect("kernel");
    for row in rows {
        let what = row["what"].as_str().expect("what");
        let Some(task) = what.strip_suffix(&format!(", 1024 KiB, {kernel}")) else {
            continue;
        };
        let beside = row["beside"].as_str().expect("beside").to_owned();
        let (ours, theirs) = (&row["gb_per_second"], &row["beside_gb_per_second"]);
        let (Some(ours), Some(theirs)) = (ours.as_f64(), theirs.as_f64()) else {
            continue;
        };
        if !groups.iter().any(|(name, _)| name == task) {
            groups.push((
                task.to_owned(),
                vec![(format!("ciphermill {kernel}"), ours)],
            ));
        }
        if let Some((_, bars)) = groups.iter_mut().find(|(name, _)| name == task) {
            bars.push((beside, theirs));
        }
    }
    groups.retain(|(name, bars)| {
        bars.len() > 1 && !name.contains("iv") && !name.contains("cobblestone")
    });
    groups
}

fn draw(groups: &[Group], out: &str) -> Result<(), Box<dyn std::error::Error>> {
    const BAR: i32 = 22;
    let lines: usize = groups.iter().map(|(_, bars)| bars.len() + 2).sum();
    let (width, height) = (760, 40 + BAR * lines as i32);
    let area = SVGBackend::new(out, (width as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let most = groups
        .iter()
        .flat_map(|(_, bars)| bars)
        .map(|(_, gb)| *gb)
        .fold(0.0, f64::max);
    let scale = |gb: f64| (gb / most * f64::from(width - 330)) as i32;
    let mut y = 14;
    area.draw(&Text::new(
        "GB/s, one core, in place, 1 MiB (median)",
        (10, y),
        ("sans-serif", 15),
    ))?;
    for (name, bars) in groups {
        y += BAR + 6;
        area.draw(&Text::new(name.clone(), (10, y), ("sans-serif", 15)))?;
        for (peer, gb) in bars {
            y += BAR;
            let ours = peer.starts_with("ciphermill");
            let colour = if ours {
                RGBColor(0, 114, 178)
            } else {
                RGBColor(150, 150, 150)
            };
            let place = [(190, y), (190 + scale(*gb), y + BAR - 6)];
            area.draw(&Rectangle::new(place, colour.filled()))?;
            area.draw(&Text::new(peer.clone(), (24, y + 2), ("sans-serif", 13)))?;
            area.draw(&Text::new(
                format!("{gb:.1}"),
                (196 + scale(*gb), y + 2),
                ("sans-serif", 13),
            ))?;
        }
        y += BAR;
    }
    area.present()?;
    Ok(())
}
