//! Outputs that are there already, need not be there, cannot be written, or are written with everything that a store can be
//! told about them.

use std::time::Duration;

use ciphermill::fault::Code;
use ciphermill::job::event::OutputStatus;
use serde_json::json;

use crate::faults::{NONE, only};
use crate::lab::Lab;
use crate::network::{copying, encrypting, is_get_of, proxied};
use crate::proxy::Fault;
use crate::support::{MIB, Options, aws_double, base64, garage, job, noise};

/// `if_exists: fail` on a store with conditional writes and on one without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_exists_is_kept() {
    for store in [garage(), aws_double()] {
        let lab = Lab::new(store).await;
        lab.put("large", &noise(9 * MIB)).await;
        lab.put("small", &noise(100)).await;
        lab.put("out", b"precious").await;
        for input in ["small", "large"] {
            let to = |name: &str| json!({"url": lab.url(name), "if_exists": "fail"});
            let from = json!({"url": lab.url(input)});
            let single = job(&format!("single-{input}"), from.clone(), vec![to("out")]);
            lab.fails(&single, Code::OutputExists, "/outputs/0/url")
                .await;
            let fan = job(
                &format!("fan-{input}"),
                from.clone(),
                vec![to("free"), to("out")],
            );
            lab.fails(&fan, Code::OutputExists, "/outputs/1/url").await;
            assert_eq!(lab.get("out").await, b"precious");
            only(&lab, &["large", "out", "small"]).await;
            let free = format!("free-{input}");
            lab.run(&job(&free, from, vec![to(&free)]))
                .await
                .expect("nothing is there");
            let delete = lab
                .s3
                .delete_object()
                .bucket(&lab.bucket)
                .key(&free)
                .send()
                .await;
            delete.expect("deleted");
        }
    }
}

/// Somebody else writes the output while we are at it: a store with conditional writes keeps theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_appears_meanwhile_is_kept() {
    let (lab, proxy) = proxied(aws_double()).await;
    for size in [100, 9 * MIB] {
        lab.put("in", &noise(size)).await;
        proxy.clear();
        proxy.set_fault(|head, _| match is_get_of(head, "in") {
            true => Fault::Delay(Duration::from_millis(500)),
            false => Fault::Pass,
        });
        let mut job = copying(&lab, &format!("race-{size}"));
        job["outputs"][0]["if_exists"] = json!("fail");
        let other = async {
            while !proxy.log().iter().any(|e| is_get_of(&e.request, "in")) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            lab.put("out", b"theirs").await;
        };
        tokio::join!(lab.fails(&job, Code::OutputExists, "/outputs/0/url"), other);
        assert_eq!(lab.get("out").await, b"theirs");
        only(&lab, &["in", "out"]).await;
        let delete = lab
            .s3
            .delete_object()
            .bucket(&lab.bucket)
            .key("out")
            .send()
            .await;
        delete.expect("deleted");
    }
}

/// A store that cannot say whether an object is there is not overwritten on a guess.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_output_is_not_overwritten() {
    let (lab, proxy) = proxied(garage()).await;
    lab.put("in", &noise(100)).await;
    lab.put("two", b"precious").await;
    proxy.set_fault(
        |head, _| match head.method == "HEAD" && head.path().ends_with("/two") {
            true => Fault::Status(503, "SlowDown"),
            false => Fault::Pass,
        },
    );
    let outputs = ["one", "two"].map(|name| json!({"url": lab.url(name), "if_exists": "fail"}));
    let fan = job("unknown", json!({"url": lab.url("in")}), outputs.to_vec());
    lab.fails(&fan, Code::StoreDown, "/outputs/1/url").await;
    assert_eq!(lab.get("two").await, b"precious");
    only(&lab, &["in", "two"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_is_not_required_may_fail() {
    let lab = Lab::new(garage()).await;
    for size in [100, 9 * MIB] {
        lab.put("in", &noise(size)).await;
        for (id, spare_first) in [("first", true), ("last", false)] {
            let good = format!("{id}-{size}");
            let spare = json!({"url": "s3://ciphermill-no-such-bucket/x", "required": false});
            let mut outputs = vec![json!({"url": lab.url(&good)}), spare];
            if spare_first {
                outputs.reverse();
            }
            let job = job(&good, json!({"url": lab.url("in")}), outputs);
            let outcome = lab
                .run(&job)
                .await
                .unwrap_or_else(|fault| panic!("{good}: {fault}"));
            let results = outcome.data.outputs;
            let (spare, kept) = if spare_first {
                (&results[0], &results[1])
            } else {
                (&results[1], &results[0])
            };
            assert_eq!(
                (spare.status, kept.status),
                (OutputStatus::Failed, OutputStatus::Written)
            );
            let fault = spare.fault.as_ref().expect("why");
            assert_eq!(fault.code, Code::BucketNotFound.as_str());
            assert_eq!(lab.get(&good).await.len(), size);
            assert!(lab.run(&job).await.expect("known").recognised, "{good}");
        }
    }
    assert_eq!(lab.uploads().await, NONE);
}

/// Missing buckets and objects, and server-side encryption that the store ignores: code and pointer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_named() {
    let lab = Lab::new(garage()).await;
    let nowhere = "s3://ciphermill-no-such-bucket/x";
    let given = json!({"mode": "aes-ctr", "key": lab.key(128).reference, "iv": base64(&[1; 16])});
    for size in [100, 9 * MIB] {
        lab.put("in", &noise(size)).await;
        let input = json!({"url": lab.url("in")});
        let id = |what: &str| format!("{what}-{size}");
        let good = json!({"url": lab.url("good")});
        let bad = json!({"url": nowhere});
        let single = job(&id("single"), input.clone(), vec![bad.clone()]);
        lab.fails(&single, Code::BucketNotFound, "/outputs/0/url")
            .await;
        let given = json!({"url": nowhere, "encryption": given});
        let given = job(&id("given"), input.clone(), vec![given]);
        lab.fails(&given, Code::BucketNotFound, "/outputs/0/url")
            .await;
        let fan = job(&id("fan"), input.clone(), vec![good.clone(), bad]);
        lab.fails(&fan, Code::BucketNotFound, "/outputs/1/url")
            .await;
        let mut ignored = job(&id("sse"), input, vec![good]);
        ignored["outputs"][0]["storage"] = json!({"server_side": {"mode": "s3"}});
        lab.fails(
            &ignored,
            Code::ServerSideIgnored,
            "/outputs/0/storage/server_side",
        )
        .await;
    }
    let out = vec![json!({"url": lab.url("out")})];
    let missing = job("missing", json!({"url": lab.url("nothing")}), out.clone());
    lab.fails(&missing, Code::SourceNotFound, "/input/url")
        .await;
    let missing = job("bucket", json!({"url": nowhere}), out);
    lab.fails(&missing, Code::BucketNotFound, "/input/url")
        .await;
    assert_eq!(lab.uploads().await, NONE);
}

/// A store that ignores server-side encryption says so before the old object is touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_would_not_be_encrypted_at_rest_replaces_nothing() {
    let lab = Lab::new(garage()).await;
    for size in [0, 100, 9 * MIB] {
        lab.put("in", &noise(size)).await;
        lab.put("out", b"precious").await;
        let mut job = job(
            &format!("sse-{size}"),
            json!({"url": lab.url("in")}),
            vec![json!({"url": lab.url("out")})],
        );
        job["outputs"][0]["storage"] = json!({"server_side": {"mode": "s3"}});
        let pointer = "/outputs/0/storage/server_side";
        lab.fails(&job, Code::ServerSideIgnored, pointer).await;
        assert_eq!(lab.get("out").await, b"precious");
    }
    assert_eq!(lab.uploads().await, NONE);
}

/// Server-side encryption, tags and the rest arrive through a whole job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_is_told_arrives() {
    let lab = Lab::with(&aws_double(), Options::on(aws_double())).await;
    lab.put("in", &noise(9 * MIB)).await;
    let kms_key = crate::keys::Kms::new().await.key().await;
    let mut job = encrypting(&lab, "told");
    job["outputs"][0]["storage"] = json!({
        "content_type": "video/mp4", "storage_class": "STANDARD_IA", "metadata": {"title": "A film, 42"},
        "tags": {"team": "media"}, "server_side": {"mode": "s3-aws-kms", "kms_key_id": kms_key, "context": {"a": "b"}}
    });
    let outcome = lab.run(&job).await.expect("written");
    assert_eq!(
        outcome.data.outputs[0].server_side.as_deref(),
        Some("aws:kms")
    );
    let head = lab
        .s3
        .head_object()
        .bucket(&lab.bucket)
        .key("out")
        .send()
        .await
        .expect("the object");
    assert_eq!(head.content_type(), Some("video/mp4"));
    assert!(head.ssekms_key_id().is_some_and(|id| id.contains(&kms_key)));
    let metadata = head.metadata().expect("metadata");
    assert_eq!(
        metadata.get("title").map(String::as_str),
        Some("A film, 42")
    );
    assert_eq!(
        metadata.get("ciphermill-job").map(String::as_str),
        Some("told")
    );
    let tags = lab
        .s3
        .get_object_tagging()
        .bucket(&lab.bucket)
        .key("out")
        .send()
        .await
        .expect("tags");
    assert_eq!(tags.tag_set().len(), 1);
}
