//! The sink: one output object, staged in parts and published whole, or given up (P2, P6).

use std::sync::Arc;
use std::time::Duration;

use ciphermill::buffers::{PartBuffer, Pool};
use ciphermill::fault::{Code, Fault};
use ciphermill::inject::rules::Effect;
use ciphermill::job::{JobDigest, Mode};
use ciphermill::sink::label::Label;
use ciphermill::sink::{self, Sink, TOKEN};
use ciphermill::store::faulty::FaultyStore;
use ciphermill::store::{NewObject, PartPlace, Store, UploadId};

use crate::bench::script::{Process, at_store, fail};
use crate::bench::{Bench, sum, url};

/// The bench's store, as one process reaches it.
fn store(bench: &Bench) -> Arc<dyn Store> {
    let process = Process::new(bench.script.clone());
    Arc::new(FaultyStore::new(bench.store.clone(), process))
}

/// An object of this attempt.
fn labelled() -> NewObject {
    let mut new = NewObject::plain();
    new.metadata.insert(TOKEN.into(), "mine".into());
    new
}

async fn buffer(bytes: &[u8]) -> PartBuffer {
    let pool = Pool::new(1 << 20);
    let reservation = pool.reserve(1 << 16).await.expect("room");
    let mut buffer = reservation.buffer(bytes.len().max(1));
    assert_eq!(buffer.append(bytes), bytes.len());
    buffer
}

async fn begin(bench: &Bench, multipart: bool) -> Sink {
    let begun = Sink::begin(
        store(bench),
        url("s3://made/a"),
        labelled(),
        multipart,
        false,
    );
    begun.await.expect("begun")
}

async fn part(sink: &Sink, number: i32, bytes: &[u8]) -> Result<(), Fault> {
    let place = PartPlace { number, offset: 0 };
    sink.part(place, buffer(bytes).await, sum(bytes)).await
}

#[tokio::test(start_paused = true)]
async fn p2_parts_are_put_together_by_number_whatever_the_order_they_came_in() {
    let bench = Bench::aws();
    let mut sink = begin(&bench, true).await;
    part(&sink, 2, b"second").await.expect("taken");
    part(&sink, 1, b"first").await.expect("taken");
    assert!(bench.object("s3://made/a").is_none());
    let facts = sink.commit().await.expect("published");
    assert_eq!(facts.len, 11);
    assert_eq!(bench.body("s3://made/a"), b"firstsecond");
    assert!(sink.upload_id().is_none(), "it is over");
}

#[tokio::test(start_paused = true)]
async fn an_object_is_published_once() {
    for multipart in [false, true] {
        let bench = Bench::aws();
        let mut sink = begin(&bench, multipart).await;
        part(&sink, 1, b"all").await.expect("taken");
        sink.commit().await.expect("published");
        let fault = sink.commit().await.expect_err("there is no more");
        assert_eq!(fault.code, Code::Internal);
        assert!(sink.abort().await, "and nothing is left of it");
        assert_eq!(bench.body("s3://made/a"), b"all");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_takes_no_parts_and_is_not_published() {
    let bench = Bench::aws();
    let mut sink = begin(&bench, true).await;
    assert!(sink.upload_id().is_some());
    assert!(sink.abort().await);
    assert!(bench.uploads().is_empty());
    assert!(sink.abort().await, "again: nothing is left");
    assert_eq!(bench.script.calls_of("abort").len(), 1);
    let fault = part(&sink, 1, b"late").await.expect_err("it is over");
    assert_eq!(fault.code, Code::Internal);
    assert_eq!(sink.commit().await.expect_err("over").code, Code::Internal);
}

#[tokio::test(start_paused = true)]
async fn an_object_in_one_piece_has_nothing_to_be_aborted() {
    let bench = Bench::aws();
    let mut sink = begin(&bench, false).await;
    part(&sink, 1, b"all").await.expect("taken");
    assert!(sink.upload_id().is_none());
    assert!(sink.abort().await);
    drop(sink);
    bench.wait(1).await;
    assert_eq!(bench.script.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn p6_a_sink_that_is_dropped_is_aborted_behind_it() {
    let bench = Bench::aws();
    bench.rule(at_store(
        "abort",
        "made/a",
        Effect::DelayBefore(Duration::from_secs(2)),
    ));
    let sink = begin(&bench, true).await;
    drop(sink);
    assert_eq!(bench.uploads(), ["a"]);
    sink::aborted(Duration::from_secs(30)).await;
    assert!(bench.uploads().is_empty());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_aborts_has_an_end() {
    let bench = Bench::aws();
    bench.rule(at_store("abort", "made/a", Effect::HangBefore));
    drop(begin(&bench, true).await);
    let begun = tokio::time::Instant::now();
    sink::aborted(Duration::from_secs(5)).await;
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(bench.uploads(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_dropped_outside_of_a_runtime_leaves_its_upload_to_the_ledger() {
    let bench = Bench::aws();
    let sink = begin(&bench, true).await;
    let dropped = std::thread::spawn(move || drop(sink)).join();
    assert!(dropped.is_ok());
    bench.wait(1).await;
    assert_eq!(bench.uploads(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_abort_that_fails_says_so() {
    let bench = Bench::aws();
    bench.rule(at_store("abort", "made/a", fail(Code::SinkDenied)));
    let mut sink = begin(&bench, true).await;
    assert!(!sink.abort().await);
    let unknown = UploadId("unknown".into());
    let store = store(&bench);
    let fault = sink::abort(store.as_ref(), &url("s3://made/a"), &unknown).await;
    assert_eq!(fault.expect_err("denied").code, Code::SinkDenied);
}

#[tokio::test(start_paused = true)]
async fn what_exists_is_refused_and_what_cannot_be_known_too() {
    let bench = Bench::aws();
    let (store, place) = (store(&bench), url("s3://made/a"));
    sink::refuse_existing(store.as_ref(), &place)
        .await
        .expect("nothing is there");
    bench.put("s3://made/a", b"x");
    let fault = sink::refuse_existing(store.as_ref(), &place).await;
    assert_eq!(fault.expect_err("there").code, Code::OutputExists);
    bench.rule(at_store("head", "made/a", fail(Code::StoreDown)));
    let fault = sink::refuse_existing(store.as_ref(), &place).await;
    assert_eq!(fault.expect_err("unknown").code, Code::StoreDown);
}

#[tokio::test(start_paused = true)]
async fn a_sink_without_a_token_recognises_nothing() {
    let bench = Bench::aws();
    bench.put("s3://made/a", b"x");
    bench.rule(at_store("put", "made/a", fail(Code::StoreDown)));
    let begun = Sink::begin(
        store(&bench),
        url("s3://made/a"),
        NewObject::plain(),
        false,
        false,
    );
    let mut sink = begun.await.expect("begun");
    part(&sink, 1, b"all").await.expect("taken");
    assert_eq!(sink.commit().await.expect_err("down").code, Code::StoreDown);
}

#[test]
fn a_label_is_read_by_its_own_job_only() {
    let digest = JobDigest::of_bytes(b"x");
    let label = Label {
        iv: Some("aXY=".into()),
        salt: Some("c2FsdA==".into()),
        wrapped_key: Some("a2V5".into()),
        plain_bytes: Some(7),
        ..Label::new(Some(Mode::AesGcm), "token")
    };
    let mut metadata = std::collections::BTreeMap::new();
    label.write(&mut metadata, "film", digest);
    assert_eq!(metadata["ciphermill-job"], "film");
    assert_eq!(Label::read(&metadata, digest), Some(label.clone()));
    assert_eq!(label.wrapped().map(|key| key.0), Some(b"key".to_vec()));
    assert_eq!(Label::read(&metadata, JobDigest::of_bytes(b"y")), None);
    for name in ["ciphermill-format", "ciphermill-digest", TOKEN] {
        let mut less = metadata.clone();
        less.remove(name);
        assert_eq!(Label::read(&less, digest), None, "without {name}");
    }
    metadata.insert("ciphermill-format".into(), "2".into());
    assert_eq!(Label::read(&metadata, digest), None, "of another version");
}
