//! Good jobs, from `submit` to the event: every mode, and what a producer is told.

use std::time::Duration;

use serde_json::{Value, json};

use crate::proxy::{Fault, Proxy};
use crate::support::broker::News;
use crate::support::{Bench, MIB, SOON, address, noise, short_digest, until, variable};

/// Writes jobs to files and runs `submit --wait` over them.
async fn submit(bench: &Bench, jobs: &[Value]) -> crate::support::process::Ended {
    let mut arguments = vec![
        "submit".to_owned(),
        "--wait".into(),
        "--timeout".into(),
        "60".into(),
    ];
    for (number, job) in jobs.iter().enumerate() {
        let path = bench.path(&format!("job-{number}.json"));
        std::fs::write(&path, job.to_string()).unwrap();
        arguments.push(path.display().to_string());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    bench.start(&arguments, b"").ended(SOON).await
}

/// Jobs in every mode, and one that copies beside encrypting under a generated key.
fn one_of_each(bench: &Bench) -> Vec<Value> {
    let modes = [
        ("aes-ctr", 16),
        ("aes-cbc-pkcs7", 24),
        ("aes-gcm", 32),
        ("cobblestone", 16),
        ("cobblestone", 32),
    ];
    let mut jobs: Vec<Value> = (modes.iter().enumerate())
        .map(|(number, (mode, bytes))| {
            let (_, key) = bench.key(*bytes);
            let encryption = json!({ "mode": mode, "key": key });
            bench.job(
                &format!("mode-{number}"),
                &bench.inn("film"),
                &bench.out(&format!("m{number}")),
                encryption,
            )
        })
        .collect();
    let wanted = json!({ "keyring": { "bits": 256, "context": { "film": "42" } } });
    let generated = json!({ "mode": "aes-gcm", "key": { "generate": wanted } });
    let mut fan_out = bench.job(
        "fan-out",
        &bench.inn("film"),
        &bench.out("generated"),
        generated,
    );
    fan_out["outputs"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "url": format!("s3://{}", bench.out("copy")) }));
    jobs.push(fan_out);
    jobs
}

/// Every mode and key length, a copy, a fan-out; then each result's own block decrypts what was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mode_there_and_back_through_submit() {
    let bench = Bench::new("modes").await;
    let worker = bench.worker(&[]).await;
    let plain = noise(6 * MIB + 11, 1);
    bench.s3.put(&bench.inn("film"), &plain).await;
    let jobs = one_of_each(&bench);
    let ended = submit(&bench, &jobs).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("mode-0 succeeded"), "{ended:?}");
    assert_eq!(bench.s3.get(&bench.out("copy")).await.unwrap(), plain);

    let mut back = Vec::new();
    for job in &jobs {
        let id = job["id"].as_str().unwrap();
        let event = bench.broker.event(id, "succeeded").await;
        let written = &event.data()["outputs"][0];
        let url = written["url"].as_str().unwrap();
        let sealed = bench.s3.get(&url["s3://".len()..]).await.unwrap();
        assert!(
            sealed.len() >= plain.len() && !sealed.windows(64).any(|w| w == &plain[..64]),
            "{id} is not encrypted"
        );
        assert_eq!(written["bytes"], sealed.len());
        back.push(json!({ "version": 1, "id": format!("{id}-back"),
            "input": { "url": url, "encryption": written["encryption"], "bytes": plain.len() },
            "outputs": [ { "url": format!("{url}-back") } ] }));
    }
    let ended = submit(&bench, &back).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for job in &back {
        let url = job["outputs"][0]["url"].as_str().unwrap();
        assert!(
            bench.s3.get(&url["s3://".len()..]).await.unwrap() == plain,
            "{url} is not the film"
        );
    }
    let jobs_done = jobs.len() + back.len();
    assert_eq!(
        worker
            .metric("ciphermill_jobs_total{outcome=\"succeeded\"}")
            .await,
        Some(jobs_done as f64)
    );
    assert_eq!(bench.broker.length(&bench.broker.dead).await, Some(0));
}

/// A throttled job tells that it started, how far it is at most once a second, and its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_tell_the_story_of_a_job() {
    let mut bench = Bench::new("story").await;
    let proxy = Proxy::http(address(&variable("CIPHERMILL_TEST_GARAGE"))).await;
    proxy.set_fault(|head, _| match head.method.as_str() {
        "GET" => Fault::Throttle(3 << 20),
        _ => Fault::Pass,
    });
    bench.set("AWS_ENDPOINT_URL_S3", proxy.endpoint());
    bench.set("CIPHERMILL_S3__REQUESTS_IN_FLIGHT", 1);
    bench.set(
        "CIPHERMILL_WORKER__ALLOW_REPLY_QUEUES",
        format!("other,{}.replies", bench.name),
    );
    bench
        .broker
        .declare_queue(&format!("{}.replies", bench.name), Default::default())
        .await;
    bench.s3.put(&bench.inn("film"), &noise(11 * MIB, 2)).await;
    let worker = bench.worker(&[]).await;
    let mut job = bench.cobblestone("story", &bench.inn("film"), &bench.out("film"));
    job["labels"] = json!({ "title": "Ölfilm", "empty": "" });
    job["reply_to"] = json!(format!("{}.replies", bench.name));
    bench.publish(&job).await;
    let end = bench.broker.event("story", "succeeded").await;

    check_envelope(&end, &job);
    check_result(&bench, &end.json["data"], &job).await;

    check_progress(&bench, &end, &job);
    let replies = bench.broker.drain(&format!("{}.replies", bench.name)).await;
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].0, end.raw);
    assert!(worker.metric("ciphermill_sink_bytes_total").await.unwrap() > (11 << 20) as f64);
}

/// The CloudEvents envelope and the message around it.
fn check_envelope(end: &News, job: &Value) {
    let digest = short_digest(job.to_string().as_bytes());
    assert_eq!(end.json["id"], format!("story:succeeded:{digest}"));
    assert_eq!(end.routing_key, "job.succeeded");
    assert_eq!(end.json["specversion"], "1.0");
    assert_eq!(end.json["type"], "dev.ciphermill.job.succeeded");
    assert_eq!(end.json["subject"], "story");
    assert!(
        end.json["source"]
            .as_str()
            .unwrap()
            .starts_with("/ciphermill/")
    );
    let (properties, id) = (&end.properties, end.json["id"].as_str().unwrap());
    assert_eq!(properties.delivery_mode(), &Some(2));
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), id);
    assert_eq!(
        properties.correlation_id().as_ref().unwrap().as_str(),
        "story"
    );
}

/// What was told before the end, and how often.
fn check_progress(bench: &Bench, end: &News, job: &Value) {
    let started = bench.broker.of("story", "started");
    let progress = bench.broker.of("story", "progress");
    assert_eq!(started.len(), 1);
    assert!(started[0].at <= progress.first().expect("progress").at);
    assert!(
        progress
            .windows(2)
            .all(|two| two[1].at - two[0].at > Duration::from_millis(900)),
        "{progress:?}"
    );
    let seconds = (end.at - started[0].at).as_secs_f64();
    assert!(
        progress.len() as f64 <= seconds + 1.0,
        "{} in {seconds} s",
        progress.len()
    );
    let done: Vec<u64> = progress
        .iter()
        .map(|news| news.data()["bytes_done"].as_u64().unwrap())
        .collect();
    assert!(
        done.is_sorted() && done.iter().all(|done| *done <= 11 << 20),
        "{done:?}"
    );
    assert!(progress.iter().all(
        |news| news.data()["bytes_total"] == 11 << 20 && news.data()["labels"] == job["labels"]
    ));
    let ids: std::collections::HashSet<String> = bench
        .broker
        .events()
        .iter()
        .map(|news| news.json["id"].to_string())
        .collect();
    assert_eq!(
        ids.len(),
        bench.broker.events().len(),
        "event ids are unique"
    );
}

/// The documented fields of a result, against what the store says.
async fn check_result(bench: &Bench, data: &Value, job: &Value) {
    let out = &data["outputs"][0];
    assert_eq!(data["job_id"], "story");
    assert_eq!(data["attempt"], 1);
    assert_eq!(data["labels"], job["labels"]);
    assert_eq!(data["job_digest"].as_str().unwrap().len(), 64);
    assert_eq!(data["input"]["bytes"], 11 * MIB);
    assert_eq!(data["input"]["url"], job["input"]["url"]);
    assert_eq!(
        data["input"]["version"]["etag"],
        bench.s3.etag(&bench.inn("film")).await
    );
    assert!(data["seconds"].as_f64().unwrap() > 1.0);
    assert_eq!(out["url"], job["outputs"][0]["url"]);
    assert_eq!(out["status"], "written");
    assert_eq!(out["etag"], bench.s3.etag(&bench.out("film")).await);
    let sealed = bench.s3.get(&bench.out("film")).await.unwrap();
    assert_eq!(out["bytes"], sealed.len());
    assert_eq!(out["checksum"]["algorithm"], "crc64nvme");
    let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    crc.update(&sealed);
    use base64::Engine as _;
    let crc = base64::engine::general_purpose::STANDARD.encode(crc.finalize().to_be_bytes());
    assert_eq!(out["checksum"]["value"], crc);
    assert_eq!(out["encryption"]["mode"], "cobblestone");
    assert_eq!(
        out["encryption"]["key"],
        job["outputs"][0]["encryption"]["key"]
    );
    assert!(
        out["salt"].is_string() && out["engine"].as_str().unwrap().starts_with("cpu/"),
        "{out}"
    );
}

/// Nobody listens: the job is done all the same, and the metric says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_nobody_hears_does_not_hold_the_job() {
    let bench = Bench::new("unheard").await;
    bench.broker.stop_listening().await;
    bench.s3.put(&bench.inn("film"), b"quiet").await;
    let worker = bench.worker(&[]).await;
    bench
        .publish(&bench.cobblestone("quiet", &bench.inn("film"), &bench.out("film")))
        .await;
    until("the job succeeds", async || {
        worker
            .metric("ciphermill_jobs_total{outcome=\"succeeded\"}")
            .await
            == Some(1.0)
    })
    .await;
    assert!(bench.s3.exists(&bench.out("film")).await);
    assert_eq!(
        worker.metric("ciphermill_events_unrouted_total").await,
        Some(1.0)
    );
    assert!(worker.program.logged("nobody has bound a queue").is_some());
    bench.broker.until_length(&bench.broker.queue, 0).await;
    drop(worker);
    assert_eq!(bench.broker.length(&bench.broker.queue).await, Some(0));
}

/// `submit --wait` ends with the job's own outcome, and shows it; a bad message is not even published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submit_ends_with_the_outcome() {
    let bench = Bench::new("outcome").await;
    let _worker = bench.worker(&[]).await;
    bench.s3.put(&bench.inn("film"), b"film").await;
    let good = bench.cobblestone("good", &bench.inn("film"), &bench.out("film"));
    let missing = bench.cobblestone("missing", &bench.inn("nothing"), &bench.out("nothing"));
    let ended = submit(&bench, &[good.clone(), missing]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.err.contains("error: missing: /input/url: ") && ended.err.contains("help: "),
        "{ended:?}"
    );
    assert!(ended.out.contains("good succeeded"), "{ended:?}");
    let ended = submit(&bench, &[json!({ "version": 1, "id": "bad" })]).await;
    assert_eq!(ended.code, Some(65), "{ended:?}");
    let ended = submit(&bench, &[good.clone(), good]).await;
    assert_eq!(ended.code, Some(2), "the same id twice: {ended:?}");
    assert!(bench.broker.of("bad", "failed").is_empty());
    assert_eq!(bench.broker.of("good", "succeeded").len(), 1);
}

/// The search itself: a key in an event or a log line would have been found (P8).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_planted_key_would_be_found() {
    let bench = Bench::new("planted").await;
    let (key, _) = bench.key(32);
    assert!(bench.leaks().is_empty());
    let planted = json!({ "id": "x:failed:y", "type": "dev.ciphermill.job.failed",
        "data": { "key": hex::encode(&key) } });
    bench
        .broker
        .publish_to(
            &bench.broker.exchange,
            "job.failed",
            planted.to_string().as_bytes(),
        )
        .await;
    bench.broker.event("x", "failed").await;
    assert_eq!(bench.leaks().len(), 1);
    let ended = bench.run(&["check", &hex::encode(&key)]);
    assert!(
        ended.code == Some(2) && bench.leaks().len() == 2,
        "the file name is echoed: {ended:?}"
    );
    // This bench leaks on purpose: it must not be searched again when it goes.
    std::fs::remove_dir_all(bench.dir.path()).unwrap();
    std::mem::forget(bench);
}
