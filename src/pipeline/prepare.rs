//! Prepare: keys, IVs and ciphers of one job, and its outputs staged in their stores.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::future::{join_all, try_join_all};

use super::Pipeline;
use crate::buffers::Reservation;
use crate::checksum::{Algorithm, Checksum};
use crate::cipher::cobblestone::{HEADER_BYTES, Salt};
use crate::cipher::ctr::CounterStart;
use crate::cipher::{Decryptor, Encryptor, Form};
use crate::fault::{Code, Fault, Result};
use crate::job::check::ParsedJob;
use crate::job::event::OutputResult;
use crate::job::{self, Base64, Encryption, IfExists, Job, Mode, Output};
use crate::keys::DataKey;
use crate::ledger::{self, Entry, OutputEntry};
use crate::plan::reuse::{self, KeyUse, Stream};
use crate::plan::{Plan, form};
use crate::report::{self, Made};
use crate::secret;
use crate::sink::Sink;
use crate::sink::label::Label;
use crate::source::Source;
use crate::store::NewObject;

/// The keys of a job: the input's, then each output's.
pub(super) struct JobKeys {
    input: Option<DataKey>,
    outputs: Vec<Option<DataKey>>,
}

/// Ciphers of a job, ready to run.
pub(super) struct Prepared {
    decryptor: Arc<Decryptor>,
    outputs: Vec<(Arc<Encryptor>, Label)>,
}

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
    /// Fetches every key of the job at once.
    pub(super) async fn fetch_keys(&self, job: &Job) -> Result<JobKeys> {
        let fetch = |encryption: Option<&Encryption>, pointer: String| {
            let key = encryption.map(|encryption| encryption.key.clone());
            async move {
                match key {
                    Some(key) => self.keys.fetch(&key, &pointer).await.map(Some),
                    None => Ok(None),
                }
            }
        };
        let input = fetch(
            job.input.encryption.as_ref(),
            "/input/encryption/key".into(),
        );
        let outputs = job.outputs.iter().enumerate().map(|(index, output)| {
            fetch(
                output.encryption.as_ref(),
                format!("/outputs/{index}/encryption/key"),
            )
        });
        let (input, outputs) = tokio::try_join!(input, try_join_all(outputs))?;
        Ok(JobKeys { input, outputs })
    }

    /// Chooses IVs, checks P13 and builds the ciphers.
    pub(super) async fn prepare(
        &self,
        parsed: &ParsedJob,
        plan: &Plan,
        source: &Source,
        keys: JobKeys,
        reservation: &Arc<Reservation>,
    ) -> Result<Prepared> {
        let job = &parsed.job;
        let token = uuid::Uuid::new_v4().simple().to_string();
        let mut uses = Vec::new();
        if let (Some(encryption), Some(key)) = (&job.input.encryption, &keys.input) {
            let iv = encryption
                .iv
                .as_ref()
                .map(|iv| iv.0.as_slice())
                .unwrap_or_default();
            uses.push(key_use(
                "/input/encryption",
                encryption,
                key,
                iv,
                plan.plain_bytes,
            ));
        }
        let mut outputs = Vec::with_capacity(job.outputs.len());
        for (index, (output, key)) in job.outputs.iter().zip(keys.outputs).enumerate() {
            let pointer = format!("/outputs/{index}/encryption");
            let made = self
                .encryptor(output, key.as_ref(), &token)
                .map_err(|fault| fault.at(&pointer))?;
            if let (Some(encryption), Some(key)) = (&output.encryption, &key) {
                uses.push(key_use(
                    &pointer,
                    encryption,
                    key,
                    &made.1,
                    plan.plain_bytes,
                ));
            }
            let (encryptor, _, mut label) = made;
            label.plain_bytes = (plan.source != Form::Cbc).then_some(plan.plain_bytes);
            outputs.push((Arc::new(encryptor), label));
        }
        reuse::check(&uses)?;
        let decryptor = self
            .decryptor(job, source, keys.input.as_ref(), reservation)
            .await;
        let decryptor = decryptor.map_err(|fault| fault.at("/input/encryption"))?;
        Ok(Prepared {
            decryptor: Arc::new(decryptor),
            outputs,
        })
    }

    /// One output's cipher, with a fresh IV or salt unless the job gives one; the IV that is used,
    /// and its label.
    fn encryptor(
        &self,
        output: &Output,
        key: Option<&DataKey>,
        token: &str,
    ) -> Result<(Encryptor, Vec<u8>, Label)> {
        let mut label = Label::new(
            output.encryption.as_ref().map(|encryption| encryption.mode),
            token,
        );
        let (Some(encryption), Some(key)) = (&output.encryption, key) else {
            return Ok((Encryptor::plain(), Vec::new(), label));
        };
        label.wrapped_key = key.generated.as_ref().map(ToString::to_string);
        let (kernel, secret) = (self.kernel, key.secret.as_ref());
        if encryption.mode == Mode::Cobblestone {
            let salt = Salt::random()?;
            label.salt = Some(Base64(salt.bytes().to_vec()).to_string());
            let context = context(encryption);
            return Ok((
                Encryptor::cobblestone(kernel, secret, salt, context)?,
                Vec::new(),
                label,
            ));
        }
        let iv = match &encryption.iv {
            Some(iv) => iv.0.clone(),
            None if encryption.mode == Mode::AesGcm => secret::random_array::<12>()?.to_vec(),
            None => secret::random_array::<16>()?.to_vec(),
        };
        label.iv = Some(Base64(iv.clone()).to_string());
        let encryptor = match encryption.mode {
            Mode::AesCtr => Encryptor::ctr(kernel, secret, counter_start(encryption, &iv)?)?,
            Mode::AesCbcPkcs7 => Encryptor::cbc(kernel, secret, block(&iv)?)?,
            _ => Encryptor::gcm(kernel, secret, &iv)?,
        };
        Ok((encryptor, iv, label))
    }

    async fn decryptor(
        &self,
        job: &Job,
        source: &Source,
        key: Option<&DataKey>,
        reservation: &Arc<Reservation>,
    ) -> Result<Decryptor> {
        let (Some(encryption), Some(key)) = (&job.input.encryption, key) else {
            return Ok(Decryptor::plain());
        };
        let (kernel, secret) = (self.kernel, key.secret.as_ref());
        let iv = encryption
            .iv
            .as_ref()
            .map(|iv| iv.0.as_slice())
            .unwrap_or_default();
        match encryption.mode {
            Mode::AesCtr => Decryptor::ctr(kernel, secret, counter_start(encryption, iv)?),
            Mode::AesCbcPkcs7 => Decryptor::cbc(kernel, secret, block(iv)?),
            Mode::AesGcm => Decryptor::gcm(kernel, secret, iv),
            Mode::Cobblestone => {
                let bytes = source
                    .read(0..HEADER_BYTES as u64, reservation.buffer(HEADER_BYTES))
                    .await?;
                let header = bytes
                    .first_chunk::<HEADER_BYTES>()
                    .ok_or_else(crate::cipher::decrypt_failed)?;
                Decryptor::cobblestone(kernel, secret, header, context(encryption))
            }
        }
    }

    /// Begins every output that was not published by an earlier attempt.
    pub(super) async fn stage(
        &self,
        parsed: &ParsedJob,
        plan: &Plan,
        prepared: Prepared,
        done: &[Option<OutputResult>],
    ) -> Result<Staged> {
        let job = &parsed.job;
        let given_iv = job
            .outputs
            .iter()
            .any(|output| output.encryption.as_ref().is_some_and(|e| e.iv.is_some()));
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
            None => match self.begin(parsed, plan, output, &label, checksum).await {
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

    async fn begin(
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

    fn upload_id(&self) -> Option<crate::store::UploadId> {
        match &self.state {
            State::Open { sink, .. } => sink.upload_id().cloned(),
            _ => None,
        }
    }

    /// Stages one part. An output that is not required keeps its fault to itself.
    pub(super) async fn part(
        &self,
        place: crate::store::PartPlace,
        body: crate::buffers::PartBuffer,
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

fn key_use(
    pointer: &str,
    encryption: &Encryption,
    key: &DataKey,
    iv: &[u8],
    plain_bytes: u64,
) -> KeyUse {
    let stream = match encryption.mode {
        Mode::AesCtr => match counter_start(encryption, iv) {
            Ok(start) => Stream::Counter(start, plain_bytes),
            Err(_) => Stream::None,
        },
        Mode::AesGcm => Stream::Iv(iv.to_vec()),
        Mode::AesCbcPkcs7 | Mode::Cobblestone => Stream::None,
    };
    let fingerprint = key.secret.fingerprint();
    KeyUse {
        pointer: pointer.into(),
        fingerprint,
        form: form(Some(encryption)),
        stream,
    }
}

fn counter_start(encryption: &Encryption, iv: &[u8]) -> Result<CounterStart> {
    match <[u8; 12]>::try_from(iv) {
        Ok(short) => Ok(CounterStart::from_iv12(
            short,
            encryption.ctr_start.unwrap_or(0),
        )),
        Err(_) => block(iv).map(CounterStart::from_block),
    }
}

fn block(iv: &[u8]) -> Result<[u8; 16]> {
    let wrong = || {
        Fault::new(
            Code::InvalidIvLength,
            format!("expected an iv of 16 bytes, got {}", iv.len()),
        )
    };
    iv.try_into().map_err(|_| wrong())
}

fn context(encryption: &Encryption) -> &[u8] {
    encryption
        .cobblestone_context
        .as_ref()
        .map(|context| context.0.as_slice())
        .unwrap_or_default()
}
