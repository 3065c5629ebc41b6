//! What the network does to a running job, by the fault proxy in front of the stores: broken bodies, busy and dead stores,
//! lost answers, silence. The right bytes come out, or the right fault and nothing else (P2, P5, P6).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ciphermill::fault::{Class, Code};
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::oracle::sha256;
use crate::proxy::{Fault, Proxy, RequestHead};
use crate::support::{Endpoint, MIB, Options, aws_double, garage, job, noise};

/// A lab whose pipeline sees its store through the proxy.
pub async fn proxied(store: Endpoint) -> (Lab, Proxy) {
    let proxy = Proxy::http(store.addr()).await;
    let options = Options::on(store.behind(&proxy));
    (Lab::with(&store, options).await, proxy)
}

/// Encrypts `in` to `out` with a key of its own.
pub fn encrypting(lab: &Lab, id: &str) -> Value {
    let encryption = json!({"mode": "aes-gcm", "key": lab.key(256).reference});
    let output = json!({"url": lab.url("out"), "encryption": encryption});
    job(id, json!({"url": lab.url("in")}), vec![output])
}

/// Copies `in` to `out`.
pub fn copying(lab: &Lab, id: &str) -> Value {
    job(
        id,
        json!({"url": lab.url("in")}),
        vec![json!({"url": lab.url("out")})],
    )
}

pub fn is_get_of(head: &RequestHead, key: &str) -> bool {
    head.method == "GET" && head.path().ends_with(&format!("/{key}"))
}

pub fn is_part(head: &RequestHead) -> bool {
    head.method == "PUT" && head.query("partNumber").is_some()
}

pub fn is_complete(head: &RequestHead) -> bool {
    head.method == "POST" && head.query("uploadId").is_some()
}

pub fn is_put_of(head: &RequestHead, key: &str) -> bool {
    head.method == "PUT"
        && head.query("partNumber").is_none()
        && head.path().ends_with(&format!("/{key}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_downloads_go_on_where_they_broke() {
    let (lab, proxy) = proxied(garage()).await;
    let plain = noise(20 * MIB + 11);
    lab.put("in", &plain).await;
    // Every part's download breaks once; what is resumed starts elsewhere.
    let starts_a_part = |head: &RequestHead| {
        let range = head.header("range").unwrap_or_default();
        let start = range.trim_start_matches("bytes=").split('-').next();
        let start: Option<usize> = start.and_then(|start| start.parse().ok());
        start.is_some_and(|start| start.is_multiple_of(8 * MIB))
    };
    proxy.set_fault(
        move |head, _| match is_get_of(head, "in") && starts_a_part(head) {
            true => Fault::CutResponseAfter(1_000_000),
            false => Fault::Pass,
        },
    );
    lab.run(&copying(&lab, "cut")).await.expect("resumed");
    assert_eq!(sha256(&lab.get("out").await), sha256(&plain));
    let log = proxy.log();
    let ranges: Vec<_> = log.iter().filter(|e| is_get_of(&e.request, "in")).collect();
    let cut = ranges.iter().filter(|e| !e.complete).count();
    assert_eq!(
        (ranges.len(), cut),
        (6, 3),
        "each part's download was resumed once"
    );
    let pinned = ranges
        .iter()
        .all(|e| e.request.header("if-match").is_some());
    assert!(pinned, "every range names the version");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_never_moves_fails_the_attempt() {
    let (lab, proxy) = proxied(garage()).await;
    lab.put("in", &noise(MIB)).await;
    proxy.set_fault(|head, _| match is_get_of(head, "in") {
        true => Fault::CutResponseAfter(0),
        false => Fault::Pass,
    });
    let begun = Instant::now();
    lab.fails(&copying(&lab, "stuck"), Code::SourceBroken, "/input/url")
        .await;
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(Code::SourceBroken.class(), Class::Transient);
    assert_eq!(lab.objects().await, ["in"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_store_is_asked_again() {
    let (lab, proxy) = proxied(garage()).await;
    let plain = noise(9 * MIB);
    lab.put("in", &plain).await;
    proxy.set_fault(|_, n| match n {
        0 | 1 => Fault::Status(503, "SlowDown"),
        _ => Fault::Pass,
    });
    lab.run(&copying(&lab, "busy")).await.expect("asked again");
    assert_eq!(sha256(&lab.get("out").await), sha256(&plain));
    let refused = proxy.log().iter().filter(|e| e.status == Some(503)).count();
    assert!(refused >= 12, "only {refused} were refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_down_stays_no_jobs_fault() {
    let (lab, proxy) = proxied(garage()).await;
    lab.put("in", &noise(9 * MIB)).await;
    let code = async |job: Value| {
        let fault = lab.run(&job).await.err().expect("a fault");
        (fault.code, fault.class())
    };
    let down = (Code::StoreDown, Class::Dependency);
    proxy.set_down(true);
    assert_eq!(code(copying(&lab, "down")).await, down);
    proxy.set_down(false);
    proxy.set_fault(|_, _| Fault::Status(503, "SlowDown"));
    assert_eq!(code(copying(&lab, "slow")).await, down);
    proxy.set_fault(|head, _| match is_part(head) {
        true => Fault::CloseBeforeForward,
        false => Fault::Pass,
    });
    assert_eq!(code(copying(&lab, "closed")).await, down);
    proxy.set_fault(|_, _| Fault::Status(403, "InvalidAccessKeyId"));
    assert_eq!(code(copying(&lab, "credentials")).await, down);
    proxy.no_fault();
    assert_eq!(lab.objects().await, ["in"]);
    lab.no_uploads_soon().await;
}

/// The store did the work and its answer was lost: the object is found by its token, and counts once.
async fn lost_answer(
    store: Endpoint,
    size: usize,
    if_exists: &str,
    lost: fn(&RequestHead) -> bool,
) {
    let (lab, proxy) = proxied(store).await;
    let plain = noise(size);
    lab.put("in", &plain).await;
    proxy.fault_next(1, Fault::LoseAnswer, lost);
    let mut job = copying(&lab, "lost");
    job["outputs"][0]["if_exists"] = json!(if_exists);
    let outcome = lab.run(&job).await.expect("recognised");
    let lost_one = proxy
        .log()
        .iter()
        .filter(|e| e.fault == Fault::LoseAnswer)
        .count();
    assert_eq!(lost_one, 1, "an answer was lost");
    assert_eq!(lab.get("out").await, plain);
    let mut objects = lab.objects().await;
    objects.sort();
    assert_eq!(objects, ["in", "out"]);
    let head = lab
        .s3
        .head_object()
        .bucket(&lab.bucket)
        .key("out")
        .send()
        .await;
    let etag = head
        .expect("the object")
        .e_tag()
        .map(|etag| etag.trim_matches('"').to_owned());
    assert_eq!(outcome.data.outputs[0].etag, etag, "what the store holds");
    assert_eq!(lab.uploads().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_of_complete_is_recognised() {
    lost_answer(garage(), 9 * MIB, "overwrite", is_complete).await;
    lost_answer(aws_double(), 9 * MIB, "overwrite", is_complete).await;
    lost_answer(aws_double(), 9 * MIB, "fail", is_complete).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_of_put_is_recognised() {
    lost_answer(garage(), 1000, "overwrite", |head| is_put_of(head, "out")).await;
    lost_answer(aws_double(), 1000, "overwrite", |head| {
        is_put_of(head, "out")
    })
    .await;
    lost_answer(aws_double(), 1000, "fail", |head| is_put_of(head, "out")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_of_parts_are_sent_again() {
    let (lab, proxy) = proxied(garage()).await;
    let plain = noise(20 * MIB);
    lab.put("in", &plain).await;
    proxy.fault_next(2, Fault::LoseAnswer, is_part);
    lab.run(&copying(&lab, "parts")).await.expect("sent again");
    assert_eq!(sha256(&lab.get("out").await), sha256(&plain));
    assert_eq!(lab.uploads().await, Vec::<String>::new());
}

/// A store that falls silent, in a body or before an answer, is not waited for without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends() {
    let proxy = Proxy::http(garage().addr()).await;
    let store = garage().behind(&proxy);
    let patience = Some(Duration::from_secs(1));
    let options = Options {
        patience,
        ..Options::on(store)
    };
    let lab = Lab::with(&garage(), options).await;
    let plain = noise(2 * MIB);
    lab.put("in", &plain).await;
    let long = Duration::from_secs(120);
    let stall = Fault::StallResponse {
        after: 300_000,
        pause: long,
    };
    proxy.fault_next(1, stall, |head| is_get_of(head, "in"));
    let begun = Instant::now();
    lab.run(&copying(&lab, "stalled")).await.expect("went on");
    assert_eq!(sha256(&lab.get("out").await), sha256(&plain));
    proxy.set_fault(move |head, _| match is_get_of(head, "in") {
        true => Fault::Delay(long),
        false => Fault::Pass,
    });
    let fault = lab.run(&encrypting(&lab, "silent")).await.err();
    assert_eq!(fault.map(|fault| fault.code), Some(Code::StoreDown));
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
}

/// A store that is merely slow is no fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_store_is_waited_for() {
    let (lab, proxy) = proxied(garage()).await;
    let plain = noise(400_000);
    lab.put("in", &plain).await;
    proxy.set_fault(|_, _| Fault::Throttle(200_000));
    lab.run(&copying(&lab, "slow"))
        .await
        .expect("slow, and right");
    assert_eq!(sha256(&lab.get("out").await), sha256(&plain));
}

/// P3: a finished job that comes again sends no byte of its object, whatever its shape.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_job_uploads_nothing_again() {
    let (lab, proxy) = proxied(garage()).await;
    lab.put("in", &noise(9 * MIB)).await;
    lab.put("small", &noise(100)).await;
    let key = || lab.key(256).reference;
    let to = |name: &str, extra: Value| {
        let mut encryption = json!({"mode": "aes-ctr", "key": key()});
        if !extra.is_null() {
            encryption["iv"] = extra;
        }
        json!({"url": lab.url(name), "encryption": encryption})
    };
    let iv = json!(crate::support::base64(&[7; 16]));
    let jobs = [
        ("large", "in", vec![to("1", Value::Null)]),
        ("single", "small", vec![to("2", Value::Null)]),
        ("given", "small", vec![to("3", iv.clone())]),
        ("fan", "small", vec![to("4", Value::Null), to("5", iv)]),
    ];
    for (id, input, outputs) in jobs {
        let job = job(id, json!({"url": lab.url(input)}), outputs);
        let first = lab.run(&job).await.expect(id);
        assert!(!first.recognised, "{id}");
        proxy.clear();
        let again = lab.run(&job).await.expect(id);
        assert!(again.recognised, "{id}");
        let sent = AtomicUsize::new(0);
        for exchange in proxy.log() {
            let method = exchange.request.method.as_str();
            let reads = method == "HEAD" || method == "GET";
            sent.fetch_add(usize::from(!reads), Ordering::Relaxed);
            let source = exchange.request.path().ends_with(&format!("/{input}"));
            assert!(!source, "{id}: the source was touched again: {method}");
        }
        assert_eq!(sent.into_inner(), 0, "{id}: something was written again");
        for (before, after) in first.data.outputs.iter().zip(&again.data.outputs) {
            assert_eq!(
                (&before.etag, &before.encryption),
                (&after.etag, &after.encryption),
                "{id}"
            );
            assert_eq!(
                (before.bytes, &before.url),
                (after.bytes, &after.url),
                "{id}"
            );
        }
        assert_eq!(
            first.data.input.map(|i| i.bytes),
            again.data.input.map(|i| i.bytes)
        );
    }
}
