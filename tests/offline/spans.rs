//! Log lines: every line of a job carries its id and attempt, in text and in JSON, also from tasks
//! of its own and from aborts in the background.

use std::io::Write;
use std::sync::{Arc, Mutex};

use ciphermill::fault::{Code, Fault};
use ciphermill::inject::rules::Effect;
use ciphermill::observe::logging::subscriber;
use serde_json::Value;

use crate::bench::script::{at_store, fail, lock};
use crate::bench::{Bench, LONG, job, output};

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(lock(&self.0).clone()).expect("UTF-8")
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Two jobs at once: downloads break off, an upload fails and cannot be aborted, the second attempt
/// succeeds. What was logged of it at this level.
async fn logged(json: bool, level: &str) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = subscriber(json, level, false, move || writer.clone());
    let _logging = tracing::subscriber::set_default(subscriber);
    let bench = Bench::aws();
    bench.source(LONG, 1);
    let broken = Effect::Truncate {
        bytes: 10,
        fault: Fault::new(Code::SourceBroken, "the download broke off"),
    };
    bench.rule(at_store("read", "", broken).times(2));
    bench.rule(at_store("upload", "", fail(Code::IntegrityMismatch)).times(2));
    bench.rule(at_store("abort", "", fail(Code::StoreDown)).times(2));
    for id in ["one", "two"] {
        let mut job = job([output(id)]);
        job["id"] = id.into();
        bench.submit(&job);
    }
    let working = bench.start(bench.worker(2));
    bench.all_done().await;
    working.stopped().await;
    lines.text()
}

/// Lines that are about no job.
fn is_general(line: &str) -> bool {
    line.contains("a dependency is down") || line.contains("no slot waits")
}

#[tokio::test(start_paused = true)]
async fn every_line_of_a_job_carries_its_span_in_json() {
    let text = logged(true, "info").await;
    let mut messages = std::collections::BTreeSet::new();
    for line in text.lines().filter(|line| !is_general(line)) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let span = &line["span"];
        assert_eq!(span["name"], "job", "{line}");
        assert!(
            ["one", "two"].map(Value::from).contains(&span["id"]),
            "{line}"
        );
        assert!(
            span["attempt"].as_u64().is_some_and(|attempt| attempt > 0),
            "{line}"
        );
        messages.insert(line["message"].as_str().unwrap_or_default().to_owned());
    }
    for message in [
        "job started",
        "download broke off; going on",
        "an upload could not be aborted; it stays until the reaper finds it",
        "attempt failed",
        "job succeeded",
    ] {
        assert!(
            messages.contains(message),
            "no line says `{message}`: {messages:?}"
        );
    }
}

/// The filter that leaves out news leaves the span.
#[tokio::test(start_paused = true)]
async fn every_line_of_a_job_carries_its_span_in_text_at_any_level() {
    let text = logged(false, "error").await;
    let lines: Vec<_> = text.lines().filter(|line| !is_general(line)).collect();
    assert!(!lines.is_empty(), "an abort that failed is an error");
    for line in lines {
        let named = ["one", "two"]
            .iter()
            .any(|id| line.contains(&format!("job{{id=\"{id}\" attempt=")));
        assert!(named, "{line}");
    }
}
