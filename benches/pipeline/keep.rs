//! Keeps the record: one JSON file a run, which is never overwritten; and says on the terminal what it holds.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use ciphermill::measure;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::record::{KIND, Run, Sample};
use crate::settings::Settings;
use crate::summary::groups;
use crate::{Outcome, cannot};

impl Run {
    pub fn begin(settings: &Settings) -> Outcome<Run> {
        let settings = serde_json::to_value(settings).map_err(cannot("write the settings"))?;
        let now = OffsetDateTime::now_utc().format(&Rfc3339);
        Ok(Run {
            format: 1,
            kind: KIND.into(),
            when: now.map_err(cannot("write the time"))?,
            version: env!("CARGO_PKG_VERSION").into(),
            commit: commit(),
            machine: measure::machine(),
            kernel: read("/proc/sys/kernel/osrelease"),
            memory_bytes: memory_bytes(),
            load_before: first_number(&read("/proc/loadavg")),
            settings,
            tools: BTreeMap::new(),
            samples: Vec::new(),
            failed: None,
        })
    }

    /// Writes the file. Its name is the time of the run; one that is there already stays as it is.
    pub fn keep(&self, settings: &Settings) -> Outcome<PathBuf> {
        let quick = if settings.quick { "-quick" } else { "" };
        let stamp: String = self.when.chars().take(19).filter(|c| *c != ':').collect();
        std::fs::create_dir_all(&settings.records).map_err(cannot("make a folder"))?;
        let path = settings.records.join(format!("{KIND}{quick}-{stamp}.json"));
        let text = serde_json::to_string_pretty(self).map_err(cannot("write the record"))?;
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = file.map_err(cannot("make the record"))?;
        let written = file.write_all(format!("{text}\n").as_bytes());
        written.map_err(cannot("write the record"))?;
        Ok(path)
    }

    /// Adds a sample and says so.
    pub fn add(&mut self, sample: Sample) {
        println!(
            "{:<24} {:<30} round {}  {:>8.3} s  {:>7.2} s CPU  {:>6.1} MiB  {:>6} requests  {}",
            sample.group,
            sample.who,
            sample.round + 1,
            sample.seconds,
            sample.cpu_seconds,
            sample.peak_bytes as f64 / f64::from(1 << 20),
            sample.requests.values().sum::<u64>(),
            sample.checked,
        );
        self.samples.push(sample);
    }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments);
        let output = git.output().ok().filter(|output| output.status.success());
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.unwrap_or_default()
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let plus = if changed.is_empty() { "" } else { "+" };
    format!("{}{plus}", git(&["rev-parse", "HEAD"]))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .into()
}

fn first_number(text: &str) -> f64 {
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
}

fn memory_bytes() -> u64 {
    let info = read("/proc/meminfo");
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.map_or(0, |line| (first_number(line) * 1024.0) as u64)
}

/// The summary for the terminal.
pub fn text(run: &Run) -> String {
    let mut out = String::new();
    for group in groups(run) {
        out.push_str(&format!("{}; x: beside {}\n", group.name, group.reference));
        for line in &group.lines {
            let (seconds, ratio) = (line.seconds, line.ratio);
            out.push_str(&format!(
                "  {:<30} {:>8.3} s ({:.3} to {:.3}, quartiles {:.3} and {:.3}, of {})  x{:.2}  \
                 {:>7.2} CPU s/GiB (store {:.2})  {:>7.1} jobs/s  {:>6.1} requests/job  {:>6.1} MiB\n",
                line.who,
                seconds.median,
                seconds.least,
                seconds.most,
                seconds.low,
                seconds.high,
                line.rounds,
                ratio.median,
                line.cpu_per_gib.median,
                line.store_cpu_per_gib.median,
                line.jobs_per_second.median,
                line.requests_per_job.median,
                line.peak_mib.median,
            ));
        }
    }
    for (name, version) in &run.tools {
        out.push_str(&format!("{name}: {version}\n"));
    }
    out
}
