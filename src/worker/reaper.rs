//! The reaper: aborts uploads of jobs that never came back (P6).
//!
//! It looks through the ledger entries of the allowed buckets, now and then. An entry without a
//! result that is older than the set time belongs to a job that crashed its worker and was purged
//! from the queue.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::fault::Result;
use crate::job::ObjectUrl;
use crate::ledger::{self, Entry, Ledger};
use crate::pipeline::Pipeline;
use crate::store::Listed;

/// Longest time between two rounds.
const ROUND: Duration = Duration::from_secs(3600);

/// Reaps until stopped. Without a list of allowed buckets there is nothing to look through.
pub async fn run(pipeline: &Pipeline, stop: &CancellationToken) {
    let Some(buckets) = &pipeline.worker.allow_buckets else {
        return;
    };
    let every = pipeline.worker.reap_after.min(ROUND);
    loop {
        for bucket in buckets {
            match reap(pipeline, bucket).await {
                Ok(0) => {}
                Ok(aborted) => {
                    tracing::info!(bucket, aborted, "aborted uploads that crashed jobs left")
                }
                Err(fault) => {
                    tracing::warn!(bucket, code = fault.code.as_str(), detail = %fault.message, "cannot reap")
                }
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// One round through one bucket; returns the number of uploads aborted.
pub async fn reap(pipeline: &Pipeline, bucket: &str) -> Result<usize> {
    let store = pipeline.stores.s3();
    let mut aborted = 0;
    for listed in ledger::list(store.as_ref(), bucket, &pipeline.worker.ledger_prefix).await? {
        if is_old(&listed, pipeline) && is_entry(&listed.url) {
            match reap_entry(pipeline, listed.url.clone()).await {
                Ok(gone) => aborted += gone,
                // One bad entry must not keep the others from being looked at.
                Err(fault) => {
                    let code = fault.code.as_str();
                    tracing::warn!(url = %listed.url, code, detail = %fault.message, "cannot reap this entry");
                }
            }
        }
    }
    Ok(aborted)
}

async fn reap_entry(pipeline: &Pipeline, url: ObjectUrl) -> Result<usize> {
    let ledger = Ledger::at(url, pipeline.stores.s3().clone());
    // A fresh attempt may have written it since it was listed.
    let old =
        |entry: &Entry| !entry.is_younger_than(pipeline.worker.reap_after, pipeline.clock.now());
    let Some(mut entry) = ledger.read().await?.filter(old) else {
        return Ok(0);
    };
    let finished = entry.result.is_some();
    let open: Vec<_> = (0..entry.outputs.len())
        .map(|index| entry.may_be_open(index))
        .collect();
    // An upload that is younger may belong to somebody else's attempt: another round looks again.
    let now = pipeline.clock.now();
    let until = now.checked_sub(pipeline.worker.reap_after).unwrap_or(now);
    let (mut aborted, mut left) = (0, false);
    let begun = entry.begun;
    let outputs = entry.outputs.iter_mut().zip(open);
    let outputs = outputs.filter_map(|(output, open)| open.then_some(output));
    let companions = entry.companions.iter_mut().filter(|_| !finished);
    let companions = companions.map(|companion| &mut companion.object);
    for object in outputs.chain(companions) {
        let cleared = pipeline.abort_remembered(object, begun, Some(until)).await;
        aborted += cleared.aborted;
        left |= cleared.left;
        if !cleared.left {
            object.upload = None;
        }
    }
    if left {
        return Ok(aborted);
    }
    // The history of an IV that was given is kept; all else is forgotten: a finished job is known by
    // its objects' labels.
    if !entry.given_iv {
        ledger.remove().await?
    } else if !finished || aborted > 0 {
        ledger.write(&entry).await?
    }
    Ok(aborted)
}

fn is_old(listed: &Listed, pipeline: &Pipeline) -> bool {
    let age = pipeline.clock.now().duration_since(listed.modified);
    age.is_ok_and(|age| age > pipeline.worker.reap_after)
}

fn is_entry(url: &ObjectUrl) -> bool {
    matches!(url, ObjectUrl::S3 { key, .. } if key.ends_with(".json"))
}
