//! Publication: all or none, in order, and never over what a job may not replace.

use std::time::Duration;

use ciphermill::fault::Code;
use ciphermill::inject::rules::Effect;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::bench::script::{at_store, fail};
use crate::bench::{Bench, LONG, SHORT, STRANGER, expect, job, new_output, output, refused};

#[tokio::test(start_paused = true)]
async fn outputs_that_may_be_refused_are_published_first() {
    for bench in Bench::both() {
        bench.source(LONG, 1);
        let seen = bench.watch_outputs();
        bench
            .succeeds(&job([output("a"), new_output("b"), output("c")]))
            .await;
        let seen = seen.lock().expect("no panic").clone();
        assert_eq!(seen, ["s3://made/b", "s3://made/a", "s3://made/c"]);
    }
}

#[tokio::test(start_paused = true)]
async fn p2_an_output_of_several_parts_appears_at_once() {
    for bench in Bench::both() {
        let plain = bench.source(LONG, 1);
        let seen = bench.watch_outputs();
        let done = bench.succeeds(&job([output("a")])).await;
        assert_eq!(*seen.lock().expect("no panic"), ["s3://made/a"]);
        assert_eq!(bench.body("s3://made/a"), plain);
        assert_eq!(done.data.outputs[0].bytes, Some(LONG as u64));
        assert_eq!(bench.script.calls_of("upload").len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_source_makes_empty_outputs() {
    let bench = Bench::aws();
    bench.source(0, 1);
    bench.succeeds(&job([output("a"), output("b")])).await;
    assert!(bench.body("s3://made/a").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_there_before_the_job_is_refused_before_a_byte_is_read() {
    for bench in Bench::both() {
        bench.source(LONG, 1);
        bench.put("s3://made/a", STRANGER);
        let job = job([new_output("a")]);
        bench
            .fails(&job, Code::OutputExists, "/outputs/0/url")
            .await;
        assert!(bench.script.calls_of("read").is_empty());
        assert_eq!(bench.body("s3://made/a"), STRANGER);
        assert!(bench.entry().is_none(), "a failed job is forgotten");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_if_absent_refuses_what_comes_in_between() {
    for (bytes, publishes) in [(SHORT, "put"), (LONG, "complete")] {
        let bench = Bench::aws();
        bench.source(bytes, 1);
        bench.stranger_before((publishes, "made/a", 1), "s3://made/a");
        let job = job([new_output("a")]);
        bench
            .fails(&job, Code::OutputExists, "/outputs/0/url")
            .await;
        assert_eq!(bench.body("s3://made/a"), STRANGER);
        assert!(bench.uploads().is_empty(), "P6");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_no_condition_is_looked_at_as_late_as_possible() {
    for bytes in [SHORT, LONG] {
        let bench = Bench::garage();
        bench.source(bytes, 1);
        // Recall looks first, then the beginning, then the publication.
        bench.stranger_before(("head", "made/a", 3), "s3://made/a");
        let job = job([new_output("a")]);
        bench
            .fails(&job, Code::OutputExists, "/outputs/0/url")
            .await;
        assert_eq!(bench.body("s3://made/a"), STRANGER);
        assert!(bench.script.calls_of("complete").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_look_leaves_the_decision_to_a_store_that_keeps_if_absent() {
    let denied = || at_store("head", "made/a", fail(Code::SourceDenied));
    let bench = Bench::aws();
    bench.source(SHORT, 1);
    bench.rule(denied().times(2));
    bench.succeeds(&job([new_output("a")])).await;
    assert_eq!(bench.body("s3://made/a").len(), SHORT);
    let bench = Bench::garage();
    bench.source(SHORT, 1);
    bench.rule(denied().times(2));
    let refused = job([new_output("a")]);
    bench
        .fails(&refused, Code::SourceDenied, "/outputs/0/url")
        .await;
    assert!(bench.object("s3://made/a").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_required_output_that_cannot_be_begun_fails_the_job() {
    for code in [Code::SinkDenied, Code::StoreDown] {
        let bench = Bench::aws();
        bench.source(LONG, 1);
        bench.rule(at_store("begin", "made/b", fail(code)));
        let job = job([output("a"), output("b")]);
        bench.fails(&job, code, "/outputs/1/url").await;
        assert!(bench.uploads().is_empty(), "P6");
        assert!(bench.script.calls_of("read").is_empty());
        // Nobody knows whether a beginning without an answer began something.
        assert_eq!(bench.entry().is_some(), code == Code::StoreDown);
    }
}

#[tokio::test(start_paused = true)]
async fn a_required_output_that_refuses_a_part_fails_the_job_and_leaves_nothing() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    bench.rule(at_store("upload", "made/b", fail(Code::SinkDenied)).from(2));
    let job = job([output("a"), output("b")]);
    bench.fails(&job, Code::SinkDenied, "/outputs/1/url").await;
    assert!(bench.uploads().is_empty(), "P6");
    assert!(
        bench.store.names("made").is_empty(),
        "P2, and nothing is remembered"
    );
}

#[tokio::test(start_paused = true)]
async fn server_side_encryption_that_is_ignored_is_refused_before_anything_is_replaced() {
    let bench = Bench::garage();
    bench.source(SHORT, 1);
    bench.put("s3://made/a", STRANGER);
    let mut wanting = output("a");
    wanting["storage"] = json!({"server_side": {"mode": "s3"}});
    let refusing = job([wanting.clone()]);
    let at = "/outputs/0/storage/server_side";
    bench.fails(&refusing, Code::ServerSideIgnored, at).await;
    assert_eq!(bench.body("s3://made/a"), STRANGER);
    assert!(bench.uploads().is_empty());
    wanting["required"] = false.into();
    let done = bench.succeeds(&job([output("b"), wanting.clone()])).await;
    assert_eq!(refused(&done.data.outputs[1]), "server_side_ignored");
    let bench = Bench::aws();
    bench.source(SHORT, 1);
    let done = bench.succeeds(&job([wanting])).await;
    assert_eq!(done.data.outputs[0].server_side.as_deref(), Some("AES256"));
}

#[tokio::test(start_paused = true)]
async fn a_missing_bucket_is_named_at_its_output() {
    let nowhere = |required: bool| json!({"url": "s3://gone/a", "required": required});
    for bytes in [SHORT, LONG] {
        let bench = Bench::aws();
        bench.source(bytes, 1);
        let alone = job([nowhere(true)]);
        bench
            .fails(&alone, Code::BucketNotFound, "/outputs/0/url")
            .await;
        let second = job([output("a"), nowhere(true)]);
        bench
            .fails(&second, Code::BucketNotFound, "/outputs/1/url")
            .await;
        let bench = Bench::aws();
        bench.source(bytes, 1);
        // The ledger stands beside the first output that is required.
        let done = bench.succeeds(&job([nowhere(false), output("a")])).await;
        assert_eq!(refused(&done.data.outputs[0]), "bucket_not_found");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_named_at_its_output_as_a_whole() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    bench.rule(at_store("begin", "made/b", fail(Code::StoreRejected)));
    let job = job([output("a"), output("b")]);
    bench.fails(&job, Code::StoreRejected, "/outputs/1").await;
}

#[tokio::test(start_paused = true)]
async fn p6_a_stopped_attempt_aborts_its_uploads_and_publishes_nothing() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    for call in [
        ("get_small", "film"),
        ("begin", "made/b"),
        ("upload", "made/b"),
    ] {
        let stop = CancellationToken::new();
        let token = stop.clone();
        let slow = Effect::DelayBefore(Duration::from_secs(5));
        bench.rule(at_store(call.0, call.1, slow));
        bench
            .script
            .before((call.0, call.1, 1), move || token.cancel());
        let ended = bench
            .attempt(&job([output("a"), output("b")]), false, &stop)
            .await;
        expect(ended, Code::Stopping, "");
        // Uploads of sinks that were dropped are aborted beside it.
        bench.wait(60).await;
        bench.script.clear();
        assert!(bench.object("s3://made/a").is_none());
        assert!(bench.uploads().is_empty(), "{call:?}");
    }
    bench.succeeds_again(&job([output("a"), output("b")])).await;
}

#[tokio::test(start_paused = true)]
async fn p2_publication_runs_to_its_end_when_it_is_stopped() {
    let bench = Bench::aws();
    let plain = bench.source(LONG, 1);
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    bench
        .script
        .before(("complete", "made/a", 1), move || token.cancel());
    let ended = bench
        .attempt(&job([output("a"), output("b")]), false, &cancel)
        .await;
    assert!(ended.is_ok());
    assert_eq!(bench.body("s3://made/b"), plain);
}

#[tokio::test(start_paused = true)]
async fn a_job_past_its_deadline_fails_for_good() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    let slow = Effect::DelayBefore(Duration::from_secs(60));
    bench.rule(at_store("upload", "made/a", slow));
    let mut job = job([output("a")]);
    job["deadline_seconds"] = 30.into();
    bench
        .fails(&job, Code::DeadlineExceeded, "/deadline_seconds")
        .await;
    assert!(bench.uploads().is_empty(), "P6");
    job["deadline_seconds"] = 300.into();
    bench.succeeds(&job).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_job_may_not_name_is_refused_before_any_call() {
    let bench = Bench::aws();
    for (bucket, code) in [
        ("s3://elsewhere/a", Code::BucketNotAllowed),
        ("s3://made/.ciphermill/a", Code::ReservedPlace),
    ] {
        let wrong = job([json!({"url": bucket})]);
        bench.fails(&wrong, code, "/outputs/0/url").await;
    }
    assert_eq!(bench.script.calls(), 0);
}
