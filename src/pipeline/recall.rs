//! Recall: what earlier attempts at the same job left (P3, P5, P6).
//!
//! A finished job is recognised, by its ledger entry or by the labels of its objects, and nothing
//! is uploaded again. Of an unfinished one, outputs that were published from the same source are
//! kept, and every other upload is aborted, before anything can fail the new attempt.

use super::{Attempt, Pipeline};
use crate::fault::{Class, Code, Fault, Result};
use crate::job::check::ParsedJob;
use crate::job::event::{CompanionResult, EventData, InputResult, OutputResult, OutputStatus};
use crate::job::{JobDigest, ObjectUrl, Output};
use crate::ledger::{Entry, OutputEntry};
use crate::plan::{Plan, admit};
use crate::report::{self, Made};
use crate::sink::TOKEN;
use crate::sink::label::Label;
use crate::source::Source;
use crate::store::{Facts, UploadId, files};

/// What earlier attempts left, as far as it is known before the source is opened.
pub(super) enum Recalled {
    /// The job finished: its result.
    Finished(Box<EventData>),
    /// It did not, or was never begun.
    Unfinished(Box<Remains>),
}

/// What is left of an unfinished job.
#[derive(Default)]
pub(super) struct Remains {
    was_read: bool,
    entry: Option<Entry>,
    /// Outputs that were published, in the job's order.
    published: Vec<Option<Published>>,
    /// Companions that were, by this or an earlier attempt.
    ours: Vec<OutputEntry>,
}

/// What of an earlier attempt this one keeps.
pub(super) struct Kept {
    /// In the job's order.
    pub outputs: Vec<Option<Published>>,
    /// Companions, which are made again and may replace themselves.
    pub companions: Vec<OutputEntry>,
}

/// An output that an earlier attempt published. Its label stays with it: the next attempt must know
/// it by the same token.
#[derive(Clone)]
pub(super) struct Published {
    pub result: OutputResult,
    pub label: Label,
    /// What tells a file that was published.
    pub upload: Option<UploadId>,
}

impl Pipeline {
    /// Looks for an earlier attempt: the first output's label when that says it all, else the
    /// ledger.
    pub(super) async fn recall(&self, attempt: &Attempt<'_>) -> Result<Recalled> {
        let (parsed, job) = (attempt.parsed, &attempt.parsed.job);
        let single = job.outputs.len() == 1
            && job.outputs[0].url.bucket().is_some()
            && !job.has_companions();
        if single
            && let Some((facts, label)) = self.labelled(&job.outputs[0], parsed.digest).await?
        {
            let remembered = self
                .ledger(job)
                .read()
                .await?
                .filter(|entry| entry.is_of(parsed.digest));
            let result = remembered.and_then(|entry| entry.result);
            let from_label = || Box::new(from_label(parsed, &facts, &label));
            return Ok(Recalled::Finished(result.unwrap_or_else(from_label)));
        }
        if single && !job.gives_iv() && !attempt.redelivered {
            return Ok(Recalled::Unfinished(Box::default()));
        }
        match self.ledger(job).read().await? {
            None => Ok(Recalled::Unfinished(Box::new(Remains {
                was_read: true,
                ..Remains::default()
            }))),
            Some(entry) => self.take_up(parsed, entry).await,
        }
    }

    /// Takes up where this entry ends: a result, or uploads to be aborted.
    async fn take_up(&self, parsed: &ParsedJob, entry: Entry) -> Result<Recalled> {
        if !entry.is_of(parsed.digest) {
            self.refuse_rival(&entry)?;
            self.abort_uploads(&entry, |_| true).await?;
            let remains = Remains {
                was_read: true,
                entry: Some(entry),
                ..Remains::default()
            };
            return Ok(Recalled::Unfinished(Box::new(remains)));
        }
        if let Some(result) = &entry.result
            && self.still_there(parsed, result).await?
        {
            return Ok(Recalled::Finished(result.clone()));
        }
        let mut published = Vec::new();
        for (output, remembered) in parsed.job.outputs.iter().zip(&entry.outputs) {
            published.push(self.published(output, remembered).await?);
        }
        published.resize(parsed.job.outputs.len(), None);
        let (companions, mut ours) = self.published_companions(&entry).await?;
        // Each that was made is remembered, and each that could not be: none means that no attempt
        // came so far.
        let made = !parsed.job.has_companions() || !entry.companions.is_empty();
        let all = companions.len() == entry.companions.len();
        if made && all && published.iter().all(Option::is_some) {
            let data = from_entry(parsed, &entry, published, companions);
            return Ok(Recalled::Finished(Box::new(data)));
        }
        for earlier in &entry.ours {
            if self.companion_facts(earlier).await?.is_some() {
                ours.push(earlier.clone());
            }
        }
        self.abort_uploads(&entry, |index| published[index].is_none())
            .await?;
        Ok(Recalled::Unfinished(Box::new(Remains {
            was_read: true,
            entry: Some(entry),
            published,
            ours,
        })))
    }

    /// With the source open: checks a given IV's history, and says which published outputs can be
    /// kept. Those made from another version of the source are made again.
    pub(super) async fn clear_remains(
        &self,
        attempt: &Attempt<'_>,
        plan: &Plan,
        mut remains: Remains,
        source: &Source,
    ) -> Result<Kept> {
        let parsed = attempt.parsed;
        let mut kept = Kept {
            outputs: vec![None; parsed.job.outputs.len()],
            companions: Vec::new(),
        };
        if !remains.was_read
            && plan.ledger
            && let Some(entry) = self.ledger(&parsed.job).read().await?
            && let Recalled::Unfinished(read) = self.take_up(parsed, entry).await?
        {
            remains = *read;
        }
        let Some(entry) = remains.entry else {
            return Ok(kept);
        };
        let version = &source.facts().version;
        entry.check_given_iv(parsed.digest, parsed.job.gives_iv(), version)?;
        kept.companions = remains.ours;
        if entry.is_of(parsed.digest) && entry.source == *version {
            kept.outputs = remains.published;
            kept.outputs.resize(parsed.job.outputs.len(), None);
        }
        Ok(kept)
    }

    /// An unfinished entry of another message is somebody else's job, unless it is long dead.
    fn refuse_rival(&self, entry: &Entry) -> Result<()> {
        if entry.given_iv
            || entry.result.is_some()
            || !entry.is_younger_than(self.worker.reap_after, self.clock.now())
        {
            return Ok(());
        }
        let message = format!(
            "another job with the id {} is under way or crashed lately",
            entry.job_id
        );
        Err(Fault::new(Code::ReservedByOther, message).at("/id"))
    }

    /// The result of an output that an earlier attempt published; its token tells, or a file's
    /// inode.
    async fn published(
        &self,
        output: &Output,
        remembered: &OutputEntry,
    ) -> Result<Option<Published>> {
        let facts = self.still_ours(&output.url, remembered).await?;
        Ok(facts.map(|facts| {
            let label = remembered.label.clone();
            Published {
                result: report::written(output, &facts, &label, &Made::default()),
                label,
                upload: remembered.upload.clone(),
            }
        }))
    }

    /// What is there, if it is what was remembered.
    async fn still_ours(&self, url: &ObjectUrl, remembered: &OutputEntry) -> Result<Option<Facts>> {
        let facts = match self.stores.of(url).head(url, None).await {
            Ok(facts) => facts,
            Err(fault) if fault.class() == Class::Permanent => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let labelled = facts.metadata.get(TOKEN) == Some(&remembered.label.token);
        let is_file = url.bucket().is_none();
        let upload = remembered.upload.as_ref().filter(|_| is_file);
        let ours =
            labelled || upload.is_some_and(|upload| files::is_upload(upload, &facts.version));
        Ok(ours.then_some(facts))
    }

    /// The results of companions that an earlier attempt published, and of those that it could not
    /// make; and what was published.
    async fn published_companions(
        &self,
        entry: &Entry,
    ) -> Result<(Vec<CompanionResult>, Vec<OutputEntry>)> {
        let (mut found, mut published) = (Vec::new(), Vec::new());
        for companion in &entry.companions {
            let mut result = companion.result.clone();
            if result.output.status == OutputStatus::Written {
                let Some(facts) = self.companion_facts(&companion.object).await? else {
                    continue;
                };
                report::fill(&mut result.output, &facts);
                published.push(companion.object.clone());
            }
            found.push(result);
        }
        Ok((found, published))
    }

    /// What is in a companion's place, if it is what was remembered.
    async fn companion_facts(&self, remembered: &OutputEntry) -> Result<Option<Facts>> {
        let Ok(url) = ObjectUrl::parse(&remembered.url) else {
            return Ok(None);
        };
        match admit::admit_url(&url, &self.worker, self.files) {
            Ok(()) => self.still_ours(&url, remembered).await,
            Err(_) => Ok(None),
        }
    }

    /// The object and its label, if this very job wrote it.
    async fn labelled(&self, output: &Output, digest: JobDigest) -> Result<Option<(Facts, Label)>> {
        match self.stores.of(&output.url).head(&output.url, None).await {
            Ok(facts) => Ok(Label::read(&facts.metadata, digest).map(|label| (facts, label))),
            Err(fault) if fault.class() == Class::Permanent => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Whether every output of a finished job is still what it was.
    async fn still_there(&self, parsed: &ParsedJob, result: &EventData) -> Result<bool> {
        let outputs = parsed.job.outputs.iter().zip(&result.outputs);
        let outputs = outputs.map(|(output, written)| (output.url.clone(), written));
        let companions = result.companions.iter().filter_map(|companion| {
            let url = ObjectUrl::parse(&companion.output.url).ok()?;
            let admitted = admit::admit_url(&url, &self.worker, self.files).is_ok();
            admitted.then_some((url, &companion.output))
        });
        for (url, written) in outputs.chain(companions) {
            let Some(etag) = &written.etag else { continue };
            match self.stores.of(&url).head(&url, None).await {
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
    let url = parsed.job.input.url.to_string();
    EventData {
        input: Some(InputResult {
            url,
            bytes,
            ..InputResult::default()
        }),
        outputs: vec![report::written(output, facts, label, &Made::default())],
        ..EventData::default()
    }
}

/// The result of a job all of whose outputs were published before it could be remembered.
fn from_entry(
    parsed: &ParsedJob,
    entry: &Entry,
    published: Vec<Option<Published>>,
    companions: Vec<CompanionResult>,
) -> EventData {
    let bytes = entry
        .outputs
        .iter()
        .find_map(|output| output.label.plain_bytes);
    EventData {
        input: Some(report::input(
            &parsed.job.input,
            &entry.source,
            bytes.unwrap_or_default(),
        )),
        outputs: published
            .into_iter()
            .flatten()
            .map(|output| output.result)
            .collect(),
        companions,
        ..EventData::default()
    }
}
