//! Stage: companions sealed, each under its own IV, and begun in their stores.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ciphermill_cipher::{Encryptor, Form, Mark, PartAt};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt};

use super::{Made, Object, is_its_own};
use crate::buffers::{PartBuffer, Reservation};
use crate::checksum::{Algorithm, Checksum};
use crate::engine::{self, Plaintext};
use crate::fault::{Fault, Result};
use crate::job::check::ParsedJob;
use crate::job::companions::Family;
use crate::job::event::{About, CompanionResult};
use crate::job::{IfExists, Job, Output};
use crate::ledger::{CompanionEntry, OutputEntry};
use crate::pipeline::prepare::key_use;
use crate::pipeline::stage::{StagedOutput, named};
use crate::pipeline::{Begun, Pipeline};
use crate::plan::{admit, reuse, staged_alone};
use crate::report;
use crate::sink::label::Label;
use crate::store::PartPlace;

/// Companions that are begun, or published, at once.
const AT_ONCE: usize = 8;

/// One companion, from its beginning in its store to its publication.
pub(in crate::pipeline) struct StagedCompanion {
    pointer: String,
    output: Output,
    about: About,
    pub(in crate::pipeline) staged: StagedOutput,
}

/// A companion with its cipher and label.
struct Named<'a> {
    family: Family<'a>,
    output: Output,
    object: Object,
    encryptor: Arc<Encryptor>,
    label: Label,
}

/// What the buffer of a companion must hold.
pub(super) fn buffer_bytes(object: &Object) -> usize {
    Form::buffer_bytes(object.bytes.len() as u64)
}

impl Pipeline {
    /// Seals and stages everything that was made. What an earlier attempt published may be replaced,
    /// whatever the job says.
    pub(in crate::pipeline) async fn stage_companions(
        &self,
        parsed: &ParsedJob,
        begun: &mut Begun,
        made: Made,
    ) -> Result<()> {
        let job = &parsed.job;
        // What took this long may have been given to another worker meanwhile.
        self.check_ours(parsed, &begun.staged).await?;
        let named = self.name(job, begun, made.objects)?;
        let failed = failed(job, &made.failed);
        begun.unmade.clone_from(&failed);
        begun.caption_sources = made.caption_sources;
        let remembered = named.iter().map(|named| CompanionEntry {
            object: OutputEntry {
                url: named.output.url.to_string(),
                upload: None,
                label: named.label.clone(),
            },
            uploads: staged_alone(&named.output),
            result: CompanionResult {
                about: named.object.about.clone(),
                output: report::begun(&named.output, &named.label),
            },
        });
        let unmade = failed.into_iter().map(|result| CompanionEntry {
            object: OutputEntry {
                url: result.output.url.clone(),
                upload: None,
                label: Label::default(),
            },
            uploads: false,
            result,
        });
        begun.staged.entry.companions = remembered.chain(unmade).collect();
        self.ledger(job).write(&begun.staged.entry).await?;
        let ours = begun.staged.entry.ours.iter();
        let ours = ours.map(|object| object.url.as_str()).collect();
        let (ours, reservation) = (&ours, &begun.reservation);
        let left = AtomicBool::new(false);
        let staging = named.into_iter();
        let staging =
            staging.map(|named| self.stage_companion(parsed, named, (ours, &left), reservation));
        begun.staged.in_doubt = true;
        let (staged, fault) = some_at_once(staging).await;
        // A companion that failed is in no list: what may be left of it keeps the entry.
        let in_doubt = fault.as_ref().is_some_and(Fault::retryable);
        begun.staged.in_doubt = in_doubt || left.load(Ordering::Relaxed);
        begun.staged.companions = staged;
        match fault {
            Some(fault) => Err(fault),
            None => self.remember_uploads(job, begun).await,
        }
    }

    /// Once there are uploads, what a crash would leave of them can be found.
    async fn remember_uploads(&self, job: &Job, begun: &mut Begun) -> Result<()> {
        let staged = &mut begun.staged;
        let mut any = false;
        for (entry, companion) in staged.entry.companions.iter_mut().zip(&staged.companions) {
            entry.object.upload = companion.staged.upload_id();
            any |= entry.object.upload.is_some();
        }
        match any {
            true => self.ledger(job).write(&staged.entry).await,
            false => Ok(()),
        }
    }

    /// Gives each its cipher and its IV, and checks them all against each other and the outputs
    /// (P13).
    fn name<'a>(
        &self,
        job: &'a Job,
        begun: &mut Begun,
        objects: Vec<Object>,
    ) -> Result<Vec<Named<'a>>> {
        let families = job.families();
        let keys = &mut begun.keys;
        let mut named = Vec::with_capacity(objects.len());
        for object in objects {
            admit::admit_url(&object.url, &self.worker, self.files)?;
            let family = families[object.family];
            let key = keys.families.get(object.family).and_then(Option::as_ref);
            let pointer = format!("{}/encryption", family.pointer());
            let output = family
                .delivery
                .output(object.url.clone(), family.content_type);
            let made = self.encryptor(&output, key, &keys.token);
            let (encryptor, iv, mut label) = made.map_err(|fault| fault.at(&pointer))?;
            let bytes = object.bytes.len() as u64;
            if let (Some(encryption), Some(key)) = (&output.encryption, key) {
                keys.uses
                    .push(key_use(&pointer, encryption, key, &iv, bytes));
            }
            label.plain_bytes = Some(bytes);
            named.push(Named {
                family,
                output,
                object,
                encryptor: Arc::new(encryptor),
                label,
            });
        }
        reuse::check(&keys.uses)?;
        Ok(named)
    }

    async fn stage_companion(
        &self,
        parsed: &ParsedJob,
        named_: Named<'_>,
        (ours, left): (&HashSet<&str>, &AtomicBool),
        reservation: &Arc<Reservation>,
    ) -> Result<StagedCompanion> {
        let Named {
            family,
            mut output,
            object,
            encryptor,
            label,
        } = named_;
        let pointer = family.pointer();
        if ours.contains(output.url.to_string().as_str()) {
            output.if_exists = IfExists::Overwrite;
        }
        let uploads = staged_alone(&output);
        let cipher = (Arc::clone(&encryptor), label);
        let staged = self.stage_one(parsed, uploads, &output, cipher, None).await;
        let mut staged = staged.map_err(|fault| named(fault, &pointer))?;
        let written = self.write_companion(&staged, (encryptor, object.bytes), reservation);
        if let Err(fault) = written.await {
            left.fetch_or(!staged.abort().await, Ordering::Relaxed);
            return Err(named(fault, &pointer));
        }
        Ok(StagedCompanion {
            pointer,
            output,
            about: object.about,
            staged,
        })
    }

    /// Its one part.
    async fn write_companion(
        &self,
        staged: &StagedOutput,
        (encryptor, bytes): (Arc<Encryptor>, Vec<u8>),
        reservation: &Arc<Reservation>,
    ) -> Result<()> {
        if !staged.is_open() {
            return Ok(());
        }
        let about = (bytes, staged.checksum);
        let (body, sum, by_gpu) = self.seal_whole(encryptor, about, reservation).await?;
        let place = PartPlace {
            number: 1,
            offset: 0,
        };
        staged.count(by_gpu);
        staged.part(place, body, sum).await
    }

    /// Encrypts a whole object at once.
    async fn seal_whole(
        &self,
        encryptor: Arc<Encryptor>,
        (bytes, algorithm): (Vec<u8>, Algorithm),
        reservation: &Arc<Reservation>,
    ) -> Result<(PartBuffer, Checksum, bool)> {
        let needed = Form::buffer_bytes(bytes.len() as u64);
        let mut plain = reservation.buffer(needed);
        plain.append(&bytes);
        drop(bytes);
        let plain = Plaintext {
            range: (0, plain.len()),
            part: Arc::new(plain),
        };
        let at = PartAt {
            offset: 0,
            last: true,
        };
        let out = reservation.buffer(needed);
        let (engine, cipher) = (self.engine.as_ref(), Arc::clone(&encryptor));
        let mut sealed =
            engine::encrypt(engine, cipher, at, Mark::None, (plain, out), algorithm).await?;
        let whole = encryptor.fold(Mark::None, sealed.mark);
        sealed.seal(&encryptor, whole);
        Ok((sealed.out, sealed.checksum.finish(), sealed.by_gpu))
    }
}

impl StagedCompanion {
    /// Publishes it, and says what it is.
    async fn commit(&mut self, engine: &str) -> Result<CompanionResult> {
        let output = self.staged.commit(&self.pointer, &self.output, engine);
        Ok(CompanionResult {
            about: self.about.clone(),
            output: output.await?,
        })
    }
}

/// Publishes all of them, in their order; a required one that fails fails the job.
pub(in crate::pipeline) async fn publish(
    companions: &mut [StagedCompanion],
    engine: &str,
) -> Result<Vec<CompanionResult>> {
    let published = companions.iter_mut();
    let published = published.map(|companion| companion.commit(engine));
    let (published, fault) = some_at_once(published).await;
    fault.map_or(Ok(published), Err)
}

/// Runs them, a few at once, and keeps their order. After the first fault none is begun, and those
/// under way come to their end: what became of them is known then.
async fn some_at_once<'a, T: Send + 'a>(
    work: impl Iterator<Item = impl Future<Output = Result<T>> + Send + 'a>,
) -> (Vec<T>, Option<Fault>) {
    let failed = AtomicBool::new(false);
    let one = |work: BoxFuture<'a, Result<T>>| async {
        if failed.load(Ordering::Relaxed) {
            return None;
        }
        let done = work.await;
        failed.fetch_or(done.is_err(), Ordering::Relaxed);
        Some(done)
    };
    let work: Vec<_> = work.map(FutureExt::boxed).map(one).collect();
    let done: Vec<_> = stream::iter(work).buffered(AT_ONCE).collect().await;
    let (mut all, mut fault) = (Vec::with_capacity(done.len()), None);
    for done in done.into_iter().flatten() {
        match done {
            Ok(done) => all.push(done),
            Err(failed) => fault = fault.or(Some(failed)),
        }
    }
    (all, fault)
}

/// The results of those that could not be made and were not required.
fn failed(job: &Job, failed: &[(usize, Fault)]) -> Vec<CompanionResult> {
    let families = job.families();
    let result = |(index, fault): &(usize, Fault)| {
        debug_assert!(is_its_own(fault));
        let family = families[*index];
        CompanionResult {
            about: About {
                kind: family.kind,
                ..About::default()
            },
            output: report::not_made(family.pattern, fault),
        }
    };
    failed.iter().map(result).collect()
}
