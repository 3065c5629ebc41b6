//! The gate: closed while any slot waits for a dependency that is down. A closed gate keeps jobs in
//! the queue, where other workers may reach what this one cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::observe;

/// Number of slots that wait for a dependency. Slots are woken in the order they came, so that a
/// simulated run can be repeated.
pub(super) struct Gate(Arc<Waiting>);

/// Keeps the gate closed until it is dropped.
pub(super) struct Closed(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    slots: AtomicUsize,
    changed: Notify,
}

impl Gate {
    pub(super) fn new() -> Gate {
        observe::gate(true);
        Gate(Arc::default())
    }

    pub(super) fn close(&self) -> Closed {
        self.0.slots.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
        observe::gate(false);
        tracing::warn!("a dependency is down: no new jobs are taken until it is back");
        Closed(Arc::clone(&self.0))
    }

    /// Waits until the gate is closed.
    pub(super) async fn closed(&self) {
        self.wait(|slots| slots > 0).await;
    }

    /// Waits until the gate is open.
    pub(super) async fn opened(&self) {
        self.wait(|slots| slots == 0).await;
    }

    async fn wait(&self, wanted: impl Fn(usize) -> bool) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if wanted(self.0.slots.load(Ordering::SeqCst)) {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        let before = self.0.slots.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
        if before == 1 {
            observe::gate(true);
            tracing::info!("no slot waits for a dependency any more");
        }
    }
}
