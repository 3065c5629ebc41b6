//! Store: where objects live.
//!
//! One trait, two stores: [`s3`] (any S3-compatible service) and [`files`] (this machine). Both
//! publish an object only whole: by one PUT, by completing a multipart upload, or by a rename (P2).
//! For tests there are two more: [`memory`], an S3 store without a server, and [`faulty`], which
//! wraps any store and makes its calls fail.
//! This module knows URLs, versions, buffers and checksums; of jobs it knows only
//! how they name objects, and of keys and ciphers nothing.

pub mod faulty;
pub mod files;
pub mod memory;
pub mod s3;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::buffers::PartBuffer;
use crate::checksum::{Algorithm, Checksum};
use crate::fault::Result;
use crate::job::{ObjectUrl, ServerSide};
use crate::settings;

/// One version of one object: what every read of it is pinned to (P5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// ETag, without quotes; for a file its inode, size and modification time.
    pub etag: String,
    /// Version id, where the bucket keeps versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
}

/// What a store says about an object.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Length in bytes.
    pub len: u64,
    /// Which version this is.
    pub version: Version,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
    /// Server-side encryption (`AES256`, `aws:kms`).
    pub server_side: Option<String>,
    /// The CRC-64/NVME over the whole object, base64, where the store keeps one.
    pub crc64nvme: Option<String>,
}

/// What the store is told about a new object.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Content-Type.
    pub content_type: Option<String>,
    /// Storage class.
    pub storage_class: Option<String>,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Server-side encryption.
    pub server_side: Option<ServerSide>,
    /// Which checksum its uploads carry.
    pub checksum: Algorithm,
    /// What must stand under its name when it is published.
    pub condition: Condition,
}

/// What must stand under an object's name at the moment a new object is published there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Anything or nothing: an object that is there is replaced.
    #[default]
    Always,
    /// Nothing. Otherwise `OutputExists`.
    IfAbsent,
    /// The object with this ETag, without quotes. Otherwise `SourceChanged`, also when nothing is
    /// there. Files refuse it as `Unsupported`: no rename compares what it replaces.
    IfMatch(String),
}

impl Condition {
    /// `IfAbsent` where the store keeps it, `Always` elsewhere.
    pub fn if_absent_where(kept: bool) -> Condition {
        if kept {
            Condition::IfAbsent
        } else {
            Condition::Always
        }
    }
}

impl NewObject {
    /// An object with nothing special about it.
    pub fn plain() -> NewObject {
        NewObject {
            content_type: None,
            storage_class: None,
            metadata: BTreeMap::new(),
            tags: BTreeMap::new(),
            server_side: None,
            checksum: Algorithm::Crc64Nvme,
            condition: Condition::Always,
        }
    }
}

/// A multipart upload under way; for a file, the name of its temporary file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadId(pub String);

/// An upload that a store shows.
#[derive(Clone, Debug)]
pub struct Upload {
    /// What it is called.
    pub id: UploadId,
    /// When it was begun.
    pub begun: SystemTime,
}

/// One part to upload.
#[derive(Clone, Copy, Debug)]
pub struct PartPlace {
    /// Part number, from 1.
    pub number: i32,
    /// Offset of its first byte in the object.
    pub offset: u64,
}

/// One part that the store has.
#[derive(Clone, Debug)]
pub struct UploadedPart {
    /// Part number, from 1.
    pub number: i32,
    /// What the store calls it.
    pub etag: String,
    /// Its checksum.
    pub checksum: Checksum,
    /// Its length.
    pub bytes: u64,
}

/// One part of an open upload, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPart {
    /// Part number, from 1.
    pub number: i32,
    /// ETag as the store spells it, quotes included: what [`Store::complete`] wants back.
    pub etag: String,
    /// Its length.
    pub bytes: u64,
    /// Its checksum, where the store says one of a kind that we know.
    pub checksum: Option<Checksum>,
}

/// An object under a prefix.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Where it is.
    pub url: ObjectUrl,
    /// When it was written.
    pub modified: SystemTime,
}

/// The answer to an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aborted {
    /// The upload is gone, and was looked for again to be sure.
    Gone,
    /// The store still shows it.
    Left,
}

/// An object store.
pub trait Store: Send + Sync {
    /// What is there; `SourceNotFound` when nothing is.
    fn head<'a>(
        &'a self,
        url: &'a ObjectUrl,
        version_id: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Facts>>;

    /// Appends the bytes of `range` of this version to the buffer. On failure the buffer holds what
    /// came before it, so the caller can go on from there. `SourceChanged` when the version is
    /// gone.
    fn read<'a>(
        &'a self,
        url: &'a ObjectUrl,
        version: &'a Version,
        range: Range<u64>,
        into: PartBuffer,
    ) -> BoxFuture<'a, (PartBuffer, Result<()>)>;

    /// Publishes a whole object at once, if [`NewObject::condition`] holds: `OutputExists` or
    /// `SourceChanged` otherwise, and what was there stays. A store that does not keep conditions
    /// ignores them: see [`keeps_if_absent`](Store::keeps_if_absent).
    fn put<'a>(
        &'a self,
        url: &'a ObjectUrl,
        new: &'a NewObject,
        body: Bytes,
        checksum: &'a Checksum,
    ) -> BoxFuture<'a, Result<()>>;

    /// Begins an upload that nobody sees before it is completed. The condition is not looked at yet;
    /// one that the store can never keep may be refused here already.
    fn begin<'a>(
        &'a self,
        url: &'a ObjectUrl,
        new: &'a NewObject,
    ) -> BoxFuture<'a, Result<UploadId>>;

    /// Uploads one part.
    fn upload<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
        place: PartPlace,
        body: Bytes,
        checksum: Checksum,
    ) -> BoxFuture<'a, Result<UploadedPart>>;

    /// Publishes these parts of the upload as one object, if the condition holds: `OutputExists` or
    /// `SourceChanged` otherwise, and the upload stays open. `SourceNotFound` when the upload is
    /// gone. Done again, it may succeed without doing anything (AWS), or find the upload gone.
    fn complete<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
        new: &'a NewObject,
        parts: &'a [UploadedPart],
    ) -> BoxFuture<'a, Result<()>>;

    /// Gives an upload up, and looks whether it is gone.
    fn abort<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Aborted>>;

    /// The parts that the store has of an open upload, by number; `None` where it cannot list them
    /// (files). `SourceNotFound` when the upload is gone.
    fn parts<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Option<Vec<ListedPart>>>>;

    /// Uploads of this very object that are under way.
    fn uploads<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, Result<Vec<Upload>>>;

    /// Removes an object; no fault when there is none.
    fn delete<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, Result<()>>;

    /// A small object's bytes, at most `limit`; `None` when there is none.
    fn get_small<'a>(
        &'a self,
        url: &'a ObjectUrl,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<Bytes>>>;

    /// Objects under a prefix.
    fn list<'a>(&'a self, prefix: &'a ObjectUrl) -> BoxFuture<'a, Result<Vec<Listed>>>;

    /// Whether the bucket of this URL is there; asked only to explain a missing object.
    fn has_bucket<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, bool>;

    /// Whether [`Condition::IfAbsent`] is kept by the store itself, atomically.
    fn keeps_if_absent<'a>(&'a self, probe: &'a ObjectUrl) -> BoxFuture<'a, Result<bool>>;

    /// Whether it answers at all (for readiness).
    fn reachable(&self) -> BoxFuture<'_, Result<()>>;
}

/// The stores that URLs can name.
pub struct Stores {
    s3: Arc<dyn Store>,
    files: Arc<dyn Store>,
}

impl Stores {
    /// The S3 store from the SDK's environment and these settings; files as `access` allows.
    pub fn open(aws: Aws, settings: settings::S3, access: files::Access) -> Stores {
        Stores {
            s3: Arc::new(s3::S3Store::new(aws, settings)),
            files: Arc::new(files::FileStore::new(access)),
        }
    }

    /// Any two stores (for tests).
    pub fn new(s3: Arc<dyn Store>, files: Arc<dyn Store>) -> Stores {
        Stores { s3, files }
    }

    /// The store that keeps this object.
    pub fn of(&self, url: &ObjectUrl) -> &Arc<dyn Store> {
        match url {
            ObjectUrl::S3 { .. } => &self.s3,
            ObjectUrl::File { .. } => &self.files,
        }
    }

    /// The S3 store.
    pub fn s3(&self) -> &Arc<dyn Store> {
        &self.s3
    }
}
