//! Settlement: what becomes of a delivery, by the class of the failure that ended its attempt.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ciphermill::fault::{Code, Fault};
use ciphermill::inject::Seam;
use ciphermill::inject::rules::Rule;
use ciphermill::queue::Settlement;
use ciphermill::queue::memory::{DEAD_LETTERS, JOBS};
use serde_json::json;

use crate::bench::script::{at_store, fail};
use crate::bench::work::Spool;
use crate::bench::{Bench, LONG, job, output, with_source};

const DONE: Settlement = Settlement::Done;
const DEAD: Settlement = Settlement::Dead;
const RETRY: Settlement = Settlement::Retry;

fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number)
}

#[tokio::test(start_paused = true)]
async fn p1_a_job_that_ends_well_is_done_after_its_event() {
    let bench = with_source();
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [DONE]);
    assert_eq!(seen.keys(), ["job.started", "job.succeeded"]);
    assert_eq!(bench.body("s3://made/a").len(), LONG);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_dead_lettered_at_once() {
    let bench = Bench::aws();
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [DEAD]);
    assert_eq!(seen.failure(), "source_not_found");
    assert_eq!(bench.broker.length(DEAD_LETTERS), 1);
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_goes_back_to_the_queue() {
    let bench = with_source();
    bench.rule(at_store("upload", "made/a", fail(Code::IntegrityMismatch)).times(1));
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [RETRY, DONE]);
    assert_eq!(seen.attempts(), [1, 2]);
    let keys = ["job.started", "job.started", "job.succeeded"];
    assert_eq!(
        seen.keys(),
        keys,
        "an attempt that will be repeated has no end"
    );
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_final_after_the_last_attempt() {
    let bench = with_source();
    bench.rule(at_store("upload", "made/a", fail(Code::IntegrityMismatch)));
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [RETRY, RETRY, DEAD]);
    assert_eq!(seen.failure(), "integrity_mismatch");
}

#[tokio::test(start_paused = true)]
async fn pauses_before_a_retry_double_up_to_fifteen_seconds() {
    let bench = with_source();
    bench.rule(at_store("upload", "made/a", fail(Code::IntegrityMismatch)));
    bench.submit(&job([output("a")]));
    let mut worker = bench.worker(1);
    worker.max_attempts = 8;
    let working = bench.start(worker);
    let seen = working.seen.clone();
    bench.all_done().await;
    working.stopped().await;
    let ends: Vec<_> = seen.settled().iter().map(|one| one.at).collect();
    let mut expected = Duration::ZERO;
    for (index, pause) in [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
        .into_iter()
        .enumerate()
    {
        expected += seconds(pause);
        assert_eq!(
            ends[index].as_millis(),
            expected.as_millis(),
            "attempt {}",
            index + 1
        );
    }
    assert_eq!(seen.settlements().last(), Some(&DEAD));
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_is_down_burns_no_attempt() {
    let bench = with_source();
    bench.rule(at_store("head", "films/film", fail(Code::StoreDown)).times(6));
    bench.rule(at_store("reachable", "", fail(Code::StoreDown)).times(6));
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(
        seen.settlements(),
        [DONE],
        "it is kept and tried again here"
    );
    assert_eq!(seen.told("job.started").len(), 1);
    // 0.5, 1, 2, 4, 8 and 15 seconds.
    assert_eq!(seen.settled()[0].at.as_millis(), 30_500);
}

#[tokio::test(start_paused = true)]
async fn a_key_service_that_is_down_burns_no_attempt() {
    let bench = with_source();
    let encryption = json!({"mode": "aes-gcm", "key": crate::bench::key()});
    let encrypted = json!({"url": "s3://made/a", "encryption": encryption});
    let down = || fail(Code::KeyServiceDown);
    bench.rule(Rule::new(down()).seam(Seam::Keys).times(10));
    let seen = bench.works(&job([encrypted])).await;
    assert_eq!(seen.settlements(), [DONE]);
    assert_eq!(bench.script.calls_of("reachable").len(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_only_this_job_sees_counts_its_attempts() {
    let bench = with_source();
    bench.rule(at_store("head", "films/film", fail(Code::StoreDown)));
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [RETRY, RETRY, DEAD]);
    assert_eq!(seen.failure(), "store_down");
    // Three times at once in each attempt, after the first try.
    assert_eq!(bench.script.calls_of("reachable").len(), 12);
    // 0.5, 1 and 2 seconds between these, and 0.5 before it goes back.
    assert_eq!(seen.settled()[0].at.as_millis(), 4_000);
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_passes_is_tried_again_here() {
    let bench = with_source();
    bench.rule(at_store("head", "films/film", fail(Code::StoreDown)).times(3));
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [DONE]);
    assert_eq!(seen.settled()[0].at.as_millis(), 3_500);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_anything_else_is_believed() {
    let bench = with_source();
    let pipeline = bench.worker(1).pipeline;
    let is_down = async |code| pipeline.is_down(&Fault::new(code, "down")).await;
    assert!(!is_down(Code::StoreDown).await, "the store answers");
    assert!(
        !is_down(Code::KeyServiceDown).await,
        "the key service answers"
    );
    assert!(is_down(Code::GpuUnavailable).await, "nobody can be asked");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_pipeline_is_a_transient_failure() {
    let bench = with_source();
    bench
        .script
        .before(("head", "films/film", 1), || panic!("a bug"));
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [RETRY, DONE]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_transfer_task_is_a_transient_failure() {
    let bench = with_source();
    for nth in 1..=3 {
        bench
            .script
            .before(("read", "films/film", nth), || panic!("a bug"));
    }
    bench.submit(&job([output("a")]));
    let mut worker = bench.worker(1);
    worker.max_attempts = 1;
    let working = bench.start(worker);
    let seen = working.seen.clone();
    bench.all_done().await;
    assert_eq!(seen.settlements(), [DEAD]);
    assert_eq!(seen.failure(), "internal");
    assert!(bench.uploads().is_empty(), "P6");
    working.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_spooled_job_beyond_the_last_attempt_crashed_its_workers() {
    let bench = with_source();
    bench.submit(&job([output("a")]));
    // Three deliveries that ended without a word.
    let crashing = bench.broker.connect(1);
    for _ in 0..3 {
        let delivery = ciphermill::queue::Queue::next(&*crashing, 0).await;
        drop(delivery.expect("a delivery"));
    }
    ciphermill::queue::Queue::close(&*crashing).await;
    let mut worker = bench.worker(1);
    worker.queue = Arc::new(Spool {
        inner: worker.queue,
        ended: AtomicBool::new(false),
    });
    let working = bench.start(worker);
    let seen = working.seen.clone();
    bench.all_done().await;
    working.stopped().await;
    assert_eq!(seen.settlements(), [DEAD]);
    assert_eq!(seen.failure(), "attempts_exhausted");
    assert!(seen.told("job.started").is_empty());
    assert!(bench.object("s3://made/a").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_brokers_job_beyond_the_last_attempt_is_tried_once_more() {
    let bench = with_source();
    bench.submit(&job([output("a")]));
    let crashing = bench.broker.connect(1);
    for _ in 0..5 {
        let delivery = ciphermill::queue::Queue::next(&*crashing, 0).await;
        drop(delivery.expect("a delivery"));
    }
    ciphermill::queue::Queue::close(&*crashing).await;
    let working = bench.start(bench.worker(1));
    bench.all_done().await;
    assert_eq!(
        working.seen.settlements(),
        [DONE],
        "the broker has a limit of its own"
    );
    assert!(working.seen.settled()[0].attempt > 3);
    working.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_no_json_is_refused() {
    let bench = with_source();
    bench.submit_bytes("broken", b"not json");
    let working = bench.start(bench.worker(1));
    let seen = working.seen.clone();
    bench.all_done().await;
    working.stopped().await;
    assert_eq!(seen.settlements(), [DEAD]);
    assert_eq!(seen.keys(), ["job.failed"]);
    let event = &seen.told("job.failed")[0].body;
    assert!(
        event["id"]
            .as_str()
            .expect("an id")
            .starts_with("-:failed:")
    );
    assert!(event.get("subject").is_none());
    assert_eq!(event["data"]["fault"]["code"], "invalid_json");
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_names_every_fault_and_uses_no_reply_queue() {
    let bench = with_source();
    let rules = ciphermill::queue::memory::QueueRules::default();
    bench.broker.declare("replies", rules).expect("declared");
    let mut wrong = job([output("a")]);
    wrong["colour"] = "blue".into();
    wrong["outputs"][0]["size"] = 1.into();
    wrong["reply_to"] = "replies".into();
    let seen = bench.works(&wrong).await;
    assert_eq!(seen.settlements(), [DEAD]);
    let event = &seen.told("job.failed")[0].body;
    assert_eq!(event["subject"], "film");
    let faults = event["data"]["faults"].as_array().expect("a list");
    let pointers: Vec<_> = faults
        .iter()
        .map(|fault| fault["pointer"].as_str())
        .collect();
    assert_eq!(pointers, [Some("/colour"), Some("/outputs/0/size")]);
    assert_eq!(bench.broker.length("replies"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_fails_leaves_the_message_to_come_again() {
    let bench = with_source();
    let broken = Rule::new(fail(Code::BrokerDown)).seam(Seam::Queue);
    bench.rule(broken.operation("settle").times(1));
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [DONE]);
    assert_eq!(seen.attempts(), [2]);
    let told = seen.told("job.succeeded");
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].body["id"], told[1].body["id"], "P3: the same end");
    assert_eq!(bench.script.calls_of("complete").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_bad_job_ends_a_slot() {
    let bench = with_source();
    for id in ["one", "two", "three"] {
        let mut bad = job([output(id)]);
        bad["id"] = id.into();
        bad["input"]["url"] = "s3://films/nothing".into();
        bench.submit(&bad);
    }
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [DEAD, DEAD, DEAD, DONE]);
    assert_eq!(bench.broker.length(JOBS), 0);
}
