//! A store that says of every abort that the upload is still there, as one does that lists late.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use ciphermill::buffers::PartBuffer;
use ciphermill::checksum::Checksum;
use ciphermill::fault::Result;
use ciphermill::job::ObjectUrl;
use ciphermill::store::{
    Aborted, Facts, Listed, ListedPart, NewObject, PartPlace, Store, Upload, UploadId,
    UploadedPart, Version,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// All else goes to the store inside.
pub struct Stubborn(pub Arc<dyn Store>);

impl Store for Stubborn {
    fn abort<'a>(&'a self, _: &'a ObjectUrl, _: &'a UploadId) -> BoxFuture<'a, Result<Aborted>> {
        std::future::ready(Ok(Aborted::Left)).boxed()
    }

    fn head<'a>(
        &'a self,
        url: &'a ObjectUrl,
        version_id: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Facts>> {
        self.0.head(url, version_id)
    }

    fn read<'a>(
        &'a self,
        url: &'a ObjectUrl,
        version: &'a Version,
        range: Range<u64>,
        into: PartBuffer,
    ) -> BoxFuture<'a, (PartBuffer, Result<()>)> {
        self.0.read(url, version, range, into)
    }

    fn put<'a>(
        &'a self,
        url: &'a ObjectUrl,
        new: &'a NewObject,
        body: Bytes,
        checksum: &'a Checksum,
    ) -> BoxFuture<'a, Result<()>> {
        self.0.put(url, new, body, checksum)
    }

    fn begin<'a>(
        &'a self,
        url: &'a ObjectUrl,
        new: &'a NewObject,
    ) -> BoxFuture<'a, Result<UploadId>> {
        self.0.begin(url, new)
    }

    fn upload<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
        place: PartPlace,
        body: Bytes,
        checksum: Checksum,
    ) -> BoxFuture<'a, Result<UploadedPart>> {
        self.0.upload(url, upload, place, body, checksum)
    }

    fn complete<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
        new: &'a NewObject,
        parts: &'a [UploadedPart],
    ) -> BoxFuture<'a, Result<()>> {
        self.0.complete(url, upload, new, parts)
    }

    fn parts<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Option<Vec<ListedPart>>>> {
        self.0.parts(url, upload)
    }

    fn uploads<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, Result<Vec<Upload>>> {
        self.0.uploads(url)
    }

    fn delete<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, Result<()>> {
        self.0.delete(url)
    }

    fn get_small<'a>(
        &'a self,
        url: &'a ObjectUrl,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<Bytes>>> {
        self.0.get_small(url, limit)
    }

    fn list<'a>(&'a self, prefix: &'a ObjectUrl) -> BoxFuture<'a, Result<Vec<Listed>>> {
        self.0.list(prefix)
    }

    fn has_bucket<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, bool> {
        self.0.has_bucket(url)
    }

    fn keeps_if_absent<'a>(&'a self, probe: &'a ObjectUrl) -> BoxFuture<'a, Result<bool>> {
        self.0.keeps_if_absent(probe)
    }

    fn reachable(&self) -> BoxFuture<'_, Result<()>> {
        self.0.reachable()
    }
}
