//! Ends: the event that tells of a job's end is confirmed before its delivery is settled (P1), and
//! what the worker tells on the way.

use std::time::Duration;

use ciphermill::fault::Code;
use ciphermill::inject::Seam;
use ciphermill::inject::rules::{Effect, Rule};
use ciphermill::queue::Settlement;
use ciphermill::queue::memory::{Answer, Confirm, Cut, JOBS, Kind, QueueRules, RESULTS};
use serde_json::{Value, json};

use crate::bench::script::{at_store, fail};
use crate::bench::{Bench, PART, job, output, with_source};

/// A job that wants its end to be sent to this queue too.
fn replying(queue: &str) -> Value {
    let mut job = job([output("a")]);
    job["reply_to"] = queue.into();
    job
}

#[tokio::test(start_paused = true)]
async fn p1_a_refused_end_event_is_published_until_it_is_taken() {
    let bench = with_source();
    for _ in 0..4 {
        bench.broker.next_publish(Kind::Event, Answer::Nack);
    }
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [Settlement::Done]);
    // 0.5, 1, 2 and 4 seconds.
    assert_eq!(seen.settled()[0].at.as_millis(), 7_500);
    assert_eq!(seen.told("job.succeeded").len(), 1);
    assert_eq!(bench.script.calls_of("complete").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn p1_an_end_event_whose_confirm_is_lost_is_published_again_with_its_id() {
    let bench = with_source();
    bench.broker.next_publish(Kind::Event, Answer::LoseConfirm);
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [Settlement::Done]);
    let told = seen.told("job.succeeded");
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].body["id"], told[1].body["id"]);
    let events = bench.broker.events();
    let confirms: Vec<_> = events.iter().map(|record| record.confirm).collect();
    let expected = [Confirm::NotAsked, Confirm::Missing, Confirm::Given];
    assert_eq!(confirms, expected);
}

#[tokio::test(start_paused = true)]
async fn an_end_event_that_no_queue_is_bound_for_holds_no_job() {
    let bench = with_source();
    bench.broker.unbind(RESULTS);
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [Settlement::Done]);
    assert_eq!(seen.settled()[0].at, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn p1_an_end_event_that_is_never_confirmed_sends_the_job_back_within_its_lease() {
    let bench = with_source();
    bench.broker.every_publish(Kind::Event, Answer::Nack);
    bench.submit(&job([output("a")]));
    let working = bench.start(bench.worker(1));
    bench.wait(1441).await;
    let first = working.seen.settled()[0].clone();
    assert_eq!(first.settlement, Settlement::Return);
    assert_eq!(first.at.as_secs(), 1440);
    bench.broker.every_publish(Kind::Event, Answer::Confirm);
    bench.all_done().await;
    let seen = working.seen.clone();
    working.stopped().await;
    let expected = [Settlement::Return, Settlement::Done];
    assert_eq!(seen.settlements(), expected);
    assert_eq!(bench.script.calls_of("complete").len(), 1, "P3");
}

#[tokio::test(start_paused = true)]
async fn p1_a_failure_waits_for_its_event_too() {
    let bench = Bench::aws();
    bench.broker.next_publish(Kind::Event, Answer::Nack);
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.settlements(), [Settlement::Dead]);
    assert_eq!(seen.settled()[0].at.as_millis(), 500);
}

#[tokio::test(start_paused = true)]
async fn an_end_event_refused_for_another_reason_closes_no_gate() {
    let bench = with_source();
    let refused = Rule::new(fail(Code::Internal)).seam(Seam::Queue);
    bench.rule(
        refused
            .operation("publish")
            .target("job.succeeded")
            .times(1),
    );
    let mut other = job([output("b")]);
    other["id"] = "other".into();
    bench.submit(&job([output("a")]));
    bench.submit(&other);
    let working = bench.start(bench.worker(2));
    let seen = working.seen.clone();
    bench.all_done().await;
    working.stopped().await;
    let order: Vec<_> = seen.settled().into_iter().map(|one| one.job).collect();
    assert_eq!(order, ["other", "film"]);
    assert_eq!(seen.settled()[0].at, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_worker_does_not_wait_for_a_confirm() {
    let bench = with_source();
    bench.broker.every_publish(Kind::Event, Answer::Nack);
    bench.submit(&job([output("a")]));
    let working = bench.start(bench.worker(1));
    let seen = working.seen.clone();
    bench.wait(10).await;
    let ended = working.stopped().await;
    assert_eq!(seen.settlements(), [Settlement::Return]);
    assert!(ended.returned);
    assert_eq!(bench.broker.length(JOBS), 1);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_lost_while_its_end_is_not_confirmed_is_given_up() {
    let bench = with_source();
    bench.broker.every_publish(Kind::Event, Answer::Nack);
    bench.submit(&job([output("a")]));
    let working = bench.start(bench.worker(1));
    let seen = working.seen.clone();
    bench.wait(10).await;
    bench.broker.every_publish(Kind::Event, Answer::Confirm);
    bench.broker.cut_all(Cut::AtOnce);
    bench.all_done().await;
    working.stopped().await;
    assert_eq!(seen.settlements(), [Settlement::Done]);
    assert_eq!(seen.settled()[0].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn a_reply_queue_that_is_allowed_gets_the_end_only() {
    let bench = with_source();
    let declared = bench.broker.declare("replies", QueueRules::default());
    declared.expect("declared");
    let seen = bench.works(&replying("replies")).await;
    assert_eq!(seen.settlements(), [Settlement::Done]);
    let replies = bench.broker.ready("replies");
    assert_eq!(replies.len(), 1);
    let reply: Value = serde_json::from_slice(&replies[0].body).expect("JSON");
    assert_eq!(reply["type"], "dev.ciphermill.job.succeeded");
    let queues: Vec<_> = seen
        .told("job.succeeded")
        .into_iter()
        .map(|one| one.queue)
        .collect();
    assert_eq!(queues, [None, Some("replies".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_reply_queue_gets_a_failure_too() {
    let bench = Bench::aws();
    let declared = bench.broker.declare("replies", QueueRules::default());
    declared.expect("declared");
    let seen = bench.works(&replying("replies")).await;
    assert_eq!(seen.settlements(), [Settlement::Dead]);
    assert_eq!(bench.broker.length("replies"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reply_queue_that_is_not_allowed_fails_the_job_and_gets_nothing() {
    let bench = with_source();
    let declared = bench.broker.declare("elsewhere", QueueRules::default());
    declared.expect("declared");
    let seen = bench.works(&replying("elsewhere")).await;
    assert_eq!(seen.settlements(), [Settlement::Dead]);
    assert_eq!(seen.failure(), "reply_not_allowed");
    assert_eq!(bench.broker.length("elsewhere"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reply_queue_that_is_missing_holds_no_job() {
    let bench = with_source();
    let seen = bench.works(&replying("replies")).await;
    assert_eq!(seen.settlements(), [Settlement::Done]);
    assert_eq!(seen.settled()[0].at, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_once_a_second_while_bytes_move() {
    let bench = Bench::aws();
    bench.source(9 * PART, 1);
    // Three parts at a time, at 2.4, 4.8 and 7.2 seconds.
    let slow = Effect::DelayBefore(Duration::from_millis(2400));
    bench.rule(at_store("upload", "made/a", slow));
    let seen = bench.works(&job([output("a")])).await;
    let told = seen.told("job.progress");
    let times: Vec<_> = told.iter().map(|one| one.at.as_secs()).collect();
    assert_eq!(times, [1, 3, 5], "not while nothing moves");
    let parts = |one: &Value| one["data"]["bytes_done"].as_u64().expect("a number");
    let done: Vec<_> = told.iter().map(|one| parts(&one.body)).collect();
    assert_eq!(done, [0, 3 * PART as u64, 6 * PART as u64]);
    assert!(
        told.iter()
            .all(|one| one.body["data"]["bytes_total"] == 9 * PART)
    );
    let ids: Vec<_> = told.iter().map(|one| one.body["id"].clone()).collect();
    assert_ne!(ids[0], ids[1], "news have ids of their own");
}

#[tokio::test(start_paused = true)]
async fn every_event_names_its_job_worker_attempt_and_labels() {
    let bench = with_source();
    bench.rule(at_store("upload", "made/a", fail(Code::IntegrityMismatch)).times(1));
    let mut labelled = job([output("a")]);
    labelled["labels"] = json!({"show": "42"});
    let seen = bench.works(&labelled).await;
    let started = seen.told("job.started");
    let ended = seen.told("job.succeeded");
    for (event, attempt) in started.iter().chain(&ended).zip([1, 2, 2]) {
        let event = &event.body;
        assert_eq!(event["source"], "/ciphermill/bench");
        assert_eq!(event["subject"], "film");
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["data"]["job_id"], "film");
        assert_eq!(event["data"]["attempt"], attempt);
        assert_eq!(event["data"]["labels"], json!({"show": "42"}));
    }
    assert_eq!(started[0].body["time"], "2023-11-14T22:13:20Z");
    assert!(started[0].body["data"].get("bytes_done").is_none());
}

#[tokio::test(start_paused = true)]
async fn news_that_cannot_be_published_hold_no_job() {
    let bench = with_source();
    let broken = Rule::new(fail(Code::BrokerDown)).seam(Seam::Queue);
    bench.rule(broken.operation("publish").target("job.started"));
    let seen = bench.works(&job([output("a")])).await;
    assert_eq!(seen.keys(), ["job.succeeded"]);
    assert_eq!(seen.settled()[0].at, Duration::ZERO);
}
