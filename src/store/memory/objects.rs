//! Whole objects: PUT, HEAD, ranged GET, DELETE and lists.

use std::ops::Range;

use bytes::Bytes;
use md5::{Digest as _, Md5};

use super::MemoryStore;
use super::state::{Described, Entry, Place, State, Stored};
use super::view::{Change, ChangeKind};
use crate::checksum::{Algorithm, Checksum};
use crate::fault::{Code, Fault, Result};
use crate::job::{ObjectUrl, ServerSide};
use crate::store::{Facts, Listed, NewObject, Version};

impl MemoryStore {
    pub(super) fn put_object(
        &self,
        at: &Place,
        new: &NewObject,
        body: &Bytes,
        checksum: &Checksum,
    ) -> Result<Change> {
        let mut state = self.state();
        let bucket = state.bucket(at)?;
        bucket.check(at, &new.condition, self.abilities.of_put())?;
        verify(at, body, checksum)?;
        let versioned = bucket.versioned;
        let turn = state.next_turn();
        let crc64nvme = match checksum.algorithm() {
            Algorithm::Crc64Nvme => Some(checksum.to_base64()),
            Algorithm::Sha256 => None,
        };
        let stored = Stored {
            version: Version {
                etag: hex::encode(Md5::digest(body)),
                version_id: versioned.then(|| version_id(turn)),
            },
            // A copy: the caller's buffer goes back to its pool.
            body: Bytes::copy_from_slice(body),
            described: self.described(new),
            crc64nvme,
            modified: self.clock.now(),
        };
        let change = Change::of(at.url, ChangeKind::Put, &stored);
        let bucket = state.bucket_mut(at)?;
        bucket.publish(at.key, stored);
        if self.abilities.writes_end_uploads {
            bucket.end_uploads(at.key, turn);
        }
        Ok(change)
    }

    /// `None` when nothing was visible there.
    pub(super) fn delete_object(&self, at: &Place) -> Result<Option<Change>> {
        let mut state = self.state();
        let turn = state.next_turn();
        let bucket = state.bucket_mut(at)?;
        if self.abilities.writes_end_uploads {
            bucket.end_uploads(at.key, turn);
        }
        let Some(stored) = bucket.current(at.key) else {
            return Ok(None);
        };
        let change = Change::of(at.url, ChangeKind::Delete, stored);
        if bucket.versioned {
            let history = bucket.keys.entry(at.key.into()).or_default();
            history.push(Entry::Deleted);
        } else {
            bucket.keys.remove(at.key);
        }
        Ok(Some(change))
    }

    /// What the store keeps of a new object.
    pub(super) fn described(&self, new: &NewObject) -> Described {
        let mut kept = Described::of(new);
        if !self.abilities.storage_class {
            kept.storage_class = None;
        }
        if !self.abilities.tags {
            kept.tags.clear();
        }
        if self.abilities.server_side {
            let mode = match &new.server_side {
                None | Some(ServerSide::S3) => "AES256",
                Some(ServerSide::Kms { .. }) => "aws:kms",
            };
            kept.server_side = Some(mode.into());
        }
        kept
    }

    /// `ServerSideIgnored` when the store was asked to encrypt and does not say that it does.
    pub(super) fn confirm_server_side(&self, new: &NewObject) -> Result<()> {
        if new.server_side.is_none() || self.abilities.server_side {
            return Ok(());
        }
        let message = "asked the store for server-side encryption, it confirmed nothing";
        Err(Fault::new(Code::ServerSideIgnored, message))
    }
}

impl State {
    /// A missing bucket looks like a missing object: an error to a HEAD has no body to say it in.
    pub(super) fn facts(&self, at: &Place, version_id: Option<&str>) -> Result<Facts> {
        let missing = || at.fault(Code::SourceNotFound, "there is no such object");
        let bucket = self.buckets.get(at.bucket).ok_or_else(missing)?;
        let found = match version_id {
            None => bucket.current(at.key),
            Some(id) => bucket.version(at.key, id),
        };
        let stored = found.ok_or_else(missing)?;
        Ok(Facts {
            len: stored.body.len() as u64,
            version: stored.version.clone(),
            metadata: stored.described.metadata.clone(),
            server_side: stored.described.server_side.clone(),
            crc64nvme: stored.crc64nvme.clone(),
        })
    }

    /// The bytes of a range of this version; `SourceChanged` when another one is there, or when the
    /// object ends before the range does.
    pub(super) fn range(&self, at: &Place, version: &Version, range: Range<u64>) -> Result<Bytes> {
        let bucket = self.bucket(at)?;
        let found = match &version.version_id {
            None => bucket.current(at.key),
            Some(id) => bucket.version(at.key, id),
        };
        let stored =
            found.ok_or_else(|| at.fault(Code::SourceNotFound, "there is no such object"))?;
        if stored.version.etag != version.etag {
            return Err(at.fault(Code::SourceChanged, "the object has another ETag"));
        }
        let len = stored.body.len() as u64;
        if range.start >= range.end || range.start >= len {
            return Err(at.fault(Code::StoreRejected, "the range cannot be satisfied"));
        }
        if range.end > len {
            return Err(at.fault(Code::SourceChanged, "the object ends before the range"));
        }
        // Both are at most the length of a body in memory.
        Ok(stored.body.slice(range.start as usize..range.end as usize))
    }

    /// `None` when nothing is there, `LimitExceeded` when it is longer.
    pub(super) fn small(&self, at: &Place, limit: usize) -> Result<Option<Bytes>> {
        let Some(stored) = self.bucket(at)?.current(at.key) else {
            return Ok(None);
        };
        if stored.body.len() > limit {
            let message = format!("it is larger than {limit} bytes");
            return Err(at.fault(Code::LimitExceeded, &message));
        }
        Ok(Some(stored.body.clone()))
    }

    /// Visible objects whose key begins like this, by key.
    pub(super) fn list(&self, at: &Place) -> Result<Vec<Listed>> {
        let bucket = self.bucket(at)?;
        let from = bucket.keys.range(at.key.to_owned()..);
        let under = from.take_while(|(key, _)| key.starts_with(at.key));
        let visible = under.filter_map(|(key, _)| {
            Some(Listed {
                url: ObjectUrl::S3 {
                    bucket: at.bucket.into(),
                    key: key.clone(),
                },
                modified: bucket.current(key)?.modified,
            })
        });
        Ok(visible.collect())
    }
}

/// `IntegrityMismatch` when these are other bytes than were announced.
pub(super) fn verify(at: &Place, body: &[u8], checksum: &Checksum) -> Result<()> {
    if checksum.algorithm().of(body) == *checksum {
        return Ok(());
    }
    Err(at.fault(
        Code::IntegrityMismatch,
        "the body has another checksum than was announced",
    ))
}

/// The id of the version that was made in this turn.
pub(super) fn version_id(turn: u64) -> String {
    format!("version-{turn:08}")
}
