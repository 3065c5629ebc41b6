//! What a test sees of a memory store: changes as they happen, and what is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::MemoryStore;
use super::state::{OpenUpload, Stored};
use crate::job::ObjectUrl;
use crate::store::{UploadId, Version};

/// Called with every change.
pub type Observer = Arc<dyn Fn(&Change) + Send + Sync>;

/// What a change was made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A PUT.
    Put,
    /// The completion of an upload.
    Complete,
    /// A DELETE of something that was visible.
    Delete,
}

/// One change of what readers see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub url: ObjectUrl,
    /// By what.
    pub kind: ChangeKind,
    /// The version that became visible; for a delete the one that was.
    pub version: Version,
    /// Its length.
    pub bytes: u64,
    /// Its user metadata.
    pub metadata: BTreeMap<String, String>,
}

impl Change {
    pub(super) fn of(url: &ObjectUrl, kind: ChangeKind, stored: &Stored) -> Change {
        Change {
            url: url.clone(),
            kind,
            version: stored.version.clone(),
            bytes: stored.body.len() as u64,
            metadata: stored.described.metadata.clone(),
        }
    }
}

/// A visible object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectView {
    /// Its bytes.
    pub body: Bytes,
    /// Which version it is.
    pub version: Version,
    /// When it was published.
    pub modified: SystemTime,
    /// Content-Type.
    pub content_type: String,
    /// Storage class, where the store keeps one.
    pub storage_class: Option<String>,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
    /// Tags, where the store keeps them.
    pub tags: BTreeMap<String, String>,
    /// Server-side encryption (`AES256`, `aws:kms`).
    pub server_side: Option<String>,
}

/// An open upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadView {
    /// The key of its object.
    pub key: String,
    /// What it is called.
    pub id: UploadId,
    /// When it was begun.
    pub begun: SystemTime,
    /// User metadata of the object that it will be.
    pub metadata: BTreeMap<String, String>,
    /// The parts that were received, by number.
    pub parts: Vec<PartView>,
}

/// A part of an open upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartView {
    /// Part number, from 1.
    pub number: i32,
    /// Its bytes.
    pub body: Bytes,
    /// How often it was received.
    pub times: u32,
}

impl MemoryStore {
    /// The visible object, if there is one.
    pub fn object(&self, url: &ObjectUrl) -> Option<ObjectView> {
        let ObjectUrl::S3 { bucket, key } = url else {
            return None;
        };
        let state = self.state();
        let stored = state.buckets.get(bucket)?.current(key)?;
        let described = stored.described.clone();
        Some(ObjectView {
            body: stored.body.clone(),
            version: stored.version.clone(),
            modified: stored.modified,
            content_type: described.content_type,
            storage_class: described.storage_class,
            metadata: described.metadata,
            tags: described.tags,
            server_side: described.server_side,
        })
    }

    /// Keys of the visible objects of a bucket, in order; none where there is no such bucket.
    pub fn names(&self, bucket: &str) -> Vec<String> {
        let state = self.state();
        let Some(bucket) = state.buckets.get(bucket) else {
            return Vec::new();
        };
        let visible = bucket
            .keys
            .keys()
            .filter(|key| bucket.current(key).is_some());
        visible.cloned().collect()
    }

    /// Open uploads of a bucket, the oldest first; none where there is no such bucket.
    pub fn open_uploads(&self, bucket: &str) -> Vec<UploadView> {
        let state = self.state();
        let Some(bucket) = state.buckets.get(bucket) else {
            return Vec::new();
        };
        bucket.uploads.values().map(UploadView::of).collect()
    }
}

impl UploadView {
    fn of(open: &OpenUpload) -> UploadView {
        let parts = open.parts.iter().map(|(number, part)| PartView {
            number: *number,
            body: part.body.clone(),
            times: part.times,
        });
        UploadView {
            key: open.key.clone(),
            id: open.id.clone(),
            begun: open.begun,
            metadata: open.described.metadata.clone(),
            parts: parts.collect(),
        }
    }
}
