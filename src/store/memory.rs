//! An S3 store in memory, for tests without a server.
//!
//! Objects, ETags, versions, conditions, checksums and multipart uploads behave as in S3, and faults
//! have the codes that [`s3`](super::s3) makes of a real store's answers; what real stores do
//! differently stands in [`Abilities`]. Tests look at it from outside ([`ObjectView`],
//! [`UploadView`]) and are told of every visible change ([`Change`]). The same calls in the same
//! order give the same answers: ids are counted, times come from the clock that is given, nothing
//! is random, nothing waits, and no task or thread is started. Nothing is ever written to a disk.

mod abilities;
mod objects;
mod state;
mod uploads;
mod view;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};

pub use self::abilities::Abilities;
pub use self::view::{Change, ChangeKind, ObjectView, Observer, PartView, UploadView};

use self::state::{Place, State};
use super::{
    Aborted, Facts, Listed, ListedPart, NewObject, PartPlace, Store, Upload, UploadId,
    UploadedPart, Version,
};
use crate::buffers::PartBuffer;
use crate::checksum::Checksum;
use crate::clock::Clock;
use crate::fault::{Code, Fault, Result};
use crate::job::ObjectUrl;

/// An S3 store in memory; shared by reference, it is the store of all workers of a test.
pub struct MemoryStore {
    abilities: Abilities,
    clock: Arc<dyn Clock>,
    minimum_part_bytes: u64,
    state: Mutex<State>,
    observers: Mutex<Vec<Observer>>,
}

impl MemoryStore {
    /// A store without buckets. `clock` dates objects and uploads. Parts may have any size.
    pub fn new(abilities: Abilities, clock: Arc<dyn Clock>) -> MemoryStore {
        MemoryStore {
            abilities,
            clock,
            minimum_part_bytes: 0,
            state: Mutex::default(),
            observers: Mutex::default(),
        }
    }

    /// Refuses to complete an upload in which a part before the last one is shorter; 5 MiB on real
    /// stores.
    #[must_use]
    pub fn with_minimum_part_bytes(self, bytes: u64) -> MemoryStore {
        MemoryStore {
            minimum_part_bytes: bytes,
            ..self
        }
    }

    /// What it can do.
    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// Makes an empty bucket; one that is there stays as it is.
    pub fn create_bucket(&self, name: &str) {
        self.state().buckets.entry(name.into()).or_default();
    }

    /// From now on the bucket keeps versions. `Unsupported` where the store cannot,
    /// `BucketNotFound` where there is no such bucket.
    pub fn keep_versions(&self, bucket: &str) -> Result<()> {
        if !self.abilities.versions {
            let message = "this store keeps no versions";
            return Err(Fault::new(Code::Unsupported, message));
        }
        let mut state = self.state();
        let found = state.buckets.get_mut(bucket);
        found.ok_or_else(|| state::no_bucket(bucket))?.versioned = true;
        Ok(())
    }

    /// Tells this observer of every visible change from now on, straight after the change and
    /// before the call that made it returns. No lock is held meanwhile: the observer may look at
    /// the store. Calls that run on several threads may be told in another order than they changed
    /// the store.
    pub fn observe(&self, observer: Observer) {
        let mut observers = self
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        observers.push(observer);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: Option<Change>) {
        let Some(change) = change else {
            return;
        };
        let observers = self
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let all = observers.clone();
        drop(observers);
        for observer in all {
            observer(&change);
        }
    }
}

impl Store for MemoryStore {
    fn head<'a>(
        &'a self,
        url: &'a ObjectUrl,
        version_id: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Facts>> {
        async move { self.state().facts(&Place::of(url)?, version_id) }.boxed()
    }

    fn read<'a>(
        &'a self,
        url: &'a ObjectUrl,
        version: &'a Version,
        range: Range<u64>,
        mut into: PartBuffer,
    ) -> BoxFuture<'a, (PartBuffer, Result<()>)> {
        async move {
            let found = Place::of(url).and_then(|at| self.state().range(&at, version, range));
            let result = found.and_then(|bytes| {
                if into.append(&bytes) == bytes.len() {
                    return Ok(());
                }
                let message = format!("the download of {url} does not fit its buffer");
                Err(Fault::new(Code::SourceBroken, message))
            });
            (into, result)
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
        async move {
            let at = Place::of(url)?;
            let change = self.put_object(&at, new, &body, checksum)?;
            self.tell(Some(change));
            let confirmed = self.confirm_server_side(new);
            if confirmed.is_err() {
                let gone = self.delete_object(&at)?;
                self.tell(gone);
            }
            confirmed
        }
        .boxed()
    }

    fn begin<'a>(
        &'a self,
        url: &'a ObjectUrl,
        new: &'a NewObject,
    ) -> BoxFuture<'a, Result<UploadId>> {
        async move {
            let at = Place::of(url)?;
            let upload = self.begin_upload(&at, new)?;
            let confirmed = self.confirm_server_side(new);
            if confirmed.is_err() {
                self.state().abort(&at, &upload)?;
            }
            confirmed.map(|()| upload)
        }
        .boxed()
    }

    fn upload<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
        place: PartPlace,
        body: Bytes,
        checksum: Checksum,
    ) -> BoxFuture<'a, Result<UploadedPart>> {
        async move {
            let mut state = self.state();
            let open = state.open_upload(&Place::of(url)?, upload)?;
            open.receive(url, place.number, &body, checksum)
        }
        .boxed()
    }

    fn complete<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
        new: &'a NewObject,
        parts: &'a [UploadedPart],
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            let change = self.complete_upload(&Place::of(url)?, upload, new, parts)?;
            self.tell(change);
            Ok(())
        }
        .boxed()
    }

    fn abort<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Aborted>> {
        async move {
            self.state().abort(&Place::of(url)?, upload)?;
            Ok(Aborted::Gone)
        }
        .boxed()
    }

    fn parts<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Option<Vec<ListedPart>>>> {
        async move {
            if !self.abilities.lists_parts {
                return Ok(None);
            }
            let mut state = self.state();
            let open = state.open_upload(&Place::of(url)?, upload)?;
            Ok(Some(open.listed()))
        }
        .boxed()
    }

    fn uploads<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, Result<Vec<Upload>>> {
        async move { self.state().uploads(&Place::of(url)?) }.boxed()
    }

    fn delete<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, Result<()>> {
        async move {
            let change = self.delete_object(&Place::of(url)?)?;
            self.tell(change);
            Ok(())
        }
        .boxed()
    }

    fn get_small<'a>(
        &'a self,
        url: &'a ObjectUrl,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<Bytes>>> {
        async move { self.state().small(&Place::of(url)?, limit) }.boxed()
    }

    fn list<'a>(&'a self, prefix: &'a ObjectUrl) -> BoxFuture<'a, Result<Vec<Listed>>> {
        async move { self.state().list(&Place::of(prefix)?) }.boxed()
    }

    fn has_bucket<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, bool> {
        async move {
            let bucket = url.bucket();
            bucket.is_some_and(|name| self.state().buckets.contains_key(name))
        }
        .boxed()
    }

    fn keeps_if_absent<'a>(&'a self, _: &'a ObjectUrl) -> BoxFuture<'a, Result<bool>> {
        async move { Ok(self.abilities.if_absent_put) }.boxed()
    }

    fn reachable(&self) -> BoxFuture<'_, Result<()>> {
        async { Ok(()) }.boxed()
    }
}

#[cfg(test)]
mod tests;
