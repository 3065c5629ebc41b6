//! P1, P3 and P6: a worker dies at the worst moments, and its jobs come back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::proxy::{Exchange, Fault, Proxy, RequestHead};
use crate::support::{Bench, MIB, SOON, address, becomes, noise, until, variable};

fn is_part(head: &RequestHead) -> bool {
    head.method == "PUT" && head.query("partNumber").is_some()
}

fn is_complete(head: &RequestHead) -> bool {
    head.method == "POST" && head.query("uploadId").is_some()
}

/// Requests for this object that change the store.
fn writes(proxy: &Proxy, at: &str) -> Vec<Exchange> {
    let path = format!("/{at}");
    let log = proxy.log().into_iter();
    log.filter(|e| e.request.path() == path && !matches!(e.request.method.as_str(), "GET" | "HEAD"))
        .collect()
}

/// Garage behind a proxy. One slot: a broker that loses a worker may pass its job on to the same worker's next
/// channel before that is gone too, and counts that as another attempt.
async fn store(bench: &mut Bench) -> Arc<Proxy> {
    bench.set("CIPHERMILL_WORKER__SLOTS", 1);
    let proxy = Arc::new(Proxy::http(address(&variable("CIPHERMILL_TEST_GARAGE"))).await);
    bench.set("AWS_ENDPOINT_URL_S3", proxy.endpoint());
    proxy
}

/// Decrypts what stands in the store with the program itself.
async fn opens_to(bench: &Bench, at: &str, key: &[u8], plain: &[u8]) {
    std::fs::write(bench.path("sealed"), bench.s3.get(at).await.unwrap()).unwrap();
    std::fs::write(bench.path("key"), key).unwrap();
    let ended = bench.run(&[
        "decrypt",
        "--mode",
        "cobblestone",
        "--key-file",
        "key",
        "sealed",
        "opened",
    ]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        std::fs::read(bench.path("opened")).unwrap() == plain,
        "{at} opens to something else"
    );
}

/// A worker that is killed once it has uploaded a part.
async fn die_half_way(bench: &Bench, proxy: &Proxy) {
    proxy.clear();
    let mut worker = bench.worker(&[]).await;
    let sent = || {
        proxy
            .log()
            .iter()
            .filter(|e| is_part(&e.request) && e.status == Some(200))
            .count()
    };
    until("a part is uploaded", async || sent() > 0).await;
    worker.program.kill();
    assert_eq!(
        bench.s3.uploads(&format!("{}-out", bench.name)).await,
        1,
        "the crash left its upload"
    );
    assert!(
        !bench.s3.exists(&bench.out("film")).await,
        "P2: nothing is visible yet"
    );
    assert!(
        !proxy.log().iter().any(|e| is_complete(&e.request)),
        "it was killed too late to show anything"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_job_killed_half_way_is_completed_once() {
    let mut bench = Bench::new("killed").await;
    let proxy = store(&mut bench).await;
    proxy.set_fault(|head, _| {
        if is_part(head) {
            Fault::Throttle(4 << 20)
        } else {
            Fault::Pass
        }
    });
    let (plain, out) = (noise(22 * MIB, 20), format!("{}-out", bench.name));
    bench.s3.put(&bench.inn("film"), &plain).await;
    let (key, reference) = bench.key(32);
    let job = bench.job(
        "killed",
        &bench.inn("film"),
        &bench.out("film"),
        json!({ "mode": "cobblestone", "key": reference }),
    );
    bench.publish(&job).await;
    for _ in 0..2 {
        die_half_way(&bench, &proxy).await;
    }
    proxy.no_fault();
    proxy.clear();
    let ended = bench.worker(&["--max-jobs", "1"]).await.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let end = bench.broker.event("killed", "succeeded").await;
    assert_eq!(
        end.data()["attempt"],
        3,
        "attempts are counted by the broker"
    );
    let attempts: Vec<Value> = bench
        .broker
        .of("killed", "started")
        .iter()
        .map(|news| news.data()["attempt"].clone())
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
    let completes = writes(&proxy, &bench.out("film"))
        .into_iter()
        .filter(|e| is_complete(&e.request))
        .count();
    assert_eq!(completes, 1);
    assert_eq!(
        bench.s3.uploads(&out).await,
        0,
        "P6: what the crash left was aborted"
    );
    assert_eq!(bench.broker.length(&bench.broker.queue).await, Some(0));
    assert_eq!(bench.broker.length(&bench.broker.dead).await, Some(0));
    opens_to(&bench, &bench.out("film"), &key, &plain).await;
}

/// The job comes again, and once more as a new message: told each time, written never.
async fn is_recognised(bench: &Bench, proxy: &Proxy, job: &Value, at: &[&str]) {
    let id = job["id"].as_str().unwrap();
    let etags = [
        bench.s3.etag(at[0]).await,
        bench.s3.etag(at.last().unwrap()).await,
    ];

    let worker = bench.worker(&[]).await;
    let end = bench.broker.event(id, "succeeded").await;
    bench.broker.until_length(&bench.broker.queue, 0).await;
    assert_eq!(end.data()["attempt"], 2);
    assert_eq!(
        end.data()["outputs"].as_array().unwrap().len(),
        job["outputs"].as_array().unwrap().len()
    );
    assert_eq!(
        worker.metric("ciphermill_jobs_recognised_total").await,
        Some(1.0)
    );
    // P3 holds for a second submission of the same message too.
    bench.publish(job).await;
    until("it is told again", async || {
        bench.broker.of(id, "succeeded").len() == 2
    })
    .await;
    let told = bench.broker.of(id, "succeeded");
    assert_eq!(told[0].json["id"], told[1].json["id"]);
    for at in at {
        let writes = writes(proxy, at);
        assert!(writes.is_empty(), "P3: {writes:?}");
    }
    assert_eq!(
        etags,
        [
            bench.s3.etag(at[0]).await,
            bench.s3.etag(at.last().unwrap()).await
        ]
    );
    assert!(proxy.log().len() > 1, "the second worker did look");
    worker.program.signal(rustix::process::Signal::TERM);
    assert_eq!(worker.ended().await.code, Some(0));
    assert_eq!(bench.broker.length(&bench.broker.queue).await, Some(0));
}

/// The worker dies after the object is whole and before the broker knows: the next one tells the result, and
/// writes nothing.
async fn dies_before_its_ack(mut bench: Bench, job: Value, at: &[&str]) {
    let proxy = store(&mut bench).await;
    let amqp = Arc::new(Proxy::tcp(address(&variable("CIPHERMILL_TEST_AMQP"))).await);
    bench.set(
        "CIPHERMILL_AMQP__URLS",
        format!("amqp://guest:guest@{}/%2f", amqp.addr()),
    );
    let (broker, last) = (Arc::clone(&amqp), format!("/{}", at.last().unwrap()));
    // From the last object's publication on, nothing passes between worker and broker.
    proxy.set_fault(move |head, _| {
        let publishes = is_complete(head) || head.method == "PUT" && !is_part(head);
        if publishes && head.path() == last {
            broker.set_blackhole(true);
        }
        Fault::Pass
    });
    let mut worker = bench.worker(&[]).await;
    bench.publish(&job).await;
    until("every object is there", async || {
        let mut there = true;
        for at in at {
            there &= bench.s3.exists(at).await;
        }
        there
    })
    .await;
    until("the worker is done", async || {
        worker.program.logged("job succeeded").is_some()
    })
    .await;
    worker.program.kill();
    let id = job["id"].as_str().unwrap();
    assert!(
        bench.broker.of(id, "succeeded").is_empty(),
        "the event was held back"
    );
    amqp.cut();
    amqp.set_blackhole(false);
    proxy.no_fault();
    proxy.clear();
    is_recognised(&bench, &proxy, &job, at).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_finished_multipart_job_writes_nothing_again() {
    let bench = Bench::new("finished").await;
    bench.s3.put(&bench.inn("film"), &noise(12 * MIB, 21)).await;
    let (at, job) = (
        bench.out("film"),
        bench.cobblestone("finished", &bench.inn("film"), &bench.out("film")),
    );
    dies_before_its_ack(bench, job, &[&at]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_finished_small_job_writes_nothing_again() {
    let bench = Bench::new("small").await;
    bench.s3.put(&bench.inn("film"), &noise(3000, 22)).await;
    let (at, job) = (
        bench.out("film"),
        bench.cobblestone("small", &bench.inn("film"), &bench.out("film")),
    );
    dies_before_its_ack(bench, job, &[&at]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_finished_fan_out_writes_nothing_again() {
    let bench = Bench::new("both").await;
    bench.s3.put(&bench.inn("film"), &noise(3000, 23)).await;
    let (one, two) = (bench.out("one"), bench.out("two"));
    let mut job = bench.cobblestone("both", &bench.inn("film"), &one);
    job["outputs"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "url": format!("s3://{two}") }));
    // Both are published together: hold the broker from the ledger's last word on.
    dies_before_its_ack(bench, job, &[&one, &two]).await;
}

/// The store keeps breaking an object: every attempt is told, the last one ends in the dead-letter queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_run_out() {
    let mut bench = Bench::new("attempts").await;
    let proxy = store(&mut bench).await;
    let path = format!("/{}", bench.out("film"));
    proxy.set_fault(move |head, _| match head.method.as_str() {
        "PUT" if head.path() == path => Fault::Status(400, "BadDigest"),
        _ => Fault::Pass,
    });
    bench.set("CIPHERMILL_WORKER__MAX_ATTEMPTS", 3);
    bench.s3.put(&bench.inn("film"), &noise(3000, 24)).await;
    let job = bench.cobblestone("attempts", &bench.inn("film"), &bench.out("film"));
    bench.publish(&job).await;
    let worker = bench.worker(&[]).await;
    let end = bench.broker.event("attempts", "failed").await;
    assert_eq!(end.data()["fault"]["code"], "integrity_mismatch");
    assert_eq!(end.data()["fault"]["pointer"], "/outputs/0/url");
    assert_eq!(end.data()["fault"]["retryable"], true);
    assert_eq!(end.data()["attempt"], 3);
    bench.broker.until_length(&bench.broker.dead, 1).await;
    let attempts: Vec<Value> = bench
        .broker
        .of("attempts", "started")
        .iter()
        .map(|news| news.data()["attempt"].clone())
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert_eq!(writes(&proxy, &bench.out("film")).len(), 3);
    assert_eq!(
        worker
            .metric("ciphermill_jobs_total{outcome=\"retried\"}")
            .await,
        Some(2.0)
    );
    assert_eq!(
        worker
            .metric("ciphermill_job_failures_total{code=\"integrity_mismatch\"}")
            .await,
        Some(3.0)
    );
    let dead = bench.broker.drain(&bench.broker.dead).await;
    assert_eq!(dead[0].0, job.to_string().as_bytes());
    assert!(!bench.s3.exists(&bench.out("film")).await);
}

/// A part is refused for good, and the store does not take the abort either: the upload stays known, and the
/// next job under that id clears it away (P6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_an_upload_that_could_not_be_aborted_stays_known() {
    let mut bench = Bench::new("stuck").await;
    let proxy = store(&mut bench).await;
    let out = format!("{}-out", bench.name);
    proxy.set_fault(|head, _| match head.method.as_str() {
        _ if is_part(head) => Fault::Status(403, "AccessDenied"),
        "DELETE" if head.query("uploadId").is_some() => Fault::Status(400, "Denied"),
        _ => Fault::Pass,
    });
    bench.s3.put(&bench.inn("film"), &noise(12 * MIB, 25)).await;
    let job = bench.cobblestone("stuck", &bench.inn("film"), &bench.out("film"));
    let worker = bench.worker(&[]).await;
    bench.publish(&job).await;
    let end = bench.broker.event("stuck", "failed").await;
    assert_eq!(end.data()["fault"]["code"], "sink_denied", "{}", end.json);
    assert_eq!(
        worker
            .metric("ciphermill_uploads_aborted_total{result=\"left\"}")
            .await,
        Some(1.0)
    );
    assert_eq!(bench.s3.uploads(&out).await, 1);
    let ledger = bench.s3.keys(&out).await;
    assert_eq!(
        ledger,
        [".ciphermill/stuck.json"],
        "the upload is not forgotten"
    );
    proxy.no_fault();
    bench.publish(&job).await;
    bench.broker.event("stuck", "succeeded").await;
    let gone = becomes(SOON.min(Duration::from_secs(5)), async || {
        bench.s3.uploads(&out).await == 0
    });
    assert!(gone.await, "the job came back and cleared it away");
}
