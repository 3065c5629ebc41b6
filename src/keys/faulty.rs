//! A key source with injected faults: wraps any source, for tests.
//!
//! Every call is named to an [`Injector`] first; what it answers is done to the call. The wrapper
//! itself holds no key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::{BoxFuture, FutureExt};

use super::{DataKey, KeySource};
use crate::fault::Result;
use crate::inject::{Call, Injector, Seam};
use crate::job::KeyRef;

/// A source whose calls can be made to fail.
pub struct FaultyKeys {
    inner: Arc<dyn KeySource>,
    injector: Arc<dyn Injector>,
    calls: AtomicU64,
}

impl FaultyKeys {
    /// `inner`, with `injector` before it.
    pub fn new(inner: Arc<dyn KeySource>, injector: Arc<dyn Injector>) -> FaultyKeys {
        FaultyKeys {
            inner,
            injector,
            calls: AtomicU64::new(0),
        }
    }

    async fn inject<T>(
        &self,
        operation: &'static str,
        target: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let call = Call {
            seam: Seam::Keys,
            operation,
            target: target.to_owned(),
            number: self.calls.fetch_add(1, Ordering::Relaxed) + 1,
        };
        self.injector.decide(&call).apply(work).await
    }
}

impl KeySource for FaultyKeys {
    fn fetch<'a>(
        &'a self,
        reference: &'a KeyRef,
        pointer: &'a str,
    ) -> BoxFuture<'a, Result<DataKey>> {
        let work = self.inner.fetch(reference, pointer);
        self.inject("fetch", pointer, work).boxed()
    }

    fn reachable(&self) -> BoxFuture<'_, Result<()>> {
        self.inject("reachable", "", self.inner.reachable()).boxed()
    }
}
