//! Worker: takes deliveries, runs them, settles them.
//!
//! Deliveries come in from the queue, one per slot; each leaves settled, after its end event was
//! confirmed (P1). Every error class has one settlement: permanent -> failure event, dead-letter
//! queue; transient -> back to the queue, until our own attempts are used up; a dependency that is
//! down -> the gate closes, the job is kept and tried again here, no attempt is burnt; shutdown ->
//! back to the queue (P10). No bad job ends a slot.

mod gate;
mod handle;
pub mod reaper;
pub mod tell;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::gate::Gate;
use crate::fault::{Code, Fault, Result};
use crate::observe;
use crate::pipeline::Pipeline;
use crate::queue::Queue;

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
    /// Jobs that may still be taken, and whether those were all.
    left: Arc<Semaphore>,
    enough: CancellationToken,
    settled: AtomicU64,
    returned: AtomicBool,
}

impl Worker {
    /// Works until stopped, until the queue ends, or until `max_jobs` are done.
    pub async fn run(self) -> Result<Ended> {
        let slots = self.slots;
        let queue = Arc::clone(&self.queue);
        let most = self
            .max_jobs
            .map_or(Semaphore::MAX_PERMITS, |most| most as usize);
        let shared = Arc::new(Shared {
            worker: self,
            gate: Gate::new(),
            left: Arc::new(Semaphore::new(most)),
            enough: CancellationToken::new(),
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
            // With `max_jobs`, one permit is one job that ends; a job that goes back frees its own.
            let permit = tokio::select! {
                biased;
                () = self.ending() => return Ok(()),
                permit = self.left.acquire() => permit,
            };
            let delivery = tokio::select! {
                biased;
                () = self.ending() => return Ok(()),
                () = self.gate.closed() => None,
                delivery = worker.queue.next(slot) => match delivery? {
                    Some(delivery) => Some(delivery),
                    None => return Ok(()),
                },
            };
            let Some(delivery) = delivery else {
                worker.queue.release(slot).await;
                drop(permit);
                tokio::select! {
                    biased;
                    () = self.ending() => return Ok(()),
                    () = self.gate.opened() => continue,
                }
            };
            observe::jobs_running(1);
            let ended = self.handle(slot, delivery).await;
            observe::jobs_running(-1);
            if let (true, Ok(permit)) = (ended, permit) {
                permit.forget();
            }
            if worker
                .max_jobs
                .is_some_and(|most| self.settled.load(Ordering::Relaxed) >= most)
            {
                self.enough.cancel();
            }
        }
    }

    /// Waits until no more jobs are to be taken.
    async fn ending(&self) {
        tokio::select! {
            biased;
            () = self.worker.stop.cancelled() => {}
            () = self.enough.cancelled() => {}
        }
    }
}
