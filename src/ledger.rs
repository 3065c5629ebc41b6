//! Ledger: what an attempt must remember across crashes.
//!
//! One small JSON object per job that writes more than one object, uploads in parts, or uses an IV
//! of the caller's; in the first required output's bucket or folder, below the ledger prefix. It is written
//! before the first byte and once more at the end, and read when the job comes (back). Wrapped keys
//! may stand in it, keys never.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::checksum::Algorithm;
use crate::fault::{Code, Fault, Result};
use crate::job::event::{CompanionResult, EventData, OutputResult, OutputStatus};
use crate::job::{Job, JobDigest, ObjectUrl};
use crate::sink::label::Label;
use crate::store::{Listed, NewObject, Store, Stores, UploadId, Version};

/// Largest entry that is read back: a thousand companions, each with a wrapped key.
const MAX_BYTES: usize = 32 << 20;

/// What is remembered of one job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The job's id.
    pub job_id: String,
    /// Its digest, hex.
    pub digest: String,
    /// Whether an IV of the caller's is used: then neither source nor message may ever differ.
    pub given_iv: bool,
    /// The attempt's own token: two attempts that keep the same outputs differ by it.
    #[serde(default)]
    pub attempt: String,
    /// When the attempt began, in seconds since 1970.
    #[serde(default)]
    pub begun: u64,
    /// The source version that was read.
    pub source: Version,
    /// What is being written.
    pub outputs: Vec<OutputEntry>,
    /// The companions being written, once they are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub companions: Vec<CompanionEntry>,
    /// Companions that earlier attempts published, and this one may replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ours: Vec<OutputEntry>,
    /// The result, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<EventData>>,
}

/// One companion being written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompanionEntry {
    /// The object.
    #[serde(flatten)]
    pub object: OutputEntry,
    /// Whether it is begun as an upload, even where one request could do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uploads: bool,
    /// Its result, as far as it is known before it is published.
    pub result: CompanionResult,
}

/// One object being written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutputEntry {
    /// Where.
    pub url: String,
    /// The upload, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadId>,
    /// How it is made.
    pub label: Label,
}

/// Where a job's entry is, and how to get at it.
pub struct Ledger {
    store: Arc<dyn Store>,
    url: ObjectUrl,
    /// The field of the job that says where it is.
    pointer: Option<String>,
}

impl Ledger {
    /// The ledger of this job: beside its first required output, since the buckets of others may be
    /// missing.
    pub fn of(job: &Job, prefix: &str, stores: &Stores) -> Ledger {
        let home = job
            .outputs
            .iter()
            .position(|output| output.required)
            .unwrap_or(0);
        let url = &job.outputs[home].url;
        Ledger {
            store: Arc::clone(stores.of(url)),
            url: place(url, prefix, &format!("{}.json", job.id)),
            pointer: Some(format!("/outputs/{home}/url")),
        }
    }

    /// Opens an entry that was found by listing.
    pub fn at(url: ObjectUrl, store: Arc<dyn Store>) -> Ledger {
        Ledger {
            store,
            url,
            pointer: None,
        }
    }

    /// The entry, if there is one. One that does not parse is a fault: it may hold an IV's history.
    pub async fn read(&self) -> Result<Option<Entry>> {
        let bytes = self.store.get_small(&self.url, MAX_BYTES).await;
        let Some(bytes) = bytes.map_err(|fault| self.named(fault))? else {
            return Ok(None);
        };
        let broken = |e: serde_json::Error| {
            let message = format!("the ledger entry {} is damaged: {e}", self.url);
            Fault::new(Code::ReservedByOther, message).at("/id")
        };
        serde_json::from_slice(&bytes).map(Some).map_err(broken)
    }

    /// Writes the entry, replacing the one before.
    pub async fn write(&self, entry: &Entry) -> Result<()> {
        let bytes =
            serde_json::to_vec(entry).map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
        let checksum = Algorithm::Crc64Nvme.of(&bytes);
        let new = NewObject::plain();
        let written = self
            .store
            .put(&self.url, &new, Bytes::from(bytes), &checksum)
            .await;
        written.map_err(|fault| self.named(fault))
    }

    /// Forgets the job.
    pub async fn remove(&self) -> Result<()> {
        self.store.delete(&self.url).await
    }

    fn named(&self, fault: Fault) -> Fault {
        match &self.pointer {
            Some(pointer) => fault.at(pointer),
            None => fault,
        }
    }
}

impl Entry {
    /// Whether it is about this very message.
    pub fn is_of(&self, digest: JobDigest) -> bool {
        JobDigest::parse(&self.digest) == Some(digest)
    }

    /// Whether both are of the same attempt: each attempt has a token of its own.
    pub fn is_same_attempt(&self, other: &Entry) -> bool {
        self.digest == other.digest && self.attempt == other.attempt
    }

    /// Whether the upload of output number `index` may still be there: the job has no result, or one
    /// in which this output failed.
    pub fn may_be_open(&self, index: usize) -> bool {
        let Some(result) = &self.result else {
            return true;
        };
        let named = |output: &OutputEntry| output.upload.is_some();
        let failed = |output: &OutputResult| output.status == OutputStatus::Failed;
        self.outputs.get(index).is_some_and(named) && result.outputs.get(index).is_some_and(failed)
    }

    /// Whether its attempt began less than `time` before `now`.
    pub fn is_younger_than(&self, time: Duration, now: SystemTime) -> bool {
        let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(self.begun);
        now.duration_since(begun).is_ok_and(|age| age < time)
    }

    /// Refuses what would let a given IV meet a second plaintext.
    pub fn check_given_iv(
        &self,
        digest: JobDigest,
        given_iv: bool,
        source: &Version,
    ) -> Result<()> {
        if !self.is_of(digest) && (self.given_iv || given_iv) {
            let message = format!(
                "the id {} was used with another message, and an iv was given",
                self.job_id
            );
            return Err(Fault::new(Code::ReservedByOther, message).at("/id"));
        }
        if self.is_of(digest) && given_iv && self.source != *source {
            let message =
                "the source is another version than when the given iv was first used with it";
            return Err(Fault::new(Code::SourceChanged, message).at("/input/url"));
        }
        Ok(())
    }
}

/// A place of the worker's own in the bucket or folder of `output`.
pub fn place(output: &ObjectUrl, prefix: &str, name: &str) -> ObjectUrl {
    match output {
        ObjectUrl::S3 { bucket, .. } => ObjectUrl::S3 {
            bucket: bucket.clone(),
            key: format!("{prefix}{name}"),
        },
        ObjectUrl::File { path } => {
            let folder = path.parent().unwrap_or(path);
            ObjectUrl::File {
                path: folder.join(prefix.trim_end_matches('/')).join(name),
            }
        }
    }
}

/// Entries in a bucket (found by the prefix), for the reaper.
pub async fn list(store: &dyn Store, bucket: &str, prefix: &str) -> Result<Vec<Listed>> {
    store
        .list(&ObjectUrl::S3 {
            bucket: bucket.into(),
            key: prefix.into(),
        })
        .await
}
