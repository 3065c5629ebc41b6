//! Stage: the outputs of one job, from their beginning in their stores to their publication.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::future::join_all;

use super::Pipeline;
use super::prepare::Prepared;
use crate::buffers::PartBuffer;
use crate::checksum::{Algorithm, Checksum};
use crate::cipher::{Decryptor, Encryptor};
use crate::fault::{Code, Fault, Result};
use crate::job::check::ParsedJob;
use crate::job::event::OutputResult;
use crate::job::{self, IfExists, Output};
use crate::ledger::{self, Entry, OutputEntry};
use crate::plan::Plan;
use crate::report::{self, Made};
use crate::sink::Sink;
use crate::sink::label::Label;
use crate::source::Source;
use crate::store::{NewObject, PartPlace, UploadId};

/// Outputs of a job, begun in their stores.
pub(super) struct Staged {
    pub decryptor: Arc<Decryptor>,
    pub outputs: Vec<StagedOutput>,
    pub given_iv: bool,
    entry: Option<Entry>,
}

/// One output, from begin to publication.
pub(super) struct StagedOutput {
    pub encryptor: Arc<Encryptor>,
    pub checksum: Algorithm,
    label: Label,
    started: Instant,
    state: State,
}

enum State {
    /// Takes parts. The fault is that of an output that is not required.
    Open {
        sink: Box<Sink>,
        sums: Mutex<Sums>,
        fault: Mutex<Option<Fault>>,
        required: bool,
    },
    /// Was published by an earlier attempt, or by this one.
    Published(Box<OutputResult>),
    /// Not required, and could not even be begun.
    Failed(Fault),
}

/// Checksums of the parts, by part number.
type Sums = Vec<(i32, Checksum, u64)>;

impl Pipeline {
    /// Begins every output that was not published by an earlier attempt.
    pub(super) async fn stage(
        &self,
        parsed: &ParsedJob,
        plan: &Plan,
        prepared: Prepared,
        done: &[Option<OutputResult>],
    ) -> Result<Staged> {
        let job = &parsed.job;
        let given_iv = job.gives_iv();
        let begun = prepared
            .outputs
            .into_iter()
            .zip(&job.outputs)
            .enumerate()
            .map(|(index, (made, output))| {
                let done = done.get(index).cloned().flatten();
                async move {
                    let begun = self.stage_one(parsed, plan, output, made, done).await;
                    begun.map_err(|fault| fault.at(format!("/outputs/{index}/url")))
                }
            });
        let mut outputs = Vec::new();
        let mut refusal = None;
        for begun in join_all(begun).await {
            match begun {
                Ok(output) => outputs.push(output),
                Err(fault) => refusal = refusal.or(Some(fault)),
            }
        }
        let mut staged = Staged {
            decryptor: prepared.decryptor,
            outputs,
            given_iv,
            entry: None,
        };
        if let Some(fault) = refusal {
            join_all(staged.outputs.iter_mut().map(StagedOutput::abort)).await;
            return Err(fault);
        }
        Ok(staged)
    }

    async fn stage_one(
        &self,
        parsed: &ParsedJob,
        plan: &Plan,
        output: &Output,
        (encryptor, label): (Arc<Encryptor>, Label),
        done: Option<OutputResult>,
    ) -> Result<StagedOutput> {
        let checksum = match output.checksum {
            job::Checksum::Crc64nvme => Algorithm::Crc64Nvme,
            job::Checksum::Sha256 => Algorithm::Sha256,
        };
        let state = match done {
            Some(result) => State::Published(Box::new(result)),
            None => match self
                .begin_sink(parsed, plan, output, &label, checksum)
                .await
            {
                Ok(sink) => State::Open {
                    sink: Box::new(sink),
                    sums: Mutex::default(),
                    fault: Mutex::default(),
                    required: output.required,
                },
                Err(fault) if output.required => return Err(fault),
                Err(fault) => State::Failed(fault),
            },
        };
        Ok(StagedOutput {
            encryptor,
            checksum,
            label,
            started: Instant::now(),
            state,
        })
    }

    async fn begin_sink(
        &self,
        parsed: &ParsedJob,
        plan: &Plan,
        output: &Output,
        label: &Label,
        checksum: Algorithm,
    ) -> Result<Sink> {
        let store = Arc::clone(self.stores.of(&output.url));
        let mut new = NewObject {
            content_type: output.storage.content_type.clone(),
            storage_class: output.storage.storage_class.clone(),
            metadata: output.storage.metadata.clone(),
            tags: output.storage.tags.clone(),
            server_side: output.storage.server_side.clone(),
            checksum,
            if_absent: false,
        };
        label.write(&mut new.metadata, &parsed.job.id, parsed.digest);
        if output.if_exists == IfExists::Fail {
            if store.head(&output.url, None).await.is_ok() {
                return Err(Fault::new(
                    Code::OutputExists,
                    format!("{} is there already", output.url),
                ));
            }
            let probe = format!("probe-{}", uuid::Uuid::new_v4().simple());
            let probe = ledger::place(&output.url, &self.worker.ledger_prefix, &probe);
            new.if_absent = store.keeps_if_absent(&probe).await?;
        }
        Sink::begin(store, output.url.clone(), new, plan.multipart).await
    }
}

impl Staged {
    /// The ledger entry of this attempt.
    pub(super) fn entry(&mut self, parsed: &ParsedJob, source: &Source) -> Entry {
        let outputs = self
            .outputs
            .iter()
            .zip(&parsed.job.outputs)
            .map(|(staged, output)| OutputEntry {
                url: output.url.to_string(),
                upload: staged.upload_id(),
                label: staged.label.clone(),
            });
        let entry = Entry {
            job_id: parsed.job.id.clone(),
            digest: parsed.digest.to_string(),
            given_iv: self.given_iv,
            source: source.facts().version.clone(),
            outputs: outputs.collect(),
            result: None,
        };
        self.entry = Some(entry.clone());
        entry
    }

    /// The entry that was written last.
    pub(super) fn last_entry(&self) -> Option<Entry> {
        self.entry.clone()
    }
}

impl StagedOutput {
    /// Whether parts are still wanted.
    pub(super) fn is_open(&self) -> bool {
        match &self.state {
            State::Open { fault, .. } => fault
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_none(),
            _ => false,
        }
    }

    /// Whether it is visible.
    pub(super) fn is_published(&self) -> bool {
        matches!(self.state, State::Published(_))
    }

    fn upload_id(&self) -> Option<UploadId> {
        match &self.state {
            State::Open { sink, .. } => sink.upload_id().cloned(),
            _ => None,
        }
    }

    /// Stages one part. An output that is not required keeps its fault to itself.
    pub(super) async fn part(
        &self,
        place: PartPlace,
        body: PartBuffer,
        checksum: Checksum,
    ) -> Result<()> {
        let State::Open {
            sink,
            sums,
            fault,
            required,
        } = &self.state
        else {
            return Ok(());
        };
        if !self.is_open() {
            return Ok(());
        }
        let sum = (place.number, checksum.clone(), body.len() as u64);
        sums.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sum);
        match sink.part(place, body, checksum).await {
            Err(failed) if !required && !failed.retryable() => {
                fault
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(failed);
                Ok(())
            }
            result => result,
        }
    }

    /// Publishes the object, and gives its result.
    pub(super) async fn commit(&mut self, output: &Output, engine: &str) -> Result<OutputResult> {
        let result = match &mut self.state {
            State::Published(result) => return Ok((**result).clone()),
            State::Failed(fault) => return Ok(report::not_written(output, fault)),
            State::Open {
                sink,
                sums,
                fault,
                required,
            } => {
                let earlier = fault
                    .get_mut()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                let committed = match earlier {
                    Some(fault) => Err(fault),
                    None => sink.commit().await,
                };
                let facts = match committed {
                    Ok(facts) => facts,
                    Err(fault) if !*required && !fault.retryable() => {
                        sink.abort().await;
                        return Ok(report::not_written(output, &fault));
                    }
                    Err(fault) => return Err(fault),
                };
                let made = Made {
                    engine: output
                        .encryption
                        .as_ref()
                        .map(|_| format!("{engine}/{}", self.encryptor.kernel())),
                    seconds: Some(self.started.elapsed().as_secs_f64()),
                    checksum: whole(sums),
                };
                report::written(output, &facts, &self.label, &made)
            }
        };
        self.state = State::Published(Box::new(result.clone()));
        Ok(result)
    }

    /// Gives up what is not published.
    pub(super) async fn abort(&mut self) {
        if let State::Open { sink, .. } = &mut self.state {
            sink.abort().await;
        }
    }
}

/// The checksum of the whole object. SHA-256 has none over parts.
fn whole(sums: &mut Mutex<Sums>) -> Option<Checksum> {
    let sums = sums.get_mut().unwrap_or_else(PoisonError::into_inner);
    sums.sort_unstable_by_key(|(number, ..)| *number);
    let parts: Vec<_> = sums
        .iter()
        .map(|(_, sum, bytes)| (sum.clone(), *bytes))
        .collect();
    match parts.as_slice() {
        [(only, _)] => Some(only.clone()),
        [(Checksum::Crc64Nvme(_), _), ..] => Checksum::combine(&parts),
        _ => None,
    }
}
