//! Bind: encrypted parts, one by one in order.

use std::sync::Arc;

use ciphermill_cipher::{Mark, PartAt};
use futures_util::stream::TryStreamExt;

use super::{Flow, Moving, Parts, Ready, Sealing, Step};
use crate::buffers::PartBuffer;
use crate::checksum::Checksum;
use crate::engine::{self, Encrypted};
use crate::fault::Result;
use crate::pipeline::stage::Staged;
use crate::store::PartPlace;

/// Takes encrypted parts in order: continues CBC chains, folds GCM sums and appends the tag, and
/// gives every part its place in its object.
pub(super) struct Bind<'a> {
    flow: &'a Flow,
    staged: &'a Staged,
    marks: Vec<Mark>,
    offsets: Vec<u64>,
}

impl<'a> Bind<'a> {
    pub(super) fn new(flow: &'a Flow, staged: &'a Staged) -> Bind<'a> {
        let count = staged.outputs.len();
        Bind {
            flow,
            staged,
            marks: vec![Mark::None; count],
            offsets: vec![0; count],
        }
    }

    /// The next part of `parts`, bound.
    pub(super) async fn next(
        (mut parts, mut bind): (Parts<'a, Sealing>, Bind<'a>),
    ) -> Step<(Ready, u64), (Parts<'a, Sealing>, Bind<'a>)> {
        let Some(part) = parts.try_next().await? else {
            return Ok(None);
        };
        let part = bind.take(part).await?;
        Ok(Some((part, (parts, bind))))
    }

    async fn take(&mut self, part: Moving<Sealing>) -> Result<Moving<(Ready, u64)>> {
        let Moving {
            at,
            number,
            content: (plain, sealed),
            read_bytes,
            lane,
        } = part;
        let plain_bytes = plain.bytes().len() as u64;
        let mut ready = Vec::with_capacity(sealed.len());
        for (index, encrypted) in sealed.into_iter().enumerate() {
            let output = &self.staged.outputs[index];
            let encrypted = match encrypted {
                Some(encrypted) => encrypted,
                None if output.is_open() && output.encryptor.is_serial() => {
                    let out = self.flow.reservation.buffer(self.flow.plan.buffer_bytes);
                    let cipher = Arc::clone(&output.encryptor);
                    let (engine, sum) = (self.flow.engine.as_ref(), output.checksum);
                    engine::encrypt(
                        engine,
                        cipher,
                        at,
                        self.marks[index],
                        (plain.clone(), out),
                        sum,
                    )
                    .await?
                }
                None => {
                    ready.push(None);
                    continue;
                }
            };
            ready.push(self.place(index, at, number, encrypted));
        }
        Ok(Moving {
            at,
            number,
            content: (ready, plain_bytes),
            read_bytes,
            lane,
        })
    }

    /// Nothing is uploaded for a last part without bytes, unless it is all there is.
    fn place(
        &mut self,
        index: usize,
        at: PartAt,
        number: i32,
        mut encrypted: Encrypted,
    ) -> Option<(PartPlace, PartBuffer, Checksum)> {
        let encryptor = &self.staged.outputs[index].encryptor;
        self.staged.outputs[index].count(encrypted.by_gpu);
        self.marks[index] = encryptor.fold(self.marks[index], encrypted.mark);
        if at.last {
            encrypted.seal(encryptor, self.marks[index]);
        }
        let Encrypted { out, checksum, .. } = encrypted;
        let place = PartPlace {
            number,
            offset: self.offsets[index],
        };
        self.offsets[index] += out.len() as u64;
        let empty = out.is_empty() && number > 1;
        (!empty).then(|| (place, out, checksum.finish()))
    }
}
