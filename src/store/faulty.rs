//! A store whose calls go wrong as an [`Injector`] says. For tests and simulations only.
//!
//! Calls come in and are named to the injector, in the order in which they are first polled; the
//! calls that it lets through go to the store inside. A call that is dropped while it waits before
//! the work was never made. Nothing here is random and nothing is remembered but the number of
//! calls.

mod read;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};

use super::{
    Aborted, Facts, Listed, ListedPart, NewObject, PartPlace, Store, Upload, UploadId,
    UploadedPart, Version,
};
use crate::buffers::PartBuffer;
use crate::checksum::Checksum;
use crate::fault::{Code, Result};
use crate::inject::{Act, Call, Injection, Injector, Seam, Wait};
use crate::job::ObjectUrl;

/// A store, and what goes wrong with it.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    injector: Arc<dyn Injector>,
    calls: AtomicU64,
}

impl FaultyStore {
    /// Asks `injector` about every call before it goes to `inner`.
    pub fn new(inner: Arc<dyn Store>, injector: Arc<dyn Injector>) -> FaultyStore {
        FaultyStore {
            inner,
            injector,
            calls: AtomicU64::new(0),
        }
    }

    /// Calls made so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn decide(&self, operation: &'static str, target: String) -> Injection {
        self.injector.decide(&Call {
            seam: Seam::Store,
            operation,
            target,
            number: self.calls.fetch_add(1, Ordering::SeqCst) + 1,
        })
    }

    /// Makes the call, or what the injector makes of it.
    async fn call<T>(
        &self,
        operation: &'static str,
        target: String,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Injection { before, act, after } = self.decide(operation, target);
        wait(before).await;
        let result = match act {
            Act::Work | Act::Trickle { .. } => work.await,
            Act::Refuse(fault) | Act::Truncate { fault, .. } => Err(fault),
            Act::LoseAnswer(fault) => {
                // Whatever it was, nobody hears of it.
                drop(work.await);
                Err(fault)
            }
        };
        wait(after).await;
        result
    }
}

async fn wait(wait: Option<Wait>) {
    if let Some(wait) = wait {
        wait.await;
    }
}

impl Store for FaultyStore {
    fn head<'a>(
        &'a self,
        url: &'a ObjectUrl,
        version_id: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Facts>> {
        let work = self.inner.head(url, version_id);
        self.call("head", url.to_string(), work).boxed()
    }

    fn read<'a>(
        &'a self,
        url: &'a ObjectUrl,
        version: &'a Version,
        range: Range<u64>,
        into: PartBuffer,
    ) -> BoxFuture<'a, (PartBuffer, Result<()>)> {
        async move {
            let Injection { before, act, after } = self.decide("read", url.to_string());
            wait(before).await;
            let source = read::Source {
                store: self.inner.as_ref(),
                url,
                version,
            };
            let answer = source.read(range, into, act).await;
            wait(after).await;
            answer
        }
        .boxed()
    }

    fn put<'a>(
        &'a self,
        url: &'a ObjectUrl,
        new: &'a NewObject,
        body: Bytes,
        checksum: &'a Checksum,
    ) -> BoxFuture<'a, Result<()>> {
        let work = self.inner.put(url, new, body, checksum);
        self.call("put", url.to_string(), work).boxed()
    }

    fn begin<'a>(
        &'a self,
        url: &'a ObjectUrl,
        new: &'a NewObject,
    ) -> BoxFuture<'a, Result<UploadId>> {
        let work = self.inner.begin(url, new);
        self.call("begin", url.to_string(), work).boxed()
    }

    fn upload<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
        place: PartPlace,
        body: Bytes,
        checksum: Checksum,
    ) -> BoxFuture<'a, Result<UploadedPart>> {
        let work = self.inner.upload(url, upload, place, body, checksum);
        self.call("upload", url.to_string(), work).boxed()
    }

    fn complete<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
        new: &'a NewObject,
        parts: &'a [UploadedPart],
    ) -> BoxFuture<'a, Result<()>> {
        let work = self.inner.complete(url, upload, new, parts);
        self.call("complete", url.to_string(), work).boxed()
    }

    fn abort<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Aborted>> {
        let work = self.inner.abort(url, upload);
        self.call("abort", url.to_string(), work).boxed()
    }

    fn parts<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Option<Vec<ListedPart>>>> {
        let work = self.inner.parts(url, upload);
        self.call("parts", url.to_string(), work).boxed()
    }

    fn uploads<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, Result<Vec<Upload>>> {
        let work = self.inner.uploads(url);
        self.call("uploads", url.to_string(), work).boxed()
    }

    fn delete<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, Result<()>> {
        let work = self.inner.delete(url);
        self.call("delete", url.to_string(), work).boxed()
    }

    fn get_small<'a>(
        &'a self,
        url: &'a ObjectUrl,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<Bytes>>> {
        let work = self.inner.get_small(url, limit);
        self.call("get_small", url.to_string(), work).boxed()
    }

    fn list<'a>(&'a self, prefix: &'a ObjectUrl) -> BoxFuture<'a, Result<Vec<Listed>>> {
        let work = self.inner.list(prefix);
        self.call("list", prefix.to_string(), work).boxed()
    }

    /// Only a clear answer says that there is no bucket, as with the S3 store.
    fn has_bucket<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, bool> {
        async move {
            let work = async { Ok(self.inner.has_bucket(url).await) };
            let answer = self.call("has_bucket", url.to_string(), work).await;
            answer.unwrap_or_else(|fault| {
                !matches!(fault.code, Code::SourceNotFound | Code::BucketNotFound)
            })
        }
        .boxed()
    }

    fn keeps_if_absent<'a>(&'a self, probe: &'a ObjectUrl) -> BoxFuture<'a, Result<bool>> {
        let work = self.inner.keeps_if_absent(probe);
        self.call("keeps_if_absent", probe.to_string(), work)
            .boxed()
    }

    fn reachable(&self) -> BoxFuture<'_, Result<()>> {
        let work = self.inner.reachable();
        self.call("reachable", String::new(), work).boxed()
    }
}

#[cfg(test)]
mod tests;
