//! The record of `ratios` as a chart: GB/s at 1 MiB of the kernel that is chosen, by task.

use serde_json::Value;

use crate::bars::{Bar, Chart, Group};

pub fn chart(record: &Value) -> Chart {
    Chart {
        title: "GB/s, one core, in place, 1 MiB (median)".into(),
        groups: groups(record),
    }
}

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
        if !groups.iter().any(|group| group.name == task) {
            groups.push(Group {
                name: task.to_owned(),
                bars: vec![bar(format!("ciphermill {kernel}"), true, ours)],
            });
        }
        if let Some(group) = groups.iter_mut().find(|group| group.name == task) {
            group.bars.push(bar(beside, false, theirs));
        }
    }
    groups.retain(|group| {
        let name = &group.name;
        group.bars.len() > 1 && !name.contains("iv") && !name.contains("cobblestone")
    });
    groups
}

fn bar(label: String, ours: bool, median: f64) -> Bar {
    Bar {
        label,
        ours,
        median,
        quartiles: None,
    }
}
