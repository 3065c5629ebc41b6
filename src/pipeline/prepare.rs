//! Prepare: the keys, IVs and ciphers of one job, checked against each other (P13).

use std::sync::Arc;

use futures_util::future::try_join_all;

use super::Pipeline;
use crate::buffers::Reservation;
use crate::cipher::cobblestone::{HEADER_BYTES, Salt};
use crate::cipher::ctr::CounterStart;
use crate::cipher::{Decryptor, Encryptor, Form, block};
use crate::fault::{Code, Result};
use crate::job::check::ParsedJob;
use crate::job::{Base64, Encryption, Job, Mode, Output};
use crate::keys::DataKey;
use crate::plan::reuse::{self, KeyUse, Stream};
use crate::plan::{Plan, form};
use crate::secret;
use crate::sink::label::Label;
use crate::source::Source;

/// The keys of a job: the input's, then each output's.
pub(super) struct JobKeys {
    input: Option<DataKey>,
    outputs: Vec<Option<DataKey>>,
}

/// Ciphers of a job, ready to run.
pub(super) struct Prepared {
    pub decryptor: Arc<Decryptor>,
    pub outputs: Vec<(Arc<Encryptor>, Label)>,
}

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
        let decryptor = decryptor.map_err(|fault| match fault.code {
            // All failed decryptions look the same.
            Code::DecryptFailed => fault.at("/input"),
            _ => fault.at("/input/encryption"),
        })?;
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
                Encryptor::cobblestone(kernel, secret, salt, context)?
                    .on_cpu_only(encryption.cpu_only),
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
        Ok((encryptor.on_cpu_only(encryption.cpu_only), iv, label))
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
        let decryptor = match encryption.mode {
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
        };
        decryptor.map(|decryptor| decryptor.on_cpu_only(encryption.cpu_only))
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
    CounterStart::from_iv(iv, encryption.ctr_start.unwrap_or(0))
}

fn context(encryption: &Encryption) -> &[u8] {
    encryption
        .cobblestone_context
        .as_ref()
        .map(|context| context.0.as_slice())
        .unwrap_or_default()
}
