//! Inputs: watermarks and caption files, each opened at one version and read whole.

use std::sync::Arc;

use bytes::Bytes;
use ciphermill_cipher::{Form, Mark, PartAt};
use futures_util::future::join_all;
use sha2::{Digest, Sha256};

use super::is_its_own;
use crate::buffers::Reservation;
use crate::engine;
use crate::fault::{Code, Fault, Result};
use crate::job::{Input, Job};
use crate::keys::DataKey;
use crate::pipeline::{Begun, Pipeline};
use crate::plan::form;
use crate::source::Source;

/// The inputs of a job's companions, in the order of [`Job::beside_inputs`].
pub(in crate::pipeline) struct Inputs(Vec<Result<Source>>);

impl Inputs {
    /// Their lengths, as they are stored; `None` for one that cannot be opened.
    pub(in crate::pipeline) fn lengths(&self) -> Vec<Option<u64>> {
        let length = |input: &Result<Source>| Some(input.as_ref().ok()?.facts().len);
        self.0.iter().map(length).collect()
    }
}

impl Pipeline {
    /// Opens them all. One that cannot be opened fails its own companion, later; so does one for
    /// which those before it leave no room.
    pub(in crate::pipeline) async fn open_inputs(&self, job: &Job) -> Result<Inputs> {
        let opened = job
            .beside_inputs()
            .into_iter()
            .map(|(pointer, input)| async move {
                let store = Arc::clone(self.stores.of(&input.url));
                Source::open(store, input, &pointer).await
            });
        let mut opened = join_all(opened).await;
        let most = self.limits.media.plaintext_bytes as u64;
        let mut left = most;
        for input in &mut opened {
            match input {
                Err(fault) if !is_its_own(fault) => return Err(fault.clone()),
                Err(_) => {}
                Ok(source) => match left.checked_sub(source.facts().len) {
                    Some(rest) => left = rest,
                    None => {
                        let message = format!(
                            "watermarks and caption files have more than {most} bytes, which is \
                             `media.plaintext_bytes`"
                        );
                        let fault = Fault::new(Code::MediaTooLarge, message);
                        *input = Err(fault.at(source.pointer()));
                    }
                },
            }
        }
        Ok(Inputs(opened))
    }

    /// The plaintext of one of them, verified.
    pub(super) async fn read_input(&self, job: &Job, begun: &Begun, index: usize) -> Result<Bytes> {
        let inputs = job.beside_inputs();
        let (Some((_, input)), Some(source)) = (inputs.get(index), begun.inputs.0.get(index))
        else {
            return Err(Fault::new(Code::Internal, "an input was never opened"));
        };
        let source = source.as_ref().map_err(Fault::clone)?;
        let key = begun.keys.inputs.get(index).and_then(Option::as_ref);
        let read = self
            .read_whole(input, source, key, &begun.reservation)
            .await;
        read.map_err(|fault| fault.at(source.pointer()))
    }

    async fn read_whole(
        &self,
        input: &Input,
        source: &Source,
        key: Option<&DataKey>,
        reservation: &Arc<Reservation>,
    ) -> Result<Bytes> {
        let decryptor = self.decryptor(input, source, key, reservation).await?;
        let decryptor = Arc::new(decryptor);
        let sealed = source.facts().len;
        let plain = form(input.encryption.as_ref()).plain_len(sealed)?;
        let buffer = reservation.buffer(Form::buffer_bytes(plain));
        let part = source.read(0..sealed, buffer).await?;
        let at = PartAt {
            offset: 0,
            last: true,
        };
        let (part, opened) =
            engine::decrypt(self.engine.as_ref(), Arc::clone(&decryptor), at, part).await?;
        decryptor.verify(decryptor.fold(Mark::None, opened.mark), opened.tag)?;
        let bytes = Bytes::from_owner(part).slice(opened.plain);
        check_promises(input, &bytes)?;
        Ok(bytes)
    }
}

fn check_promises(input: &Input, bytes: &[u8]) -> Result<()> {
    let long = bytes.len() as u64;
    if input.bytes.is_some_and(|promised| promised != long) {
        let message = format!("the plaintext has {long} bytes, the job promises another number");
        return Err(Fault::new(Code::ChecksumMismatch, message));
    }
    let Some(promised) = &input.sha256 else {
        return Ok(());
    };
    let actual = hex::encode(Sha256::digest(bytes));
    if actual.eq_ignore_ascii_case(promised) {
        return Ok(());
    }
    let message = format!("the plaintext's SHA-256 is {actual}, the job promises {promised}");
    Err(Fault::new(Code::ChecksumMismatch, message))
}
