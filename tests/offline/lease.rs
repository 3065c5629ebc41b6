//! The lease: how long a delivery may be held, and what becomes of one that is lost.

use std::time::Duration;

use ciphermill::fault::Code;
use ciphermill::inject::rules::Effect;
use ciphermill::queue::Settlement;
use ciphermill::queue::memory::{Cut, Rules};

use crate::bench::script::{at_store, fail};
use crate::bench::{job, output, with_source};

const DONE: Settlement = Settlement::Done;
const DEAD: Settlement = Settlement::Dead;
const RETRY: Settlement = Settlement::Retry;
const RETURN: Settlement = Settlement::Return;

fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number)
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_a_dependency_within_its_lease_only() {
    let bench = with_source();
    bench.rule(at_store("head", "films/film", fail(Code::StoreDown)));
    bench.rule(at_store("reachable", "", fail(Code::StoreDown)));
    bench.submit(&job([output("a")]));
    let working = bench.start(bench.worker(1));
    bench.wait(1439).await;
    assert!(working.seen.settled().is_empty());
    bench.wait(2).await;
    // 80 % of the consumer timeout of 1800 seconds.
    let first = working.seen.settled()[0].clone();
    assert_eq!((first.settlement, first.at.as_secs()), (RETURN, 1440));
    bench.script.clear();
    bench.all_done().await;
    working.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_outlasts_its_lease_is_stopped_and_goes_back() {
    let bench = with_source();
    let slow = Effect::DelayBefore(seconds(7200.0));
    bench.rule(at_store("upload", "made/a", slow).times(1));
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [RETRY, DONE]);
    // Without another pause: what is left of the lease is for its end.
    assert_eq!(seen.settled()[0].at.as_secs(), 1440);
    assert!(bench.uploads().is_empty(), "P6");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_always_outlasts_its_lease_fails_by_that_name() {
    let bench = with_source();
    bench.rule(at_store(
        "upload",
        "made/a",
        Effect::DelayBefore(seconds(7200.0)),
    ));
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [RETRY, RETRY, DEAD]);
    assert_eq!(seen.failure(), "lease_too_short");
    let event = &seen.told("job.failed")[0].body;
    assert_eq!(
        event["data"]["fault"]["pointer"],
        "amqp.consumer_timeout_seconds"
    );
}

#[tokio::test(start_paused = true)]
async fn p2_a_lease_that_ends_during_publication_lets_it_end() {
    let bench = with_source();
    bench.broker.set_rules(Rules {
        consumer_timeout: seconds(3600.0),
        ..Rules::default()
    });
    bench.rule(at_store(
        "complete",
        "made/a",
        Effect::DelayBefore(seconds(2000.0)),
    ));
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [DONE]);
    assert_eq!(seen.settled()[0].at.as_secs(), 2000);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_lost_while_its_job_runs_tells_nobody() {
    let bench = with_source();
    bench.rule(at_store("upload", "made/a", Effect::DelayBefore(seconds(60.0))).times(3));
    bench.submit(&job([output("a")]));
    let working = bench.start(bench.worker(1));
    let seen = working.seen.clone();
    bench.wait(30).await;
    bench.broker.cut_all(Cut::AtOnce);
    bench.all_done().await;
    working.stopped().await;
    // The lost one cannot be settled; the message came again.
    assert_eq!(seen.settlements(), [DONE]);
    assert_eq!(seen.attempts(), [2]);
    assert_eq!(seen.told("job.succeeded").len(), 1);
    assert!(seen.told("job.failed").is_empty());
    assert!(bench.uploads().is_empty(), "P6");
}

#[tokio::test(start_paused = true)]
async fn p3_a_delivery_lost_during_publication_is_recognised_when_it_comes_again() {
    let bench = with_source();
    bench.rule(at_store(
        "complete",
        "made/a",
        Effect::DelayAfter(seconds(60.0)),
    ));
    bench.submit(&job([output("a")]));
    let working = bench.start(bench.worker(1));
    let seen = working.seen.clone();
    bench.wait(30).await;
    bench.broker.cut_all(Cut::AtOnce);
    bench.all_done().await;
    working.stopped().await;
    assert_eq!(seen.settlements(), [DONE]);
    assert_eq!(bench.script.calls_of("complete").len(), 1);
    assert_eq!(seen.told("job.succeeded").len(), 1);
}
