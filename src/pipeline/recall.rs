//! Recall: what earlier attempts at the same job left (P3, P5, P6).
//!
//! A finished job is recognised, by its ledger entry or by the label of its object, and nothing is
//! uploaded again. Of an unfinished one the outputs that were published are kept, and every other
//! upload is aborted.

use std::sync::Arc;

use super::{Attempt, Pipeline};
use crate::fault::{Code, Result};
use crate::job::check::ParsedJob;
use crate::job::event::{EventData, InputResult, OutputResult};
use crate::job::{JobDigest, Output};
use crate::ledger::{Entry, OutputEntry};
use crate::plan::Plan;
use crate::report::{self, Made};
use crate::sink::label::Label;
use crate::sink::{self, TOKEN};
use crate::source::Source;
use crate::store::Facts;

/// What earlier attempts left, as far as it is known before the source is opened.
pub(super) enum Recalled {
    /// The job finished: its result.
    Finished(Box<EventData>),
    /// It did not, or was never begun.
    Unfinished(Remains),
}

/// The ledger of an unfinished job.
#[derive(Default)]
pub(super) struct Remains {
    entry: Option<Entry>,
    was_read: bool,
}

impl Pipeline {
    /// Looks for an earlier attempt: the first output's label when that says it all, else the
    /// ledger.
    pub(super) async fn recall(&self, parsed: &ParsedJob) -> Result<Recalled> {
        let job = &parsed.job;
        let single = job.outputs.len() == 1 && job.outputs[0].url.bucket().is_some();
        if single
            && let Some((facts, label)) = self.labelled(&job.outputs[0], parsed.digest).await?
        {
            return Ok(Recalled::Finished(Box::new(from_label(
                parsed, &facts, &label,
            ))));
        }
        if single && !job.gives_iv() {
            return Ok(Recalled::Unfinished(Remains::default()));
        }
        let entry = self.ledger(job).read().await?;
        if let Some(entry) = &entry
            && entry.is_of(parsed.digest)
            && let Some(result) = &entry.result
            && self.still_there(parsed, result).await?
        {
            return Ok(Recalled::Finished(result.clone()));
        }
        Ok(Recalled::Unfinished(Remains {
            entry,
            was_read: true,
        }))
    }

    /// Checks a given IV's history, keeps what was published, and aborts every other upload of
    /// earlier attempts. Returns what was published, by output.
    pub(super) async fn clear_remains(
        &self,
        attempt: &Attempt<'_>,
        plan: &Plan,
        remains: Remains,
        source: &Source,
    ) -> Result<Vec<Option<OutputResult>>> {
        let parsed = attempt.parsed;
        let entry = match remains.was_read || !plan.ledger {
            true => remains.entry,
            false => self.ledger(&parsed.job).read().await?,
        };
        let mut done = vec![None; parsed.job.outputs.len()];
        let Some(entry) = entry else {
            if attempt.redelivered && plan.multipart {
                self.abort_unremembered(parsed).await?;
            }
            return Ok(done);
        };
        entry.check_given_iv(
            parsed.digest,
            parsed.job.gives_iv(),
            &source.facts().version,
        )?;
        for remembered in &entry.outputs {
            let same = |output: &&Output| output.url.to_string() == remembered.url;
            let output = parsed
                .job
                .outputs
                .iter()
                .find(same)
                .filter(|_| entry.is_of(parsed.digest));
            let published = match output {
                Some(output) => self.published(output, remembered).await?,
                None => None,
            };
            match (
                published,
                parsed.job.outputs.iter().position(|output| same(&output)),
            ) {
                (Some(result), Some(index)) => done[index] = Some(result),
                _ => self.abort_remembered(remembered).await?,
            }
        }
        Ok(done)
    }

    /// A worker that died between beginning its uploads and remembering them left uploads that no
    /// ledger names: they are found by their keys.
    async fn abort_unremembered(&self, parsed: &ParsedJob) -> Result<()> {
        for output in &parsed.job.outputs {
            let store = self.stores.of(&output.url);
            for upload in store.uploads(&output.url).await? {
                sink::abort(store.as_ref(), &output.url, &upload).await;
            }
        }
        Ok(())
    }

    /// The result of an output that an earlier attempt published; its token tells.
    async fn published(
        &self,
        output: &Output,
        remembered: &OutputEntry,
    ) -> Result<Option<OutputResult>> {
        let facts = match self.stores.of(&output.url).head(&output.url, None).await {
            Ok(facts) => facts,
            Err(fault) if fault.code == Code::SourceNotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let ours = facts.metadata.get(TOKEN) == Some(&remembered.label.token);
        Ok(ours.then(|| report::written(output, &facts, &remembered.label, &Made::default())))
    }

    async fn abort_remembered(&self, remembered: &OutputEntry) -> Result<()> {
        let Some(upload) = &remembered.upload else {
            return Ok(());
        };
        let Ok(url) = crate::job::ObjectUrl::parse(&remembered.url) else {
            return Ok(());
        };
        let store = Arc::clone(self.stores.of(&url));
        sink::abort(store.as_ref(), &url, upload).await;
        Ok(())
    }

    /// The object and its label, if this very job wrote it.
    async fn labelled(&self, output: &Output, digest: JobDigest) -> Result<Option<(Facts, Label)>> {
        match self.stores.of(&output.url).head(&output.url, None).await {
            Ok(facts) => Ok(Label::read(&facts.metadata, digest).map(|label| (facts, label))),
            Err(fault) if fault.class() == crate::fault::Class::Permanent => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Whether every output of a finished job is still what it was.
    async fn still_there(&self, parsed: &ParsedJob, result: &EventData) -> Result<bool> {
        for (output, written) in parsed.job.outputs.iter().zip(&result.outputs) {
            let Some(etag) = &written.etag else { continue };
            match self.stores.of(&output.url).head(&output.url, None).await {
                Ok(facts) if facts.version.etag == *etag => {}
                Ok(_) => return Ok(false),
                Err(fault) if fault.code == Code::SourceNotFound => return Ok(false),
                Err(fault) => return Err(fault),
            }
        }
        Ok(true)
    }
}

/// The result of a single-object job, from its object alone.
fn from_label(parsed: &ParsedJob, facts: &Facts, label: &Label) -> EventData {
    let output = &parsed.job.outputs[0];
    let bytes = label.plain_bytes.unwrap_or_default();
    let input = InputResult {
        url: parsed.job.input.url.to_string(),
        bytes,
        ..InputResult::default()
    };
    EventData {
        input: Some(input),
        outputs: vec![report::written(output, facts, label, &Made::default())],
        ..EventData::default()
    }
}
