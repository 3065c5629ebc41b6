//! Intake: decrypted parts, one by one in order.

use std::sync::Arc;

use ciphermill_cipher::decrypt::Opened;
use ciphermill_cipher::{Decryptor, Mark};
use futures_util::stream::TryStreamExt;
use sha2::{Digest, Sha256};

use super::{Flow, Moving, Parts, Step};
use crate::buffers::PartBuffer;
use crate::engine::{self, Engine, Plaintext};
use crate::fault::{Code, Fault, Result};
use crate::pipeline::companions::Tap;

/// Takes decrypted parts in order: folds their tags, hashes their plaintext, and keeps the last
/// part back until the whole is verified.
pub(super) struct Intake {
    engine: Arc<dyn Engine>,
    decryptor: Arc<Decryptor>,
    folded: Mark,
    hash: Option<Sha256>,
    promised_hash: Option<String>,
    promised_bytes: Option<u64>,
    bytes: u64,
    tap: Option<Tap>,
}

impl Intake {
    pub(super) fn new(flow: &Flow, decryptor: Arc<Decryptor>, tap: Option<Tap>) -> Intake {
        Intake {
            engine: Arc::clone(&flow.engine),
            decryptor,
            folded: Mark::None,
            hash: flow.input.sha256.as_ref().map(|_| Sha256::new()),
            promised_hash: flow.input.sha256.clone(),
            promised_bytes: flow.input.bytes,
            bytes: 0,
            tap,
        }
    }

    /// The next part of `parts`, taken in.
    pub(super) async fn next<'a>(
        (mut parts, mut intake): (Parts<'a, (PartBuffer, Opened)>, Intake),
    ) -> Step<Plaintext, (Parts<'a, (PartBuffer, Opened)>, Intake)> {
        let Some(part) = parts.try_next().await? else {
            return Ok(None);
        };
        let part = intake.take(part).await?;
        Ok(Some((part, (parts, intake))))
    }

    async fn take(&mut self, part: Moving<(PartBuffer, Opened)>) -> Result<Moving<Plaintext>> {
        let Moving {
            at,
            number,
            content: (buffer, opened),
            read_bytes,
            lane,
        } = part;
        self.folded = self.decryptor.fold(self.folded, opened.mark);
        let range = (opened.plain.start, opened.plain.end);
        let plain = Plaintext {
            part: Arc::new(buffer),
            range,
        };
        self.bytes += plain.bytes().len() as u64;
        if let Some(hash) = self.hash.take() {
            self.hash = Some(engine::hash(self.engine.as_ref(), hash, plain.clone()).await?);
        }
        if let Some(tap) = &mut self.tap {
            tap.take(plain.bytes()).await;
        }
        if at.last {
            self.decryptor
                .verify(self.folded, opened.tag)
                .map_err(|e| Fault::from(e).at("/input"))?;
            self.check_promises()?;
            if let Some(tap) = self.tap.take() {
                tap.finish();
            }
        }
        Ok(Moving {
            at,
            number,
            content: plain,
            read_bytes,
            lane,
        })
    }

    fn check_promises(&mut self) -> Result<()> {
        if let Some(promised) = self.promised_bytes
            && promised != self.bytes
        {
            let message = format!(
                "the plaintext has {} bytes, the job promises {promised}",
                self.bytes
            );
            return Err(Fault::new(Code::ChecksumMismatch, message).at("/input/bytes"));
        }
        let (Some(promised), Some(hash)) = (&self.promised_hash, self.hash.take()) else {
            return Ok(());
        };
        let actual = hex::encode(hash.finalize());
        if actual.eq_ignore_ascii_case(promised) {
            return Ok(());
        }
        let message = format!("the plaintext's SHA-256 is {actual}, the job promises {promised}");
        Err(Fault::new(Code::ChecksumMismatch, message).at("/input/sha256"))
    }
}
