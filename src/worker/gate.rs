//! The gate: closed while any slot waits for a dependency that is down. A closed gate keeps jobs in
//! the queue, where other workers may reach what this one cannot.

use std::sync::Arc;

use tokio::sync::watch;

use crate::observe;

/// Number of slots that wait for a dependency.
pub(super) struct Gate(Arc<watch::Sender<usize>>);

/// Keeps the gate closed until it is dropped.
pub(super) struct Closed(Arc<watch::Sender<usize>>);

impl Gate {
    pub(super) fn new() -> Gate {
        observe::gate(true);
        Gate(Arc::new(watch::Sender::new(0)))
    }

    pub(super) fn close(&self) -> Closed {
        self.0.send_modify(|down| *down += 1);
        observe::gate(false);
        tracing::warn!("a dependency is down: no new jobs are taken until it is back");
        Closed(Arc::clone(&self.0))
    }

    /// Waits until the gate is closed.
    pub(super) async fn closed(&self) {
        self.wait(|down| down > 0).await;
    }

    /// Waits until the gate is open.
    pub(super) async fn opened(&self) {
        self.wait(|down| down == 0).await;
    }

    async fn wait(&self, wanted: impl Fn(usize) -> bool) {
        // The sender lives as long as the gate, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|down| wanted(*down)).await;
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.send_modify(|down| *down -= 1);
        if *self.0.borrow() == 0 {
            observe::gate(true);
            tracing::info!("no slot waits for a dependency any more");
        }
    }
}
