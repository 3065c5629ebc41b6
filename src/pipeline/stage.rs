//! Stage: the outputs of one job, from their beginning in their stores to their publication.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ciphermill_cipher::{Decryptor, Encryptor};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Pipeline;
use super::companions::StagedCompanion;
use super::prepare::Prepared;
use super::recall::{Kept, Published};
use super::remember;
use crate::buffers::PartBuffer;
use crate::checksum::{Algorithm, Checksum};
use crate::fault::{Code, Fault, Result};
use crate::job::check::ParsedJob;
use crate::job::event::OutputResult;
use crate::job::{self, IfExists, Output};
use crate::ledger::{self, Entry};
use crate::plan::{Plan, staged_alone};
use crate::report::{self, Made};
use crate::sink::label::Label;
use crate::sink::{self, Sink};
use crate::source::Source;
use crate::store::{Condition, NewObject, PartPlace, UploadId};

/// Outputs of a job, begun in their stores.
pub(super) struct Staged {
    pub decryptor: Arc<Decryptor>,
    pub outputs: Vec<StagedOutput>,
    pub companions: Vec<StagedCompanion>,
    pub entry: Entry,
    /// There may be uploads that the entry does not name: companions are being begun, or the answer
    /// to a beginning was lost.
    pub in_doubt: bool,
}

/// One output, from begin to publication.
pub(super) struct StagedOutput {
    pub encryptor: Arc<Encryptor>,
    pub checksum: Algorithm,
    label: Label,
    started: Instant,
    /// Parts that the CPU and a GPU ciphered.
    parts: [AtomicU64; 2],
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
    /// Nobody knows whether it is visible: the answer to its publication was lost.
    Unknown,
    /// Not required, and could not be begun, or was refused when it was to be published; `left`: its
    /// upload may still be there.
    Failed { fault: Fault, left: bool },
}

/// Checksums of the parts, by part number.
type Sums = Vec<(i32, Checksum, u64)>;

impl StagedOutput {
    /// Counts a part, by who ciphered it.
    pub(super) fn count(&self, by_gpu: bool) {
        self.parts[usize::from(by_gpu)].fetch_add(1, Ordering::Relaxed);
    }
}

impl Pipeline {
    /// Begins every output that was not published by an earlier attempt. The attempt is remembered
    /// before the first upload begins, so that one that nobody remembers can be found.
    pub(super) async fn stage(
        &self,
        parsed: &ParsedJob,
        plan: &Plan,
        source: &Source,
        mut prepared: Prepared,
        (attempt, kept): (&str, Kept),
    ) -> Result<Staged> {
        let job = &parsed.job;
        for ((_, label), done) in prepared.outputs.iter_mut().zip(&kept.outputs) {
            if let Some(done) = done {
                label.clone_from(&done.label);
            }
        }
        let entry = remember::entry(
            parsed,
            source,
            &prepared,
            (attempt, &kept),
            self.clock.now(),
        );
        if plan.ledger {
            self.ledger(job).write(&entry).await?;
        }
        let made = prepared
            .outputs
            .into_iter()
            .zip(kept.outputs)
            .zip(&job.outputs)
            .enumerate();
        let begun = made.map(|(index, ((made, done), output))| async move {
            let uploads = plan.multipart || staged_alone(output);
            let begun = self.stage_one(parsed, uploads, output, made, done).await;
            begun.map_err(|fault| named(fault, &format!("/outputs/{index}")))
        });
        let mut outputs = Vec::new();
        let (mut refusal, mut in_doubt) = (None, false);
        for begun in join_all(begun).await {
            match begun {
                Ok(output) => outputs.push(output),
                Err(fault) => {
                    in_doubt |= fault.retryable();
                    refusal = refusal.or(Some(fault));
                }
            }
        }
        let mut staged = Staged {
            decryptor: prepared.decryptor,
            outputs,
            companions: Vec::new(),
            entry,
            in_doubt,
        };
        if let Some(fault) = refusal {
            self.give_up(parsed, plan, &mut staged).await;
            return Err(fault);
        }
        for (remembered, output) in staged.entry.outputs.iter_mut().zip(&staged.outputs) {
            remembered.upload = output.upload_id().or(remembered.upload.take());
        }
        let mut remembered = staged.entry.outputs.iter();
        if plan.ledger && remembered.any(|output| output.upload.is_some()) {
            self.ledger(job).write(&staged.entry).await?;
        }
        Ok(staged)
    }

    /// Begins one object; `uploads`: as an upload, even where one request could do.
    pub(super) async fn stage_one(
        &self,
        parsed: &ParsedJob,
        uploads: bool,
        output: &Output,
        (encryptor, label): (Arc<Encryptor>, Label),
        done: Option<Published>,
    ) -> Result<StagedOutput> {
        let checksum = match output.checksum {
            job::Checksum::Crc64nvme => Algorithm::Crc64Nvme,
            job::Checksum::Sha256 => Algorithm::Sha256,
        };
        let state = match done {
            Some(done) => State::Published(Box::new(done.result)),
            None => match self
                .begin_sink(parsed, uploads, output, &label, checksum)
                .await
            {
                Ok(sink) => State::Open {
                    sink: Box::new(sink),
                    sums: Mutex::default(),
                    fault: Mutex::default(),
                    required: output.required,
                },
                Err(fault) if output.required || fault.retryable() => return Err(fault),
                Err(fault) => State::Failed { fault, left: false },
            },
        };
        Ok(StagedOutput {
            encryptor,
            checksum,
            label,
            started: Instant::now(),
            parts: Default::default(),
            state,
        })
    }

    async fn begin_sink(
        &self,
        parsed: &ParsedJob,
        uploads: bool,
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
            condition: Condition::Always,
        };
        label.write(&mut new.metadata, &parsed.job.id, parsed.digest);
        let mut check_absent = false;
        if output.if_exists == IfExists::Fail {
            let probe = format!("probe-{}", uuid::Uuid::new_v4().simple());
            let probe = ledger::place(&output.url, &self.worker.ledger_prefix, &probe);
            let keeps = store.keeps_if_absent(&probe).await?;
            new.condition = Condition::if_absent_where(keeps);
            match sink::refuse_existing(store.as_ref(), &output.url).await {
                // Who may not look leaves the decision to the store, if it can decide.
                Err(fault) if fault.code == Code::SourceDenied && keeps => {}
                looked => looked?,
            }
            check_absent = !keeps;
        }
        Sink::begin(store, output.url.clone(), new, uploads, check_absent).await
    }
}

/// Names the field of the output at `pointer` that a fault of its store is about.
pub(super) fn named(fault: Fault, pointer: &str) -> Fault {
    let field = match fault.code {
        Code::ServerSideIgnored | Code::KeyDisabled | Code::KeyNotFound => "/storage/server_side",
        Code::StoreRejected => "",
        _ => "/url",
    };
    fault.at(format!("{pointer}{field}"))
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

    /// Whether it is visible, or may be.
    pub(super) fn may_be_published(&self) -> bool {
        matches!(self.state, State::Published(_) | State::Unknown)
    }

    pub(super) fn upload_id(&self) -> Option<UploadId> {
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

    /// Publishes the object, and gives its result; a second call gives it again.
    pub(super) async fn commit(
        &mut self,
        pointer: &str,
        output: &Output,
        engine: &str,
    ) -> Result<OutputResult> {
        let result = self.publish(output, engine).await;
        result.map_err(|fault| named(fault, pointer))
    }

    async fn publish(&mut self, output: &Output, engine: &str) -> Result<OutputResult> {
        let result = match &mut self.state {
            State::Published(result) => return Ok((**result).clone()),
            State::Failed { fault, .. } => return Ok(report::not_written(output, fault)),
            State::Unknown => {
                return Err(Fault::new(Code::Internal, "the output was published twice"));
            }
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
                        let left = !sink.abort().await;
                        let result = report::not_written(output, &fault);
                        self.state = State::Failed { fault, left };
                        return Ok(result);
                    }
                    Err(fault) if fault.retryable() => {
                        self.state = State::Unknown;
                        return Err(fault);
                    }
                    Err(fault) => return Err(fault),
                };
                let made = Made {
                    engine: output
                        .encryption
                        .as_ref()
                        .map(|_| ciphered_by(engine, self.encryptor.kernel(), &self.parts)),
                    seconds: Some(self.started.elapsed().as_secs_f64()),
                    checksum: whole(sums),
                };
                report::written(output, &facts, &self.label, &made)
            }
        };
        self.state = State::Published(Box::new(result.clone()));
        Ok(result)
    }

    /// Gives up what is not published; `true` when nothing is left of it.
    pub(super) async fn abort(&mut self) -> bool {
        match &mut self.state {
            State::Open { sink, .. } => sink.abort().await,
            State::Failed { left, .. } => !*left,
            State::Published(_) | State::Unknown => true,
        }
    }
}

/// Engine and kernel, `gpu`, or both, by who ciphered the parts.
fn ciphered_by(engine: &str, kernel: &str, parts: &[AtomicU64; 2]) -> String {
    match parts.each_ref().map(|count| count.load(Ordering::Relaxed)) {
        [_, 0] => format!("{engine}/{kernel}"),
        [0, _] => "gpu".to_owned(),
        _ => format!("{engine}/{kernel}+gpu"),
    }
}

/// The checksum of the whole object. SHA-256 has none over parts.
fn whole(sums: &mut Mutex<Sums>) -> Option<Checksum> {
    let sums = sums.get_mut().unwrap_or_else(PoisonError::into_inner);
    sums.sort_unstable_by_key(|(number, ..)| *number);
    let parts = sums.iter().map(|(_, sum, bytes)| (sum.clone(), *bytes));
    let parts: Vec<_> = parts.collect();
    match parts.as_slice() {
        [(only, _)] => Some(only.clone()),
        [(Checksum::Crc64Nvme(_), _), ..] => Checksum::combine(&parts),
        _ => None,
    }
}
