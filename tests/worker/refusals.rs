//! Malformed and impossible messages: each one ends in the dead-letter queue, with one failure event that names
//! the right code and place, and the worker goes on.

mod forgeries;
mod keys;
mod shapes;
mod world;

use serde_json::Value;

use crate::support::process::Ended;
use crate::support::{Bench, Worker, short_digest, until};

/// A message, and what must be said about it.
pub struct Case {
    pub name: String,
    pub body: Vec<u8>,
    pub code: &'static str,
    pub pointer: Option<&'static str>,
}

impl Case {
    pub fn raw(
        name: &str,
        body: impl Into<Vec<u8>>,
        code: &'static str,
        pointer: &'static str,
    ) -> Case {
        let pointer = (!pointer.is_empty()).then_some(pointer);
        Case {
            name: name.into(),
            body: body.into(),
            code,
            pointer,
        }
    }

    pub fn job(name: &str, job: &Value, code: &'static str, pointer: &'static str) -> Case {
        Case::raw(name, job.to_string(), code, pointer)
    }

    /// The job id that the event must carry: the message's, where it is readable and well formed.
    fn id(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let good = |id: &&str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            id.starts_with(|c: char| c.is_ascii_alphanumeric())
                && id.len() <= 128
                && id.chars().all(plain)
        };
        let twice = self.name == "a field twice";
        let id = json["id"]
            .as_str()
            .filter(good)
            .filter(|_| !twice && self.code != "message_too_large");
        id.unwrap_or("-").to_owned()
    }
}

/// Publishes every case, and checks the events, the dead letters, the worker's own account, and that a good job
/// is still done.
async fn refuse_all(bench: &Bench, worker: Worker<'_>, cases: &[Case], good: &Value) -> Ended {
    for case in cases {
        bench.broker.publish(&case.body).await;
    }
    let ends = || {
        bench
            .broker
            .events()
            .into_iter()
            .filter(|news| news.state() == "failed")
            .collect::<Vec<_>>()
    };
    until("every message is answered", async || {
        ends().len() >= cases.len()
    })
    .await;
    bench
        .broker
        .until_length(&bench.broker.dead, cases.len() as u32)
        .await;
    bench.publish(good).await;
    bench
        .broker
        .event(good["id"].as_str().unwrap(), "succeeded")
        .await;
    bench.broker.until_length(&bench.broker.queue, 0).await;
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| complaint(case, &ends()))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}: {wrong:#?}",
        wrong.len(),
        cases.len()
    );
    assert_eq!(ends().len(), cases.len(), "one event each");

    let mut dead: Vec<Vec<u8>> = bench
        .broker
        .drain(&bench.broker.dead)
        .await
        .into_iter()
        .map(|(body, _)| body)
        .collect();
    let mut sent: Vec<Vec<u8>> = cases.iter().map(|case| case.body.clone()).collect();
    dead.sort();
    sent.sort();
    assert!(
        dead == sent,
        "the dead letters are other messages than were refused"
    );
    let count = async |outcome: &str| {
        let name = format!("ciphermill_jobs_total{{outcome=\"{outcome}\"}}");
        worker.metric(&name).await.unwrap_or(0.0)
    };
    assert_eq!(
        count("failed").await + count("rejected").await,
        cases.len() as f64
    );
    assert_eq!(count("retried").await + count("returned").await, 0.0);
    assert_eq!(worker.metric("ciphermill_jobs_running").await, Some(0.0));
    worker.program.signal(rustix::process::Signal::TERM);
    let ended = worker.ended().await;
    assert_eq!(ended.code, Some(0));
    ended
}

/// What is wrong with the answer to this case.
fn complaint(case: &Case, ends: &[crate::support::broker::News]) -> Option<String> {
    let canonical =
        serde_json::from_slice::<Value>(&case.body).map(|json| json.to_string().into_bytes());
    let digests = [
        Some(short_digest(&case.body)),
        canonical.ok().map(|bytes| short_digest(&bytes)),
    ];
    let ids: Vec<String> = digests
        .iter()
        .flatten()
        .map(|digest| format!("{}:failed:{digest}", case.id()))
        .collect();
    let told: Vec<_> = ends
        .iter()
        .filter(|news| ids.iter().any(|id| news.json["id"] == id.as_str()))
        .collect();
    let [news] = told.as_slice() else {
        return Some(format!(
            "{}: {} events with the ids {ids:?}",
            case.name,
            told.len()
        ));
    };
    let fault = &news.data()["fault"];
    let right = fault["code"] == case.code && fault["pointer"].as_str() == case.pointer;
    let helpful =
        fault["help"].as_str().is_some_and(|help| help.len() > 20) && fault["retryable"] == false;
    let same_job = news.data()["job_id"].as_str().unwrap_or("-") == case.id();
    if right && helpful && same_job {
        return None;
    }
    Some(format!(
        "{}: expected {} at {:?}, got {fault}",
        case.name, case.code, case.pointer
    ))
}
