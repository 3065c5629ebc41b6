//! One delivery, from its message to its settlement.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use super::Shared;
use super::tell::Teller;
use crate::fault::{Class, Code, Fault, Result};
use crate::job::JobDigest;
use crate::job::check::{self, ParsedJob, Rejection};
use crate::job::event::{Event, State};
use crate::observe;
use crate::pipeline::{Attempt, Outcome, Progress};
use crate::queue::{Delivery, Settlement};
use crate::report::{self, Context};

/// Share of a lease after which a job is stopped: the rest is for aborting and settling.
const LEASE_SHARE: f64 = 0.8;
/// Shortest and longest pause before something is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Outages that nobody else sees, after which they count as the job's own failure.
const PASSING_OUTAGES: u32 = 3;
/// Time between progress events.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

impl Shared {
    /// Handles one delivery; `true` when its job has ended, well or badly.
    pub(super) async fn handle(&self, slot: usize, delivery: Delivery) -> bool {
        let started = Instant::now();
        let context = Context {
            worker: self.worker.name.clone(),
            attempt: delivery.attempt,
            clock: Arc::clone(&self.worker.pipeline.clock),
        };
        let lease = delivery
            .lease
            .map(|lease| delivery.received + lease.mul_f64(LEASE_SHARE));
        let teller = Teller {
            context: &context,
            delivery: &delivery,
            until: lease,
        };
        let parsed =
            std::panic::catch_unwind(|| check::parse(&delivery.body)).unwrap_or_else(|_| {
                let fault = Fault::new(Code::Internal, "the message made the checker panic");
                Err(Rejection {
                    job_id: None,
                    faults: vec![fault],
                })
            });
        let job_id = match &parsed {
            Ok(parsed) => Some(parsed.job.id.clone()),
            Err(rejection) => rejection.job_id.clone(),
        };
        let job_id = job_id.as_deref().unwrap_or("-");
        // Every line below carries it; at the level of an error, so that no filter takes it away.
        let span = tracing::error_span!("job", id = job_id, attempt = delivery.attempt);
        let ended = self.end_of(&teller, &parsed).instrument(span.clone());
        let (settlement, outcome) = ended.await;
        observe::job_ended(outcome, started.elapsed().as_secs_f64());
        if settlement == Settlement::Return {
            // Else the broker would hand the job straight back to this slot, and count it again.
            self.worker.queue.release(slot).await;
        }
        let settled = self.settle(delivery, settlement, job_id);
        settled.instrument(span).await;
        matches!(settlement, Settlement::Done | Settlement::Dead)
    }

    /// Works on a job, or refuses its message: how the delivery is to be settled, and its name in
    /// metrics.
    async fn end_of(
        &self,
        teller: &Teller<'_>,
        parsed: &Result<ParsedJob, Rejection>,
    ) -> (Settlement, &'static str) {
        let parsed = match parsed {
            Err(rejection) => return (self.reject(teller, rejection).await, "rejected"),
            Ok(parsed) => parsed,
        };
        let settlement = self.work(teller, parsed).await;
        let outcome = match settlement {
            Settlement::Done => "succeeded",
            Settlement::Dead => "failed",
            Settlement::Retry => "retried",
            Settlement::Return => "returned",
        };
        (settlement, outcome)
    }

    async fn reject(&self, teller: &Teller<'_>, rejection: &Rejection) -> Settlement {
        let job_id = rejection.job_id.as_deref();
        for fault in &rejection.faults {
            let code = fault.code.as_str();
            tracing::warn!(job_id, code, pointer = fault.pointer, "message refused");
        }
        let code = rejection
            .faults
            .first()
            .map_or("internal", |fault| fault.code.as_str());
        observe::job_failed(code);
        let digest = JobDigest::of_bytes(&teller.delivery.body);
        let event = report::rejected(teller.context, job_id, digest, &rejection.faults);
        self.end(teller, &event, None, Settlement::Dead).await
    }

    async fn settle(&self, delivery: Delivery, settlement: Settlement, job_id: &str) {
        match settlement {
            Settlement::Done | Settlement::Dead => {
                self.settled.fetch_add(1, Ordering::Relaxed);
            }
            Settlement::Return if self.worker.stop.is_cancelled() => {
                self.returned.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        match delivery.settle(settlement).await {
            Ok(true) => tracing::debug!(job_id, ?settlement, "settled"),
            Ok(false) => {
                tracing::warn!(
                    job_id,
                    ?settlement,
                    "the delivery was lost meanwhile; it will come again"
                );
            }
            Err(fault) => {
                tracing::warn!(job_id, code = fault.code.as_str(), detail = %fault.message, "cannot settle");
            }
        }
    }

    /// Runs the job until it ends one way or another, and tells of it.
    async fn work(&self, teller: &Teller<'_>, parsed: &ParsedJob) -> Settlement {
        let attempt = teller.context.attempt;
        let redelivered = teller.delivery.redelivered;
        tracing::info!(job_id = parsed.job.id, attempt, redelivered, "job started");
        // A broker has its own limit for crash loops, and counts what was only handed back too.
        if teller.delivery.name.is_some() && attempt > self.worker.max_attempts {
            let message = format!(
                "attempt {} ended without a word, as a crash does",
                attempt - 1
            );
            return self
                .failed(
                    teller,
                    parsed,
                    &Fault::new(Code::AttemptsExhausted, message),
                )
                .await;
        }
        teller.progress(parsed, State::Started, (0, 0)).await;
        let mut pause = PAUSE.0;
        let (mut down, mut passing) = (None, 0);
        loop {
            let fault = match self.attempt(teller, parsed).await {
                Ok(outcome) => return self.succeeded(teller, parsed, outcome).await,
                Err(fault) => fault,
            };
            let (code, pointer) = (fault.code.as_str(), fault.pointer.as_deref());
            observe::job_failed(code);
            tracing::warn!(job_id = parsed.job.id, attempt, code, pointer, detail = %fault.message, "attempt failed");
            let outage =
                fault.class() == Class::Dependency && self.worker.pipeline.is_down(&fault).await;
            match fault.class() {
                Class::Permanent => return self.failed(teller, parsed, &fault).await,
                Class::Shutdown => return Settlement::Return,
                Class::Dependency if outage => down = down.or_else(|| Some(self.gate.close())),
                // It was over before anybody could look.
                Class::Dependency if passing < PASSING_OUTAGES => passing += 1,
                // What only this job runs into is this job's failure, and its attempts are counted.
                _ if attempt >= self.worker.max_attempts => {
                    return self.failed(teller, parsed, &fault).await;
                }
                _ => {
                    drop(down);
                    self.pause(backoff(attempt), teller).await;
                    return Settlement::Retry;
                }
            }
            if !self.pause(pause, teller).await {
                return Settlement::Return;
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// One run of the pipeline, watched: it may not outlast the lease, and its progress is told.
    async fn attempt(&self, teller: &Teller<'_>, parsed: &ParsedJob) -> Result<Outcome> {
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
            biased;
            result = &mut run => result,
            never = self.tell_progress(teller, parsed, &progress) => match never {},
            () = teller.lost() => {
                attempt.cancel.cancel();
                return self.lost(run.await);
            }
            () = teller.lease_ends() => {
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

    /// A job whose delivery is gone tells nobody of its end: another worker has it, and will.
    fn lost(&self, result: std::thread::Result<Result<Outcome>>) -> Result<Outcome> {
        if matches!(result, Ok(Ok(_))) {
            tracing::warn!("the job ended well, but its delivery was lost: it will be recognised");
        }
        Err(Fault::new(
            Code::DeliveryLost,
            "the broker took the job back while it ran",
        ))
    }

    async fn succeeded(
        &self,
        teller: &Teller<'_>,
        parsed: &ParsedJob,
        outcome: Outcome,
    ) -> Settlement {
        let bytes = outcome.data.input.as_ref().map_or(0, |input| input.bytes);
        let (attempt, seconds) = (teller.context.attempt, outcome.data.seconds);
        let recognised = outcome.recognised;
        tracing::info!(
            job_id = parsed.job.id,
            attempt,
            bytes,
            seconds,
            recognised,
            "job succeeded"
        );
        let event = report::event(
            teller.context,
            &parsed.job,
            parsed.digest,
            State::Succeeded,
            outcome.data,
        );
        self.end(teller, &event, self.reply_to(parsed), Settlement::Done)
            .await
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
        self.end(teller, &event, self.reply_to(parsed), Settlement::Dead)
            .await
    }

    /// The reply queue, if it may be used; a job can fail before anybody looked.
    fn reply_to(&self, parsed: &ParsedJob) -> Option<String> {
        let allowed = &self.worker.pipeline.worker.allow_reply_queues;
        parsed
            .job
            .reply_to
            .clone()
            .filter(|queue| allowed.contains(queue))
    }

    /// Publishes an end event, for as long as it takes: a job is only settled when its end was
    /// confirmed. A broker that does not confirm is a dependency that is down.
    async fn end(
        &self,
        teller: &Teller<'_>,
        event: &Event,
        reply_to: Option<String>,
        settlement: Settlement,
    ) -> Settlement {
        let mut pause = PAUSE.0;
        let mut down = None;
        while let Err(fault) = teller.tell(event, reply_to.clone()).await {
            if fault.class() == Class::Dependency {
                down = down.or_else(|| Some(self.gate.close()));
            }
            if !self.pause(pause, teller).await {
                return Settlement::Return;
            }
            pause = (pause * 2).min(PAUSE.1);
        }
        settlement
    }

    /// Waits; `false` when the worker stops, the lease would run out first, or the delivery is lost.
    async fn pause(&self, time: Duration, teller: &Teller<'_>) -> bool {
        tokio::select! {
            biased;
            () = self.worker.stop.cancelled() => false,
            () = teller.lost() => false,
            () = teller.lease_ends() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}

/// The pause before a job goes back to the queue: the more often it failed, the longer.
fn backoff(attempt: u32) -> Duration {
    (PAUSE.0 * 2u32.pow(attempt.saturating_sub(1).min(8))).min(PAUSE.1)
}
