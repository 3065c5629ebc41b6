//! Jobs that must fail, and what they leave: nothing. Forged inputs, broken promises, changed sources
//! (P2, P5, P6, P7).

use std::time::Duration;

use ciphermill::fault::Code;
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::network::{encrypting, is_get_of, is_part, proxied};
use crate::oracle::sha256;
use crate::proxy::Fault;
use crate::support::{MIB, garage, job, noise};

pub const NONE: Vec<String> = Vec::new();

/// Neither an object nor an upload but these.
pub async fn only(lab: &Lab, objects: &[&str]) {
    let mut found = lab.objects().await;
    found.sort();
    assert_eq!(found, objects);
    assert_eq!(lab.uploads().await, NONE);
}

/// Ways to forge an object.
fn forgeries(mode: &str, sealed: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let flip = |at: usize| {
        let mut bytes = sealed.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let cut = |len: usize| sealed[..len].to_vec();
    if mode == "aes-cbc-pkcs7" {
        // CBC notices a broken padding only: the last byte of the block before the last is the padding's last byte.
        return vec![
            ("padding", flip(sealed.len() - 17)),
            ("cut", cut(sealed.len() - 1)),
            ("empty", cut(0)),
        ];
    }
    let mut all = vec![
        ("first byte", flip(0)),
        ("middle", flip(sealed.len() / 2)),
        ("last byte", flip(sealed.len() - 1)),
        ("cut", cut(sealed.len() - 1)),
        ("cut to a chunk", cut(56 + 16_400)),
        ("longer", [sealed, &[0]].concat()),
        ("almost empty", cut(3)),
        ("empty", cut(0)),
    ];
    if mode == "cobblestone" {
        let mut swapped = sealed.to_vec();
        let (left, right) = swapped[56..56 + 2 * 16_400].split_at_mut(16_400);
        left.swap_with_slice(right);
        all.push(("chunks swapped", swapped));
        all.push(("commitment", flip(30)));
    }
    all
}

/// P7: of a forged input nothing is published, and every forgery looks the same.
async fn forged(mode: &'static str, size: usize) {
    let lab = Lab::new(garage()).await;
    lab.put("in", &noise(size)).await;
    let encryption = json!({"mode": mode, "key": lab.key(256).reference});
    let output = json!({"url": lab.url("sealed"), "encryption": encryption});
    let outcome = lab
        .run(&job("seal", json!({"url": lab.url("in")}), vec![output]))
        .await
        .expect("sealed");
    let mut block = outcome.data.outputs[0].encryption.clone().expect("a block");
    let sealed = lab.get("sealed").await;
    let opening = |id: &str, from: &str, block: &Value| {
        let input = json!({"url": lab.url(from), "encryption": block});
        let outputs = ["clear", "again"].map(|name| json!({"url": lab.url(name)}));
        job(id, input, outputs.to_vec())
    };
    let mut texts = Vec::new();
    for (index, (what, bytes)) in forgeries(mode, &sealed).into_iter().enumerate() {
        println!("{mode}, {size} bytes: {what}");
        lab.put("forged", &bytes).await;
        let job = opening(&format!("forged-{index}"), "forged", &block);
        texts.push(lab.fails(&job, Code::DecryptFailed, "/input").await);
        only(&lab, &["forged", "in", "sealed"]).await;
    }
    if mode != "aes-cbc-pkcs7" {
        // Another key: a CBC object under it ends in a right padding once in 256 times.
        block["key"] = lab.key(256).reference;
        let job = opening("another-key", "sealed", &block);
        texts.push(lab.fails(&job, Code::DecryptFailed, "/input").await);
        only(&lab, &["forged", "in", "sealed"]).await;
    }
    texts.dedup();
    assert_eq!(texts, ["the object does not decrypt under this key"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_published_of_a_forged_object() {
    for mode in ["aes-gcm", "cobblestone", "aes-cbc-pkcs7"] {
        forged(mode, 100_000).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_published_of_a_forged_object_in_parts() {
    for mode in ["aes-gcm", "cobblestone", "aes-cbc-pkcs7"] {
        forged(mode, 9 * MIB).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_published_when_a_promise_is_broken() {
    let lab = Lab::new(garage()).await;
    for size in [1000, 9 * MIB] {
        let plain = noise(size);
        lab.put("in", &plain).await;
        let promising = |id: &str, name: &str, value: Value| {
            let mut job = encrypting(&lab, &format!("{id}-{size}"));
            job["input"][name] = value;
            job
        };
        let wrong = promising("sum", "sha256", json!(sha256(b"something else")));
        lab.fails(&wrong, Code::ChecksumMismatch, "/input/sha256")
            .await;
        let wrong = promising("bytes", "bytes", json!(size + 1));
        lab.fails(&wrong, Code::ChecksumMismatch, "/input/bytes")
            .await;
        let wrong = promising("etag", "etag", json!("0123456789abcdef"));
        lab.fails(&wrong, Code::SourceChanged, "/input/etag").await;
        only(&lab, &["in"]).await;
    }
    // The length of a CBC object's plaintext is known only at the end.
    lab.put("in", &[1; 1000]).await;
    let encryption = json!({"mode": "aes-cbc-pkcs7", "key": lab.key(128).reference});
    let output = json!({"url": lab.url("cbc"), "encryption": encryption});
    let seal = job("cbc", json!({"url": lab.url("in")}), vec![output]);
    let sealed = lab.run(&seal);
    let block = sealed.await.expect("sealed").data.outputs[0]
        .encryption
        .clone();
    for (bytes, right) in [
        (1000, true),
        (1001, false),
        (999, false),
        (1008, false),
        (900, false),
    ] {
        let input = json!({"url": lab.url("cbc"), "encryption": block, "bytes": bytes});
        let job = job(
            &format!("cbc-{bytes}"),
            input,
            vec![json!({"url": lab.url(&format!("b{bytes}"))})],
        );
        match right {
            true => _ = lab.run(&job).await.expect("the right length"),
            false => {
                _ = lab
                    .fails(&job, Code::ChecksumMismatch, "/input/bytes")
                    .await
            }
        }
    }
    only(&lab, &["b1000", "cbc", "in"]).await;
}

/// P5: two versions of a source are never mixed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_changes_while_it_is_read_fails_the_job() {
    for (size, vanishes) in [(1000, false), (20 * MIB, false), (20 * MIB, true)] {
        let (lab, proxy) = proxied(garage()).await;
        lab.put("in", &noise(size)).await;
        proxy.set_fault(|head, _| match is_get_of(head, "in") {
            true => Fault::Delay(Duration::from_millis(800)),
            false => Fault::Pass,
        });
        let job = encrypting(&lab, "changed");
        let change = async {
            while !proxy.log().iter().any(|e| is_get_of(&e.request, "in")) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            match vanishes {
                true => {
                    _ = lab
                        .s3
                        .delete_object()
                        .bucket(&lab.bucket)
                        .key("in")
                        .send()
                        .await
                        .expect("gone")
                }
                false => lab.put("in", &noise(size)).await,
            }
        };
        tokio::join!(lab.fails(&job, Code::SourceChanged, "/input/url"), change);
        only(&lab, if vanishes { &[] } else { &["in"] }).await;
    }
}

/// A refusal in the middle of two uploads: both are aborted, and no ledger entry stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_in_the_middle_aborts_every_upload() {
    let (lab, proxy) = proxied(garage()).await;
    lab.put("in", &noise(30 * MIB)).await;
    proxy.set_fault(
        |head, _| match is_part(head) && head.query("partNumber") == Some("3") {
            true if head.path().ends_with("/two") => Fault::Status(403, "AccessDenied"),
            _ => Fault::Pass,
        },
    );
    let outputs = ["one", "two"].map(|name| json!({"url": lab.url(name)}));
    let fan = job("middle", json!({"url": lab.url("in")}), outputs.to_vec());
    lab.fails(&fan, Code::SinkDenied, "/outputs/1/url").await;
    only(&lab, &["in"]).await;
    let aborts = proxy
        .log()
        .iter()
        .filter(|e| e.request.method == "DELETE" && e.status == Some(204))
        .count();
    assert!(aborts >= 2, "{aborts} aborts");
    let ledger = lab
        .s3
        .list_objects_v2()
        .bucket(&lab.bucket)
        .send()
        .await
        .expect("a list");
    assert_eq!(ledger.key_count(), Some(1), "no ledger entry stays");
    lab.all_memory_soon().await;
}
