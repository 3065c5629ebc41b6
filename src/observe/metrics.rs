//! The metrics table. Names follow Prometheus' rules (base units, `_total` for counters); labels are bounded: never a
//! bucket, a key or a job id.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureCode {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AbortResult {
    result: &'static str,
}

struct Table {
    registry: Registry,
    jobs: Family<Outcome, Counter>,
    failures: Family<FailureCode, Counter>,
    running: Gauge,
    seconds: Histogram,
    source_bytes: Counter,
    sink_bytes: Counter,
    budget_bytes: Gauge,
    budget_used_bytes: Gauge,
    aborted: Family<AbortResult, Counter>,
    resumed: Counter,
    unrouted: Counter,
    gate: Gauge<i64, std::sync::atomic::AtomicI64>,
    attempts_repeated: Counter<u64, AtomicU64>,
}

static TABLE: OnceLock<Table> = OnceLock::new();

fn table() -> &'static Table {
    TABLE.get_or_init(Table::new)
}

impl Table {
    fn new() -> Table {
        let mut registry = Registry::with_prefix("ciphermill");
        macro_rules! metric {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        let jobs = metric!(
            "jobs",
            "Jobs that left this worker, by outcome",
            Family::default()
        );
        let failures = metric!(
            "job_failures",
            "Failed attempts, by code",
            Family::default()
        );
        let running = metric!("jobs_running", "Jobs in a slot now", Gauge::default());
        let buckets = exponential_buckets(0.01, 2.0, 18);
        let seconds = Histogram::new(buckets);
        registry.register_with_unit(
            "job_duration",
            "Time a job took",
            Unit::Seconds,
            seconds.clone(),
        );
        let source_bytes = metric!(
            "source_bytes",
            "Bytes read from sources",
            Counter::default()
        );
        let sink_bytes = metric!("sink_bytes", "Bytes written to outputs", Counter::default());
        let budget_bytes = metric!(
            "budget_bytes",
            "Byte budget of all buffers",
            Gauge::default()
        );
        let budget_used_bytes = metric!(
            "budget_used_bytes",
            "Budget held by running jobs",
            Gauge::default()
        );
        let aborted = metric!(
            "uploads_aborted",
            "Multipart uploads given up, by result",
            Family::default()
        );
        let resumed = metric!(
            "source_resumes",
            "Downloads taken up again",
            Counter::default()
        );
        let unrouted = metric!(
            "events_unrouted",
            "Events no queue was bound for",
            Counter::default()
        );
        let gate = metric!(
            "consuming",
            "1 while jobs are taken, 0 while a dependency is down",
            Gauge::default()
        );
        let attempts_repeated = metric!(
            "jobs_recognised",
            "Redelivered jobs found finished",
            Counter::default()
        );
        Table {
            registry,
            jobs,
            failures,
            running,
            seconds,
            source_bytes,
            sink_bytes,
            budget_bytes,
            budget_used_bytes,
            aborted,
            resumed,
            unrouted,
            gate,
            attempts_repeated,
        }
    }
}

/// A job left this worker: `succeeded`, `failed`, `retried` or `returned`.
pub fn job_ended(outcome: &'static str, seconds: f64) {
    table().jobs.get_or_create(&Outcome { outcome }).inc();
    table().seconds.observe(seconds);
}

/// An attempt failed.
pub fn job_failed(code: &'static str) {
    table().failures.get_or_create(&FailureCode { code }).inc();
}

/// A job entered (+1) or left (-1) a slot.
pub fn jobs_running(change: i64) {
    table().running.inc_by(change);
}

/// Bytes read and written for one part.
pub fn bytes_ciphered(read: u64, written: u64) {
    table().source_bytes.inc_by(read);
    table().sink_bytes.inc_by(written);
}

/// The byte budget, and how much of it is held.
pub fn budget(total: usize, used: usize) {
    table().budget_bytes.set(total as i64);
    table().budget_used_bytes.set(used as i64);
}

/// An upload was given up; `gone` when the store no longer shows it.
pub fn upload_aborted(gone: bool) {
    let result = if gone { "gone" } else { "left" };
    table().aborted.get_or_create(&AbortResult { result }).inc();
}

/// A download broke off and was taken up again.
pub fn source_resumed() {
    table().resumed.inc();
}

/// An event was confirmed, but no queue was bound for it.
pub fn events_unrouted() {
    table().unrouted.inc();
}

/// Whether jobs are taken.
pub fn gate(open: bool) {
    table().gate.set(i64::from(open));
}

/// A redelivered job was found finished.
pub fn job_recognised() {
    table().attempts_repeated.inc();
}

/// All metrics in the OpenMetrics text format.
pub fn text() -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &table().registry);
    text
}
