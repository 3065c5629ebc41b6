//! Remains: what an unfinished attempt left, its uploads and its published outputs, when its job comes
//! again or another message has its id (P5, P6, P13).

use ciphermill::fault::Code;
use ciphermill::inject::rules::Effect;
use ciphermill::store::Store;
use futures_util::FutureExt;
use serde_json::Value;

use crate::bench::script::{at_store, fail};
use crate::bench::{Bench, LONG, given_iv, job, new_output, output, url, with_source};

/// Two outputs in parts: a job that the ledger remembers.
fn two() -> Value {
    job([output("a"), output("b")])
}

/// An attempt dies before it completes the second of two outputs; the first one may be visible.
async fn half_published(bench: &Bench, job: &Value) {
    let hangs = at_store("complete", "made/b", Effect::HangBefore);
    bench.dies(job, hangs).await;
    assert!(bench.object("s3://made/a").is_some());
    assert_eq!(bench.uploads(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn p6_uploads_that_a_crash_left_are_aborted_when_the_job_comes_again() {
    for (outputs, redelivered) in [(1, false), (1, true), (2, true)] {
        let bench = with_source();
        let job = match outputs {
            1 => job([output("a")]),
            _ => two(),
        };
        let hangs = at_store("upload", "made/a", Effect::HangAfter);
        bench.dies(&job, hangs).await;
        assert_eq!(bench.uploads().len(), outputs);
        bench.script.writes();
        match redelivered {
            true => bench.succeeds_again(&job).await,
            false => bench.succeeds(&job).await,
        };
        assert!(bench.uploads().is_empty());
        let writes = bench.script.writes();
        assert!(writes[0].starts_with("abort"), "first of all: {writes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn p6_uploads_that_nobody_remembers_are_found_by_their_time() {
    let bench = with_source();
    let earlier = bench.begin("s3://made/a");
    bench.wait(600).await;
    let hangs = at_store("put", "film.json", Effect::HangBefore).from(2);
    bench.dies(&two(), hangs).await;
    assert_eq!(bench.uploads(), ["a", "a", "b"]);
    assert_eq!(
        bench.entry().expect("an entry")["outputs"][0].get("upload"),
        None
    );
    bench.succeeds_again(&two()).await;
    let left = bench.store.open_uploads("made");
    assert_eq!(left.len(), 1, "another program's stays");
    assert_eq!(left[0].id, earlier);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_gone_already_holds_nothing_up() {
    for bench in Bench::both() {
        bench.source(LONG, 1);
        bench
            .dies(&two(), at_store("upload", "made/a", Effect::HangAfter))
            .await;
        for upload in bench.store.open_uploads("made") {
            let at = url(&format!("s3://made/{}", upload.key));
            let aborted = bench.store.abort(&at, &upload.id).now_or_never();
            aborted.expect("memory never waits").expect("aborted");
        }
        assert!(!bench.succeeds_again(&two()).await.recognised);
    }
}

#[tokio::test(start_paused = true)]
async fn p6_a_store_that_does_not_answer_to_an_abort_ends_the_attempt() {
    for unremembered in [false, true] {
        let bench = with_source();
        let hangs = match unremembered {
            false => at_store("upload", "made/a", Effect::HangAfter),
            true => at_store("put", "film.json", Effect::HangBefore).from(2),
        };
        bench.dies(&two(), hangs).await;
        let entry = bench.entry();
        let operation = if unremembered { "uploads" } else { "abort" };
        bench.rule(at_store(operation, "made/b", fail(Code::StoreDown)));
        bench.fails_again(&two(), Code::StoreDown, "").await;
        assert_eq!(bench.entry(), entry, "nothing is forgotten");
        assert_eq!(bench.uploads(), ["b"], "the other one is aborted");
        bench.script.clear();
        bench.succeeds_again(&two()).await;
        assert!(bench.uploads().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_that_is_denied_is_left_to_the_reaper() {
    let bench = with_source();
    bench
        .dies(&two(), at_store("upload", "made/a", Effect::HangAfter))
        .await;
    bench.rule(at_store("abort", "made/b", fail(Code::SinkDenied)));
    bench.succeeds_again(&two()).await;
    assert_eq!(bench.uploads(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_names_what_a_job_may_not_name_is_not_followed() {
    for named in ["s3://elsewhere/a", "no url"] {
        let bench = with_source();
        bench
            .dies(&two(), at_store("upload", "made/a", Effect::HangAfter))
            .await;
        bench.edit_entry(|entry| entry["outputs"][0]["url"] = named.into());
        bench.script.writes();
        bench.succeeds_again(&two()).await;
        let writes = bench.script.writes();
        assert_eq!(writes[0], "abort s3://made/b");
        assert!(writes.iter().all(|write| write != "abort s3://made/a"));
    }
}

#[tokio::test(start_paused = true)]
async fn p5_a_given_iv_meets_one_version_of_its_source_only() {
    let bench = with_source();
    let given = job([given_iv("a"), output("b")]);
    half_published(&bench, &given).await;
    bench.source(LONG, 2);
    bench
        .fails_again(&given, Code::SourceChanged, "/input/url")
        .await;
    assert!(bench.uploads().is_empty(), "P6: aborted all the same");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_attempt_published_is_kept() {
    for bench in Bench::both() {
        let plain = bench.source(LONG, 1);
        half_published(&bench, &two()).await;
        let first = bench.object("s3://made/a").expect("published");
        let done = bench.succeeds_again(&two()).await;
        assert!(!done.recognised);
        let kept = bench.object("s3://made/a").expect("published");
        assert_eq!(first, kept);
        assert_eq!(done.data.outputs[0].etag, Some(kept.version.etag));
        assert_eq!(bench.body("s3://made/b"), plain);
        assert!(bench.uploads().is_empty());
        assert!(
            bench.succeeds_again(&two()).await.recognised,
            "by the token of the first"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_attempt_published_is_kept_where_it_may_not_be_replaced() {
    let bench = with_source();
    let job = job([new_output("a"), output("b")]);
    half_published(&bench, &job).await;
    let done = bench.succeeds_again(&job).await;
    assert_eq!(done.data.outputs.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn p5_what_was_made_of_another_version_of_the_source_is_made_again() {
    let bench = with_source();
    half_published(&bench, &two()).await;
    let plain = bench.source(LONG, 2);
    bench.succeeds_again(&two()).await;
    assert_eq!(bench.body("s3://made/a"), plain);
    assert_eq!(bench.body("s3://made/b"), plain);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_replaced_is_not_made_again_of_another_version() {
    for bench in Bench::both() {
        let first = bench.source(LONG, 1);
        let job = job([new_output("a"), output("b")]);
        half_published(&bench, &job).await;
        bench.source(LONG, 2);
        bench
            .fails_again(&job, Code::OutputExists, "/outputs/0/url")
            .await;
        assert_eq!(bench.body("s3://made/a"), first);
        assert!(
            bench.object("s3://made/b").is_none(),
            "P5: no other output of another version"
        );
        assert!(bench.uploads().is_empty(), "P6");
    }
}

#[tokio::test(start_paused = true)]
async fn an_output_that_somebody_replaced_since_is_made_again() {
    let bench = Bench::aws();
    let plain = bench.source(LONG, 1);
    half_published(&bench, &two()).await;
    bench.put("s3://made/a", b"somebody else's");
    bench.succeeds_again(&two()).await;
    assert_eq!(bench.body("s3://made/a"), plain);
}

#[tokio::test(start_paused = true)]
async fn an_outage_while_published_outputs_are_looked_for_ends_the_attempt() {
    let bench = with_source();
    half_published(&bench, &two()).await;
    bench.rule(at_store("head", "made/a", fail(Code::StoreDown)));
    bench.fails_again(&two(), Code::StoreDown, "").await;
    assert_eq!(bench.uploads(), ["b"]);
}
