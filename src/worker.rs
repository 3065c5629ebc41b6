//! Worker: takes deliveries, runs them, settles them.
//!
//! Deliveries come in from the queue, one per slot; each leaves settled, after its end event was
//! confirmed (P1). Every error class has one settlement: permanent -> failure event, dead-letter
//! queue; transient -> back to the queue, until our own attempts are used up; a dependency that is
//! down -> the gate closes, the job is kept and tried again here, no attempt is burnt; shutdown ->
//! back to the queue (P10). No bad job ends a slot.

mod gate;
pub mod reaper;
pub mod tell;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use self::gate::Gate;
use self::tell::Teller;
use crate::fault::{Class, Code, Fault, Result};
use crate::job::JobDigest;
use crate::job::check::{self, ParsedJob};
use crate::job::event::State;
use crate::observe;
use crate::pipeline::{Attempt, Outcome, Pipeline, Progress};
use crate::queue::{Delivery, Queue, Settlement};
use crate::report::{self, Context};

/// Share of a lease after which a job is stopped: the rest is for aborting and settling.
const LEASE_SHARE: f64 = 0.8;
/// Shortest and longest pause before something is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Time between progress events.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A worker with its slots.
pub struct Worker {
    /// Runs jobs.
    pub pipeline: Arc<Pipeline>,
    /// Where jobs come from.
    pub queue: Arc<dyn Queue>,
    /// Jobs at once.
    pub slots: usize,
    /// Attempts after which a transient failure is permanent.
    pub max_attempts: u32,
    /// Ends after this many jobs, if set.
    pub max_jobs: Option<u64>,
    /// The `source` of events.
    pub name: String,
    /// Takes no new jobs once cancelled.
    pub stop: CancellationToken,
    /// Stops running jobs once cancelled.
    pub abort: CancellationToken,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Jobs that were settled as done or dead.
    pub jobs: u64,
    /// Whether a running job had to be stopped and returned.
    pub returned: bool,
}

struct Shared {
    worker: Worker,
    gate: Gate,
    taken: AtomicU64,
    settled: AtomicU64,
    returned: AtomicBool,
}

impl Worker {
    /// Works until stopped, until the queue ends, or until `max_jobs` are done.
    pub async fn run(self) -> Result<Ended> {
        let slots = self.slots;
        let queue = Arc::clone(&self.queue);
        let shared = Arc::new(Shared {
            worker: self,
            gate: Gate::new(),
            taken: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            returned: AtomicBool::new(false),
        });
        let mut tasks = tokio::task::JoinSet::new();
        for slot in 0..slots {
            let shared = Arc::clone(&shared);
            tasks.spawn(async move { shared.slot(slot).await });
        }
        let mut first_fault = None;
        while let Some(ended) = tasks.join_next().await {
            let ended = ended
                .unwrap_or_else(|e| Err(Fault::new(Code::Internal, format!("a slot ended: {e}"))));
            if let Err(fault) = ended {
                shared.worker.stop.cancel();
                first_fault = first_fault.or(Some(fault));
            }
        }
        queue.close().await;
        match first_fault {
            Some(fault) => Err(fault),
            None => Ok(Ended {
                jobs: shared.settled.load(Ordering::Relaxed),
                returned: shared.returned.load(Ordering::Relaxed),
            }),
        }
    }
}

impl Shared {
    async fn slot(&self, slot: usize) -> Result<()> {
        let result = self.take_and_handle(slot).await;
        self.worker.queue.release(slot).await;
        result
    }

    async fn take_and_handle(&self, slot: usize) -> Result<()> {
        let worker = &self.worker;
        loop {
            let delivery = tokio::select! {
                biased;
                () = worker.stop.cancelled() => return Ok(()),
                () = self.gate.closed() => None,
                delivery = worker.queue.next(slot) => match delivery? {
                    Some(delivery) => Some(delivery),
                    None => return Ok(()),
                },
            };
            let Some(delivery) = delivery else {
                worker.queue.release(slot).await;
                tokio::select! {
                    () = worker.stop.cancelled() => return Ok(()),
                    () = self.gate.opened() => continue,
                }
            };
            let number = self.taken.fetch_add(1, Ordering::Relaxed) + 1;
            if worker.max_jobs.is_some_and(|most| number > most) {
                self.settle(delivery, Settlement::Return, "unread").await;
                return Ok(());
            }
            observe::jobs_running(1);
            self.handle(delivery).await;
            observe::jobs_running(-1);
            if worker.max_jobs.is_some_and(|most| number >= most) {
                worker.stop.cancel();
                return Ok(());
            }
        }
    }

    async fn handle(&self, delivery: Delivery) {
        let started = Instant::now();
        let context = Context {
            worker: self.worker.name.clone(),
            attempt: delivery.attempt,
        };
        let teller = Teller {
            context: &context,
            delivery: &delivery,
        };
        let (settlement, outcome, job_id) = match check::parse(&delivery.body) {
            Err(rejection) => {
                let digest = JobDigest::of_bytes(&delivery.body);
                let id = rejection.job_id.as_deref();
                for fault in &rejection.faults {
                    tracing::warn!(
                        job_id = id,
                        code = fault.code.as_str(),
                        pointer = fault.pointer,
                        "message refused"
                    );
                }
                let code = rejection
                    .faults
                    .first()
                    .map_or("internal", |fault| fault.code.as_str());
                observe::job_failed(code);
                let event = report::rejected(&context, id, digest, &rejection.faults);
                let told = teller.tell(&event, None).await;
                let settlement = if told.is_ok() {
                    Settlement::Dead
                } else {
                    Settlement::Return
                };
                (settlement, "rejected", id.map(str::to_owned))
            }
            Ok(parsed) => {
                let settlement = self.work(&teller, &parsed).await;
                let outcome = match settlement {
                    Settlement::Done => "succeeded",
                    Settlement::Dead => "failed",
                    Settlement::Retry => "retried",
                    Settlement::Return => "returned",
                };
                (settlement, outcome, Some(parsed.job.id))
            }
        };
        observe::job_ended(outcome, started.elapsed().as_secs_f64());
        self.settle(delivery, settlement, job_id.as_deref().unwrap_or("-"))
            .await;
    }

    async fn settle(&self, delivery: Delivery, settlement: Settlement, job_id: &str) {
        match settlement {
            Settlement::Done | Settlement::Dead => {
                self.settled.fetch_add(1, Ordering::Relaxed);
            }
            Settlement::Return if self.worker.stop.is_cancelled() => {
                self.returned.store(true, Ordering::Relaxed)
            }
            _ => {}
        }
        match delivery.settle(settlement).await {
            Ok(true) => tracing::debug!(job_id, ?settlement, "settled"),
            Ok(false) => tracing::warn!(
                job_id,
                ?settlement,
                "the delivery was lost meanwhile; it will come again"
            ),
            Err(fault) => {
                tracing::warn!(job_id, code = fault.code.as_str(), detail = %fault.message, "cannot settle")
            }
        }
    }

    /// Runs the job until it ends one way or another, and tells of it.
    async fn work(&self, teller: &Teller<'_>, parsed: &ParsedJob) -> Settlement {
        let attempt = teller.context.attempt;
        tracing::info!(
            job_id = parsed.job.id,
            attempt,
            redelivered = teller.delivery.redelivered,
            "job started"
        );
        teller.progress(parsed, State::Started, (0, 0)).await;
        let until = teller
            .delivery
            .lease
            .map(|lease| teller.delivery.received + lease.mul_f64(LEASE_SHARE));
        let mut pause = PAUSE.0;
        let mut down = None;
        loop {
            let result = self.attempt(teller, parsed, until).await;
            let fault = match result {
                Ok(outcome) => return self.succeeded(teller, parsed, outcome).await,
                Err(fault) => fault,
            };
            observe::job_failed(fault.code.as_str());
            tracing::warn!(
                job_id = parsed.job.id, attempt, code = fault.code.as_str(), pointer = fault.pointer,
                detail = %fault.message, "attempt failed"
            );
            match fault.class() {
                Class::Permanent => return self.failed(teller, parsed, &fault).await,
                Class::Transient if attempt >= self.worker.max_attempts => {
                    return self.failed(teller, parsed, &fault).await;
                }
                Class::Transient => {
                    self.pause(pause, until).await;
                    return Settlement::Retry;
                }
                Class::Shutdown => return Settlement::Return,
                Class::Dependency => down = down.or_else(|| Some(self.gate.close())),
            }
            let out_of_time = !self.pause(pause, until).await;
            pause = (pause * 2).min(PAUSE.1);
            if out_of_time {
                return Settlement::Return;
            }
        }
    }

    /// One run of the pipeline, watched: it may not outlast the lease, and its progress is told.
    async fn attempt(
        &self,
        teller: &Teller<'_>,
        parsed: &ParsedJob,
        until: Option<tokio::time::Instant>,
    ) -> Result<Outcome> {
        let progress = Arc::new(Progress::default());
        let attempt = Attempt {
            parsed,
            redelivered: teller.delivery.redelivered,
            cancel: self.worker.abort.child_token(),
            progress: Arc::clone(&progress),
        };
        let run = AssertUnwindSafe(self.worker.pipeline.run(&attempt)).catch_unwind();
        tokio::pin!(run);
        let result = tokio::select! {
            result = &mut run => result,
            never = self.tell_progress(teller, parsed, &progress) => match never {},
            () = at(until) => {
                // It ends by itself now, unless it is publishing already.
                attempt.cancel.cancel();
                let result = run.await;
                let stopped = matches!(&result, Ok(Err(fault)) if fault.code == Code::Stopping);
                if stopped && !self.worker.abort.is_cancelled() {
                    let message = "the job would outlast the broker's consumer_timeout";
                    let fault = Fault::new(Code::LeaseTooShort, message);
                    return Err(fault.at("amqp.consumer_timeout_seconds"));
                }
                result
            }
        };
        result.unwrap_or_else(|_| Err(Fault::new(Code::Internal, "the job panicked")))
    }

    /// Tells how far a job is, once a second while it moves; never ends.
    async fn tell_progress(
        &self,
        teller: &Teller<'_>,
        parsed: &ParsedJob,
        progress: &Progress,
    ) -> Infallible {
        let mut last = (0, 0);
        loop {
            tokio::time::sleep(PROGRESS_EVERY).await;
            let now = progress.bytes();
            if now != last {
                teller.progress(parsed, State::Progress, now).await;
                last = now;
            }
        }
    }

    async fn succeeded(
        &self,
        teller: &Teller<'_>,
        parsed: &ParsedJob,
        outcome: Outcome,
    ) -> Settlement {
        let bytes = outcome.data.input.as_ref().map_or(0, |input| input.bytes);
        tracing::info!(
            job_id = parsed.job.id,
            attempt = teller.context.attempt,
            bytes,
            seconds = outcome.data.seconds,
            recognised = outcome.recognised,
            "job succeeded"
        );
        let event = report::event(
            teller.context,
            &parsed.job,
            parsed.digest,
            State::Succeeded,
            outcome.data,
        );
        match teller.tell(&event, parsed.job.reply_to.clone()).await {
            Ok(()) => Settlement::Done,
            Err(_) => Settlement::Return,
        }
    }

    async fn failed(&self, teller: &Teller<'_>, parsed: &ParsedJob, fault: &Fault) -> Settlement {
        let data = report::failed(fault);
        let event = report::event(
            teller.context,
            &parsed.job,
            parsed.digest,
            State::Failed,
            data,
        );
        let reply_to = parsed
            .job
            .reply_to
            .clone()
            .filter(|_| fault.code != Code::ReplyNotAllowed);
        match teller.tell(&event, reply_to).await {
            Ok(()) => Settlement::Dead,
            Err(_) => Settlement::Return,
        }
    }

    /// Waits; `false` when the worker stops or the lease would run out first.
    async fn pause(&self, time: Duration, until: Option<tokio::time::Instant>) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.worker.stop.cancelled() => false,
            () = at(until) => false,
        }
    }
}

/// Waits until then; for ever when there is no such time.
async fn at(until: Option<tokio::time::Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
