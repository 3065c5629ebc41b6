//! P10 and the worker's other ends: signals, `--max-jobs`, and the topology it starts with.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::proxy::{Fault, Proxy};
use crate::support::broker::Broker;
use crate::support::{Bench, MIB, address, noise, until, variable};

/// One slow job that is under way, and more that wait.
async fn slow(name: &str, waiting: usize, settings: &[(&str, u64)]) -> (Bench, Proxy) {
    let mut bench = Bench::new(name).await;
    let proxy = Proxy::http(address(&variable("CIPHERMILL_TEST_GARAGE"))).await;
    bench.set("AWS_ENDPOINT_URL_S3", proxy.endpoint());
    bench.set("CIPHERMILL_WORKER__SLOTS", 1);
    for (setting, value) in settings {
        bench.set(setting, value);
    }
    proxy.set_fault(|head, _| match head.query("partNumber") {
        Some(_) => Fault::Throttle(2 << 20),
        None => Fault::Pass,
    });
    bench.s3.put(&bench.inn("film"), &noise(11 * MIB, 40)).await;
    for number in 0..=waiting {
        let id = format!("job-{number}");
        bench
            .publish(&bench.cobblestone(&id, &bench.inn("film"), &bench.out(&id)))
            .await;
    }
    (bench, proxy)
}

async fn is_uploading(proxy: &Proxy) {
    until("the job is under way", async || {
        proxy
            .log()
            .iter()
            .any(|e| e.request.query("partNumber").is_some())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_a_running_job_may_finish() {
    let (bench, proxy) = slow("drains", 2, &[]).await;
    let worker = bench.worker(&[]).await;
    is_uploading(&proxy).await;
    worker.program.signal(Signal::TERM);
    let ended = worker.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let end = bench.broker.event("job-0", "succeeded").await;
    assert_eq!(end.data()["attempt"], 1);
    assert!(bench.s3.exists(&bench.out("job-0")).await);
    bench.broker.until_length(&bench.broker.queue, 2).await;
    assert!(
        bench.broker.of("job-1", "started").is_empty(),
        "no new job was taken"
    );
}

/// Both ways in which a job is stopped leave no trace of it but the message.
async fn stops(bench: Bench, proxy: Proxy, signals: usize) {
    let worker = bench.worker(&[]).await;
    is_uploading(&proxy).await;
    let begun = Instant::now();
    for _ in 0..signals {
        worker.program.signal(Signal::TERM);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let ended = worker.ended().await;
    assert_eq!(ended.code, Some(75), "{ended:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    bench.broker.until_length(&bench.broker.queue, 1).await;
    assert_eq!(bench.broker.length(&bench.broker.dead).await, Some(0));
    assert_eq!(
        bench.s3.uploads(&format!("{}-out", bench.name)).await,
        0,
        "P6"
    );
    assert!(!bench.s3.exists(&bench.out("job-0")).await);
    assert!(bench.broker.of("job-0", "failed").is_empty());
    // And it is done by the next worker.
    proxy.no_fault();
    let ended = bench.worker(&["--max-jobs", "1"]).await.ended().await;
    assert_eq!(ended.code, Some(0));
    bench.broker.event("job-0", "succeeded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_the_drain_limit_returns_the_job() {
    let (bench, proxy) = slow("limit", 0, &[("CIPHERMILL_WORKER__DRAIN_SECONDS", 1)]).await;
    stops(bench, proxy, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_a_second_signal_is_immediate() {
    let (bench, proxy) = slow("second", 0, &[("CIPHERMILL_WORKER__DRAIN_SECONDS", 600)]).await;
    stops(bench, proxy, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_ends_at_once() {
    let bench = Bench::new("idle").await;
    bench.key(32);
    let worker = bench.worker(&[]).await;
    let begun = Instant::now();
    worker.program.signal(Signal::INT);
    assert_eq!(worker.ended().await.code, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn max_jobs_takes_no_more_than_it_says() {
    let bench = Bench::new("maxjobs").await;
    bench.s3.put(&bench.inn("film"), &noise(3000, 41)).await;
    for number in 0..5 {
        let id = format!("job-{number}");
        bench
            .publish(&bench.cobblestone(&id, &bench.inn("film"), &bench.out(&id)))
            .await;
    }
    let ended = bench.worker(&["--max-jobs", "2"]).await.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    bench.broker.until_length(&bench.broker.queue, 3).await;
    let done: Vec<String> = bench.s3.keys(&format!("{}-out", bench.name)).await;
    assert_eq!(done.len(), 2, "{done:?}");
}

/// A virtual host of its own shows the defaults: nothing there, help, `--declare`, and a job through it all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topology_is_asked_for_and_can_be_declared() {
    let name = format!("declare-{}", uuid::Uuid::new_v4().simple());
    virtual_host("PUT", &name);
    let url = variable("CIPHERMILL_TEST_AMQP").replace("%2f", &name);
    let broker = Broker::connect(&url, "ciphermill").await;
    assert_eq!(broker.queue, "ciphermill.jobs");
    let mut bench = Bench::around(name.clone(), broker).await;
    bench.set("CIPHERMILL_AMQP__URLS", &url);
    for setting in ["QUEUE", "EVENTS_EXCHANGE", "DEAD_LETTER_QUEUE"] {
        bench.env.remove(&format!("CIPHERMILL_AMQP__{setting}"));
    }
    let ended = bench.run(&["work"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(
        ended.err.contains("error: amqp.")
            && ended
                .err
                .contains("help: create it with `ciphermill work --declare`")
    );
    assert_eq!(
        bench.broker.length("ciphermill.jobs").await,
        None,
        "nothing is made unasked"
    );

    let ended = bench.worker(&["--declare", "--max-jobs", "1"]).await;
    for queue in ["ciphermill.jobs", "ciphermill.dead", "ciphermill.results"] {
        assert_eq!(bench.broker.length(queue).await, Some(0), "{queue}");
    }
    bench.s3.put(&bench.inn("film"), b"film").await;
    bench
        .publish(&bench.cobblestone("declared", &bench.inn("film"), &bench.out("film")))
        .await;
    assert_eq!(ended.ended().await.code, Some(0));
    let results = bench.broker.drain("ciphermill.results").await;
    assert_eq!(results.len(), 1, "end states only");
    assert!(String::from_utf8_lossy(&results[0].0).contains("declared:succeeded:"));
    let worker = bench.worker(&[]).await;
    bench.broker.publish(b"no job").await;
    bench.broker.until_length("ciphermill.dead", 1).await;
    worker.program.signal(Signal::TERM);
    assert_eq!(worker.ended().await.code, Some(0), "it is there now");
    virtual_host("DELETE", &name);
}

/// Makes a virtual host, or removes it, through the management API.
fn virtual_host(method: &str, name: &str) {
    let url = format!(
        "{}/api/vhosts/{name}",
        variable("CIPHERMILL_TEST_RABBIT_MGMT")
    );
    let curl = std::process::Command::new("curl")
        .args(["-sf", "-u", "guest:guest", "-X", method, &url])
        .status();
    assert!(curl.unwrap().success(), "{method} {url}");
}

/// A message that the broker gave up by itself gets its failure event from `--dead-letters`, once; a refused one,
/// which had its event, does not get another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_of_the_broker_are_reported() {
    let bench = Bench::with_delivery_limit("gone", 2).await;
    let job = bench.cobblestone("crasher", &bench.inn("film"), &bench.out("film"));
    bench.publish(&job).await;
    bench.broker.crash_loop().await;
    bench.broker.until_length(&bench.broker.dead, 1).await;
    let plain = bench.worker(&["--max-jobs", "1"]).await;
    bench.broker.publish(b"{").await;
    assert_eq!(plain.ended().await.code, Some(0));
    bench.broker.until_length(&bench.broker.dead, 2).await;
    assert!(
        bench.broker.of("crasher", "failed").is_empty(),
        "only on request"
    );

    let worker = bench.worker(&["--dead-letters"]).await;
    let end = bench.broker.event("crasher", "failed").await;
    assert_eq!(end.data()["fault"]["code"], "attempts_exhausted");
    assert!(
        end.data()["fault"]["message"]
            .as_str()
            .unwrap()
            .contains("delivery_limit"),
        "{}",
        end.json
    );
    until("the sweep is over", async || {
        worker.program.logged("dead letters reported").is_some()
    })
    .await;
    drop(worker);
    let again = bench.worker(&["--dead-letters"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(again);
    let failed = bench
        .broker
        .events()
        .iter()
        .filter(|news| news.state() == "failed")
        .count();
    assert_eq!(failed, 2, "one for each message");
    bench.broker.until_length(&bench.broker.dead, 2).await;
    let dead = bench.broker.drain(&bench.broker.dead).await;
    assert!(
        dead.iter()
            .any(|(body, _)| body == job.to_string().as_bytes()),
        "the message itself is kept"
    );
}
