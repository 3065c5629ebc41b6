//! Reports: every kind of result, and every event, field by field.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ciphermill::checksum::{Algorithm, Checksum};
use ciphermill::clock::{Clock, VirtualClock};
use ciphermill::fault::{Code, Fault};
use ciphermill::job::event::{EventData, OutputStatus, State};
use ciphermill::job::{JobDigest, Mode, Output};
use ciphermill::report::{self, Context, Made};
use ciphermill::sink::label::Label;
use ciphermill::store::{Facts, Version};
use ciphermill::worker::tell;
use serde_json::{Value, json};

use crate::bench::{base64, job, output, parse};

/// What a store says of an object.
fn facts() -> Facts {
    Facts {
        len: 42,
        version: Version {
            etag: "etag".into(),
            version_id: Some("version".into()),
        },
        server_side: Some("AES256".into()),
        crc64nvme: Some("stored".into()),
        ..Facts::default()
    }
}

fn context() -> Context {
    let base = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::new(base));
    Context {
        worker: "/ciphermill/here".into(),
        attempt: 3,
        clock,
    }
}

/// The only output of a job, with this encryption.
fn encrypted(encryption: Value) -> Output {
    let output = json!({"url": "s3://made/a", "encryption": encryption});
    parse(&job([output])).job.outputs.remove(0)
}

/// The `encryption` block of the result of such an output.
fn opening(encryption: Value, label: &Label) -> Value {
    let written = report::written(&encrypted(encryption), &facts(), label, &Made::default());
    written.encryption.expect("a block")
}

#[test]
fn a_written_output_is_what_its_store_says_and_how_it_was_made() {
    let label = Label {
        salt: Some("c2FsdA==".into()),
        wrapped_key: Some("a2V5".into()),
        ..Label::default()
    };
    let sum = Algorithm::Crc64Nvme.of(b"x");
    let made = Made {
        engine: Some("cpu/portable".into()),
        seconds: Some(1.5),
        checksum: Some(sum.clone()),
    };
    let plain = parse(&job([output("a")])).job.outputs.remove(0);
    let written = report::written(&plain, &facts(), &label, &made);
    let expected = json!({
        "url": "s3://made/a", "status": "written", "bytes": 42, "etag": "etag", "version_id": "version",
        "checksum": {"algorithm": "crc64nvme", "value": sum.to_base64()},
        "salt": "c2FsdA==", "wrapped_key": "a2V5", "server_side": "AES256",
        "engine": "cpu/portable", "seconds": 1.5,
    });
    assert_eq!(serde_json::to_value(written).expect("JSON"), expected);
}

#[test]
fn a_checksum_is_ours_or_else_the_stores() {
    let plain = parse(&job([output("a")])).job.outputs.remove(0);
    let checksum = |facts: &Facts, ours: Option<Checksum>| {
        let made = Made {
            checksum: ours,
            ..Made::default()
        };
        let written = report::written(&plain, facts, &Label::default(), &made);
        written
            .checksum
            .map(|sum| serde_json::to_value(sum).expect("JSON"))
    };
    let sum = Algorithm::Sha256.of(b"x");
    let ours = json!({"algorithm": "sha256", "value": sum.to_base64()});
    assert_eq!(checksum(&facts(), Some(sum)), Some(ours));
    let stored = json!({"algorithm": "crc64nvme", "value": "stored"});
    assert_eq!(checksum(&facts(), None), Some(stored));
    assert_eq!(checksum(&Facts::default(), None), None);
}

#[test]
fn the_encryption_block_carries_the_iv_that_was_used() {
    let wanted = json!({"mode": "aes-gcm", "key": crate::bench::key()});
    let label = Label {
        iv: Some(base64(&[5; 12])),
        ..Label::new(Some(Mode::AesGcm), "token")
    };
    let block = opening(wanted, &label);
    assert_eq!(block["iv"], base64(&[5; 12]));
    assert_eq!(block["key"], crate::bench::key());
    // One that the job gave stays.
    let given = json!({"mode": "aes-gcm", "key": crate::bench::key(), "iv": base64(&[6; 12])});
    assert_eq!(opening(given, &label)["iv"], base64(&[6; 12]));
}

#[test]
fn the_encryption_block_carries_a_generated_key_in_its_wrapped_form() {
    let label = Label {
        wrapped_key: Some(base64(b"wrapped")),
        ..Label::default()
    };
    let context = json!({"title": "film"});
    let keyring = json!({"mode": "cobblestone",
                         "key": {"generate": {"keyring": {"bits": 256, "context": context}}}});
    let expected = json!({"keyring": {"wrapped": base64(b"wrapped"), "context": context}});
    assert_eq!(opening(keyring.clone(), &label)["key"], expected);
    let kms = json!({"mode": "cobblestone", "key": {"generate": {"kms":
                     {"key_id": "alias/media", "bits": 256, "region": "eu-west-1", "context": context}}}});
    let expected = json!({"kms": {"ciphertext": base64(b"wrapped"), "key_id": "alias/media",
                                  "region": "eu-west-1", "context": context}});
    assert_eq!(opening(kms, &label)["key"], expected);
    // Without a wrapped form there is nothing to paste, and the wish stands as it was.
    assert_eq!(
        opening(keyring.clone(), &Label::default())["key"],
        keyring["key"]
    );
}

#[test]
fn an_output_that_is_begun_has_neither_length_nor_etag() {
    let plain = parse(&job([output("a")])).job.outputs.remove(0);
    let mut begun = report::begun(&plain, &Label::default());
    assert_eq!(begun.status, OutputStatus::Written);
    assert_eq!((begun.bytes, &begun.etag), (None, &None));
    report::fill(&mut begun, &facts());
    assert_eq!(begun.bytes, Some(42));
    assert_eq!(begun.etag.as_deref(), Some("etag"));
    assert_eq!(begun.version_id.as_deref(), Some("version"));
    assert_eq!(begun.server_side.as_deref(), Some("AES256"));
}

#[test]
fn what_was_not_written_says_why() {
    let fault = Fault::new(Code::SinkDenied, "no").at("/outputs/0/url");
    let plain = parse(&job([output("a")])).job.outputs.remove(0);
    let result = serde_json::to_value(report::not_written(&plain, &fault)).expect("JSON");
    let told = json!({"code": "sink_denied", "message": "no", "pointer": "/outputs/0/url",
                      "help": Code::SinkDenied.help(), "retryable": false});
    let expected = json!({"url": "s3://made/a", "status": "failed", "fault": told});
    assert_eq!(result, expected);
    let unmade = report::not_made("s3://made/{count}", &fault);
    let expected = json!({"url": "s3://made/{count}", "status": "failed", "fault": told});
    assert_eq!(serde_json::to_value(unmade).expect("JSON"), expected);
}

#[test]
fn the_input_is_named_with_its_version() {
    let input = parse(&job([output("a")])).job.input;
    let told = report::input(&input, &facts().version, 7);
    let expected = json!({"url": "s3://films/film", "bytes": 7,
                          "version": {"etag": "etag", "version_id": "version"}});
    assert_eq!(serde_json::to_value(told).expect("JSON"), expected);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_a_cloud_event_about_its_job() {
    let mut labelled = job([output("a")]);
    labelled["labels"] = json!({"show": "42"});
    let parsed = parse(&labelled);
    let digest = parsed.digest;
    for state in State::ALL {
        let event = report::event(&context(), &parsed.job, digest, state, EventData::default());
        assert_eq!(event.state(), Some(state));
        let id = match state.is_terminal() {
            true => format!("film:{}:{}", state.as_str(), digest.short()),
            false => event.id.clone(),
        };
        assert!(id.starts_with(&format!("film:{}:", state.as_str())));
        let expected = json!({
            "specversion": "1.0", "id": id, "source": "/ciphermill/here",
            "type": format!("dev.ciphermill.job.{}", state.as_str()), "subject": "film",
            "time": "2023-11-14T22:13:20.25Z", "datacontenttype": "application/json",
            "data": {"job_id": "film", "job_digest": digest.to_string(), "attempt": 3,
                     "labels": {"show": "42"}},
        });
        let event = serde_json::to_value(event).expect("JSON");
        assert_eq!(event, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_event_has_the_same_id_each_time_and_news_have_ids_of_their_own() {
    let parsed = parse(&job([output("a")]));
    let id = |state| {
        let data = EventData::default();
        report::event(&context(), &parsed.job, parsed.digest, state, data).id
    };
    assert_eq!(id(State::Succeeded), id(State::Succeeded));
    assert_ne!(id(State::Succeeded), id(State::Failed));
    assert_ne!(id(State::Progress), id(State::Progress));
}

#[test]
fn a_failure_says_what_where_and_whether_to_try_again() {
    let fault = Fault::new(Code::StoreDown, "no answer").at("/input/url");
    let data = report::failed(&fault);
    let expected = json!({"code": "store_down", "message": "no answer", "pointer": "/input/url",
                          "help": Code::StoreDown.help(), "retryable": true});
    assert_eq!(serde_json::to_value(data).expect("JSON")["fault"], expected);
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_told_by_its_bytes_and_with_every_fault() {
    let digest = JobDigest::of_bytes(b"bytes");
    let faults = [
        Fault::new(Code::UnknownField, "colour").at("/colour"),
        Fault::new(Code::MissingField, "input").at("/input"),
    ];
    let event = report::rejected(&context(), Some("film"), digest, &faults);
    assert_eq!(event.id, format!("film:failed:{}", digest.short()));
    assert_eq!(event.data.job_id.as_deref(), Some("film"));
    assert_eq!(event.data.job_digest, None, "it is none of a job");
    assert_eq!(event.data.attempt, 3);
    let code = event.data.fault.as_ref().map(|fault| fault.code.clone());
    assert_eq!(code.as_deref(), Some("unknown_field"));
    assert_eq!(event.data.faults.len(), 2);
    let nameless = report::rejected(&context(), None, digest, &faults[..1]);
    assert_eq!(nameless.id, format!("-:failed:{}", digest.short()));
    assert_eq!(nameless.subject, None);
}

#[tokio::test(start_paused = true)]
async fn a_message_carries_its_event_to_those_who_listen() {
    let parsed = parse(&job([output("a")]));
    let data = EventData::default();
    let event = report::event(
        &context(),
        &parsed.job,
        parsed.digest,
        State::Succeeded,
        data,
    );
    let message = tell::outgoing(&event, true, Some("replies".into())).expect("JSON");
    assert_eq!(message.routing_key, "job.succeeded");
    assert_eq!(message.message_id, event.id);
    assert_eq!(message.correlation_id, "film");
    assert!(message.terminal);
    assert_eq!(message.reply_to.as_deref(), Some("replies"));
    let body: Value = serde_json::from_slice(&message.body).expect("JSON");
    assert_eq!(body["id"], event.id);
    let fault = [Fault::new(Code::InvalidJson, "x")];
    let nameless = report::rejected(&context(), None, parsed.digest, &fault);
    let message = tell::outgoing(&nameless, true, None).expect("JSON");
    assert_eq!(message.correlation_id, "");
    assert_eq!(message.routing_key, "job.failed");
}
