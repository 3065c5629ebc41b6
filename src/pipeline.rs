//! Pipeline: runs one plan.
//!
//! A checked job comes in, objects come out, and an [`Outcome`] that says what the stores then
//! hold. In the order of the data: admit -> recall (was it done already?) -> open the source ->
//! keys -> plan -> stage the outputs and remember them -> stream the parts, making companions beside
//! -> verify -> publish everything together -> remember the result. A failure before the last steps publishes nothing;
//! every staged upload is aborted (P2, P6, P7).

mod clear;
mod companions;
mod flow;
mod prepare;
mod recall;
mod remember;
mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ciphermill_cipher::cpu::Kernel;
use futures_util::future::{FutureExt, join_all};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::companions::Inputs;
use self::flow::Flow;
use self::prepare::BesideKeys;
use self::recall::{Recalled, Remains};
use self::stage::Staged;
use crate::buffers::{Pool, Reservation};
use crate::clock::Clock;
use crate::engine::Engine;
use crate::fault::{Code, Fault, Result};
use crate::job::IfExists;
use crate::job::check::ParsedJob;
use crate::job::event::{CaptionSourceResult, CompanionResult, EventData, OutputResult};
use crate::keys::KeySource;
use crate::media::Media;
use crate::observe;
use crate::plan::{self, Limits, Plan};
use crate::report;
use crate::settings;
use crate::source::Source;
use crate::store::Stores;

/// Everything a job needs that outlives it.
pub struct Pipeline {
    /// Where objects are.
    pub stores: Stores,
    /// Where keys come from.
    pub keys: Arc<dyn KeySource>,
    /// What ciphers.
    pub engine: Arc<dyn Engine>,
    /// How AES is computed.
    pub kernel: &'static dyn Kernel,
    /// Where buffers come from.
    pub pool: Arc<Pool>,
    /// What makes thumbnails, captions and artwork.
    pub media: Media,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Part sizes and the budget.
    pub limits: Limits,
    /// What producers may ask for.
    pub worker: settings::Worker,
    /// Whether jobs may name files at all.
    pub files: bool,
}

/// One attempt at one job.
pub struct Attempt<'a> {
    /// The job.
    pub parsed: &'a ParsedJob,
    /// Whether it may have been begun before.
    pub redelivered: bool,
    /// Ends the attempt early.
    pub cancel: CancellationToken,
    /// How far it is, for others to see.
    pub progress: Arc<Progress>,
}

/// Bytes of the source that are done.
#[derive(Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Done and in all.
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.done.load(Ordering::Relaxed),
            self.total.load(Ordering::Relaxed),
        )
    }
}

/// How an attempt ended well.
pub struct Outcome {
    /// What the result event says.
    pub data: EventData,
    /// Whether the job had been done before, so that nothing was uploaded.
    pub recognised: bool,
}

/// What was published: outputs and companions.
type Published = (Vec<OutputResult>, Vec<CompanionResult>);

/// A job whose outputs are staged, ready to move its bytes.
struct Begun {
    plan: Plan,
    source: Source,
    staged: Staged,
    reservation: Arc<Reservation>,
    /// What companions are sealed with.
    keys: BesideKeys,
    /// What they are made of, besides the source.
    inputs: Inputs,
    /// What their result will say, as far as it is not theirs.
    unmade: Vec<CompanionResult>,
    caption_sources: Vec<CaptionSourceResult>,
}

impl Pipeline {
    /// Whether a dependency that failed a job is really down, asked in a way that owes nothing to
    /// the job: what only one job's request runs into must not stop all others.
    pub async fn is_down(&self, fault: &Fault) -> bool {
        match fault.code {
            Code::StoreDown => self.stores.s3().reachable().await.is_err(),
            Code::KeyServiceDown => self.keys.reachable().await.is_err(),
            _ => true,
        }
    }

    /// Runs the attempt. Until its outputs are being published it can be stopped at any point, and
    /// publishes nothing then; publishing itself runs to its end, so that it is all or none.
    pub async fn run(&self, attempt: &Attempt<'_>) -> Result<Outcome> {
        let started = Instant::now();
        plan::admit::admit(&attempt.parsed.job, &self.worker, self.files)?;
        let stopped = stopped(attempt);
        tokio::pin!(stopped);
        let recalled = tokio::select! {
            biased;
            recalled = self.recall(attempt) => recalled?,
            fault = &mut stopped => return Err(fault),
        };
        let recalled = match recalled {
            Recalled::Finished(data) => {
                observe::job_recognised();
                return Ok(Outcome {
                    data: *data,
                    recognised: true,
                });
            }
            Recalled::Unfinished(remains) => *remains,
        };
        let mut begun = tokio::select! {
            biased;
            begun = self.begin(attempt, recalled) => begun?,
            fault = &mut stopped => return Err(fault),
        };
        let moved = tokio::select! {
            biased;
            moved = self.transfer(attempt, &mut begun) => moved,
            fault = &mut stopped => Err(fault),
        };
        let done = match moved {
            Ok(plain_bytes) => self
                .publish(attempt.parsed, &begun.plan, &mut begun.staged)
                .await
                .map(|published| (plain_bytes, published)),
            Err(fault) => Err(fault),
        };
        self.end(attempt.parsed, begun, done, started).await
    }

    /// Remembers the result, or gives up what is not published.
    async fn end(
        &self,
        parsed: &ParsedJob,
        begun: Begun,
        done: Result<(u64, Published)>,
        started: Instant,
    ) -> Result<Outcome> {
        let Begun {
            plan,
            source,
            mut staged,
            reservation,
            unmade,
            caption_sources,
            ..
        } = begun;
        drop(reservation);
        let (plain_bytes, (outputs, companions)) = match done {
            Ok(done) => done,
            Err(fault) => {
                self.give_up(parsed, &plan, &mut staged).await;
                return Err(fault);
            }
        };
        let version = &source.facts().version;
        let data = EventData {
            input: Some(report::input(&parsed.job.input, version, plain_bytes)),
            outputs,
            companions: companions.into_iter().chain(unmade).collect(),
            caption_sources,
            seconds: Some(started.elapsed().as_secs_f64()),
            ..EventData::default()
        };
        self.remember_result(parsed, &plan, &staged, &data).await;
        Ok(Outcome {
            data,
            recognised: false,
        })
    }

    /// Everything before the first byte moves.
    async fn begin(&self, attempt: &Attempt<'_>, remains: Remains) -> Result<Begun> {
        let (parsed, job) = (attempt.parsed, &attempt.parsed.job);
        let store = Arc::clone(self.stores.of(&job.input.url));
        let source = Source::open(store, &job.input, "/input");
        let (source, inputs) = tokio::try_join!(source, self.open_inputs(job))?;
        let lengths = inputs.lengths();
        let input_bytes = lengths.iter().flatten().sum();
        let plan = plan::make(job, source.facts(), input_bytes, &self.limits)?;
        let kept = self.clear_remains(attempt, &plan, remains, &source).await?;
        attempt
            .progress
            .total
            .store(plan.sealed_bytes, Ordering::Relaxed);
        let keys = self.fetch_keys(job).await?;
        let reservation = self.pool.reserve(plan.reserve_bytes).await?;
        let (prepared, keys) = self
            .prepare(parsed, &plan, &source, keys, &lengths, &reservation)
            .await?;
        let staged = self
            .stage(parsed, &plan, &source, prepared, (&keys.token, kept))
            .await?;
        Ok(Begun {
            plan,
            source,
            staged,
            reservation,
            keys,
            inputs,
            unmade: Vec::new(),
            caption_sources: Vec::new(),
        })
    }

    /// Moves the bytes, and makes and stages the companions beside them; returns the plaintext's
    /// length.
    async fn transfer(&self, attempt: &Attempt<'_>, begun: &mut Begun) -> Result<u64> {
        let job = &attempt.parsed.job;
        let (feed, tap) = self.feed(job, begun).await?;
        let flow = Flow {
            engine: Arc::clone(&self.engine),
            source: begun.source.clone(),
            plan: begun.plan.clone(),
            reservation: Arc::clone(&begun.reservation),
            progress: Arc::clone(&attempt.progress),
            input: job.input.clone(),
        };
        let moving = flow.run(&begun.staged, tap);
        if begun.plan.beside.is_none() {
            return moving.await;
        }
        let making = self.make_companions(job, begun, feed).boxed();
        let (plain_bytes, made) = tokio::try_join!(moving, making)?;
        self.stage_companions(attempt.parsed, begun, made)
            .boxed()
            .await?;
        Ok(plain_bytes)
    }

    /// Publishes everything together: outputs that may be refused because something is there, then
    /// the companions, then the other outputs. A required one that fails fails the job.
    async fn publish(
        &self,
        parsed: &ParsedJob,
        plan: &Plan,
        staged: &mut Staged,
    ) -> Result<Published> {
        if plan.ledger {
            self.check_ours(parsed, staged).await?;
        }
        let engine = self.engine.name();
        let outputs = &parsed.job.outputs;
        let pointer = |index: usize| format!("/outputs/{index}");
        for (index, output) in outputs
            .iter()
            .enumerate()
            .filter(|(_, o)| o.if_exists == IfExists::Fail)
        {
            let staged = &mut staged.outputs[index];
            staged.commit(&pointer(index), output, engine).await?;
        }
        let companions = companions::publish(&mut staged.companions, engine)
            .boxed()
            .await?;
        let commits = staged.outputs.iter_mut().zip(outputs).enumerate();
        let results = commits.map(|(index, (staged, output))| async move {
            staged.commit(&pointer(index), output, engine).await
        });
        let outputs: Result<Vec<_>> = join_all(results).await.into_iter().collect();
        Ok((outputs?, companions))
    }
}

/// Waits until the attempt must end: it is cancelled, or its deadline passes.
async fn stopped(attempt: &Attempt<'_>) -> Fault {
    let deadline = async {
        match attempt.parsed.job.deadline_seconds {
            Some(seconds) => {
                tokio::time::sleep(Duration::from_secs(seconds.into())).await;
                seconds
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = attempt.cancel.cancelled() => Fault::new(Code::Stopping, "the attempt was stopped"),
        seconds = deadline => {
            let message = format!("the job did not end within {seconds} seconds");
            Fault::new(Code::DeadlineExceeded, message).at("/deadline_seconds")
        }
    }
}
