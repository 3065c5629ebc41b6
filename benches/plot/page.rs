//! The record of `pipeline` as tables, written into a page between two comments.

use std::io::{Error, Result};
use std::path::Path;

use ciphermill::measure::Spread;

use crate::record::Run;
use crate::summary::{self, Group, Line};

const BEGIN: &str = "<!-- pipeline: begin; the plot program writes what follows -->";
const END: &str = "<!-- pipeline: end -->";

/// Replaces what stands between the two comments of the page.
pub fn write(run: &Run, record: &str, plot: &str, page: &str) -> Result<()> {
    let text = std::fs::read_to_string(page)?;
    let parts = text.split_once(BEGIN).and_then(|(head, rest)| {
        let (_, foot) = rest.split_once(END)?;
        Some([head, foot])
    });
    let [head, foot] = parts.ok_or_else(|| Error::other("the page has no place for it"))?;
    let tables = tables(run, &name(record), &name(plot));
    std::fs::write(page, format!("{head}{BEGIN}\n\n{tables}\n{END}{foot}"))
}

fn name(path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A commit's first digits, with the `+` of one that had been changed.
fn short(commit: &str) -> String {
    let plus = if commit.ends_with('+') { "+" } else { "" };
    format!("{commit:.10}{plus}")
}

fn tables(run: &Run, record: &str, plot: &str) -> String {
    let mut out = format!(
        "{}, {:.0} GiB of memory, Linux {}; a load of {} before it began. \
         ciphermill {} at {}, {:.10}, in `{record}`.\n",
        run.machine,
        run.memory_bytes as f64 / f64::from(1 << 30),
        run.kernel,
        run.load_before,
        run.version,
        short(&run.commit),
        run.when,
    );
    let tools = run
        .tools
        .iter()
        .map(|(name, version)| format!("{name}: {version}"));
    out.push_str(&format!(
        "Peers: {}.\n",
        tools.collect::<Vec<_>>().join("; ")
    ));
    if let Some(reason) = &run.failed {
        let first = reason.lines().next().unwrap_or_default();
        out.push_str(&format!("\n**This run did not reach its end: {first}**\n"));
    }
    out.push_str(&format!("\n![S3 to S3 beside peers]({plot})\n"));
    for group in summary::groups(run) {
        out.push_str(&table(&group));
    }
    out
}

fn table(group: &Group) -> String {
    let mut out = format!(
        "\n| {} | seconds (quartiles; least to most) | beside {} | client CPU s/GiB | \
         store CPU s/GiB | jobs/s | requests a job | peak MiB | turns |\n",
        group.name, group.reference
    );
    out.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for line in &group.lines {
        out.push_str(&row(line));
    }
    out
}

fn row(line: &Line) -> String {
    let Spread {
        least,
        low,
        median,
        high,
        most,
    } = line.seconds;
    format!(
        "| {} | {median:.2} ({low:.2} to {high:.2}; {least:.2} to {most:.2}) | \
         {:.2} ({:.2} to {:.2}) | {:.2} | {:.2} | {:.1} | {:.1} | {:.0} | {} |\n",
        line.who,
        line.ratio.median,
        line.ratio.low,
        line.ratio.high,
        line.cpu_per_gib.median,
        line.store_cpu_per_gib.median,
        line.jobs_per_second.median,
        line.requests_per_job.median,
        line.peak_mib.median,
        line.rounds,
    )
}
