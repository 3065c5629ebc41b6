//! The metrics table. Names follow Prometheus' rules (base units, `_total` for counters); labels
//! are bounded: never a bucket, a key or a job id.

use std::sync::OnceLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureCode {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EngineName {
    engine: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureKind {
    kind: &'static str,
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
    recognised: Counter,
    gate: Gauge,
    engine_bytes: Family<EngineName, Counter>,
    engine_rates: Family<EngineName, Gauge>,
    gpu_retired: Family<FailureKind, Counter>,
}

static TABLE: OnceLock<Table> = OnceLock::new();

fn table() -> &'static Table {
    TABLE.get_or_init(Table::new)
}

impl Table {
    fn new() -> Table {
        let mut registry = Registry::with_prefix("ciphermill");
        let seconds = Histogram::new(exponential_buckets(0.01, 2.0, 18));
        registry.register_with_unit(
            "job_duration",
            "Time a job took",
            Unit::Seconds,
            seconds.clone(),
        );
        let mut add = Adder(&mut registry);
        Table {
            jobs: add.metric("jobs", "Jobs that left this worker, by outcome"),
            failures: add.metric("job_failures", "Failed attempts, by code"),
            running: add.metric("jobs_running", "Jobs in a slot now"),
            recognised: add.metric("jobs_recognised", "Redelivered jobs found finished"),
            source_bytes: add.metric("source_bytes", "Bytes read from sources"),
            sink_bytes: add.metric("sink_bytes", "Bytes written to outputs"),
            budget_bytes: add.metric("budget_bytes", "Byte budget of all buffers"),
            budget_used_bytes: add.metric("budget_used_bytes", "Budget held by running jobs"),
            aborted: add.metric("uploads_aborted", "Multipart uploads given up, by result"),
            resumed: add.metric("source_resumes", "Downloads taken up again"),
            unrouted: add.metric("events_unrouted", "Events no queue was bound for"),
            gate: add.metric(
                "consuming",
                "1 while jobs are taken, 0 while a dependency is down",
            ),
            engine_bytes: add.metric("engine_bytes", "Bytes given to an engine"),
            engine_rates: add.metric(
                "engine_bytes_per_second",
                "Measured rate of an engine, all cores or with copies",
            ),
            gpu_retired: add.metric("gpu_retired", "GPUs given up, by kind of failure"),
            seconds,
            registry,
        }
    }
}

/// Registers metrics one by one.
struct Adder<'a>(&'a mut Registry);

impl Adder<'_> {
    fn metric<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
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

/// Work went to an engine: `cpu` or `gpu`.
pub fn engine_bytes(engine: &'static str, bytes: u64) {
    // Every part comes by here: its counter is looked up once.
    static COUNTERS: [OnceLock<Counter>; 2] = [const { OnceLock::new() }; 2];
    let lookup = || {
        let name = EngineName { engine };
        table().engine_bytes.get_or_create(&name).clone()
    };
    COUNTERS[usize::from(engine == "gpu")]
        .get_or_init(lookup)
        .inc_by(bytes);
}

/// What the engines were measured to do, in bytes per second.
pub fn engine_rates(cpu: f64, gpu: f64) {
    for (engine, rate) in [("cpu", cpu), ("gpu", gpu)] {
        let gauge = table().engine_rates.get_or_create(&EngineName { engine });
        gauge.set(rate as i64);
    }
}

/// A GPU is not used any more.
pub fn gpu_retired(kind: &'static str) {
    table()
        .gpu_retired
        .get_or_create(&FailureKind { kind })
        .inc();
}

/// Whether jobs are taken.
pub fn gate(open: bool) {
    table().gate.set(i64::from(open));
}

/// A redelivered job was found finished.
pub fn job_recognised() {
    table().recognised.inc();
}

/// Whether jobs are taken now.
pub fn is_consuming() -> bool {
    table().gate.get() == 1
}

/// All metrics in the OpenMetrics text format.
pub fn text() -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &table().registry);
    text
}
