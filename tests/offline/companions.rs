//! Companions of an earlier attempt, as recall finds them in the ledger. None is made here: that
//! needs the sandbox.

use ciphermill::fault::Code;
use ciphermill::job::event::OutputStatus;
use ciphermill::store::{NewObject, Store};
use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::bench::script::{at_store, fail};
use crate::bench::{Bench, LONG, job, output, parse, sum, url};

const THUMB: &str = "s3://made/thumb-00001.png";

fn two() -> Value {
    job([output("a"), output("b")])
}

/// The same job with a thumbnail beside its outputs.
fn with_thumbnail() -> Value {
    let mut job = two();
    job["thumbnails"] = json!({"url_pattern": "s3://made/thumb-{count}", "at_seconds": [0]});
    job
}

/// The entry of a companion that was to be written.
fn companion(upload: Option<&str>) -> Value {
    let mut entry = json!({
        "url": THUMB, "label": {"token": "thumb"}, "uploads": true,
        "result": {"kind": "thumbnail", "url": THUMB, "status": "written"},
    });
    if let Some(upload) = upload {
        entry["upload"] = upload.into();
    }
    entry
}

/// Publishes the companion as the earlier attempt would.
fn publish_thumbnail(bench: &Bench) {
    let mut new = NewObject::plain();
    let token = ciphermill::sink::TOKEN.to_owned();
    new.metadata.insert(token, "thumb".into());
    let (at, sum) = (url(THUMB), sum(b"picture"));
    let put = bench.store.put(&at, &new, "picture".into(), &sum);
    let put = put.now_or_never().expect("memory never waits");
    put.expect("written");
}

/// A bench on which both outputs of an earlier attempt at the job are published, and these
/// companions remembered, but no result.
async fn bench(companions: Value) -> Bench {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    bench.rule(at_store("put", "film.json", fail(Code::StoreDown)).from(3));
    bench.succeeds(&two()).await;
    bench.script.clear();
    bench.edit_entry(|entry| {
        entry["digest"] = parse(&with_thumbnail()).digest.to_string().into();
        entry["companions"] = companions;
    });
    bench.script.writes();
    bench
}

/// An attempt that ends when its source is to be opened, before anything is made.
async fn ends_at_its_source(bench: &Bench) {
    bench.rule(at_store("head", "films/film", fail(Code::SourceDenied)));
    let job = with_thumbnail();
    bench
        .fails_again(&job, Code::SourceDenied, "/input/url")
        .await;
}

#[tokio::test(start_paused = true)]
async fn p3_a_job_is_finished_when_its_companions_are_published_too() {
    let bench = bench(json!([companion(None)])).await;
    publish_thumbnail(&bench);
    let done = bench.succeeds_again(&with_thumbnail()).await;
    assert!(done.recognised);
    assert!(bench.script.writes().is_empty());
    let found = &done.data.companions[0].output;
    assert_eq!(found.url, THUMB);
    assert_eq!(found.bytes, Some(7));
    let etag = bench.object(THUMB).expect("there").version.etag;
    assert_eq!(found.etag, Some(etag));
}

#[tokio::test(start_paused = true)]
async fn p3_a_companion_that_could_not_be_made_is_told_again() {
    let mut failed = companion(None);
    failed["result"]["status"] = "failed".into();
    let bench = bench(json!([failed])).await;
    let done = bench.succeeds_again(&with_thumbnail()).await;
    assert!(done.recognised);
    let told = &done.data.companions[0].output;
    assert_eq!(told.status, OutputStatus::Failed);
}

#[tokio::test(start_paused = true)]
async fn p6_the_upload_of_a_companion_is_aborted_when_its_job_comes_again() {
    let bench = bench(json!([])).await;
    let upload = bench.begin(THUMB);
    bench.edit_entry(|entry| entry["companions"] = json!([companion(Some(&upload.0))]));
    ends_at_its_source(&bench).await;
    assert!(bench.uploads().is_empty());
}

#[tokio::test(start_paused = true)]
async fn p6_the_upload_of_a_companion_that_nobody_remembers_is_found_by_its_time() {
    let bench = bench(json!([companion(None)])).await;
    bench.begin(THUMB);
    ends_at_its_source(&bench).await;
    assert!(bench.uploads().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_companions_nobody_made_is_not_finished() {
    let bench = bench(json!([])).await;
    ends_at_its_source(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn a_companion_that_may_not_be_named_any_more_is_none() {
    for named in ["s3://elsewhere/thumb", "no url"] {
        let mut entry = companion(None);
        entry["url"] = named.into();
        let bench = bench(json!([entry])).await;
        ends_at_its_source(&bench).await;
    }
}

#[tokio::test(start_paused = true)]
async fn companions_of_earlier_attempts_are_looked_for_too() {
    for published in [true, false] {
        let bench = bench(json!([])).await;
        if published {
            publish_thumbnail(&bench);
        }
        let earlier = json!([{"url": THUMB, "label": {"token": "thumb"}}]);
        bench.edit_entry(|entry| entry["ours"] = earlier);
        ends_at_its_source(&bench).await;
        let looked = bench.script.calls_of("head");
        assert!(looked.iter().any(|url| url == THUMB));
        assert_eq!(bench.object(THUMB).is_some(), published);
    }
}

#[tokio::test(start_paused = true)]
async fn p3_a_finished_job_has_its_companions_still() {
    let bench = bench(json!([companion(None)])).await;
    publish_thumbnail(&bench);
    let data = bench.succeeds_again(&with_thumbnail()).await.data;
    let result = serde_json::to_value(&data).expect("JSON");
    bench.edit_entry(|entry| entry["result"] = result);
    let again = bench.succeeds_again(&with_thumbnail()).await;
    assert!(again.recognised);
    assert_eq!(again.data, data);
    bench.put(THUMB, b"somebody else's");
    ends_at_its_source(&bench).await;
}
