//! The worker: slots, the gate, the drain (P10), and how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ciphermill::fault::Code;
use ciphermill::inject::Seam;
use ciphermill::inject::rules::{Effect, Rule};
use ciphermill::queue::Settlement;
use ciphermill::queue::memory::JOBS;
use ciphermill::worker::Ended;
use serde_json::Value;

use crate::bench::script::{at_store, fail};
use crate::bench::work::Spool;
use crate::bench::{Bench, job, output, with_source};

/// A job of this name, with one output of the same name.
fn named(id: &str) -> Value {
    let mut job = job([output(id)]);
    job["id"] = id.into();
    job
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[tokio::test(start_paused = true)]
async fn the_gate_keeps_new_jobs_in_the_queue_while_a_dependency_is_down() {
    let bench = with_source();
    bench.put("s3://films/other", b"x");
    let mut waiting = named("waiting");
    waiting["input"]["url"] = "s3://films/other".into();
    bench.rule(at_store("head", "films/other", fail(Code::StoreDown)));
    bench.rule(at_store("reachable", "", fail(Code::StoreDown)));
    bench.submit(&waiting);
    let working = bench.start(bench.worker(2));
    bench.wait(10).await;
    bench.submit(&named("late"));
    bench.wait(60).await;
    let held = bench.broker.unacked();
    assert_eq!(held.len(), 1, "the other slot takes nothing");
    assert_eq!(bench.broker.ready(JOBS).len(), 1);
    assert!(working.seen.settled().is_empty());
    bench.script.clear();
    bench.all_done().await;
    let seen = working.seen.clone();
    working.stopped().await;
    assert_eq!(seen.settlements(), [Settlement::Done, Settlement::Done]);
    assert!(
        seen.settled().iter().all(|one| one.attempt == 1),
        "no attempt was burnt"
    );
}

#[tokio::test(start_paused = true)]
async fn the_gate_opens_when_the_job_that_waits_goes_back() {
    let bench = with_source();
    bench.rule(at_store("head", "films/film", fail(Code::StoreDown)).times(2));
    bench.rule(at_store("reachable", "", fail(Code::StoreDown)).times(2));
    // It is up again, and this job fails in another way.
    bench.rule(at_store("upload", "made/one", fail(Code::IntegrityMismatch)).times(1));
    bench.submit(&named("one"));
    bench.submit(&named("two"));
    let working = bench.start(bench.worker(1));
    let seen = working.seen.clone();
    bench.all_done().await;
    working.stopped().await;
    assert_eq!(seen.settlements()[0], Settlement::Retry);
    let done = seen.settlements();
    assert_eq!(
        done.iter().filter(|one| **one == Settlement::Done).count(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_does_not_keep_a_worker_from_stopping() {
    let bench = with_source();
    bench.rule(at_store("head", "films/film", fail(Code::StoreDown)));
    bench.rule(at_store("reachable", "", fail(Code::StoreDown)));
    bench.submit(&named("one"));
    let working = bench.start(bench.worker(3));
    let seen = working.seen.clone();
    bench.wait(100).await;
    let ended = working.stopped().await;
    assert_eq!(seen.settlements(), [Settlement::Return]);
    let expected = Ended {
        jobs: 0,
        returned: true,
    };
    assert_eq!(ended, expected);
}

#[tokio::test(start_paused = true)]
async fn p10_a_stopped_worker_finishes_what_runs_and_takes_no_new_job() {
    let bench = with_source();
    bench.rule(at_store(
        "upload",
        "made/one",
        Effect::DelayBefore(seconds(20)),
    ));
    bench.submit(&named("one"));
    bench.submit(&named("two"));
    let working = bench.start(bench.worker(1));
    let seen = working.seen.clone();
    bench.wait(5).await;
    let ended = working.stopped().await;
    let expected = Ended {
        jobs: 1,
        returned: false,
    };
    assert_eq!(ended, expected);
    assert_eq!(seen.settlements(), [Settlement::Done]);
    assert_eq!(bench.broker.ready(JOBS).len(), 1);
    assert!(bench.object("s3://made/two").is_none());
}

#[tokio::test(start_paused = true)]
async fn p10_a_job_that_does_not_end_in_time_goes_back_and_leaves_nothing() {
    let bench = with_source();
    bench.rule(at_store(
        "upload",
        "made/one",
        Effect::DelayBefore(seconds(2000)),
    ));
    bench.submit(&named("one"));
    let working = bench.start(bench.worker(1));
    let seen = working.seen.clone();
    bench.wait(5).await;
    working.stop.cancel();
    bench.wait(25).await;
    working.abort.cancel();
    let ended = working.ended().await.expect("it ends well");
    let expected = Ended {
        jobs: 0,
        returned: true,
    };
    assert_eq!(ended, expected);
    assert_eq!(seen.settlements(), [Settlement::Return]);
    assert_eq!(seen.settled()[0].at.as_secs(), 30);
    let told = [seen.told("job.succeeded"), seen.told("job.failed")];
    assert!(told.concat().is_empty(), "it has not ended");
    assert!(bench.uploads().is_empty(), "P6");
    assert_eq!(bench.broker.length(JOBS), 1);
}

#[tokio::test(start_paused = true)]
async fn p10_a_job_that_is_publishing_is_published_whole() {
    let bench = with_source();
    bench.rule(at_store(
        "complete",
        "made/",
        Effect::DelayBefore(seconds(10)),
    ));
    bench.submit(&job([output("a"), output("b")]));
    let working = bench.start(bench.worker(1));
    bench.wait(5).await;
    working.stop.cancel();
    working.abort.cancel();
    let seen = working.seen.clone();
    let ended = working.ended().await.expect("it ends well");
    assert_eq!(ended.jobs, 1);
    assert_eq!(seen.settlements(), [Settlement::Done]);
    assert_eq!(bench.body("s3://made/a"), bench.body("s3://made/b"));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_pauses_before_a_retry_goes_back_when_the_worker_stops() {
    let bench = with_source();
    bench.rule(at_store(
        "upload",
        "made/one",
        fail(Code::IntegrityMismatch),
    ));
    bench.submit(&named("one"));
    let working = bench.start(bench.worker(1));
    let seen = working.seen.clone();
    working.stop.cancel();
    working.ended().await.expect("it ends well");
    // It was never taken.
    assert!(seen.settlements().is_empty());
    let working = bench.start(bench.worker(1));
    let seen = working.seen.clone();
    tokio::time::sleep(Duration::from_millis(100)).await;
    working.stopped().await;
    assert_eq!(seen.settlements(), [Settlement::Retry]);
    assert_eq!(seen.settled()[0].at.as_millis(), 100, "it does not wait");
}

#[tokio::test(start_paused = true)]
async fn a_worker_ends_after_the_jobs_it_may_do() {
    let bench = with_source();
    for id in ["one", "two", "three"] {
        bench.submit(&named(id));
    }
    let mut worker = bench.worker(3);
    worker.max_jobs = Some(2);
    let ended = bench.start(worker).ended().await.expect("it ends well");
    assert_eq!(ended.jobs, 2);
    assert_eq!(bench.broker.length(JOBS), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_goes_back_is_none_of_those_it_may_do() {
    let bench = with_source();
    bench.rule(at_store("upload", "made/one", fail(Code::IntegrityMismatch)).times(1));
    bench.submit(&named("one"));
    let mut worker = bench.worker(2);
    worker.max_jobs = Some(1);
    let working = bench.start(worker);
    let seen = working.seen.clone();
    let ended = working.ended().await.expect("it ends well");
    assert_eq!(ended.jobs, 1);
    assert_eq!(seen.settlements(), [Settlement::Retry, Settlement::Done]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_job_is_one_of_those_it_may_do() {
    let bench = Bench::aws();
    bench.submit(&named("one"));
    let mut worker = bench.worker(1);
    worker.max_jobs = Some(1);
    let ended = bench.start(worker).ended().await.expect("it ends well");
    assert_eq!(ended.jobs, 1);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_cannot_be_mended_ends_the_worker() {
    let bench = with_source();
    let broken = Rule::new(fail(Code::TopologyMissing)).seam(Seam::Queue);
    bench.rule(broken.operation("next").target("1"));
    bench.rule(at_store(
        "upload",
        "made/one",
        Effect::DelayBefore(seconds(5)),
    ));
    bench.submit(&named("one"));
    let working = bench.start(bench.worker(2));
    let seen = working.seen.clone();
    let fault = working.ended().await.expect_err("it cannot go on");
    assert_eq!(fault.code, Code::TopologyMissing);
    assert_eq!(
        seen.settlements(),
        [Settlement::Done],
        "the other slot ends in peace"
    );
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_ends_ends_the_worker() {
    let bench = with_source();
    bench.submit(&named("one"));
    let mut worker = bench.worker(1);
    let spool = Arc::new(Spool {
        inner: worker.queue,
        ended: AtomicBool::new(false),
    });
    worker.queue = spool.clone();
    bench.script.before(("settle", "done", 1), move || {
        spool.ended.store(true, Ordering::SeqCst)
    });
    let ended = bench.start(worker).ended().await.expect("it ends well");
    let expected = Ended {
        jobs: 1,
        returned: false,
    };
    assert_eq!(ended, expected);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_panics_ends_the_worker_with_a_fault() {
    let bench = with_source();
    bench.script.before(("next", "0", 1), || panic!("a bug"));
    let fault = bench.start(bench.worker(1)).ended().await;
    assert_eq!(fault.expect_err("a slot is missing").code, Code::Internal);
}

#[tokio::test(start_paused = true)]
async fn slots_work_side_by_side() {
    let bench = with_source();
    for id in ["one", "two"] {
        bench.rule(at_store("complete", id, Effect::DelayBefore(seconds(10))));
        bench.submit(&named(id));
    }
    let working = bench.start(bench.worker(2));
    let seen = working.seen.clone();
    bench.all_done().await;
    working.stopped().await;
    let ends: Vec<_> = seen.settled().iter().map(|one| one.at.as_secs()).collect();
    assert_eq!(ends, [10, 10]);
}
