//! What a memory store holds: buckets, the versions of their objects, and open uploads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use bytes::Bytes;

use super::abilities::Kept;
use crate::checksum::{Algorithm, Checksum};
use crate::fault::{Code, Fault, Result};
use crate::job::ObjectUrl;
use crate::store::{Condition, NewObject, UploadId, Version};

/// Everything.
#[derive(Default)]
pub(super) struct State {
    pub(super) buckets: BTreeMap<String, Bucket>,
    /// Counts what gets an id: versions and uploads.
    turn: u64,
}

/// One bucket.
#[derive(Default)]
pub(super) struct Bucket {
    /// Whether it keeps versions.
    pub(super) versioned: bool,
    /// The history of each key, the newest last. Without versions it has one entry.
    pub(super) keys: BTreeMap<String, Vec<Entry>>,
    /// Open uploads by their turn.
    pub(super) uploads: BTreeMap<u64, OpenUpload>,
    /// Uploads that were completed.
    pub(super) completed: BTreeSet<CompletedUpload>,
}

/// One step in the history of a key.
pub(super) enum Entry {
    /// An object was published.
    Object(Box<Stored>),
    /// It was deleted, in a bucket that keeps versions.
    Deleted,
}

/// One version of an object.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) version: Version,
    pub(super) body: Bytes,
    pub(super) described: Described,
    pub(super) crc64nvme: Option<String>,
    pub(super) modified: SystemTime,
}

/// What was said of an object when it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) content_type: String,
    pub(super) storage_class: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) server_side: Option<String>,
}

/// An upload that is under way.
pub(super) struct OpenUpload {
    pub(super) key: String,
    pub(super) id: UploadId,
    pub(super) begun: SystemTime,
    pub(super) described: Described,
    /// The checksum that its parts carry.
    pub(super) checksum: Algorithm,
    pub(super) parts: BTreeMap<i32, Part>,
}

/// One part that was received.
pub(super) struct Part {
    /// ETag without quotes.
    pub(super) etag: String,
    pub(super) body: Bytes,
    pub(super) checksum: Checksum,
    /// How often it was received.
    pub(super) times: u32,
}

/// An upload that is no more.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CompletedUpload {
    pub(super) key: String,
    pub(super) id: String,
}

/// Where an object is.
pub(super) struct Place<'a> {
    pub(super) url: &'a ObjectUrl,
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn of(url: &'a ObjectUrl) -> Result<Place<'a>> {
        match url {
            ObjectUrl::S3 { bucket, key } => Ok(Place { url, bucket, key }),
            ObjectUrl::File { .. } => Err(Fault::new(
                Code::Internal,
                "a file URL reached the S3 store in memory",
            )),
        }
    }

    /// A fault that says what the store said.
    pub(super) fn fault(&self, code: Code, what: &str) -> Fault {
        Fault::new(code, format!("{}: {what}", self.url))
    }
}

impl State {
    /// The next number for an id.
    pub(super) fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    pub(super) fn bucket(&self, at: &Place) -> Result<&Bucket> {
        let found = self.buckets.get(at.bucket);
        found.ok_or_else(|| no_bucket(at.bucket))
    }

    pub(super) fn bucket_mut(&mut self, at: &Place) -> Result<&mut Bucket> {
        let found = self.buckets.get_mut(at.bucket);
        found.ok_or_else(|| no_bucket(at.bucket))
    }
}

impl Bucket {
    /// The visible object of a key.
    pub(super) fn current(&self, key: &str) -> Option<&Stored> {
        match self.keys.get(key)?.last()? {
            Entry::Object(stored) => Some(stored.as_ref()),
            Entry::Deleted => None,
        }
    }

    /// One version of an object by its id.
    pub(super) fn version(&self, key: &str, id: &str) -> Option<&Stored> {
        self.keys.get(key)?.iter().find_map(|entry| match entry {
            Entry::Object(stored) => {
                (stored.version.version_id.as_deref() == Some(id)).then_some(stored.as_ref())
            }
            Entry::Deleted => None,
        })
    }

    /// `OutputExists` or `SourceChanged` when a condition that is kept does not hold.
    pub(super) fn check(&self, at: &Place, condition: &Condition, kept: Kept) -> Result<()> {
        let etag = self.current(at.key).map(|stored| &stored.version.etag);
        match condition {
            Condition::Always => Ok(()),
            Condition::IfAbsent if !kept.if_absent || etag.is_none() => Ok(()),
            Condition::IfAbsent => Err(at.fault(Code::OutputExists, "something is there already")),
            Condition::IfMatch(wanted) if !kept.if_match || etag == Some(wanted) => Ok(()),
            Condition::IfMatch(wanted) => {
                let message = format!("the object there has not the ETag {wanted}");
                Err(at.fault(Code::SourceChanged, &message))
            }
        }
    }

    /// Makes this the visible object.
    pub(super) fn publish(&mut self, key: &str, stored: Stored) {
        let history = self.keys.entry(key.into()).or_default();
        if !self.versioned {
            history.clear();
        }
        history.push(Entry::Object(Box::new(stored)));
    }

    /// Ends the uploads of a key that began before this turn.
    pub(super) fn end_uploads(&mut self, key: &str, before: u64) {
        self.uploads
            .retain(|turn, upload| upload.key != key || *turn >= before);
    }
}

impl Described {
    /// What a PUT or a begin says.
    pub(super) fn of(new: &NewObject) -> Described {
        let content_type = new.content_type.as_deref();
        Described {
            content_type: content_type.unwrap_or("application/octet-stream").into(),
            storage_class: new.storage_class.clone(),
            metadata: new.metadata.clone(),
            tags: new.tags.clone(),
            server_side: None,
        }
    }
}

pub(super) fn no_bucket(name: &str) -> Fault {
    Fault::new(
        Code::BucketNotFound,
        format!("there is no bucket named {name}"),
    )
}
