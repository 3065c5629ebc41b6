//! What a worker needs goes down under load and comes back: no job is lost, none is dead-lettered.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::proxy::{Fault, Proxy};
use crate::support::store::Kms;
use crate::support::{Bench, MIB, Worker, address, noise, until, variable};

async fn consuming(worker: &Worker<'_>, expected: f64) {
    let what = format!("ciphermill_consuming {expected}");
    until(&what, async || {
        worker.metric("ciphermill_consuming").await == Some(expected)
    })
    .await;
}

fn succeeded(bench: &Bench, jobs: &[String]) -> usize {
    jobs.iter()
        .filter(|id| !bench.broker.of(id, "succeeded").is_empty())
        .count()
}

/// Publishes jobs over one film; each writes its own object.
async fn load(bench: &Bench, jobs: usize, bytes: usize) -> Vec<String> {
    bench.s3.put(&bench.inn("film"), &noise(bytes, 30)).await;
    let ids: Vec<String> = (0..jobs).map(|number| format!("job-{number}")).collect();
    for id in &ids {
        bench
            .publish(&bench.cobblestone(id, &bench.inn("film"), &bench.out(id)))
            .await;
    }
    ids
}

/// Everything is there, nothing else is, and the queue is empty once the worker is gone.
async fn all_well(bench: &Bench, worker: Worker<'_>, jobs: &[String]) {
    until("every job succeeds", async || {
        succeeded(bench, jobs) == jobs.len()
    })
    .await;
    worker.program.signal(rustix::process::Signal::TERM);
    let ended = worker.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(bench.broker.length(&bench.broker.dead).await, Some(0));
    assert_eq!(bench.broker.length(&bench.broker.queue).await, Some(0));
    assert_eq!(bench.s3.uploads(&format!("{}-out", bench.name)).await, 0);
    for id in jobs {
        assert!(bench.s3.exists(&bench.out(id)).await, "{id}");
        let failed = bench.broker.of(id, "failed");
        assert!(failed.is_empty(), "{id}: {}", failed[0].json);
        let told = bench.broker.of(id, "succeeded");
        assert!(
            told.iter()
                .all(|news| news.json["id"] == told[0].json["id"])
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_goes_down_and_comes_back() {
    let mut bench = Bench::new("storedown").await;
    let proxy = Proxy::http(address(&variable("CIPHERMILL_TEST_GARAGE"))).await;
    bench.set("AWS_ENDPOINT_URL_S3", proxy.endpoint());
    // Few, so that an outage that burnt attempts would show. Not 1: the broker counts what a closing gate hands back,
    // and a job whose fault is looked into just when the outage ends is tried again by way of the queue.
    bench.set("CIPHERMILL_WORKER__MAX_ATTEMPTS", 3);
    proxy.set_fault(|head, _| {
        if head.method == "GET" {
            Fault::Throttle(8 << 20)
        } else {
            Fault::Pass
        }
    });
    let jobs = load(&bench, 6, 11 * MIB).await;
    let worker = bench.worker(&[]).await;
    until("some jobs are done", async || succeeded(&bench, &jobs) >= 1).await;
    let before = succeeded(&bench, &jobs);
    assert!(
        before < jobs.len(),
        "the outage came too late to show anything"
    );
    proxy.set_down(true);
    consuming(&worker, 0.0).await;
    let waiting = bench.broker.length(&bench.broker.queue).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(
        bench.broker.length(&bench.broker.queue).await,
        waiting,
        "a closed gate takes nothing"
    );
    assert!(waiting > Some(0));
    // Not ready, but alive: probes leave the worker running, and it mends by itself.
    assert_eq!(worker.page("/ready").await.0, 503);
    assert_eq!(worker.page("/live").await.0, 200);
    assert!(
        worker
            .metric("ciphermill_job_failures_total{code=\"store_down\"}")
            .await
            >= Some(1.0)
    );
    let failed = succeeded(&bench, &jobs);
    proxy.set_down(false);
    consuming(&worker, 1.0).await;
    until("ready again", async || worker.page("/ready").await.0 == 200).await;
    assert!(failed < jobs.len());
    assert!(
        worker
            .program
            .logged("no slot waits for a dependency any more")
            .is_some()
    );
    all_well(&bench, worker, &jobs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_service_goes_down_and_comes_back() {
    let mut bench = Bench::new("kmsdown").await;
    let proxy = Proxy::http(address(&variable("CIPHERMILL_TEST_AWS"))).await;
    bench.set("AWS_ENDPOINT_URL_KMS", proxy.endpoint());
    bench.set("CIPHERMILL_WORKER__MAX_ATTEMPTS", 3);
    let kms = Kms::connect();
    let id = kms.create().await;
    let key = noise(32, 31);
    bench.secrets.add(&key);
    bench.s3.put(&bench.inn("film"), &noise(MIB, 32)).await;
    let worker = bench.worker(&[]).await;
    proxy.set_down(true);
    let jobs: Vec<String> = (0..4).map(|number| format!("kms-{number}")).collect();
    for job in &jobs {
        let wrapped = STANDARD.encode(kms.wrap(&id, &key, &[]).await);
        let encryption = json!({ "mode": "aes-gcm", "key": { "kms": { "ciphertext": wrapped } } });
        bench
            .publish(&bench.job(job, &bench.inn("film"), &bench.out(job), encryption))
            .await;
    }
    consuming(&worker, 0.0).await;
    assert!(
        worker
            .metric("ciphermill_job_failures_total{code=\"key_service_down\"}")
            .await
            >= Some(1.0)
    );
    assert_eq!(succeeded(&bench, &jobs), 0);
    proxy.set_down(false);
    consuming(&worker, 1.0).await;
    all_well(&bench, worker, &jobs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_connections_are_cut_under_load() {
    let mut bench = Bench::new("cut").await;
    let amqp = Arc::new(Proxy::tcp(address(&variable("CIPHERMILL_TEST_AMQP"))).await);
    let proxy = Proxy::http(address(&variable("CIPHERMILL_TEST_GARAGE"))).await;
    bench.set("AWS_ENDPOINT_URL_S3", proxy.endpoint());
    bench.set(
        "CIPHERMILL_AMQP__URLS",
        format!("amqp://guest:guest@{}/%2f", amqp.addr()),
    );
    proxy.set_fault(|head, _| {
        if head.method == "GET" {
            Fault::Throttle(6 << 20)
        } else {
            Fault::Pass
        }
    });
    let jobs = load(&bench, 8, 6 * MIB).await;
    let worker = bench.worker(&[]).await;
    for done in [1, 4] {
        until("some jobs are done", async || {
            succeeded(&bench, &jobs) >= done
        })
        .await;
        assert!(succeeded(&bench, &jobs) < jobs.len());
        amqp.cut();
    }
    // Away for a while: the worker says that it is not ready, and keeps trying.
    amqp.set_down(true);
    until("not ready", async || worker.page("/ready").await.0 == 503).await;
    assert_eq!(worker.page("/live").await.0, 200);
    amqp.set_down(false);
    until("ready", async || worker.page("/ready").await.0 == 200).await;
    all_well(&bench, worker, &jobs).await;
}
