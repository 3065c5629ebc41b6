//! Flow: the byte path of one job.
//!
//! Parts run through five stages. Those marked || work on several parts at once, the others take
//! them one by one in order, because something must be put together there:
//!
//! ```text
//! read, decrypt ||  ->  intake: fold tags, hash  ->  encrypt ||  ->  bind: CBC chains, tags, places  ->  upload ||
//! ```
//!
//! A part holds a lane from its read to the end of its uploads; the lanes times the buffers of one
//! part are what the job reserved, so memory stays in the budget whatever the stages do (P9).

mod bind;
mod intake;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ciphermill_cipher::decrypt::Opened;
use ciphermill_cipher::{Decryptor, Mark, PartAt};
use futures_util::future::{BoxFuture, FutureExt, try_join_all};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use self::bind::Bind;
use self::intake::Intake;
use super::Progress;
use super::companions::Tap;
use super::stage::{Staged, named};
use crate::buffers::{PartBuffer, Reservation};
use crate::checksum::Checksum;
use crate::engine::{self, Encrypted, Engine, Plaintext};
use crate::fault::{Code, Fault, Result};
use crate::job::Input;
use crate::observe;
use crate::plan::Plan;
use crate::source::Source;
use crate::store::PartPlace;

/// What the byte path needs.
pub(super) struct Flow {
    pub engine: Arc<dyn Engine>,
    pub source: Source,
    pub plan: Plan,
    pub reservation: Arc<Reservation>,
    pub progress: Arc<Progress>,
    pub input: Input,
}

/// A part on its way; the permit is its lane.
struct Moving<T> {
    at: PartAt,
    number: i32,
    content: T,
    read_bytes: u64,
    lane: OwnedSemaphorePermit,
}

impl<T> Moving<T> {
    fn with<U>(self, content: U) -> Moving<U> {
        Moving {
            at: self.at,
            number: self.number,
            content,
            read_bytes: self.read_bytes,
            lane: self.lane,
        }
    }
}

/// A stage's parts.
type Parts<'a, T> = BoxStream<'a, Result<Moving<T>>>;
/// What a stage that goes in order yields: a part, and its state for the next one.
type Step<T, S> = Result<Option<(Moving<T>, S)>>;
/// One part for each output; `None` for an output that takes no more, or whose turn is in the next
/// stage.
type Sealing = (Plaintext, Vec<Option<Encrypted>>);
/// Ready to upload.
type Ready = Vec<Option<(PartPlace, PartBuffer, Checksum)>>;

impl Flow {
    /// Moves every part; returns the length of the plaintext. What the tap takes, it takes in order,
    /// before the outputs do.
    pub(super) fn run<'a>(
        &'a self,
        staged: &'a Staged,
        tap: Option<Tap>,
    ) -> BoxFuture<'a, Result<u64>> {
        let lanes = Arc::new(Semaphore::new(self.plan.lanes));
        let width = self.plan.lanes;
        let opened: BoxStream<'a, _> = stream::iter(0..self.plan.parts)
            .map(move |index| {
                self.open(index, &staged.decryptor, Arc::clone(&lanes))
                    .boxed()
            })
            .buffered(width)
            .boxed();
        let intake = Intake::new(self, Arc::clone(&staged.decryptor), tap);
        let plain: BoxStream<'a, _> = stream::try_unfold((opened, intake), Intake::next).boxed();
        let sealing: BoxStream<'a, _> = plain
            .map(move |part| self.seal(part, staged).boxed())
            .buffered(width)
            .boxed();
        let bind = Bind::new(self, staged);
        let ready: BoxStream<'a, _> = stream::try_unfold((sealing, bind), Bind::next).boxed();
        let uploads = ready
            .map(move |part| self.upload(part, staged).boxed())
            .buffer_unordered(width);
        uploads
            .try_fold(0, |sum, bytes| std::future::ready(Ok(sum + bytes)))
            .boxed()
    }

    /// Reads and decrypts one part, on a task of its own.
    async fn open(
        &self,
        index: u64,
        decryptor: &Arc<Decryptor>,
        lanes: Arc<Semaphore>,
    ) -> Result<Moving<(PartBuffer, Opened)>> {
        let lane = lanes
            .acquire_owned()
            .await
            .map_err(|_| Fault::new(Code::Internal, "no lanes are left"))?;
        let plan = &self.plan;
        let at = PartAt {
            offset: index * plan.part_bytes,
            last: index + 1 == plan.parts,
        };
        let end = plan.plain_bytes.min(at.offset + plan.part_bytes);
        let range = plan
            .source
            .read_range(at.offset..end, at.last, plan.sealed_bytes);
        let read_bytes = range.end - range.start;
        let (source, engine) = (self.source.clone(), Arc::clone(&self.engine));
        let (buffer, decryptor) = (
            self.reservation.buffer(plan.buffer_bytes),
            Arc::clone(decryptor),
        );
        let content = spawn(async move {
            let part = source.read(range, buffer).await?;
            let opened = engine::decrypt(engine.as_ref(), decryptor, at, part).await;
            opened.map_err(|fault| fault.at("/input"))
        });
        Ok(Moving {
            at,
            number: index as i32 + 1,
            content: content.await?,
            read_bytes,
            lane,
        })
    }

    /// Encrypts a part for every output whose mode lets parts stand alone.
    async fn seal(
        &self,
        part: Result<Moving<Plaintext>>,
        staged: &Staged,
    ) -> Result<Moving<Sealing>> {
        let part = part?;
        let mut sealed = Vec::with_capacity(staged.outputs.len());
        for output in &staged.outputs {
            let now = output.is_open() && !output.encryptor.is_serial();
            sealed.push(now.then(|| {
                let out = self.reservation.buffer(self.plan.buffer_bytes);
                let cipher = Arc::clone(&output.encryptor);
                let (engine, plain, at, sum) =
                    (&self.engine, part.content.clone(), part.at, output.checksum);
                engine::encrypt(engine.as_ref(), cipher, at, Mark::None, (plain, out), sum)
            }));
        }
        let sealed = sealed.into_iter().map(|work| async {
            match work {
                Some(work) => work.await.map(Some),
                None => Ok(None),
            }
        });
        let sealed = try_join_all(sealed).await?;
        let content = (part.content.clone(), sealed);
        Ok(part.with(content))
    }

    /// Uploads a part to every output, each on a task of its own; returns the part's plaintext
    /// length.
    async fn upload(&self, part: Result<Moving<(Ready, u64)>>, staged: &Staged) -> Result<u64> {
        let Moving {
            content: (ready, plain_bytes),
            read_bytes,
            lane,
            ..
        } = part?;
        let uploads = ready.into_iter().zip(&staged.outputs).enumerate().map(
            |(index, (part, output))| async move {
                let Some((place, body, checksum)) = part else {
                    return Ok(0);
                };
                let bytes = body.len() as u64;
                let uploaded = output.part(place, body, checksum).await;
                uploaded
                    .map(|()| bytes)
                    .map_err(|fault| named(fault, &format!("/outputs/{index}")))
            },
        );
        let written: u64 = try_join_all(uploads).await?.into_iter().sum();
        drop(lane);
        self.progress.done.fetch_add(read_bytes, Ordering::Relaxed);
        observe::bytes_ciphered(read_bytes, written);
        Ok(plain_bytes)
    }
}

/// Runs on a task of its own, which ends when this is dropped.
async fn spawn<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let task = AbortOnDropHandle::new(tokio::spawn(work.in_current_span()));
    task.await
        .map_err(|e| Fault::new(Code::Internal, format!("a transfer task failed: {e}")))?
}
