//! What `parse` accepts and refuses: exact codes and pointers. The table of single faults stands in
//! `refusals`, the property tests in `properties`.

mod properties;
mod refusals;

use serde_json::{Value, json};

use super::*;
use crate::job::{Base64, KeyRef, Mode, ObjectUrl};

/// Base64 of 12 and of 16 zero bytes.
const IV12: &str = "AAAAAAAAAAAAAAAA";
const IV16: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

fn smallest() -> Value {
    json!({
        "version": 1, "id": "film-42",
        "input": { "url": "s3://in-bucket/film.mp4" },
        "outputs": [ { "url": "s3://out/film.mp4", "encryption": {
            "mode": "cobblestone", "key": { "kms": { "ciphertext": "AQID" } } } } ]
    })
}

/// Every field of the contract at least once.
fn full() -> Value {
    let context = json!({ "tenant": "acme", "aws:a/long~name-of-a-context-entry": "" });
    json!({
        "version": 1, "id": "film-42", "deadline_seconds": 3600, "reply_to": "replies",
        "labels": { "tenant": "acme" },
        "input": {
            "url": "s3://in-bucket/film.mp4", "version_id": "v1", "etag": "\"abc\"",
            "sha256": "AB".repeat(32), "bytes": 1024,
            "encryption": { "mode": "aes-ctr", "iv": IV12, "ctr_start": 1,
                "key": { "kms": { "ciphertext": "AQID", "region": "eu-central-1", "key_id": "alias/x",
                    "context": context, "ciphertext_md5": IV16 } } }
        },
        "outputs": [
            { "url": "s3://out/a", "if_exists": "fail", "required": false, "checksum": "sha256",
              "encryption": { "mode": "cobblestone", "cobblestone_context": "AQID",
                "key": { "generate": { "kms": { "key_id": "alias/x", "bits": 256, "region": "eu-west-1",
                    "context": { "a": "b" } } } } },
              "storage": { "content_type": "video/mp4", "storage_class": "STANDARD_IA",
                "metadata": { "title": "A film" }, "tags": { "größe": "1 + 1" },
                "server_side": { "mode": "s3-aws-kms", "kms_key_id": "x", "context": { "a": "b" } } } },
            { "url": "s3://out/b",
              "encryption": { "mode": "aes-gcm", "iv": IV12,
                "key": { "keyring": { "wrapped": "AQID", "context": { "a": "b" } } } },
              "storage": { "server_side": { "mode": "s3" } } },
            { "url": "file:///tmp/c",
              "encryption": { "mode": "aes-cbc-pkcs7", "iv": IV16,
                "key": { "generate": { "keyring": { "bits": 192, "context": { "a": "b" } } } } } }
        ],
        "thumbnails": {
            "url_pattern": "s3://out/t/{resolution}-{count}", "format": "webp", "quality": 70,
            "max_width": 320, "max_height": 180, "sizing": "shrink_to_fill", "padding": "pad",
            "interval_seconds": 2.5, "required": false, "if_exists": "fail", "checksum": "sha256",
            "encryption": { "mode": "aes-gcm", "key": { "keyring": { "wrapped": "AQID" } } },
            "storage": { "server_side": { "mode": "s3" } },
            "watermarks": [ { "url": "s3://in-bucket/logo.png", "bytes": 9, "max_width": "10%",
                "max_height": "40px", "sizing": "shrink_to_fit", "horizontal_align": "left",
                "horizontal_offset": "1.5%", "vertical_align": "center", "vertical_offset": "3px",
                "opacity": 50.0, "target": "frame",
                "encryption": { "mode": "cobblestone", "key": { "keyring": { "wrapped": "AQID" } } } } ]
        },
        "captions": {
            "merge": "retain",
            "sources": [ { "url": "s3://in-bucket/de.srt", "language": "de", "label": "Deutsch",
                "time_offset": "-00:00:01.5", "etag": "x" } ],
            "outputs": [ { "url_pattern": "s3://out/c/{language}", "format": "webvtt" },
                { "url_pattern": "file:///tmp/{language}", "format": "ttml",
                  "encryption": { "mode": "cobblestone",
                    "key": { "generate": { "keyring": { "bits": 256 } } } } } ]
        },
        "artwork": { "url_pattern": "s3://out/cover", "format": "png", "max_width": 600,
            "max_height": 600, "sizing": "keep" }
    })
}

fn parse_value(value: &Value) -> Result<ParsedJob, Rejection> {
    parse(value.to_string().as_bytes())
}

/// The faults of a message as `code at pointer`.
fn faults(text: &str) -> Vec<String> {
    let Err(rejection) = parse(text.as_bytes()) else {
        return Vec::new();
    };
    let place = |f: &Fault| f.pointer.clone().unwrap_or_default();
    let line = |f: &Fault| format!("{} at {}", f.code.as_str(), place(f));
    rejection.faults.iter().map(line).collect()
}

/// The message with the value at `pointer` set; the last step may be new.
fn with(mut message: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let name = name.replace("~1", "/").replace("~0", "~");
    match message.pointer_mut(parent).expect("a parent") {
        Value::Array(items) => items[name.parse::<usize>().expect("an index")] = value,
        Value::Object(fields) => drop(fields.insert(name, value)),
        _ => panic!("{parent} holds nothing"),
    }
    message
}

fn without(mut message: Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let fields = message.pointer_mut(parent).and_then(Value::as_object_mut);
    fields.expect("an object").remove(name).expect("the field");
    message
}

#[test]
fn the_smallest_job_is_five_lines() {
    let text = r#"{ "version": 1, "id": "film-42",
      "input":   { "url": "s3://in-bucket/film.mp4" },
      "outputs": [ { "url": "s3://out/film.mp4",
                     "encryption": { "mode": "cobblestone", "key": { "kms": { "ciphertext": "AQID" } } } } ] }"#;
    let parsed = parse(text.as_bytes()).expect("accepted");
    let encryption = parsed.job.outputs[0]
        .encryption
        .as_ref()
        .expect("encrypted");
    assert_eq!(parsed.job.id, "film-42");
    assert_eq!(parsed.job.input.url.bucket(), Some("in-bucket"));
    assert_eq!(encryption.mode, Mode::Cobblestone);
    assert!(matches!(&encryption.key, KeyRef::Kms(kms) if kms.ciphertext.0 == [1, 2, 3]));
    assert!(parsed.job.outputs[0].required);
    assert_eq!(Ok(parsed), parse_value(&smallest()));
}

#[test]
fn every_field_is_read() {
    let parsed = parse_value(&full()).expect("accepted");
    let mut back = serde_json::to_value(&parsed.job).expect("serialise");
    assert_eq!(back["input"]["sha256"], "ab".repeat(32));
    back["input"]["sha256"] = full()["input"]["sha256"].clone();
    assert_eq!(back, full());
    assert!(matches!(parsed.job.outputs[2].url, ObjectUrl::File { .. }));
}

#[test]
fn spacing_and_order_do_not_change_the_digest() {
    let reordered = full()
        .to_string()
        .replacen(r#""version":1"#, r#""version" : 1"#, 1);
    let digest = |text: &str| parse(text.as_bytes()).map(|parsed| parsed.digest);
    assert_eq!(digest(&reordered), digest(&full().to_string()));
    assert_ne!(digest(&smallest().to_string()), digest(&full().to_string()));
    let swapped =
        r#"{"outputs":[{"url":"s3://out/a"}],"input":{"url":"s3://abc/a"},"id":"a","version":1}"#;
    let sorted =
        r#"{"id":"a","input":{"url":"s3://abc/a"},"outputs":[{"url":"s3://out/a"}],"version":1}"#;
    assert_eq!(digest(swapped), Ok(JobDigest::of_bytes(sorted.as_bytes())));
}

#[test]
fn unreadable_messages() {
    let deep = format!(r#"{{"version":{}1{}}}"#, "[".repeat(16), "]".repeat(16));
    let just = format!(r#"{{"labels":{}1{}}}"#, "[".repeat(15), "]".repeat(15));
    for (text, expected) in [
        ("", "invalid_json at "),
        ("{", "invalid_json at "),
        ("nonsense", "invalid_json at "),
        ("{} {}", "invalid_json at "),
        ("\u{feff}{}", "invalid_json at "),
        (r#"{"id":"\ud800"}"#, "invalid_json at "),
        (r#"{"bytes":1e999}"#, "invalid_json at "),
        ("[]", "wrong_type at "),
        ("null", "wrong_type at "),
        (deep.as_str(), "limit_exceeded at "),
        (&"[".repeat(100_000), "invalid_json at "),
        (&r#"{"a":"#.repeat(20_000), "invalid_json at "),
        (
            &" ".repeat(limits::MESSAGE_BYTES + 1),
            "message_too_large at ",
        ),
    ] {
        assert_eq!(faults(text)[0], expected, "{:.40}", text);
    }
    assert!(!faults(&just).contains(&"limit_exceeded at ".into()));
    assert!(parse(b"{\"id\":\"\xff\"}").is_err());
    let closed = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(faults(&closed), ["limit_exceeded at "]);
}

#[test]
fn files_have_no_versions() {
    let message = with(full(), "/input/url", json!("file:///tmp/in"));
    let expected = [
        "invalid_value at /input/etag",
        "invalid_value at /input/version_id",
    ];
    assert_eq!(faults(&message.to_string()), expected);
}

#[test]
fn a_counter_start_needs_a_short_iv() {
    for iv in [Some(IV16), None] {
        let mut message = smallest();
        message["outputs"][0]["encryption"]["mode"] = "aes-ctr".into();
        message["outputs"][0]["encryption"]["ctr_start"] = 0.into();
        if let Some(iv) = iv {
            message["outputs"][0]["encryption"]["iv"] = iv.into();
        }
        let expected = ["invalid_value at /outputs/0/encryption/ctr_start"];
        assert_eq!(faults(&message.to_string()), expected);
    }
}

#[test]
fn twins_are_refused() {
    let text = r#"{"version":1,"id":"a","id":"b","input":{"url":"s3://abc/a","url":"s3://abc/b"},
        "outputs":[{"url":"s3://out/a"}],"labels":{"x":"1","x":"1"}}"#;
    let expected = [
        "invalid_value at /id",
        "invalid_value at /input/url",
        "invalid_value at /labels/x",
    ];
    assert_eq!(faults(text), expected);
    assert_eq!(parse(text.as_bytes()).expect_err("refused").job_id, None);
}

#[test]
fn all_faults_at_once_in_document_order() {
    let text = r#"{ "vresion": 1, "outputs": [ { "encryption": { "iv": 1, "key": "s3cret", "mode": "aes-xyz" },
        "url": 1 }, 2 ], "input": { "url": "s3://x" }, "id": "film-42", "labels": { "b": 1, "a": 1 } }"#;
    let rejection = parse(text.as_bytes()).expect_err("refused");
    assert_eq!(rejection.job_id.as_deref(), Some("film-42"));
    assert!(
        rejection.faults[1]
            .message
            .contains("did you mean \"version\"")
    );
    assert_eq!(
        faults(text),
        [
            "missing_field at /version",
            "unknown_field at /vresion",
            "wrong_type at /outputs/0/encryption/iv",
            "plaintext_key at /outputs/0/encryption/key",
            "invalid_value at /outputs/0/encryption/mode",
            "wrong_type at /outputs/0/url",
            "wrong_type at /outputs/1",
            "invalid_value at /input/url",
            "wrong_type at /labels/b",
            "wrong_type at /labels/a",
        ]
    );
}

#[test]
fn the_list_of_faults_is_bounded() {
    let mut message = smallest();
    for i in 0..1000 {
        message[format!("x{i}")] = 1.into();
    }
    let faults = parse_value(&message).expect_err("refused").faults;
    assert_eq!(faults.len(), limits::FAULTS);
    assert!(
        faults[limits::FAULTS - 1]
            .message
            .contains("900 more faults")
    );
}

#[test]
fn the_id_is_kept_only_where_it_is_good() {
    let id = |message: Value| parse_value(&message).expect_err("refused").job_id;
    assert_eq!(id(json!({ "id": "film-42" })).as_deref(), Some("film-42"));
    assert_eq!(id(json!({ "id": "film 42" })), None);
    assert_eq!(id(json!([])), None);
}

/// P8: wherever a producer puts a key below `key`, nothing we say repeats it.
#[test]
fn p8_a_plaintext_key_is_never_repeated() {
    let hex = "00112233445566778899aabbccddeeff";
    let kms = json!({ "ciphertext": hex.to_owned() + "!", "plaintext": hex, "region": hex.to_owned() + "!" });
    for key in [
        json!(hex),
        json!({ "plaintext": hex }),
        json!({ "RAW": hex }),
        json!({ "value": hex }),
        json!({ "base64": hex, "bytes": [1, 2], "key": { "k": hex } }),
        json!({ hex: true }),
        json!({ "kms": kms }),
        json!({ "kms": { "ciphertext": "AQID", hex: hex } }),
        json!({ "generate": hex }),
        json!([hex]),
    ] {
        let wrong_type = key.is_array() || key.get("generate").is_some();
        let message = with(smallest(), "/outputs/0/encryption/key", key);
        let faults = parse_value(&message).expect_err("refused").faults;
        assert!(
            faults.iter().all(|fault| !fault.to_string().contains(hex)),
            "{faults:?}"
        );
        let named = faults.iter().any(|fault| fault.code == Code::PlaintextKey);
        assert!(named || wrong_type, "{faults:?}");
    }
}

#[test]
fn field_names_are_bounded_and_printable() {
    for (name, code) in [
        ("x".repeat(1025), "limit_exceeded"),
        ("a\u{1b}".into(), "invalid_value"),
    ] {
        let message = with(smallest(), "/labels", json!({ name: "x" }));
        assert_eq!(faults(&message.to_string()), [format!("{code} at /labels")]);
    }
}
