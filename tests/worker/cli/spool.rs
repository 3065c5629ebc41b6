//! `work --spool`: a directory as a queue, and what a crash leaves in it.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{local, write};
use crate::proxy::{Fault, Proxy};
use crate::support::{Bench, MIB, SOON, address, noise, until, variable};

fn spool(bench: &Bench) -> PathBuf {
    let spool = bench.path("spool");
    std::fs::create_dir_all(spool.join("new")).unwrap();
    spool
}

fn names(bench: &Bench, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(bench.path("spool").join(folder)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn result(bench: &Bench, name: &str) -> Value {
    let text = std::fs::read(bench.path("spool").join(name)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_end_in_done_or_failed_with_their_result() {
    let bench = Bench::new("spool").await;
    std::fs::write(bench.path("film"), noise(70_000, 70)).unwrap();
    spool(&bench);
    write(&bench, "spool/new/one.json", &local(&bench, "one"));
    write(&bench, "spool/new/two.json", &local(&bench, "two"));
    write(
        &bench,
        "spool/new/bad.json",
        &json!({ "version": 1, "id": "bad" }),
    );
    let mut missing = local(&bench, "missing");
    missing["input"]["url"] = json!("file:///does/not/exist");
    write(&bench, "spool/new/missing.json", &missing);
    std::fs::write(bench.path("spool/new/broken.json"), b"{").unwrap();
    let ended = bench
        .start(&["work", "--spool", "spool", "--once"], b"")
        .ended(SOON)
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        names(&bench, "done"),
        ["one.json", "one.result.json", "two.json", "two.result.json"]
    );
    let failed = ["bad", "broken", "missing"]
        .map(|name| [format!("{name}.json"), format!("{name}.result.json")]);
    assert_eq!(names(&bench, "failed"), failed.concat());
    assert!(names(&bench, "new").is_empty() && names(&bench, "running").is_empty());
    let done = result(&bench, "done/one.result.json");
    assert_eq!(done["type"], "dev.ciphermill.job.succeeded");
    assert_eq!(
        done["data"]["outputs"][0]["bytes"],
        std::fs::metadata(bench.path("one")).unwrap().len()
    );
    for (name, code, pointer) in [
        ("bad", "missing_field", json!("/input")),
        ("broken", "invalid_json", Value::Null),
        ("missing", "source_not_found", json!("/input/url")),
    ] {
        let fault = &result(&bench, &format!("failed/{name}.result.json"))["data"]["fault"];
        assert_eq!(
            (&fault["code"], &fault["pointer"]),
            (&json!(code), &pointer),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_workers_job_is_taken_again() {
    let mut bench = Bench::new("spoolcrash").await;
    let proxy = Proxy::http(address(&variable("CIPHERMILL_TEST_GARAGE"))).await;
    bench.set("AWS_ENDPOINT_URL_S3", proxy.endpoint());
    proxy.set_fault(|head, _| {
        if head.method == "GET" {
            Fault::Throttle(2 << 20)
        } else {
            Fault::Pass
        }
    });
    bench.s3.put(&bench.inn("film"), &noise(11 * MIB, 71)).await;
    spool(&bench);
    write(
        &bench,
        "spool/new/film.json",
        &bench.cobblestone("film", &bench.inn("film"), &bench.out("film")),
    );
    let mut worker = bench.start(&["work", "--spool", "spool", "--once"], b"");
    until("the job is under way", async || {
        bench.s3.uploads(&format!("{}-out", bench.name)).await == 1
    })
    .await;
    worker.kill();
    assert!(names(&bench, "running").contains(&"film.json".to_owned()));
    assert!(names(&bench, "done").is_empty());
    proxy.no_fault();
    let ended = bench
        .start(&["work", "--spool", "spool", "--once"], b"")
        .ended(SOON)
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(names(&bench, "done"), ["film.json", "film.result.json"]);
    assert!(names(&bench, "running").is_empty());
    assert_eq!(
        result(&bench, "done/film.result.json")["data"]["attempt"],
        2
    );
    assert_eq!(
        bench.s3.uploads(&format!("{}-out", bench.name)).await,
        0,
        "P6"
    );
}
