//! The ledger: where an entry is, what stands in it, and what it allows.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ciphermill::fault::Code;
use ciphermill::inject::rules::Effect;
use ciphermill::job::{JobDigest, ObjectUrl};
use ciphermill::ledger::{self, Entry, Ledger, OutputEntry};
use ciphermill::sink::label::Label;
use ciphermill::store::faulty::FaultyStore;
use ciphermill::store::{Store, Stores, UploadId, Version};
use serde_json::json;

use crate::bench::script::{Process, at_store, fail};
use crate::bench::{Bench, LEDGER, LONG, SHORT, job, optional, output, parse, url};

fn entry(message: &[u8]) -> Entry {
    Entry {
        job_id: "film".into(),
        digest: JobDigest::of_bytes(message).to_string(),
        given_iv: false,
        attempt: "one".into(),
        begun: 1000,
        source: version("e"),
        outputs: vec![OutputEntry {
            url: "s3://made/a".into(),
            upload: Some(UploadId("u".into())),
            label: Label::new(None, "token"),
        }],
        companions: Vec::new(),
        ours: Vec::new(),
        result: None,
    }
}

fn version(etag: &str) -> Version {
    Version {
        etag: etag.into(),
        version_id: None,
    }
}

/// The ledger of a job over the bench's store.
fn ledger_of(bench: &Bench, job: &serde_json::Value) -> Ledger {
    let store: Arc<dyn Store> = bench.store.clone();
    let process = Process::new(bench.script.clone());
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(store, process));
    let stores = Stores::new(store.clone(), store);
    Ledger::of(&parse(job).job, ".ciphermill/", &stores)
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_read_as_it_was_written() {
    let bench = Bench::aws();
    let ledger = ledger_of(&bench, &job([output("a")]));
    assert!(ledger.read().await.expect("it answers").is_none());
    let written = entry(b"x");
    ledger.write(&written).await.expect("written");
    let read = ledger.read().await.expect("it answers").expect("there");
    assert_eq!(format!("{read:?}"), format!("{written:?}"));
    ledger.remove().await.expect("removed");
    assert!(bench.entry().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_entry_of_an_older_version_is_read() {
    let bench = Bench::aws();
    let mut old = serde_json::to_value(entry(b"x")).expect("JSON");
    for name in ["attempt", "begun"] {
        old.as_object_mut().expect("an object").remove(name);
    }
    bench.put(LEDGER, old.to_string().as_bytes());
    let read = ledger_of(&bench, &job([output("a")])).read().await;
    let read = read.expect("it answers").expect("there");
    assert_eq!((read.attempt.as_str(), read.begun), ("", 0));
}

#[tokio::test(start_paused = true)]
async fn it_stands_beside_the_first_output_that_is_required() {
    let bench = Bench::aws();
    bench.store.create_bucket("gone");
    bench.source(LONG, 1);
    let elsewhere = json!({"url": "s3://gone/b", "required": false});
    bench.succeeds(&job([elsewhere, output("a")])).await;
    assert!(bench.entry().is_some());
    assert_eq!(bench.store.names("gone"), ["b"]);
    // With none that is required, beside the first.
    let bench = Bench::aws();
    bench.source(LONG, 1);
    bench.succeeds(&job([optional("a"), optional("b")])).await;
    assert!(bench.entry().is_some());
}

#[test]
fn a_files_entry_stands_in_a_folder_beside_it() {
    let file = ObjectUrl::parse("file:///films/a").expect("a URL");
    let place = ledger::place(&file, ".ciphermill/", "film.json");
    assert_eq!(place.to_string(), "file:///films/.ciphermill/film.json");
}

#[tokio::test(start_paused = true)]
async fn faults_name_the_output_that_says_where_it_is() {
    let bench = Bench::aws();
    let ledger = ledger_of(&bench, &job([optional("b"), output("a")]));
    for operation in ["get_small", "put"] {
        bench.rule(at_store(operation, "film.json", fail(Code::StoreDown)));
    }
    let read = ledger.read().await.expect_err("it is down");
    let written = ledger.write(&entry(b"x")).await.expect_err("it is down");
    assert_eq!(read.pointer.as_deref(), Some("/outputs/1/url"));
    assert_eq!(written.pointer.as_deref(), Some("/outputs/1/url"));
    // One that was found by listing belongs to no job that could be told.
    let store: Arc<dyn Store> = bench.store.clone();
    let nowhere = Ledger::at(url("s3://gone/.ciphermill/film.json"), store);
    assert_eq!(nowhere.read().await.expect_err("no bucket").pointer, None);
}

#[tokio::test(start_paused = true)]
async fn it_is_written_before_the_first_upload_and_with_its_uploads_before_the_first_byte() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    bench.succeeds(&job([output("a")])).await;
    let entry = format!("put {LEDGER}");
    let writes = bench.script.writes();
    assert_eq!(writes[..3], [entry.as_str(), "begin s3://made/a", &entry]);
    assert_eq!(writes.last(), Some(&entry), "the result at the end");
    assert!(
        writes[3..6]
            .iter()
            .all(|write| write == "upload s3://made/a")
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_uploaded_in_parts_is_written_down_once_before() {
    let bench = Bench::aws();
    bench.source(SHORT, 1);
    bench.succeeds(&job([output("a"), output("b")])).await;
    let entry = format!("put {LEDGER}");
    let expected = [&entry, "put s3://made/a", "put s3://made/b", &entry];
    assert_eq!(bench.script.writes(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_cannot_be_written_stops_the_job_before_an_upload() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    bench.rule(at_store("put", "film.json", fail(Code::SinkDenied)));
    bench
        .fails(&job([output("a")]), Code::SinkDenied, "/outputs/0/url")
        .await;
    assert!(bench.script.calls_of("begin").is_empty());
    // With the uploads to be written down, they are given up.
    let bench = Bench::aws();
    bench.source(LONG, 1);
    bench.rule(at_store("put", "film.json", fail(Code::SinkDenied)).from(2));
    bench
        .fails(&job([output("a")]), Code::SinkDenied, "/outputs/0/url")
        .await;
    bench.wait(1).await;
    assert!(bench.uploads().is_empty(), "P6");
    assert!(bench.script.calls_of("read").is_empty());
}

#[tokio::test(start_paused = true)]
async fn p8_it_holds_a_generated_key_in_its_wrapped_form_only() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    let generate = json!({"generate": {"keyring": {"bits": 256}}});
    let encryption = json!({"mode": "aes-gcm", "key": generate});
    let hangs = at_store("upload", "made/a", Effect::HangAfter);
    let output = json!({"url": "s3://made/a", "encryption": encryption});
    bench.dies(&job([output]), hangs).await;
    let entry = bench.entry().expect("an entry");
    let wrapped = entry["outputs"][0]["label"]["wrapped_key"].as_str();
    assert_eq!(wrapped, Some(crate::bench::base64(b"generated-1").as_str()));
    let key = bench.keys.key_of(b"generated-1").expect("generated");
    let body = bench.body(LEDGER);
    assert!(body.windows(key.len()).all(|window| window != key));
    let text = String::from_utf8(body).expect("text");
    assert!(!text.contains(&crate::bench::base64(&key)));
    assert!(!text.contains(&hex::encode(&key)));
}

#[test]
fn p13_a_given_iv_allows_the_same_message_and_source_only() {
    let (mut first, same) = (entry(b"x"), JobDigest::of_bytes(b"x"));
    let other = JobDigest::of_bytes(b"y");
    let code = |entry: &Entry, digest, given, etag| {
        let checked = entry.check_given_iv(digest, given, &version(etag));
        checked.err().map(|fault| fault.code)
    };
    assert_eq!(code(&first, same, true, "e"), None);
    assert_eq!(code(&first, same, true, "f"), Some(Code::SourceChanged));
    assert_eq!(code(&first, same, false, "f"), None);
    assert_eq!(code(&first, other, false, "e"), None);
    assert_eq!(code(&first, other, true, "e"), Some(Code::ReservedByOther));
    first.given_iv = true;
    assert_eq!(code(&first, other, false, "e"), Some(Code::ReservedByOther));
}

#[test]
fn attempts_are_told_apart_by_token_and_message() {
    let (one, mut other) = (entry(b"x"), entry(b"x"));
    assert!(one.is_same_attempt(&other));
    other.attempt = "two".into();
    assert!(!one.is_same_attempt(&other));
    assert!(!one.is_same_attempt(&entry(b"y")));
    assert!(one.is_of(JobDigest::of_bytes(b"x")));
    other.digest = "no digest".into();
    assert!(!other.is_of(JobDigest::of_bytes(b"x")));
}

#[test]
fn an_entry_is_young_until_its_time_is_over() {
    let entry = entry(b"x");
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let day = Duration::from_secs(86_400);
    assert!(entry.is_younger_than(day, at(1000)));
    assert!(entry.is_younger_than(day, at(87_399)));
    assert!(!entry.is_younger_than(day, at(87_400)));
    // A clock that went back says nothing of its age.
    assert!(!entry.is_younger_than(day, at(900)));
}
