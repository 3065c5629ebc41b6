//! Launchers that stand ready: the namespaces are made before the job comes.
//!
//! A waiting launcher holds nothing and knows nothing; it serves one order and is gone. One that
//! died meanwhile is noticed when it is asked, and another takes its place.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::spawn::Ready;
use super::{Inner, Result};

/// The waiting ones.
#[derive(Default)]
pub(super) struct Pool {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    ready: VecDeque<Ready>,
    /// Being started.
    coming: usize,
}

impl Pool {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // Nothing under this lock can leave it half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> Option<Ready> {
        self.waiting().ready.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting().ready.len()
    }

    /// Starts what is missing, without keeping anybody waiting.
    pub(super) fn refill(inner: &Arc<Inner>) {
        let missing = {
            let mut waiting = inner.pool.waiting();
            let missing = inner
                .warm
                .saturating_sub(waiting.ready.len() + waiting.coming);
            waiting.coming += missing;
            missing
        };
        for _ in 0..missing {
            // A handle that keeps nothing alive: a program that ends does not wait for its pool.
            let inner = Arc::downgrade(inner);
            tokio::spawn(async move {
                let Some(inner) = inner.upgrade() else { return };
                let started: Result<Ready> = inner.launcher().await;
                let mut waiting = inner.pool.waiting();
                waiting.coming -= 1;
                // A failure shows when the next child is started directly.
                waiting.ready.extend(started);
            });
        }
    }
}
