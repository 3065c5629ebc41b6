//! The source: one version of one object, whatever happens meanwhile (P5).

use std::time::Duration;

use ciphermill::fault::{Code, Fault};
use ciphermill::inject::rules::{Effect, Rule};
use ciphermill::store::Store;
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::bench::script::{at_store, fail};
use crate::bench::{Bench, LONG, PART, SHORT, job, output, plain, url};

/// A read of the source breaks off after so many bytes.
fn breaks_after(bytes: u64) -> Rule {
    let fault = Fault::new(Code::SourceBroken, "the download broke off");
    at_store("read", "films/film", Effect::Truncate { bytes, fault })
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_job_names_is_read() {
    let bench = Bench::aws();
    bench.store.keep_versions("films").expect("it can");
    let first = bench.source(LONG, 1);
    let version = bench.object("s3://films/film").expect("there").version;
    bench.source(LONG, 2);
    let mut job = job([output("a")]);
    job["input"]["version_id"] = version.version_id.clone().expect("one").into();
    let done = bench.succeeds(&job).await;
    assert_eq!(bench.body("s3://made/a"), first);
    let input = done.data.input.expect("one");
    assert_eq!(input.version.version_id, version.version_id);
    job["input"]["version_id"] = "no such version".into();
    bench
        .fails_again(&job, Code::SourceNotFound, "/input/url")
        .await;
}

#[tokio::test(start_paused = true)]
async fn p5_a_newer_version_does_not_disturb_a_store_that_keeps_the_old_one() {
    let bench = Bench::aws();
    bench.store.keep_versions("films").expect("it can");
    let first = bench.source(LONG, 1);
    let store = bench.store.clone();
    bench.script.before(("read", "films/film", 2), move || {
        crate::doubles::put(&store, &url("s3://films/film"), plain(LONG, 2));
    });
    bench.succeeds(&job([output("a")])).await;
    assert_eq!(bench.body("s3://made/a"), first);
}

#[tokio::test(start_paused = true)]
async fn an_etag_that_the_job_names_must_match() {
    let bench = Bench::aws();
    bench.source(SHORT, 1);
    let etag = bench.object("s3://films/film").expect("there").version.etag;
    let mut job = job([output("a")]);
    for spelt in [etag.clone(), format!("\"{etag}\"")] {
        job["input"]["etag"] = spelt.into();
        bench.succeeds(&job).await;
    }
    job["input"]["etag"] = "0123".into();
    bench.fails(&job, Code::SourceChanged, "/input/etag").await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_and_a_missing_bucket_are_told_apart() {
    let bench = Bench::aws();
    let mut job = job([output("a")]);
    bench.fails(&job, Code::SourceNotFound, "/input/url").await;
    job["input"]["url"] = "s3://gone/film".into();
    bench.fails(&job, Code::BucketNotFound, "/input/url").await;
    // A store that cannot say is no proof that there is no bucket.
    bench.rule(at_store("has_bucket", "gone", fail(Code::StoreDown)));
    bench.fails(&job, Code::SourceNotFound, "/input/url").await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_may_not_be_read_is_denied() {
    for operation in ["head", "read"] {
        let bench = Bench::aws();
        bench.source(LONG, 1);
        bench.rule(at_store(operation, "films/film", fail(Code::SourceDenied)));
        bench
            .fails(&job([output("a")]), Code::SourceDenied, "/input/url")
            .await;
        assert!(bench.uploads().is_empty(), "P6");
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_that_breaks_off_goes_on_where_it_broke() {
    let bench = Bench::aws();
    let plain = bench.source(SHORT, 1);
    bench.rule(breaks_after(400).times(2));
    let begun = Instant::now();
    bench.succeeds(&job([output("a")])).await;
    assert_eq!(bench.body("s3://made/a"), plain);
    assert_eq!(bench.script.calls_of("read").len(), 3);
    // Each brought bytes, so each is the first failure.
    assert_eq!(begun.elapsed(), Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn a_download_that_brings_nothing_is_given_up_after_five_tries() {
    let bench = Bench::aws();
    bench.source(SHORT, 1);
    bench.rule(breaks_after(0));
    let begun = Instant::now();
    bench
        .fails(&job([output("a")]), Code::SourceBroken, "/input/url")
        .await;
    assert_eq!(bench.script.calls_of("read").len(), 6);
    assert_eq!(
        begun.elapsed(),
        Duration::from_millis(100 + 200 + 400 + 800 + 1600)
    );
}

#[tokio::test(start_paused = true)]
async fn a_download_that_brings_something_each_time_is_never_given_up() {
    let bench = Bench::aws();
    let plain = bench.source(SHORT, 1);
    bench.rule(breaks_after(100).times(9));
    bench.succeeds(&job([output("a")])).await;
    assert_eq!(bench.body("s3://made/a"), plain);
    assert_eq!(bench.script.calls_of("read").len(), 10);
}

#[tokio::test(start_paused = true)]
async fn p5_a_source_that_is_overwritten_while_it_is_read_fails_the_job() {
    for bench in Bench::both() {
        bench.source(LONG, 1);
        let store = bench.store.clone();
        bench.script.before(("read", "films/film", 2), move || {
            crate::doubles::put(&store, &url("s3://films/film"), plain(LONG, 2));
        });
        bench
            .fails(&job([output("a")]), Code::SourceChanged, "/input/url")
            .await;
        assert!(bench.object("s3://made/a").is_none());
        assert!(bench.uploads().is_empty(), "P6");
    }
}

#[tokio::test(start_paused = true)]
async fn p5_a_source_that_vanishes_while_it_is_read_has_changed() {
    let bench = Bench::aws();
    bench.source(3 * PART, 1);
    let store = bench.store.clone();
    bench.script.before(("read", "films/film", 2), move || {
        let gone = store.delete(&url("s3://films/film")).now_or_never();
        gone.expect("memory never waits").expect("deleted");
    });
    bench
        .fails(&job([output("a")]), Code::SourceChanged, "/input/url")
        .await;
}
