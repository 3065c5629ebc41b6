//! What people and scripts see: faults, results, progress.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use crate::fault::Fault;
use crate::job::event::FaultReport;

/// Shows a fault and gives its exit code.
pub fn fault(fault: &Fault, json: bool) -> ExitCode {
    if json {
        eprintln!("{}", json!({ "error": FaultReport::from(fault) }));
    } else {
        eprintln!("error: {}", describe(fault));
        eprintln!("help: {}", fault.code.help());
    }
    ExitCode::from(fault.code.exit_code())
}

/// A fault in one line: place, message and code.
pub fn describe(fault: &Fault) -> String {
    let place = fault
        .pointer
        .as_ref()
        .map(|pointer| format!("{pointer}: "))
        .unwrap_or_default();
    format!("{place}{} [{}]", fault.message, fault.code.as_str())
}

/// Prints one JSON line to standard output. A reader that went away is no fault of ours.
pub fn line<T: Serialize>(value: &T) {
    if let Ok(text) = serde_json::to_string(value) {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }
}

/// Prints one line of text to standard output.
pub fn text(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A progress bar on a terminal; nothing elsewhere, and nothing with `--json`.
pub fn bar(label: &str, json: bool) -> ProgressBar {
    let hidden = json || !std::io::stderr().is_terminal();
    let target = if hidden {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    let style = "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_prefix(label.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// `1.50 GB/s`, decimal units.
pub fn rate(bytes: u64, seconds: f64) -> String {
    if seconds <= 0.0 {
        return "-".into();
    }
    format!("{}/s", size((bytes as f64 / seconds) as u64))
}

/// `268.4 MB`, decimal units.
pub fn size(bytes: u64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    for (unit, name) in units {
        if bytes as f64 >= unit {
            return format!("{:.2} {name}", bytes as f64 / unit);
        }
    }
    format!("{bytes} B")
}
