//! Prepare: the keys, IVs and ciphers of one job, checked against each other (P13).

use std::sync::Arc;

use ciphermill_cipher::cobblestone::{HEADER_BYTES, Salt};
use ciphermill_cipher::ctr::CounterStart;
use ciphermill_cipher::secret;
use ciphermill_cipher::{Decryptor, Encryptor, Form, block};
use futures_util::future::try_join_all;

use super::Pipeline;
use crate::buffers::Reservation;
use crate::fault::{Code, Result};
use crate::job::check::ParsedJob;
use crate::job::{Base64, Encryption, Input, Job, Mode, Output};
use crate::keys::DataKey;
use crate::plan::reuse::{self, KeyUse, Stream};
use crate::plan::{Plan, form};
use crate::sink::label::Label;
use crate::source::Source;

/// The keys of a job: the input's, each output's, and those of its companions and their inputs.
pub(super) struct JobKeys {
    input: Option<DataKey>,
    outputs: Vec<Option<DataKey>>,
    families: Vec<Option<DataKey>>,
    beside_inputs: Vec<Option<DataKey>>,
}

/// Ciphers of a job, ready to run.
pub(super) struct Prepared {
    pub decryptor: Arc<Decryptor>,
    pub outputs: Vec<(Arc<Encryptor>, Label)>,
}

/// What companions are sealed with, each with an IV of its own once it is made.
pub(super) struct BesideKeys {
    /// The attempt's token.
    pub token: String,
    /// How the job's keys are used so far (P13).
    pub uses: Vec<KeyUse>,
    /// In the order of [`Job::families`].
    pub families: Vec<Option<DataKey>>,
    /// In the order of [`Job::beside_inputs`].
    pub inputs: Vec<Option<DataKey>>,
}

/// An encryption and where its object stands in the job.
type Asked<'a> = (String, Option<&'a Encryption>);

impl Pipeline {
    /// Fetches every key of the job at once.
    pub(super) async fn fetch_keys(&self, job: &Job) -> Result<JobKeys> {
        let input = ("/input".to_owned(), job.input.encryption.as_ref());
        let outputs = job.outputs.iter().enumerate();
        let outputs = outputs.map(|(i, o)| (format!("/outputs/{i}"), o.encryption.as_ref()));
        let families = job.families();
        let families = families
            .iter()
            .map(|f| (f.pointer(), f.delivery.encryption.as_ref()));
        let inputs = job.beside_inputs().into_iter();
        let inputs = inputs.map(|(pointer, input)| (pointer, input.encryption.as_ref()));
        let (mut input, outputs, families, beside_inputs) = tokio::try_join!(
            self.fetch(std::iter::once(input)),
            self.fetch(outputs),
            self.fetch(families),
            self.fetch(inputs),
        )?;
        Ok(JobKeys {
            input: input.pop().flatten(),
            outputs,
            families,
            beside_inputs,
        })
    }

    async fn fetch<'a>(
        &self,
        asked: impl Iterator<Item = Asked<'a>>,
    ) -> Result<Vec<Option<DataKey>>> {
        let fetched = asked.map(|(pointer, encryption)| async move {
            let Some(encryption) = encryption else {
                return Ok(None);
            };
            let pointer = format!("{pointer}/encryption/key");
            self.keys.fetch(&encryption.key, &pointer).await.map(Some)
        });
        try_join_all(fetched).await
    }

    /// Chooses IVs, checks P13 and builds the ciphers. `inputs`: the length of each input of the
    /// companions, as it is stored, where it is known.
    pub(super) async fn prepare(
        &self,
        parsed: &ParsedJob,
        plan: &Plan,
        source: &Source,
        keys: JobKeys,
        inputs: &[Option<u64>],
        reservation: &Arc<Reservation>,
    ) -> Result<(Prepared, BesideKeys)> {
        let job = &parsed.job;
        let token = uuid::Uuid::new_v4().simple().to_string();
        let mut uses = input_uses(job, plan, &keys, inputs);
        let mut outputs = Vec::with_capacity(job.outputs.len());
        for (index, (output, key)) in job.outputs.iter().zip(keys.outputs).enumerate() {
            let pointer = format!("/outputs/{index}/encryption");
            let (encryptor, iv, mut label) = self
                .encryptor(output, key.as_ref(), &token)
                .map_err(|fault| fault.at(&pointer))?;
            if let (Some(encryption), Some(key)) = (&output.encryption, &key) {
                let bytes = plan.plain_bytes;
                uses.push(key_use(&pointer, encryption, key, &iv, bytes));
            }
            label.plain_bytes = (plan.source != Form::Cbc).then_some(plan.plain_bytes);
            outputs.push((Arc::new(encryptor), label));
        }
        let known = uses.len();
        uses.extend(family_uses(job, &keys.families));
        reuse::check(&uses)?;
        // Each companion comes back with its own IV.
        uses.truncate(known);
        let key = keys.input.as_ref();
        let decryptor = self.decryptor(&job.input, source, key, reservation).await?;
        let prepared = Prepared {
            decryptor: Arc::new(decryptor),
            outputs,
        };
        let beside = BesideKeys {
            token,
            uses,
            families: keys.families,
            inputs: keys.beside_inputs,
        };
        Ok((prepared, beside))
    }

    /// One output's cipher, with a fresh IV or salt unless the job gives one; the IV that is used,
    /// and its label.
    pub(super) fn encryptor(
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

    /// The cipher that opens an input.
    pub(super) async fn decryptor(
        &self,
        input: &Input,
        source: &Source,
        key: Option<&DataKey>,
        reservation: &Arc<Reservation>,
    ) -> Result<Decryptor> {
        let opened = self.open_cipher(input, source, key, reservation).await;
        opened.map_err(|fault| match fault.code {
            // All failed decryptions look the same.
            Code::DecryptFailed => fault.at(source.pointer()),
            _ => fault.at(format!("{}/encryption", source.pointer())),
        })
    }

    async fn open_cipher(
        &self,
        input: &Input,
        source: &Source,
        key: Option<&DataKey>,
        reservation: &Arc<Reservation>,
    ) -> Result<Decryptor> {
        let (Some(encryption), Some(key)) = (&input.encryption, key) else {
            return Ok(Decryptor::plain());
        };
        let (kernel, secret) = (self.kernel, key.secret.as_ref());
        let iv = given_iv(encryption);
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
                    .ok_or(ciphermill_cipher::Error::DecryptFailed)?;
                Decryptor::cobblestone(kernel, secret, header, context(encryption))
            }
        };
        Ok(decryptor?.on_cpu_only(encryption.cpu_only))
    }
}

/// How the inputs' keys are used.
fn input_uses(job: &Job, plan: &Plan, keys: &JobKeys, inputs: &[Option<u64>]) -> Vec<KeyUse> {
    let mut uses = Vec::new();
    if let (Some(encryption), Some(key)) = (&job.input.encryption, &keys.input) {
        let (iv, bytes) = (given_iv(encryption), plan.plain_bytes);
        uses.push(key_use("/input/encryption", encryption, key, iv, bytes));
    }
    let beside = job.beside_inputs().into_iter().zip(&keys.beside_inputs);
    for (((pointer, input), key), bytes) in beside.zip(inputs) {
        if let (Some(encryption), Some(key), Some(bytes)) = (&input.encryption, key, bytes) {
            let pointer = format!("{pointer}/encryption");
            uses.push(key_use(
                &pointer,
                encryption,
                key,
                given_iv(encryption),
                *bytes,
            ));
        }
    }
    uses
}

/// How the companions' keys will be used, as far as it is known before they are made.
fn family_uses(job: &Job, keys: &[Option<DataKey>]) -> Vec<KeyUse> {
    let families = job.families();
    let uses = families.iter().zip(keys).filter_map(|(family, key)| {
        let (encryption, key) = (family.delivery.encryption.as_ref()?, key.as_ref()?);
        Some(KeyUse {
            pointer: format!("{}/encryption", family.pointer()),
            fingerprint: key.secret.fingerprint(),
            form: form(Some(encryption)),
            stream: Stream::None,
        })
    });
    uses.collect()
}

/// The IV that the job gives; none for cobblestone.
fn given_iv(encryption: &Encryption) -> &[u8] {
    let iv = encryption.iv.as_ref();
    iv.map(|iv| iv.0.as_slice()).unwrap_or_default()
}

/// One use of a key, of this IV and for so many bytes.
pub(super) fn key_use(
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
    Ok(CounterStart::from_iv(
        iv,
        encryption.ctr_start.unwrap_or(0),
    )?)
}

fn context(encryption: &Encryption) -> &[u8] {
    encryption
        .cobblestone_context
        .as_ref()
        .map(|context| context.0.as_slice())
        .unwrap_or_default()
}
