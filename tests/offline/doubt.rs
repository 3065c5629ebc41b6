//! Doubt: answers that were lost, attempts that were overtaken, aborts that failed, and what is
//! remembered of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ciphermill::fault::Code;
use ciphermill::store::Store;
use futures_util::FutureExt;

use crate::bench::script::{at_store, fail, lose};
use crate::bench::{Bench, LEDGER, LONG, SHORT, STRANGER, job, new_output, output, url};

/// Has another program write to an output once, right after it was published.
fn overwritten_once(bench: &Bench, output: &str) {
    let (store, done) = (bench.store.clone(), AtomicBool::new(false));
    let url = url(output);
    bench.store.observe(Arc::new(move |change| {
        if change.url == url && !done.swap(true, Ordering::SeqCst) {
            crate::doubles::put(&store, &url, STRANGER.to_vec());
        }
    }));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_recognised_by_the_token() {
    let codes = [
        Code::StoreDown,
        Code::OutputExists,
        Code::SourceNotFound,
        Code::StoreRejected,
    ];
    for code in codes {
        for (bytes, publishes) in [(SHORT, "put"), (LONG, "complete")] {
            let bench = Bench::aws();
            let plain = bench.source(bytes, 1);
            bench.rule(at_store(publishes, "made/a", lose(code)));
            let done = bench.succeeds(&job([output("a")])).await;
            assert_eq!(done.data.outputs[0].bytes, Some(bytes as u64));
            assert_eq!(bench.body("s3://made/a"), plain);
            let tries = bench.script.calls_of(publishes);
            let tries = tries.iter().filter(|url| url.ends_with("made/a"));
            assert_eq!(tries.count(), 1, "P3");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_published_is_not_recognised() {
    for (bytes, publishes) in [(SHORT, "put"), (LONG, "complete")] {
        let bench = Bench::aws();
        bench.source(bytes, 1);
        bench.put("s3://made/a", STRANGER);
        bench.rule(at_store(publishes, "made/a", fail(Code::StoreDown)));
        let job = job([output("a")]);
        bench.fails(&job, Code::StoreDown, "/outputs/0/url").await;
        assert_eq!(bench.body("s3://made/a"), STRANGER);
    }
}

#[tokio::test(start_paused = true)]
async fn p3_an_output_of_unknown_fate_is_looked_at_by_the_next_attempt() {
    for outputs in [1, 2] {
        let bench = Bench::aws();
        bench.source(LONG, 1);
        bench.rule(at_store("complete", "made/a", lose(Code::StoreDown)).times(1));
        // Recall looks first where there is one output.
        let looks = if outputs == 1 { 2 } else { 1 };
        bench.rule(
            at_store("head", "made/a", fail(Code::StoreDown))
                .from(looks)
                .times(1),
        );
        let job = match outputs {
            1 => job([output("a")]),
            _ => job([output("a"), output("b")]),
        };
        bench.fails(&job, Code::StoreDown, "/outputs/0/url").await;
        assert!(bench.entry().is_some(), "it may be visible");
        let version = bench.object("s3://made/a").expect("published").version;
        bench.script.clear();
        let done = bench.succeeds_again(&job).await;
        assert!(done.recognised);
        assert_eq!(done.data.outputs.len(), outputs);
        let still = bench.object("s3://made/a").expect("published").version;
        assert_eq!(still, version);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_somebody_else_aborted_is_a_transient_failure() {
    for ends_at in ["upload", "complete"] {
        let bench = Bench::aws();
        bench.source(LONG, 1);
        let store = bench.store.clone();
        bench.script.before((ends_at, "made/a", 1), move || {
            let url = url("s3://made/a");
            for upload in store.open_uploads("made") {
                let aborted = store.abort(&url, &upload.id).now_or_never();
                aborted.expect("memory never waits").expect("aborted");
            }
        });
        let job = job([output("a")]);
        bench
            .fails(&job, Code::IntegrityMismatch, "/outputs/0/url")
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_output_overwritten_straight_after_it_was_written_is_made_again() {
    for bytes in [SHORT, LONG] {
        let bench = Bench::aws();
        let plain = bench.source(bytes, 1);
        overwritten_once(&bench, "s3://made/a");
        let job = job([output("a")]);
        let fault = bench
            .fails(&job, Code::IntegrityMismatch, "/outputs/0/url")
            .await;
        assert!(fault.message.contains("overwritten by somebody else"));
        let done = bench.succeeds_again(&job).await;
        assert!(!done.recognised);
        assert_eq!(bench.body("s3://made/a"), plain);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_superseded_publishes_nothing() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    let store = bench.store.clone();
    // Before it looks whether the entry is still its own: the second time that it is read.
    bench.script.before(("get_small", "film.json", 2), move || {
        let object = store.object(&url(LEDGER)).expect("an entry");
        let mut entry: serde_json::Value = serde_json::from_slice(&object.body).expect("JSON");
        entry["attempt"] = "another".into();
        crate::doubles::put(&store, &url(LEDGER), entry.to_string().into_bytes());
    });
    bench
        .fails(&job([output("a"), output("b")]), Code::Superseded, "")
        .await;
    assert!(bench.object("s3://made/a").is_none());
    assert!(bench.uploads().is_empty(), "P6");
    let entry = bench.entry().expect("the other attempt's");
    assert_eq!(entry["attempt"], "another");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_cannot_ask_whether_it_was_superseded_publishes_nothing() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    bench.rule(at_store("get_small", "film.json", fail(Code::StoreDown)).from(2));
    let job = job([output("a"), output("b")]);
    bench.fails(&job, Code::StoreDown, "/outputs/0/url").await;
    assert!(bench.object("s3://made/a").is_none());
    assert!(bench.uploads().is_empty(), "P6");
    assert!(bench.entry().is_some(), "it may be another attempt's");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_nobody_remembers_publishes_nothing() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    let store = bench.store.clone();
    bench.script.before(("get_small", "film.json", 2), move || {
        let gone = store.delete(&url(LEDGER)).now_or_never();
        gone.expect("memory never waits").expect("deleted");
    });
    bench
        .fails(&job([output("a"), output("b")]), Code::Superseded, "")
        .await;
    assert!(bench.object("s3://made/a").is_none());
    assert!(bench.entry().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_one_output_is_visible_is_remembered() {
    let bench = Bench::aws();
    let plain = bench.source(LONG, 1);
    bench.rule(at_store("complete", "made/b", fail(Code::SinkDenied)));
    let job = job([new_output("a"), output("b")]);
    bench.fails(&job, Code::SinkDenied, "/outputs/1/url").await;
    assert_eq!(bench.body("s3://made/a"), plain);
    assert!(bench.uploads().is_empty(), "P6");
    assert!(bench.entry().is_some());
    bench.script.clear();
    let first = bench.object("s3://made/a").expect("published");
    let done = bench.succeeds_again(&job).await;
    let kept = bench.object("s3://made/a").expect("published");
    assert_eq!(first, kept, "what was published is not published again");
    assert_eq!(done.data.outputs[0].etag, Some(kept.version.etag));
    assert_eq!(bench.body("s3://made/b"), plain);
}

#[tokio::test(start_paused = true)]
async fn p6_an_upload_that_cannot_be_aborted_is_remembered() {
    for code in [Code::StoreDown, Code::SinkDenied] {
        let bench = Bench::aws();
        bench.source(LONG, 1);
        bench.rule(at_store("upload", "made/a", fail(Code::SinkDenied)));
        bench.rule(at_store("abort", "made/a", fail(code)).times(1));
        let job = job([output("a")]);
        bench.fails(&job, Code::SinkDenied, "/outputs/0/url").await;
        assert_eq!(bench.uploads(), ["a"]);
        let upload = bench.entry().expect("an entry")["outputs"][0]["upload"].clone();
        let open = bench.store.open_uploads("made");
        assert_eq!(upload, open[0].id.0.as_str());
        bench.script.clear();
        bench.succeeds_again(&job).await;
        assert!(bench.uploads().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn p6_an_upload_that_is_there_after_its_abort_is_remembered() {
    let mut bench = Bench::aws();
    bench.source(LONG, 1);
    bench.stubborn = true;
    bench.rule(at_store("upload", "made/a", fail(Code::SinkDenied)));
    let job = job([output("a")]);
    bench.fails(&job, Code::SinkDenied, "/outputs/0/url").await;
    assert!(bench.entry().is_some());
    bench.script.clear();
    // A store that takes its time with an abort does not hold the job.
    bench.succeeds_again(&job).await;
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_cannot_be_forgotten_is_no_other_failure() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    bench.rule(at_store("upload", "made/a", fail(Code::SinkDenied)));
    bench.rule(at_store("delete", "film.json", fail(Code::StoreDown)));
    let job = job([output("a")]);
    bench.fails(&job, Code::SinkDenied, "/outputs/0/url").await;
    assert!(bench.entry().is_some());
}
