//! The command line as people and scripts meet it: outputs, files and exit codes of every verb.

mod crypt;
mod spool;

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::proxy::{Fault, Proxy};
use crate::support::store::Kms;
use crate::support::{Bench, MIB, SOON, address, noise, until, variable};

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A job from file to file.
fn local(bench: &Bench, id: &str) -> Value {
    let (_, key) = bench.key(32);
    json!({ "version": 1, "id": id, "input": { "url": format!("file://{}", bench.path("film").display()) },
        "outputs": [ { "url": format!("file://{}", bench.path(id).display()),
            "encryption": { "mode": "cobblestone", "key": key } } ] })
}

fn write(bench: &Bench, name: &str, job: &Value) {
    std::fs::write(bench.path(name), job.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_shows_every_fault_and_touches_nothing() {
    let bench = Bench::new("check").await;
    let good = bench.cobblestone("good", "in-bucket/film", "out-bucket/film");
    let mut bad = good.clone();
    bad["version"] = json!(3);
    bad["outputs"][0]["encryption"]["iv"] = json!("AAAA");
    bad["labels"] = json!({ "x": 1 });
    write(&bench, "good.json", &good);
    write(&bench, "bad.json", &bad);
    let before = std::fs::read_dir(bench.dir.path()).unwrap().count();
    let ended = bench.run(&["check", "good.json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("good.json: ok, job good"));
    let pointers = ["/version", "/outputs/0/encryption/iv", "/labels/x"];
    let ended = bench.run(&["check", "good.json", "bad.json"]);
    assert_eq!(ended.code, Some(65), "{ended:?}");
    for pointer in pointers {
        assert!(
            ended.out.contains(&format!("  {pointer}: ")),
            "{pointer}: {ended:?}"
        );
    }
    assert!(ended.out.contains("bad.json: 3 fault(s)") && ended.out.matches("help: ").count() == 3);
    let ended = bench.run(&["check", "--json", "good.json", "bad.json"]);
    let lines: Vec<Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(ended.code, Some(65));
    assert!(lines[0]["ok"] == true && lines[1]["ok"] == false);
    let mut found: Vec<&str> = (lines[1]["faults"].as_array().unwrap().iter())
        .map(|f| f["pointer"].as_str().unwrap())
        .collect();
    found.sort_by_key(|pointer| pointers.iter().position(|p| p == pointer));
    assert_eq!(found, pointers);
    let ended = bench
        .start(&["check", "-"], good.to_string().as_bytes())
        .ended(SOON)
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(bench.run(&["check", "none.json"]).code, Some(2));
    assert_eq!(bench.run(&["check"]).code, Some(2));
    assert_eq!(std::fs::read_dir(bench.dir.path()).unwrap().count(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_describe_real_messages() {
    let bench = Bench::new("schema").await;
    std::fs::write(bench.path("film"), noise(100, 50)).unwrap();
    let schema = |what: &str| {
        let ended = bench.run(&["schema", what]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        jsonschema::validator_for(&serde_json::from_str(&ended.out).unwrap()).unwrap()
    };
    let (job_schema, event_schema) = (schema("job"), schema("event"));
    let job = local(&bench, "sealed");
    assert!(job_schema.is_valid(&job));
    let mut wrong = job.clone();
    wrong["colour"] = json!("blue");
    assert!(!job_schema.is_valid(&wrong));
    write(&bench, "job.json", &job);
    let ended = bench.run(&["run", "--json", "job.json"]);
    let event: Value = serde_json::from_str(ended.out.lines().last().unwrap()).unwrap();
    assert!(event_schema.is_valid(&event), "{event}");
    assert!(!event_schema.is_valid(&json!({ "type": "dev.ciphermill.job.succeeded" })));
    assert_eq!(bench.run(&["schema", "film"]).code, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_wrapped_and_never_shown() {
    let bench = Bench::new("keys").await;
    let ended = bench.run(&["keys", "--keyring", "new.keyring", "create"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ring = bench.path("new.keyring");
    assert_eq!(mode(&ring), 0o600);
    let before = std::fs::read(&ring).unwrap();
    let parsed: Value = serde_json::from_slice(&before).unwrap();
    use base64::Engine as _;
    let standard = base64::engine::general_purpose::STANDARD;
    bench
        .secrets
        .add(&standard.decode(parsed["master"].as_str().unwrap()).unwrap());
    let ended = bench.run(&["keys", "--keyring", "new.keyring", "create"]);
    assert!(
        ended.code != Some(0) && ended.err.contains("error: ") && ended.err.contains("help: "),
        "{ended:?}"
    );
    assert!(
        std::fs::read(&ring).unwrap() == before,
        "an existing keyring is never touched"
    );
    let ended = bench.run(&["keys", "--keyring", "new.keyring", "show", "--json"]);
    let shown: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(shown["id"], parsed["id"]);

    let (key, _) = bench.key(24);
    std::fs::write(bench.path("key"), &key).unwrap();
    let ended = bench.run(&["keys", "wrap", "--key-file", "key", "--context", "film=42"]);
    let reference: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(reference["keyring"]["context"], json!({ "film": "42" }));
    let wrapped = standard
        .decode(reference["keyring"]["wrapped"].as_str().unwrap())
        .unwrap();
    let context = [("film".to_owned(), "42".to_owned())].into();
    assert!(bench.ring.unwrap_key(&wrapped, &context).unwrap().expose() == key);
    let fresh = bench.run(&["keys", "wrap", "--bits", "128"]);
    assert!(serde_json::from_str::<Value>(&fresh.out).unwrap()["keyring"]["wrapped"].is_string());
    assert_eq!(bench.run(&["keys", "wrap", "--bits", "100"]).code, Some(65));
    let id = Kms::connect().create().await;
    let ended = bench.run(&["keys", "wrap", "--key-file", "key", "--kms", &id]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(serde_json::from_str::<Value>(&ended.out).unwrap()["kms"]["ciphertext"].is_string());

    std::fs::set_permissions(&ring, std::fs::Permissions::from_mode(0o644)).unwrap();
    let ended = bench.run(&["keys", "--keyring", "new.keyring", "show"]);
    assert!(
        ended.code == Some(78) && ended.err.contains("chmod 600"),
        "{ended:?}"
    );
    assert_eq!(
        bench.run(&["keys", "--keyring", "none", "show"]).code,
        Some(78)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_ends_with_the_code_of_what_happened() {
    let mut bench = Bench::new("run").await;
    std::fs::write(bench.path("film"), noise(70_000, 51)).unwrap();
    write(&bench, "good.json", &local(&bench, "sealed"));
    let mut missing = local(&bench, "missing");
    missing["input"]["url"] = json!(format!("file://{}", bench.path("none").display()));
    write(&bench, "missing.json", &missing);
    write(&bench, "bad.json", &json!({ "version": 1 }));
    let mut sealed = local(&bench, "from-s3");
    sealed["input"]["url"] = json!(format!("s3://{}", bench.inn("film")));
    write(&bench, "s3.json", &sealed);

    let ended = bench.run(&["run", "good.json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("to decrypt: {"), "{ended:?}");
    assert_eq!(mode(&bench.path("sealed")), 0o600);
    let ended = bench.run(&["run", "missing.json", "good.json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.err.contains("error: missing.json: /input/url: ") && ended.err.contains("help: "),
        "{ended:?}"
    );
    assert!(
        ended.out.contains("good.json: "),
        "the others are done: {ended:?}"
    );
    let ended = bench.run(&["run", "bad.json"]);
    assert_eq!(ended.code, Some(65), "{ended:?}");
    assert_eq!(
        ended.err.matches("error: ").count(),
        3,
        "all faults: {ended:?}"
    );
    bench.set("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9");
    let ended = bench.run(&["run", "s3.json"]);
    assert_eq!(ended.code, Some(69), "{ended:?}");
    write(&bench, "fresh.json", &local(&bench, "fresh"));
    let ended = bench.run(&["run", "--keyring", "none", "fresh.json"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    let ended = bench.run(&["run", "--keyring", "none", "good.json"]);
    assert_eq!(
        ended.code,
        Some(0),
        "a finished job needs no key: {ended:?}"
    );
    bench.set("CIPHERMILL_AMQP__URLS", "amqp://127.0.0.1:9");
    assert_eq!(bench.run(&["submit", "good.json"]).code, Some(69));
}

/// Ctrl-C in the middle of an upload: the job is stopped, its upload is aborted before the program is gone (P6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_an_interrupted_run_leaves_no_upload() {
    let mut bench = Bench::new("interrupted").await;
    let proxy = Proxy::http(address(&variable("CIPHERMILL_TEST_GARAGE"))).await;
    bench.set("AWS_ENDPOINT_URL_S3", proxy.endpoint());
    proxy.set_fault(|head, _| {
        if head.method == "GET" {
            Fault::Throttle(2 << 20)
        } else {
            Fault::Pass
        }
    });
    bench.s3.put(&bench.inn("film"), &noise(11 * MIB, 52)).await;
    write(
        &bench,
        "job.json",
        &bench.cobblestone("interrupted", &bench.inn("film"), &bench.out("film")),
    );
    let program = bench.start(&["run", "job.json"], b"");
    let out = format!("{}-out", bench.name);
    until("the upload has begun", async || {
        bench.s3.uploads(&out).await == 1
    })
    .await;
    program.signal(rustix::process::Signal::INT);
    let ended = program.ended(SOON).await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert_eq!(bench.s3.uploads(&out).await, 0, "{ended:?}");
    assert!(!bench.s3.exists(&bench.out("film")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_settings_are_named() {
    let mut bench = Bench::new("settings").await;
    bench.key(32);
    std::fs::write(bench.path("typo.toml"), "[worker]\nslotz = 3\n").unwrap();
    for verb in [
        ["work", "--config", "typo.toml"].as_slice(),
        &["run", "--config", "typo.toml", "x.json"],
    ] {
        let ended = bench.run(verb);
        assert!(
            ended.code == Some(78) && ended.err.contains("slotz"),
            "{ended:?}"
        );
        assert!(ended.err.contains("error: ") && ended.err.contains("help: "));
    }
    assert_eq!(bench.run(&["work", "--config", "none.toml"]).code, Some(78));
    bench.set("CIPHERMILL_WORKER__DRAIN", 3);
    let ended = bench.run(&["work"]);
    assert!(
        ended.code == Some(78) && ended.err.contains("drain"),
        "{ended:?}"
    );
    bench.env.remove("CIPHERMILL_WORKER__DRAIN");
    bench.set("CIPHERMILL_WORKER__SLOTS", "many");
    let ended = bench.run(&["work"]);
    assert!(
        ended.code == Some(78) && ended.err.contains("CIPHERMILL_WORKER__SLOTS")
            || ended.err.contains("worker.slots"),
        "{ended:?}"
    );
    // A password is not for the log.
    bench.set("CIPHERMILL_WORKER__SLOTS", 1);
    let url = variable("CIPHERMILL_TEST_AMQP").replace("guest:guest", "guest:hush-hush");
    bench.set("CIPHERMILL_AMQP__URLS", url);
    let ended = bench.run(&["work"]);
    assert!(
        ended.code == Some(78) && !ended.err.contains("hush-hush"),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_has_help() {
    let bench = Bench::new("help").await;
    bench.key(32);
    let ended = bench.run(&["--help"]);
    assert!(
        ended.code == Some(0)
            && ended.out.contains("Examples:")
            && ended.out.contains("Exit codes:")
    );
    for verb in [
        "demo", "work", "run", "submit", "check", "schema", "keys", "encrypt", "decrypt",
    ] {
        assert!(
            ended.out.contains(&format!("  {verb} ")),
            "{verb} is listed"
        );
        let help = bench.run(&[verb, "--help"]);
        assert_eq!(help.code, Some(0));
        assert!(
            help.out.contains(&format!("Usage: ciphermill {verb}")),
            "{help:?}"
        );
        assert!(
            help.out.lines().count() > 8,
            "{verb} says too little: {help:?}"
        );
    }
    assert_eq!(bench.run(&["frobnicate"]).code, Some(2));
    assert_eq!(bench.run(&[]).code, Some(2));
    assert_eq!(
        bench.run(&["--version"]).out.trim(),
        format!("ciphermill {}", env!("CARGO_PKG_VERSION"))
    );
}

/// TLS to the broker, with its own certificate authority; without that it is not trusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqps_with_a_private_authority() {
    let mut bench = Bench::new("amqps").await;
    bench.s3.put(&bench.inn("film"), b"film").await;
    write(
        &bench,
        "job.json",
        &bench.cobblestone("tls", &bench.inn("film"), &bench.out("film")),
    );
    bench.set("CIPHERMILL_AMQP__URLS", variable("CIPHERMILL_TEST_AMQPS"));
    let ended = bench.run(&["submit", "job.json"]);
    assert_eq!(ended.code, Some(69), "{ended:?}");
    bench.set("CIPHERMILL_AMQP__CA_FILE", variable("CIPHERMILL_TEST_CA"));
    let _worker = bench.worker(&[]).await;
    let ended = bench
        .start(&["submit", "--wait", "--json", "job.json"], b"")
        .ended(SOON)
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let states: Vec<Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(states[0]["submitted"], "tls");
    assert_eq!(
        states.last().unwrap()["type"],
        "dev.ciphermill.job.succeeded"
    );
}
