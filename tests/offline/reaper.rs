//! The reaper: what crashed jobs that never came back left (P6).

use std::time::Duration;

use ciphermill::fault::Code;
use ciphermill::inject::rules::Effect;
use ciphermill::worker::reaper;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::bench::script::{at_store, fail};
use crate::bench::{Bench, LEDGER, LONG, given_iv, job, optional, output};

/// Longer than `worker.reap_after_seconds`.
const OLD: u64 = 86_500;

fn two() -> Value {
    job([output("a"), output("b")])
}

/// A bench on which a job died with two uploads under way.
async fn crashed(job: &Value) -> Bench {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    let hangs = at_store("upload", "made/a", Effect::HangAfter);
    bench.dies(job, hangs).await;
    bench
}

/// One round through the bucket of the outputs.
async fn reap(bench: &Bench) -> usize {
    let pipeline = bench.worker(1).pipeline;
    let reaped = reaper::reap(&pipeline, "made").await;
    reaped.expect("the store answers")
}

#[tokio::test(start_paused = true)]
async fn p6_uploads_of_a_job_that_never_came_back_are_aborted() {
    let bench = crashed(&two()).await;
    bench.wait(OLD).await;
    assert_eq!(reap(&bench).await, 2);
    assert!(bench.uploads().is_empty());
    assert!(bench.entry().is_none(), "and it is forgotten");
}

#[tokio::test(start_paused = true)]
async fn p6_uploads_that_nobody_remembers_are_found_by_their_time() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    bench.begin("s3://made/a");
    bench.wait(600).await;
    let hangs = at_store("put", "film.json", Effect::HangBefore).from(2);
    bench.dies(&two(), hangs).await;
    bench.wait(OLD).await;
    bench.begin("s3://made/b");
    assert_eq!(reap(&bench).await, 2);
    assert_eq!(
        bench.uploads(),
        ["a", "b"],
        "an older and a younger one are not the job's"
    );
}

#[tokio::test(start_paused = true)]
async fn a_young_job_is_left_alone() {
    let bench = crashed(&two()).await;
    bench.wait(86_000).await;
    assert_eq!(reap(&bench).await, 0);
    assert_eq!(bench.uploads().len(), 2);
    assert!(bench.entry().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_came_back_meanwhile_is_left_alone() {
    let bench = crashed(&two()).await;
    bench.wait(OLD).await;
    // The listing is older than the entry.
    let mut entry = bench.entry().expect("an entry");
    entry["begun"] = 1_700_000_000_u64.saturating_add(OLD).into();
    let (store, body) = (bench.store.clone(), entry.to_string().into_bytes());
    bench.script.before(("get_small", "film.json", 1), move || {
        crate::doubles::put(&store, &crate::bench::url(LEDGER), body);
    });
    assert_eq!(reap(&bench).await, 0);
    assert_eq!(bench.uploads().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_entry_of_a_finished_job_is_forgotten_unless_it_gave_an_iv() {
    for (first, kept) in [(output("a"), false), (given_iv("a"), true)] {
        let bench = Bench::aws();
        bench.source(LONG, 1);
        bench.succeeds(&job([first])).await;
        bench.wait(OLD).await;
        assert_eq!(reap(&bench).await, 0);
        assert_eq!(bench.entry().is_some(), kept);
    }
}

#[tokio::test(start_paused = true)]
async fn p6_a_finished_job_may_have_left_the_upload_of_an_optional_output() {
    for other_message in [false, true] {
        let bench = Bench::aws();
        bench.source(LONG, 1);
        bench.rule(at_store("complete", "made/b", fail(Code::SinkDenied)));
        bench.rule(at_store("abort", "made/b", fail(Code::StoreDown)));
        bench.succeeds(&job([output("a"), optional("b")])).await;
        assert_eq!(bench.uploads(), ["b"]);
        bench.wait(OLD).await;
        assert_eq!(reap(&bench).await, 0);
        assert!(
            bench.entry().is_some(),
            "not while the store does not answer"
        );
        bench.script.clear();
        match other_message {
            true => drop(bench.succeeds(&job([output("c"), output("d")])).await),
            false => assert_eq!(reap(&bench).await, 1),
        }
        assert!(bench.uploads().is_empty());
        assert_eq!(bench.entry().is_some(), other_message);
    }
}

#[tokio::test(start_paused = true)]
async fn p13_the_history_of_a_given_iv_outlives_its_uploads() {
    let bench = crashed(&job([given_iv("a"), output("b")])).await;
    bench.wait(OLD).await;
    assert_eq!(reap(&bench).await, 2);
    let entry = bench.entry().expect("its history");
    assert_eq!(entry["given_iv"], true);
    assert_eq!(entry["outputs"][0].get("upload"), None);
}

#[tokio::test(start_paused = true)]
async fn p6_what_cannot_be_aborted_is_not_forgotten() {
    for code in [Code::StoreDown, Code::SinkDenied] {
        let bench = crashed(&two()).await;
        bench.wait(OLD).await;
        bench.rule(at_store("abort", "made/a", fail(code)));
        assert_eq!(reap(&bench).await, 1);
        assert_eq!(bench.uploads(), ["a"]);
        assert!(bench.entry().is_some());
        bench.script.clear();
        assert_eq!(reap(&bench).await, 2, "the next round finds it");
        assert!(bench.uploads().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_list_uploads_forgets_those_without_a_name() {
    for (code, kept) in [(Code::SinkDenied, false), (Code::StoreDown, true)] {
        let bench = Bench::aws();
        bench.source(LONG, 1);
        let hangs = at_store("put", "film.json", Effect::HangBefore).from(2);
        bench.dies(&two(), hangs).await;
        bench.wait(OLD).await;
        bench.rule(at_store("uploads", "made/", fail(code)));
        assert_eq!(reap(&bench).await, 0);
        assert_eq!(bench.entry().is_some(), kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_entry_keeps_no_other_from_being_looked_at() {
    let bench = crashed(&two()).await;
    bench.put("s3://made/.ciphermill/aaa.json", b"damaged");
    bench.put("s3://made/.ciphermill/probe-1", b"no entry");
    bench.edit_entry(|entry| entry["outputs"][0]["url"] = "no url".into());
    bench.wait(OLD).await;
    assert_eq!(reap(&bench).await, 1);
    assert_eq!(bench.uploads(), ["a"], "a place that cannot be read");
    let left = bench.store.names("made");
    assert_eq!(left, [".ciphermill/aaa.json", ".ciphermill/probe-1"]);
}

#[tokio::test(start_paused = true)]
async fn p6_uploads_of_companions_are_aborted_too() {
    let bench = crashed(&two()).await;
    let upload = bench.begin("s3://made/thumb");
    bench.edit_entry(|entry| {
        entry["companions"] = json!([{
            "url": "s3://made/thumb", "upload": upload.0, "label": {"token": "t"}, "uploads": true,
            "result": {"kind": "thumbnail", "url": "s3://made/thumb", "status": "written"},
        }]);
    });
    bench.wait(OLD).await;
    assert_eq!(reap(&bench).await, 3);
    assert!(bench.uploads().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_fails_ends_the_round() {
    let bench = crashed(&two()).await;
    bench.wait(OLD).await;
    bench.rule(at_store("list", "made/", fail(Code::StoreDown)));
    let pipeline = bench.worker(1).pipeline;
    let fault = reaper::reap(&pipeline, "made")
        .await
        .expect_err("no answer");
    assert_eq!(fault.code, Code::StoreDown);
}

#[tokio::test(start_paused = true)]
async fn it_goes_its_rounds_until_it_is_stopped() {
    let bench = crashed(&two()).await;
    bench.rule(at_store("list", "made/", fail(Code::StoreDown)).times(1));
    let pipeline = bench.worker(1).pipeline;
    let stop = CancellationToken::new();
    let reaping = async { reaper::run(&pipeline, &stop).await };
    let watching = async {
        bench.wait(3 * 86_400).await;
        assert!(bench.uploads().is_empty());
        stop.cancel();
    };
    tokio::join!(reaping, watching);
    // Once an hour, through the three buckets that are allowed, from the first moment on.
    let rounds = bench.script.calls_of("list");
    let of_outputs = rounds.iter().filter(|url| url.contains("//made/")).count();
    assert_eq!(of_outputs, 3 * 24 + 1);
    assert_eq!(rounds.len(), 3 * of_outputs);
}

#[tokio::test(start_paused = true)]
async fn without_a_list_of_buckets_there_is_nothing_to_look_through() {
    let mut bench = crashed(&two()).await;
    bench.settings.worker.allow_buckets = None;
    let pipeline = bench.worker(1).pipeline;
    let never = CancellationToken::new();
    let run = reaper::run(&pipeline, &never);
    let ended = tokio::time::timeout(Duration::from_secs(1), run).await;
    assert!(ended.is_ok());
    assert!(bench.script.calls_of("list").is_empty());
}
