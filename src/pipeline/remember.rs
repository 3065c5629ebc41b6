//! Remember: what an attempt writes into the ledger, and when it may forget it (P3, P6, P13).
//!
//! An entry comes first, before the first upload; the result is added last. An attempt that fails
//! forgets its job unless something of it is visible, may be, or uses an IV of the caller's.

use std::time::SystemTime;

use futures_util::future::join_all;

use super::Pipeline;
use super::prepare::Prepared;
use super::recall::Kept;
use super::stage::{Staged, StagedOutput};
use crate::fault::{Code, Fault, Result};
use crate::job::Job;
use crate::job::check::ParsedJob;
use crate::job::event::EventData;
use crate::ledger::{Entry, Ledger, OutputEntry};
use crate::plan::Plan;
use crate::source::Source;

impl Pipeline {
    /// Refuses to publish once another attempt has taken the job over.
    pub(super) async fn check_ours(&self, parsed: &ParsedJob, staged: &Staged) -> Result<()> {
        match self.is_ours(parsed, staged).await? {
            true => Ok(()),
            false => {
                let message = "another attempt at this job is under way";
                Err(Fault::new(Code::Superseded, message))
            }
        }
    }

    /// Whether the ledger still speaks of this attempt. A broker that lost us gives the job to
    /// another worker, whose attempt replaces ours.
    async fn is_ours(&self, parsed: &ParsedJob, staged: &Staged) -> Result<bool> {
        let entry = self.ledger(&parsed.job).read().await?;
        Ok(entry.is_some_and(|entry| entry.is_same_attempt(&staged.entry)))
    }

    /// Aborts what was staged, and forgets the job. An IV of the caller's is never forgotten, nor is
    /// an output that is visible, or may be, nor an upload that may be there.
    pub(super) async fn give_up(&self, parsed: &ParsedJob, plan: &Plan, staged: &mut Staged) {
        let companions = staged.companions.iter_mut().map(|c| &mut c.staged);
        let all = staged.outputs.iter_mut().chain(companions);
        let aborts = join_all(all.map(StagedOutput::abort)).await;
        let left = aborts.contains(&false);
        let companions = staged.companions.iter().map(|c| &c.staged);
        let mut visible = staged.outputs.iter().chain(companions);
        let visible = visible.any(StagedOutput::may_be_published) || !staged.entry.ours.is_empty();
        if !plan.ledger || visible || left || staged.in_doubt {
            return;
        }
        let forgotten = async {
            if !self.is_ours(parsed, staged).await? {
                return Ok(());
            }
            if !staged.entry.given_iv {
                return self.ledger(&parsed.job).remove().await;
            }
            let mut entry = staged.entry.clone();
            entry.outputs.clear();
            entry.companions.clear();
            self.ledger(&parsed.job).write(&entry).await
        };
        if let Err(fault) = forgotten.await {
            tracing::warn!(code = fault.code.as_str(), detail = %fault.message, "a ledger entry was left behind");
        }
    }

    /// The result goes into the ledger last. If that fails, the next delivery finds the outputs by
    /// their labels, or their inodes.
    pub(super) async fn remember_result(
        &self,
        parsed: &ParsedJob,
        plan: &Plan,
        staged: &Staged,
        data: &EventData,
    ) {
        if !plan.ledger {
            return;
        }
        let entry = Entry {
            result: Some(Box::new(data.clone())),
            ..staged.entry.clone()
        };
        if let Err(fault) = self.ledger(&parsed.job).write(&entry).await {
            tracing::warn!(code = fault.code.as_str(), detail = %fault.message, "the result was not remembered");
        }
    }

    pub(super) fn ledger(&self, job: &Job) -> Ledger {
        Ledger::of(job, &self.worker.ledger_prefix, &self.stores)
    }
}

/// What is remembered of this attempt, before its uploads have begun.
pub(super) fn entry(
    parsed: &ParsedJob,
    source: &Source,
    prepared: &Prepared,
    (attempt, kept): (&str, &Kept),
    now: SystemTime,
) -> Entry {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH);
    let outputs = prepared
        .outputs
        .iter()
        .zip(&parsed.job.outputs)
        .zip(&kept.outputs);
    let outputs = outputs.map(|(((_, label), output), done)| OutputEntry {
        url: output.url.to_string(),
        upload: done.as_ref().and_then(|done| done.upload.clone()),
        label: label.clone(),
    });
    Entry {
        job_id: parsed.job.id.clone(),
        digest: parsed.digest.to_string(),
        given_iv: parsed.job.gives_iv(),
        begun: since_epoch.unwrap_or_default().as_secs(),
        source: source.facts().version.clone(),
        outputs: outputs.collect(),
        attempt: attempt.to_owned(),
        companions: Vec::new(),
        ours: kept.companions.clone(),
        result: None,
    }
}
