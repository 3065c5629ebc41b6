//! Messages that are no jobs: refused as they are read, before anything else is asked.

use serde_json::{Value, json};

use super::{Case, refuse_all};
use crate::support::Bench;

/// `job` with the value at `pointer` replaced or added.
fn with(job: &Value, pointer: &str, value: Value) -> Value {
    let mut job = job.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = job.pointer_mut(parent).unwrap();
    match name.parse::<usize>() {
        Ok(index) if parent.is_array() => parent[index] = value,
        _ => parent[name] = value,
    }
    job
}

fn without(job: &Value, name: &str) -> Value {
    let mut job = job.clone();
    job.as_object_mut().unwrap().remove(name);
    job
}

fn unreadable(job: &Value) -> Vec<Case> {
    let text = job.to_string();
    let deep = format!(
        r#"{{"version":1,"labels":{}1{}}}"#,
        "[".repeat(40),
        "]".repeat(40)
    );
    let twice = text.replacen('{', r#"{"id":"other","#, 1);
    let large = with(job, "/labels", json!({ "x": "x".repeat(300 * 1024) })).to_string();
    vec![
        Case::raw("no JSON at all", "make it so", "invalid_json", ""),
        Case::raw("nothing", "", "invalid_json", ""),
        Case::raw(
            "cut off",
            &text.as_bytes()[..text.len() - 9],
            "invalid_json",
            "",
        ),
        Case::raw(
            "two documents",
            format!("{text} {text}"),
            "invalid_json",
            "",
        ),
        Case::raw("not UTF-8", b"{\"id\":\"\xff\xfe\"}", "invalid_json", ""),
        Case::raw(
            "a million brackets",
            "[".repeat(200_000),
            "invalid_json",
            "",
        ),
        Case::raw("a list", "[1]", "wrong_type", ""),
        Case::raw("null", "null", "wrong_type", ""),
        Case::raw("nested too deep", deep, "limit_exceeded", ""),
        Case::raw("a field twice", twice, "invalid_value", "/id"),
        Case::raw("too large", large, "message_too_large", ""),
        Case::raw("an empty object", "{}", "missing_field", "/version"),
    ]
}

/// Place, value, code and pointer; `#` in the pointer stands for the place.
type Wrong = (&'static str, Value, &'static str, &'static str);

fn wrong_jobs() -> Vec<Wrong> {
    let long = |bytes: usize| json!("x".repeat(bytes));
    vec![
        ("/version", json!("1"), "wrong_type", "#"),
        ("/version", json!(2), "unsupported_version", "#"),
        ("/id", json!("../x"), "invalid_value", "#"),
        ("/id", long(129), "limit_exceeded", "#"),
        ("/id", json!(7), "wrong_type", "#"),
        ("/colour", json!("blue"), "unknown_field", "#"),
        (
            "/labels",
            json!({ "x": "y".repeat(257) }),
            "limit_exceeded",
            "/labels/x",
        ),
        (
            "/labels",
            json!({ "x": "a\u{7}b" }),
            "invalid_value",
            "/labels/x",
        ),
        ("/deadline_seconds", json!(0), "invalid_value", "#"),
        ("/deadline_seconds", json!(-5), "invalid_value", "#"),
        ("/package", json!({}), "unsupported", "#"),
        ("/thumbnails", json!([]), "wrong_type", "#"),
        ("/outputs", json!([]), "invalid_value", "#"),
        (
            "/outputs",
            json!(vec![json!({}); 33]),
            "limit_exceeded",
            "#",
        ),
        ("/outputs", json!({}), "wrong_type", "#"),
        ("/input/url", long(200_000), "limit_exceeded", "#"),
        (
            "/input/url",
            json!("https://example.org/film"),
            "invalid_value",
            "#",
        ),
        (
            "/input/url",
            json!("s3://in-bucket/a\nb"),
            "invalid_value",
            "#",
        ),
        (
            "/input/url",
            json!("s3://in-bucket/../other/film"),
            "invalid_value",
            "#",
        ),
        ("/input/url", json!("s3://UPPER/film"), "invalid_value", "#"),
        ("/input/sha256", json!("abc"), "invalid_value", "#"),
        ("/input/bytes", json!("12"), "wrong_type", "#"),
        ("/input/bytes", json!(1.5), "wrong_type", "#"),
        ("/outputs/0/if_exists", json!("maybe"), "invalid_value", "#"),
    ]
}

fn wrong_outputs() -> Vec<Wrong> {
    vec![
        (
            "/outputs/0/encryption/mode",
            json!("aes-ecb"),
            "invalid_value",
            "#",
        ),
        (
            "/outputs/0/encryption/iv",
            json!("AAAAAAAAAAAAAAAA"),
            "invalid_iv_length",
            "#",
        ),
        (
            "/outputs/0/encryption/key/keyring/wrapped",
            json!("not base64!"),
            "invalid_value",
            "#",
        ),
        (
            "/outputs/0/encryption/key/keyring/wrapped",
            json!("QUJD="),
            "invalid_value",
            "#",
        ),
        ("/outputs/0/encryption/key", json!({}), "missing_field", "#"),
        (
            "/outputs/0/encryption/key",
            json!({ "secret": { "id": "film" } }),
            "unsupported",
            "#/secret",
        ),
        (
            "/outputs/0/encryption/key/keyring/colour",
            json!(1),
            "unknown_field",
            "#",
        ),
        (
            "/outputs/0/storage",
            json!({ "metadata": { "ciphermill-iv": "x" } }),
            "invalid_value",
            "#/metadata/ciphermill-iv",
        ),
        (
            "/outputs/0/storage",
            json!({ "content_type": "text/plain\r\nx: y" }),
            "invalid_value",
            "#/content_type",
        ),
        (
            "/outputs/0/storage",
            json!({ "server_side": { "mode": "rot13" } }),
            "invalid_value",
            "#/server_side/mode",
        ),
    ]
}

/// One value changed at a time.
fn changed(job: &Value) -> Vec<Case> {
    let case = |(number, (at, value, code, pointer)): (usize, Wrong)| {
        let pointer: &'static str = Box::leak(pointer.replace('#', at).into_boxed_str());
        let mut job = job.clone();
        job["id"] = json!(format!("changed-{number}"));
        let job = with(&job, at, value);
        Case::job(&format!("{at} of row {number}"), &job, code, pointer)
    };
    let table = wrong_jobs().into_iter().chain(wrong_outputs());
    table.enumerate().map(case).collect()
}

/// Keys in the clear, in every disguise; none may come back in an event, a log line or a metric.
fn plaintext_keys(bench: &Bench, job: &Value) -> Vec<Case> {
    let (key, _) = bench.key(32);
    let hex = hex::encode(&key);
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD.encode(&key);
    let at = "/outputs/0/encryption/key";
    let mut cases = Vec::new();
    for (number, (value, pointer)) in [
        (json!(hex), "/outputs/0/encryption/key"),
        (json!(base64), "/outputs/0/encryption/key"),
        (
            json!({ "plaintext": hex }),
            "/outputs/0/encryption/key/plaintext",
        ),
        (json!({ "raw": base64 }), "/outputs/0/encryption/key/raw"),
        (json!({ hex.clone(): true }), "/outputs/0/encryption/key"),
    ]
    .into_iter()
    .enumerate()
    {
        let job = with(
            &with(job, "/id", json!(format!("clear-{number}"))),
            at,
            value,
        );
        cases.push(Case::job(
            &format!("a key in the clear {number}"),
            &job,
            "plaintext_key",
            pointer,
        ));
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_no_jobs() {
    let bench = Bench::new("shapes").await;
    let worker = bench.worker(&[]).await;
    bench.s3.put(&bench.inn("film"), b"film").await;
    let job = bench.cobblestone("shape", &bench.inn("film"), &bench.out("film"));
    let mut cases = unreadable(&job);
    cases.extend(changed(&job));
    cases.extend(plaintext_keys(&bench, &job));
    cases.push(Case::job(
        "no id",
        &without(&job, "id"),
        "missing_field",
        "/id",
    ));
    cases.push(Case::job(
        "no input",
        &with(&without(&job, "input"), "/id", json!("no-input")),
        "missing_field",
        "/input",
    ));
    let own = with(
        &with(&job, "/id", json!("own")),
        "/outputs/0/url",
        job["input"]["url"].clone(),
    );
    cases.push(Case::job(
        "output is input",
        &own,
        "invalid_value",
        "/outputs/0/url",
    ));
    assert!(cases.len() >= 50, "{}", cases.len());
    let ended = refuse_all(&bench, worker, &cases, &job).await;
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
    assert_eq!(
        bench.s3.keys(&format!("{}-out", bench.name)).await,
        ["film"]
    );
}
