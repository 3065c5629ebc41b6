//! Jobs that read well and cannot be done: what the stores, the key services and the operator's limits say.

use std::fs::File;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Case, forgeries, keys, refuse_all};
use crate::proxy::{Fault, Proxy, RequestHead};
use crate::support::store::Kms;
use crate::support::{Bench, address, noise, variable};

pub const FILM: usize = 40_000;

/// Jobs of one test, each with an id and an output of its own.
pub struct Jobs<'a> {
    pub bench: &'a Bench,
    cases: Vec<Case>,
}

impl Jobs<'_> {
    pub fn add(
        &mut self,
        name: &str,
        code: &'static str,
        pointer: &'static str,
        change: impl FnOnce(&mut Value),
    ) {
        let id = format!("world-{}", self.cases.len());
        let mut job = self
            .bench
            .cobblestone(&id, &self.bench.inn("film"), &self.bench.out(&id));
        change(&mut job);
        self.cases.push(Case::job(name, &job, code, pointer));
    }

    /// A cobblestone output under this key reference.
    pub fn key(&mut self, name: &str, code: &'static str, pointer: &'static str, key: Value) {
        self.add(name, code, pointer, |job| {
            job["outputs"][0]["encryption"]["key"] = key
        });
    }

    /// A decrypting job over this object.
    pub fn open(&mut self, name: &str, pointer: &'static str, from: &str, encryption: Value) {
        let url = format!("s3://{}", self.bench.inn(from));
        self.add(name, "decrypt_failed", pointer, |job| {
            job["input"] = json!({ "url": url, "encryption": encryption });
            job["outputs"][0]
                .as_object_mut()
                .unwrap()
                .remove("encryption");
        });
    }
}

/// What the operator's limits and missing buckets refuse.
fn places(jobs: &mut Jobs<'_>) {
    let name = jobs.bench.name.clone();
    jobs.add("no such object", "source_not_found", "/input/url", |job| {
        job["input"]["url"] = json!(format!("s3://{name}-in/none"))
    });
    jobs.add("no such bucket", "bucket_not_found", "/input/url", |job| {
        job["input"]["url"] = json!(format!("s3://{name}-none/film"))
    });
    jobs.add(
        "no such bucket to write",
        "bucket_not_found",
        "/outputs/0/url",
        |job| {
            job["outputs"][0]["url"] = json!(format!("s3://{name}-none/film"));
        },
    );
    jobs.add(
        "bucket off the list",
        "bucket_not_allowed",
        "/input/url",
        |job| job["input"]["url"] = json!("s3://parts/film"),
    );
    jobs.add(
        "output off the list",
        "bucket_not_allowed",
        "/outputs/0/url",
        |job| job["outputs"][0]["url"] = json!("s3://parts/film"),
    );
    jobs.add(
        "the worker's own prefix",
        "reserved_place",
        "/outputs/0/url",
        |job| {
            job["outputs"][0]["url"] = json!(format!("s3://{name}-out/.ciphermill/world.json"));
        },
    );
    jobs.add("/etc/shadow", "file_not_allowed", "/input/url", |job| {
        job["input"]["url"] = json!("file:///etc/shadow")
    });
    jobs.add(
        "a file outside the root",
        "file_not_allowed",
        "/outputs/0/url",
        |job| {
            job["outputs"][0]["url"] = json!("file:///tmp/escaped");
        },
    );
    jobs.add(
        "reply off the list",
        "reply_not_allowed",
        "/reply_to",
        |job| job["reply_to"] = json!(format!("{name}.dead")),
    );
}

/// What the objects themselves refuse.
fn contents(jobs: &mut Jobs<'_>) {
    let film = format!("s3://{}", jobs.bench.inn("film"));
    let there = format!("s3://{}", jobs.bench.out("there"));
    jobs.add(
        "it is there already",
        "output_exists",
        "/outputs/0/url",
        |job| {
            job["outputs"][0]["url"] = json!(there);
            job["outputs"][0]["if_exists"] = json!("fail");
        },
    );
    jobs.add("another version", "source_changed", "/input/etag", |job| {
        job["input"]["etag"] = json!("0123456789")
    });
    jobs.add(
        "other bytes than promised",
        "checksum_mismatch",
        "/input/sha256",
        |job| job["input"]["sha256"] = json!("ab".repeat(32)),
    );
    jobs.add(
        "other length than promised",
        "checksum_mismatch",
        "/input/bytes",
        |job| job["input"]["bytes"] = json!(FILM + 1),
    );
    jobs.add(
        "server side ignored",
        "server_side_ignored",
        "/outputs/0/storage/server_side",
        |job| {
            job["outputs"][0]["storage"] = json!({ "server_side": { "mode": "s3" } });
        },
    );
    jobs.add(
        "one output twice",
        "invalid_value",
        "/outputs/1/url",
        |job| {
            let output = job["outputs"][0].clone();
            job["outputs"].as_array_mut().unwrap().push(output);
        },
    );
    jobs.add(
        "a given iv, another message",
        "job_id_conflict",
        "/id",
        |job| {
            *job = given_iv(
                job["outputs"][0]["encryption"]["key"].clone(),
                &film,
                job["outputs"][0]["url"].as_str().unwrap(),
            );
        },
    );
}

/// A job under an id that remembers its iv.
fn given_iv(key: Value, from: &str, to: &str) -> Value {
    json!({ "version": 1, "id": "remembered", "input": { "url": from },
        "outputs": [ { "url": to, "encryption": { "mode": "aes-ctr", "iv": STANDARD.encode([7; 16]), "key": key } } ] })
}

/// Files with a length and no content: only their size is looked at before they are refused.
fn huge(jobs: &mut Jobs<'_>) {
    let bench = jobs.bench;
    let file = File::create(bench.path("huge")).unwrap();
    file.set_len((64 << 30) + 1).unwrap();
    let url = format!("file://{}", bench.path("huge").display());
    for (name, mode, iv, code) in [
        ("gcm over 64 GiB", "aes-gcm", None, "gcm_too_large"),
        (
            "a counter that wraps",
            "aes-ctr",
            Some([1; 12]),
            "counter_wrap",
        ),
    ] {
        jobs.add(name, code, "/outputs/0/encryption", |job| {
            job["input"]["url"] = json!(url);
            let encryption = &mut job["outputs"][0]["encryption"];
            encryption["mode"] = json!(mode);
            if let Some(iv) = iv {
                encryption["iv"] = json!(STANDARD.encode(iv));
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_cannot_be_done() {
    let mut bench = Bench::new("world").await;
    let double = Proxy::http(address(&variable("CIPHERMILL_TEST_AWS"))).await;
    // The double asks nobody for permission: the proxy denies what is asked of one region.
    let denied = |head: &RequestHead| {
        head.header("authorization")
            .is_some_and(|text| text.contains("/eu-west-3/"))
    };
    double.set_fault(move |head, _| {
        if denied(head) {
            Fault::Status(400, "AccessDeniedException")
        } else {
            Fault::Pass
        }
    });
    let service = Kms::connect();
    let master = keys::KmsKeys::create(&service).await;
    bench.set("AWS_ENDPOINT_URL_KMS", double.endpoint());
    let root = bench.dir.path().display().to_string();
    bench.set("CIPHERMILL_WORKER__FILE_ROOT", root);
    bench.set("CIPHERMILL_WORKER__ALLOW_KMS_KEYS", master.listed());
    let buckets = ["in", "out", "none"].map(|bucket| format!("{}-{bucket}", bench.name));
    bench.set("CIPHERMILL_WORKER__ALLOW_BUCKETS", buckets.join(","));
    bench.s3.put(&bench.inn("film"), &noise(FILM, 15)).await;
    bench.s3.put(&bench.out("there"), b"first come").await;
    let worker = bench.worker(&[]).await;
    let (_, key) = bench.key(16);
    let first = given_iv(
        key,
        &format!("s3://{}", bench.inn("film")),
        &format!("s3://{}", bench.out("remembered")),
    );
    bench.publish(&first).await;
    bench.broker.event("remembered", "succeeded").await;

    let mut jobs = Jobs {
        bench: &bench,
        cases: Vec::new(),
    };
    places(&mut jobs);
    contents(&mut jobs);
    keys::keyring(&mut jobs);
    keys::reuse(&mut jobs);
    keys::kms(&mut jobs, &service, &master).await;
    forgeries::sealed(&mut jobs).await;
    huge(&mut jobs);
    assert!(jobs.cases.len() >= 45, "{}", jobs.cases.len());
    let good = bench.cobblestone("good", &bench.inn("film"), &bench.out("good"));
    let ended = refuse_all(&bench, worker, &jobs.cases, &good).await;
    assert!(!ended.err.contains("panicked"), "{}", ended.err);

    // P2 and P7: no refused job left an object or an upload, and what was there is what it was.
    let out = format!("{}-out", bench.name);
    let keys: Vec<String> = bench
        .s3
        .keys(&out)
        .await
        .into_iter()
        .filter(|key| !key.starts_with(".ciphermill/"))
        .collect();
    assert_eq!(keys, ["good", "remembered", "there"]);
    assert_eq!(
        bench.s3.get(&bench.out("there")).await.unwrap(),
        b"first come"
    );
    assert_eq!(bench.s3.uploads(&out).await, 0);
    assert!(!std::path::Path::new("/tmp/escaped").exists());
}

/// Without a root no file is ever opened for a message, and a child holds no key that others can read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_refused_without_a_root() {
    let bench = Bench::new("files").await;
    bench.s3.put(&bench.inn("film"), b"film").await;
    let worker = bench.worker(&[]).await;
    let mut jobs = Jobs {
        bench: &bench,
        cases: Vec::new(),
    };
    jobs.add("/etc/shadow", "file_not_allowed", "/input/url", |job| {
        job["input"]["url"] = json!("file:///etc/shadow")
    });
    let mine = format!("file://{}", bench.path("mine").display());
    jobs.add(
        "a file to write",
        "file_not_allowed",
        "/outputs/0/url",
        |job| job["outputs"][0]["url"] = json!(mine),
    );
    let pid = worker.program.id().to_string();
    let limit = Command::new("sh")
        .args(["-c", &format!("grep 'Max core' /proc/{pid}/limits")])
        .output()
        .unwrap();
    let limit = String::from_utf8(limit.stdout).unwrap();
    let limits: Vec<&str> = limit.split_whitespace().rev().take(3).collect();
    assert_eq!(limits[1..], ["0", "0"], "core dumps are off: {limit}");
    let good = bench.cobblestone("good", &bench.inn("film"), &bench.out("good"));
    refuse_all(&bench, worker, &jobs.cases, &good).await;
    assert!(!bench.path("mine").exists());
}
