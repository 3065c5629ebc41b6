//! `ciphermill bench`, as a program: its page, its figures, and what happens where it cannot write.

use std::path::Path;
use std::process::{Command, Output};

use ciphermill::measure::report::Report;

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ciphermill"));
    command.arg("bench").args(arguments).output().expect("run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// What it wrote: the figures, and the page that holds the same ones.
fn written(folder: &Path) -> (Report, String) {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("folder")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["bench.html", "bench.json"]);
    let json = std::fs::read_to_string(folder.join("bench.json")).expect("figures");
    let page = std::fs::read_to_string(folder.join("bench.html")).expect("page");
    let report: Report = serde_json::from_str(&json).expect("JSON");
    let markup = page.strip_prefix("<!doctype html>\n").expect("a doctype");
    roxmltree::Document::parse(markup).expect("well-formed");
    for section in &report.sections {
        assert!(page.contains(&section.title), "{}", section.title);
        // A busy machine scatters figures; one that is not there at all would be a fault.
        let scattered =
            |warning: &String| warning.contains("quartiles") || warning.contains("scattered");
        let warned = !section.warnings.iter().all(scattered);
        assert!(
            !section.rows.is_empty() && !section.about.is_empty(),
            "{} is empty: {:?}",
            section.id,
            section.warnings
        );
        assert!(
            section.id == "slots" || section.id == "engines" || !warned,
            "{:?}",
            section.warnings
        );
    }
    (report, page)
}

fn ids(report: &Report) -> Vec<&str> {
    report
        .sections
        .iter()
        .map(|section| section.id.as_str())
        .collect()
}

#[test]
fn without_a_gpu_there_is_a_page_that_says_so() {
    let root = tempfile::tempdir().expect("folder");
    let folder = root.path().join("new/out");
    let output = bench(&["--quick", "--report", folder.to_str().expect("a path")]);
    let (table, news) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{news}");
    let (report, page) = written(&folder);
    if report.adapter.is_some() {
        assert!(ids(&report).contains(&"kernel"), "a GPU is measured");
        return;
    }
    let why = report.no_adapter.as_deref().expect("a reason");
    let software = "software adapter was left out";
    let reason = if cfg!(feature = "gpu") {
        software
    } else {
        "built without a GPU engine"
    };
    assert!(why.contains(reason), "{why}");
    let first = report.verdict.first().expect("a verdict");
    assert!(first.contains("the CPU does all the work"), "{first}");
    assert!(page.contains("<h1>On this machine") && table.contains("On this machine"));
    assert_eq!(
        ids(&report),
        [
            "sizes",
            "engines",
            "kernels",
            "cores",
            "small",
            "neighbours"
        ]
    );
    assert!(
        news.contains("measuring small objects") && news.contains("bench.html"),
        "{news}"
    );
}

#[cfg(feature = "gpu")]
#[test]
fn a_software_adapter_is_measured_when_asked_for() {
    let root = tempfile::tempdir().expect("folder");
    let folder = root.path().to_str().expect("a path");
    let output = bench(&["--quick", "--software", "--json", "--report", folder]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let (report, page) = written(root.path());
    let printed: Report = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!(printed, report);
    let adapter = report
        .adapter
        .as_ref()
        .expect("mesa-vulkan-drivers has an adapter");
    assert!(
        page.contains(&adapter.name) && adapter.kind.contains("program"),
        "{adapter:?}"
    );
    let sections = ids(&report);
    for id in [
        "sizes",
        "engines",
        "kernel",
        "copies",
        "slots",
        "kernels",
        "cores",
        "small",
        "neighbours",
    ] {
        assert!(sections.contains(&id), "{id} is missing from {sections:?}");
    }
    let rows = report.sections.iter().flat_map(|section| &section.rows);
    assert!(rows.filter(|row| row.what.contains("GPU")).count() > 6);
    assert!(
        report
            .verdict
            .iter()
            .any(|said| said.contains("never takes a GPU that is a program"))
    );
}

#[test]
fn where_it_cannot_write_it_says_so_before_it_measures() {
    let root = tempfile::tempdir().expect("folder");
    std::fs::write(root.path().join("file"), "").expect("file");
    let folder = root.path().join("file/out");
    let output = bench(&["--quick", "--report", folder.to_str().expect("a path")]);
    let news = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{news}");
    assert!(
        news.starts_with("error: --report: ") && news.contains("\nhelp: "),
        "{news}"
    );
    assert!(
        !news.contains("measuring") && output.stdout.is_empty(),
        "{news}"
    );
    let left = std::fs::read_dir(root.path()).expect("folder").count();
    assert_eq!(left, 1);
}

#[test]
fn an_unknown_option_is_a_matter_of_usage() {
    let output = bench(&["--quik"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--quick"));
    let help = text(&bench(&["--help"]).stdout);
    assert!(
        help.contains("--report") && help.contains("ciphermill bench --report out"),
        "{help}"
    );
}
