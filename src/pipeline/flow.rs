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

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::{BoxFuture, FutureExt, try_join_all};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::Progress;
use super::prepare::Staged;
use crate::buffers::{PartBuffer, Reservation};
use crate::checksum::Checksum;
use crate::cipher::decrypt::Opened;
use crate::cipher::{Decryptor, Mark, PartAt, TAG_BYTES};
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
    /// Moves every part; returns the length of the plaintext.
    pub(super) fn run<'a>(&'a self, staged: &'a Staged) -> BoxFuture<'a, Result<u64>> {
        let lanes = Arc::new(Semaphore::new(self.plan.lanes));
        let width = self.plan.lanes;
        let opened: BoxStream<'a, _> = stream::iter(0..self.plan.parts)
            .map(move |index| {
                self.open(index, &staged.decryptor, Arc::clone(&lanes))
                    .boxed()
            })
            .buffered(width)
            .boxed();
        let intake = Intake::new(self, Arc::clone(&staged.decryptor));
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
                    .map_err(|fault| fault.at(format!("/outputs/{index}")))
            },
        );
        let written: u64 = try_join_all(uploads).await?.into_iter().sum();
        drop(lane);
        self.progress.done.fetch_add(read_bytes, Ordering::Relaxed);
        observe::bytes_ciphered(read_bytes, written);
        Ok(plain_bytes)
    }
}

/// Takes decrypted parts in order: folds their tags, hashes their plaintext, and keeps the last
/// part back until the whole is verified.
struct Intake {
    engine: Arc<dyn Engine>,
    decryptor: Arc<Decryptor>,
    folded: Mark,
    hash: Option<Sha256>,
    promised_hash: Option<String>,
    promised_bytes: Option<u64>,
    bytes: u64,
}

impl Intake {
    fn new(flow: &Flow, decryptor: Arc<Decryptor>) -> Intake {
        Intake {
            engine: Arc::clone(&flow.engine),
            decryptor,
            folded: Mark::None,
            hash: flow.input.sha256.as_ref().map(|_| Sha256::new()),
            promised_hash: flow.input.sha256.clone(),
            promised_bytes: flow.input.bytes,
            bytes: 0,
        }
    }

    /// The next part of `parts`, taken in.
    async fn next<'a>(
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
        if at.last {
            self.decryptor
                .verify(self.folded, opened.tag)
                .map_err(|fault| fault.at("/input"))?;
            self.check_promises()?;
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

/// Takes encrypted parts in order: continues CBC chains, folds GCM sums and appends the tag, and
/// gives every part its place in its object.
struct Bind<'a> {
    flow: &'a Flow,
    staged: &'a Staged,
    marks: Vec<Mark>,
    offsets: Vec<u64>,
}

impl<'a> Bind<'a> {
    fn new(flow: &'a Flow, staged: &'a Staged) -> Bind<'a> {
        let count = staged.outputs.len();
        Bind {
            flow,
            staged,
            marks: vec![Mark::None; count],
            offsets: vec![0; count],
        }
    }

    /// The next part of `parts`, bound.
    async fn next(
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
        encrypted: Encrypted,
    ) -> Option<(PartPlace, PartBuffer, Checksum)> {
        let encryptor = &self.staged.outputs[index].encryptor;
        let Encrypted {
            mut out,
            mark,
            mut checksum,
        } = encrypted;
        self.marks[index] = encryptor.fold(self.marks[index], mark);
        if at.last
            && let Some(tag) = encryptor.finish(self.marks[index])
        {
            let end = out.len() - TAG_BYTES;
            out[end..].copy_from_slice(&tag);
            checksum.update(&tag);
        }
        let place = PartPlace {
            number,
            offset: self.offsets[index],
        };
        self.offsets[index] += out.len() as u64;
        let empty = out.is_empty() && number > 1;
        (!empty).then(|| (place, out, checksum.finish()))
    }
}

/// Runs on a task of its own, which ends when this is dropped.
async fn spawn<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let task = AbortOnDropHandle::new(tokio::spawn(work));
    task.await
        .map_err(|e| Fault::new(Code::Internal, format!("a transfer task failed: {e}")))?
}
