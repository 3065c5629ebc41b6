//! Attempts that end before their job does: cancelled, dropped, or crashed with the process; and what the next attempt makes
//! of what they left (P5, P6).

use std::sync::Arc;
use std::time::Duration;

use ciphermill::fault::{Class, Code};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::lab::Lab;
use crate::network::{is_complete, is_part, proxied};
use crate::oracle::sha256;
use crate::proxy::{Fault, Proxy, RequestHead};
use crate::support::{MIB, base64, garage, job, noise};

const LONG: Duration = Duration::from_secs(60);

/// Two outputs in parts.
fn fan(lab: &Lab, id: &str) -> Value {
    let output = |name: &str| json!({"url": lab.url(name), "encryption": {"mode": "cobblestone", "key": lab.key(256).reference}});
    let outputs = vec![output("one"), output("two")];
    job(id, json!({"url": lab.url("in")}), outputs)
}

/// Waits until the proxy has seen such a request.
async fn seen(proxy: &Proxy, what: fn(&RequestHead) -> bool) {
    for _ in 0..400 {
        if proxy.log().iter().any(|exchange| what(&exchange.request)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the request never came");
}

fn slow(proxy: &Proxy, what: fn(&RequestHead) -> bool, pause: Duration) {
    proxy.set_fault(move |head, _| match what(head) {
        true => Fault::Delay(pause),
        false => Fault::Pass,
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_attempt_aborts_its_uploads() {
    let (lab, proxy) = proxied(garage()).await;
    lab.put("in", &noise(20 * MIB)).await;
    // Bytes that were handed to a connection stay taken until it moves: not for long here.
    slow(&proxy, is_part, Duration::from_secs(4));
    let cancel = CancellationToken::new();
    let job = fan(&lab, "cancelled");
    let run = lab.run_on(&lab.pipeline, &job, cancel.clone());
    let stop = async {
        seen(&proxy, is_part).await;
        assert_eq!(lab.uploads().await.len(), 2);
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(run, stop);
    let fault = result.err().expect("stopped");
    assert_eq!(
        (fault.code, fault.class()),
        (Code::Stopping, Class::Shutdown)
    );
    lab.no_uploads_soon().await;
    assert_eq!(lab.objects().await, ["in"]);
    lab.all_memory_soon().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_ends_the_job() {
    let (lab, proxy) = proxied(garage()).await;
    lab.put("in", &noise(9 * MIB)).await;
    slow(&proxy, is_part, LONG);
    let mut job = fan(&lab, "late");
    job["deadline_seconds"] = json!(1);
    lab.fails(&job, Code::DeadlineExceeded, "/deadline_seconds")
        .await;
    lab.no_uploads_soon().await;
    assert_eq!(lab.objects().await, ["in"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_attempt_aborts_its_uploads() {
    let (lab, proxy) = proxied(garage()).await;
    lab.put("in", &noise(20 * MIB)).await;
    slow(&proxy, is_part, LONG);
    let job = fan(&lab, "dropped");
    tokio::select! {
        _ = lab.run(&job) => panic!("it cannot end"),
        () = seen(&proxy, is_part) => {}
    }
    lab.no_uploads_soon().await;
    assert_eq!(lab.objects().await, ["in"]);
    proxy.no_fault();
    lab.run(&job).await.expect("the next attempt");
    assert_eq!(lab.objects().await.len(), 3);
    assert_eq!(lab.uploads().await, Vec::<String>::new());
}

/// A stop that comes while outputs are being published lets them all be: never one of two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_during_publication_publishes_all() {
    let (lab, proxy) = proxied(garage()).await;
    lab.put("in", &noise(9 * MIB)).await;
    // The first output is completed at once, the second one later.
    slow(
        &proxy,
        |head| is_complete(head) && head.path().ends_with("/two"),
        Duration::from_secs(2),
    );
    let cancel = CancellationToken::new();
    let job = fan(&lab, "stopped");
    let run = lab.run_on(&lab.pipeline, &job, cancel.clone());
    let stop = async {
        seen(&proxy, |head| {
            is_complete(head) && head.path().ends_with("/two")
        })
        .await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(run, stop);
    result.expect("published");
    let mut objects = lab.objects().await;
    objects.sort();
    assert_eq!(objects, ["in", "one", "two"]);
    assert_eq!(lab.uploads().await, Vec::<String>::new());
}

/// Runs the job in a runtime that ends in the middle, as if the process were killed: nothing can clean up after it.
async fn crash(lab: &Arc<Lab>, proxy: &Proxy, job: &Value, at: fn(&RequestHead) -> bool) {
    let (lab, job) = (Arc::clone(lab), job.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.spawn(async move {
        let result = lab.run(&job).await;
        panic!("it cannot end: {:?}", result.err());
    });
    seen(proxy, at).await;
    runtime.shutdown_background();
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// P6: what a crash left is aborted when its job comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_uploads_of_a_crash_are_aborted_by_the_next_attempt() {
    let (lab, proxy) = proxied(garage()).await;
    let lab = Arc::new(lab);
    let plain = noise(20 * MIB);
    lab.put("in", &plain).await;
    slow(&proxy, is_part, LONG);
    let job = fan(&lab, "crashed");
    crash(&lab, &proxy, &job, is_part).await;
    assert_eq!(lab.uploads().await.len(), 2, "the crash left them");
    proxy.no_fault();
    proxy.clear();
    // A fresh pipeline: the SDK's connections of the old one belonged to the runtime that is gone.
    let options = crate::support::Options::on(garage().behind(&proxy));
    let fresh = lab.pipeline(&options).await;
    let outcome = lab
        .run_on(&fresh, &job, CancellationToken::new())
        .await
        .expect("the next attempt");
    assert!(!outcome.recognised);
    assert_eq!(lab.uploads().await, Vec::<String>::new());
    let aborted = proxy
        .log()
        .iter()
        .filter(|e| e.request.method == "DELETE" && e.request.query("uploadId").is_some())
        .count();
    assert_eq!(aborted, 2);
    assert_eq!(outcome.data.outputs.len(), 2);
    let block = outcome.data.outputs[0].encryption.clone();
    let input = json!({"url": lab.url("one"), "encryption": block, "sha256": sha256(&plain)});
    let open = crate::support::job("open", input, vec![json!({"url": lab.url("open")})]);
    lab.run_on(&fresh, &open, CancellationToken::new())
        .await
        .expect("it opens");
}

/// A crash between two Completes: the next attempt keeps the output that is there and makes only the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_during_publication_keeps_what_was_published() {
    let (lab, proxy) = proxied(garage()).await;
    let lab = Arc::new(lab);
    lab.put("in", &noise(9 * MIB)).await;
    let two = |head: &RequestHead| is_complete(head) && head.path().ends_with("/two");
    slow(&proxy, two, LONG);
    let job = fan(&lab, "half");
    crash(&lab, &proxy, &job, two).await;
    let first = lab
        .s3
        .head_object()
        .bucket(&lab.bucket)
        .key("one")
        .send()
        .await;
    let first = first.expect("one was published");
    assert_eq!(lab.uploads().await, ["two"]);
    proxy.no_fault();
    proxy.clear();
    let fresh = lab
        .pipeline(&crate::support::Options::on(garage().behind(&proxy)))
        .await;
    let outcome = lab
        .run_on(&fresh, &job, CancellationToken::new())
        .await
        .expect("the rest");
    let etag = first.e_tag().map(|etag| etag.trim_matches('"').to_owned());
    assert_eq!(
        outcome.data.outputs[0].etag, etag,
        "the same object as before"
    );
    let log = proxy.log();
    let completed: Vec<_> = log.iter().filter(|e| is_complete(&e.request)).collect();
    assert_eq!(completed.len(), 1, "each object is completed once");
    assert!(completed[0].request.path().ends_with("/two"));
    assert_eq!(lab.uploads().await, Vec::<String>::new());
}

/// A job whose given IV was used already: with another source or another message it is refused for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_given_iv_meets_one_plaintext_only() {
    let lab = Lab::new(garage()).await;
    lab.put("in", b"the first film").await;
    let encryption =
        json!({"mode": "aes-ctr", "key": lab.key(128).reference, "iv": base64(&[9; 16])});
    let output = json!({"url": lab.url("out"), "encryption": encryption});
    let second = b"another film";
    let input = json!({"url": lab.url("in"), "sha256": sha256(second)});
    let once = job("once", input, vec![output.clone()]);
    lab.fails(&once, Code::ChecksumMismatch, "/input/sha256")
        .await;
    assert_eq!(lab.objects().await, ["in"]);
    lab.put("in", second).await;
    lab.fails(&once, Code::SourceChanged, "/input/url").await;
    let input = json!({"url": lab.url("in")});
    let other = job("once", input.clone(), vec![output.clone()]);
    lab.fails(&other, Code::ReservedByOther, "/id").await;
    assert_eq!(lab.objects().await, ["in"]);
    // Finished under its id: the same message is recognised, another one is refused, also without an IV of its own.
    let done = job("done", input.clone(), vec![output.clone()]);
    assert!(!lab.run(&done).await.expect("done").recognised);
    assert!(lab.run(&done).await.expect("done").recognised);
    let mut labelled = done.clone();
    labelled["labels"] = json!({"a": "b"});
    lab.fails(&labelled, Code::ReservedByOther, "/id").await;
    let before = lab.get("out").await;
    lab.put("in", b"a third film").await;
    assert!(
        lab.run(&done).await.expect("done").recognised,
        "the source no longer matters"
    );
    let delete = lab
        .s3
        .delete_object()
        .bucket(&lab.bucket)
        .key("out")
        .send()
        .await;
    delete.expect("deleted");
    lab.fails(&done, Code::SourceChanged, "/input/url").await;
    assert_eq!(before.len(), second.len());
}
