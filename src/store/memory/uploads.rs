//! Multipart uploads: begin, parts, complete, abort and their lists.

use bytes::{Bytes, BytesMut};
use md5::{Digest as _, Md5};

use super::MemoryStore;
use super::objects::{verify, version_id};
use super::state::{CompletedUpload, OpenUpload, Part, Place, State, Stored};
use super::view::{Change, ChangeKind};
use crate::checksum::{Algorithm, Checksum};
use crate::fault::{Code, Fault, Result};
use crate::job::ObjectUrl;
use crate::store::{ListedPart, NewObject, Upload, UploadId, UploadedPart, Version};

/// The highest part number.
const LAST_PART: i32 = 10_000;

impl MemoryStore {
    pub(super) fn begin_upload(&self, at: &Place, new: &NewObject) -> Result<UploadId> {
        let mut state = self.state();
        let turn = state.next_turn();
        let bucket = state.bucket_mut(at)?;
        let id = UploadId(format!("upload-{turn:08}"));
        let open = OpenUpload {
            key: at.key.into(),
            id: id.clone(),
            begun: self.clock.now(),
            described: self.described(new),
            checksum: new.checksum,
            parts: Default::default(),
        };
        bucket.uploads.insert(turn, open);
        Ok(id)
    }

    /// `None` when it was completed before, where the store answers 200 to that.
    pub(super) fn complete_upload(
        &self,
        at: &Place,
        upload: &UploadId,
        new: &NewObject,
        parts: &[UploadedPart],
    ) -> Result<Option<Change>> {
        let mut state = self.state();
        let completed = CompletedUpload {
            key: at.key.into(),
            id: upload.0.clone(),
        };
        let bucket = state.bucket(at)?;
        if self.abilities.repeats_complete && bucket.completed.contains(&completed) {
            return Ok(None);
        }
        let begun = match state.find_upload(at, upload) {
            Err(_) if !self.abilities.aborts_are_final && bucket.current(at.key).is_some() => {
                return Ok(None);
            }
            found => found?,
        };
        let open = bucket.uploads.get(&begun).ok_or_else(|| no_upload(at))?;
        let chosen = open.chosen(at, parts, self.minimum_part_bytes)?;
        bucket.check(at, &new.condition, self.abilities.of_complete())?;
        let mut stored = open.joined(&chosen);
        stored.modified = self.clock.now();
        let versioned = bucket.versioned;
        let turn = state.next_turn();
        stored.version.version_id = versioned.then(|| version_id(turn));
        let change = Change::of(at.url, ChangeKind::Complete, &stored);
        let bucket = state.bucket_mut(at)?;
        bucket.uploads.remove(&begun);
        bucket.completed.insert(completed);
        bucket.publish(at.key, stored);
        if self.abilities.writes_end_uploads {
            bucket.end_uploads(at.key, begun);
        }
        Ok(Some(change))
    }
}

impl State {
    /// The turn of an open upload.
    fn find_upload(&self, at: &Place, upload: &UploadId) -> Result<u64> {
        let mut all = self.bucket(at)?.uploads.iter();
        let found = all.find(|(_, open)| open.key == at.key && open.id == *upload);
        found.map(|(turn, _)| *turn).ok_or_else(|| no_upload(at))
    }

    /// An open upload of this object; `SourceNotFound` when it is gone.
    pub(super) fn open_upload(&mut self, at: &Place, upload: &UploadId) -> Result<&mut OpenUpload> {
        let turn = self.find_upload(at, upload)?;
        let found = self.bucket_mut(at)?.uploads.get_mut(&turn);
        found.ok_or_else(|| no_upload(at))
    }

    /// Forgets an upload; no fault when it is gone.
    pub(super) fn abort(&mut self, at: &Place, upload: &UploadId) -> Result<()> {
        let bucket = self.bucket_mut(at)?;
        bucket
            .uploads
            .retain(|_, open| open.key != at.key || open.id != *upload);
        Ok(())
    }

    /// Open uploads of this object, the oldest first.
    pub(super) fn uploads(&self, at: &Place) -> Result<Vec<Upload>> {
        let all = self.bucket(at)?.uploads.values();
        let ours = all.filter(|open| open.key == at.key);
        let found = ours.map(|open| Upload {
            id: open.id.clone(),
            begun: open.begun,
        });
        Ok(found.collect())
    }
}

impl OpenUpload {
    /// Takes a part; one that came before with the same number is replaced.
    pub(super) fn receive(
        &mut self,
        url: &ObjectUrl,
        number: i32,
        body: &Bytes,
        checksum: Checksum,
    ) -> Result<UploadedPart> {
        let at = Place::of(url)?;
        if !(1..=LAST_PART).contains(&number) {
            let message = format!("a part's number is 1 to {LAST_PART}, not {number}");
            return Err(at.fault(Code::StoreRejected, &message));
        }
        if checksum.algorithm() != self.checksum {
            let message = "the part's checksum is not of the kind that the upload was begun with";
            return Err(at.fault(Code::StoreRejected, message));
        }
        verify(&at, body, &checksum)?;
        let times = self.parts.get(&number).map_or(0, |part| part.times) + 1;
        let part = Part {
            etag: hex::encode(Md5::digest(body)),
            // A copy: the caller's buffer goes back to its pool.
            body: Bytes::copy_from_slice(body),
            checksum: checksum.clone(),
            times,
        };
        let uploaded = UploadedPart {
            number,
            etag: quoted(&part.etag),
            checksum,
            bytes: part.body.len() as u64,
        };
        self.parts.insert(number, part);
        Ok(uploaded)
    }

    /// The parts, by number.
    pub(super) fn listed(&self) -> Vec<ListedPart> {
        let listed = self.parts.iter().map(|(number, part)| ListedPart {
            number: *number,
            etag: quoted(&part.etag),
            bytes: part.body.len() as u64,
            checksum: Some(part.checksum.clone()),
        });
        listed.collect()
    }

    /// The parts that a Complete names, or `StoreRejected` and why.
    fn chosen(&self, at: &Place, named: &[UploadedPart], minimum_bytes: u64) -> Result<Vec<&Part>> {
        let refused = |what: String| at.fault(Code::StoreRejected, &what);
        if named.is_empty() {
            return Err(refused("no part was named".into()));
        }
        if !named.is_sorted_by(|one, next| one.number < next.number) {
            return Err(refused(
                "the parts are not in the order of their numbers".into(),
            ));
        }
        let mut chosen = Vec::new();
        for (index, named_part) in named.iter().enumerate() {
            let number = named_part.number;
            let part = self.parts.get(&number).filter(|part| {
                part.etag == named_part.etag.trim_matches('"')
                    && part.checksum == named_part.checksum
            });
            let part =
                part.ok_or_else(|| refused(format!("part {number} is not there like this")))?;
            let last = index + 1 == named.len();
            if !last && (part.body.len() as u64) < minimum_bytes {
                return Err(refused(format!("part {number} is too small")));
            }
            chosen.push(part);
        }
        Ok(chosen)
    }

    /// The object that these parts make; neither dated nor numbered yet.
    fn joined(&self, parts: &[&Part]) -> Stored {
        let mut body = BytesMut::new();
        let mut etags = Md5::new();
        let mut sums = Vec::new();
        for part in parts {
            body.extend_from_slice(&part.body);
            etags.update(md5_bytes(&part.etag));
            sums.push((part.checksum.clone(), part.body.len() as u64));
        }
        let crc64nvme = match self.checksum {
            Algorithm::Crc64Nvme => Checksum::combine(&sums).map(|sum| sum.to_base64()),
            Algorithm::Sha256 => None,
        };
        Stored {
            version: Version {
                etag: format!("{}-{}", hex::encode(etags.finalize()), parts.len()),
                version_id: None,
            },
            body: body.freeze(),
            described: self.described.clone(),
            crc64nvme,
            modified: self.begun,
        }
    }
}

/// The MD5 that an ETag is the hex of.
fn md5_bytes(etag: &str) -> Vec<u8> {
    hex::decode(etag).unwrap_or_default()
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

fn no_upload(at: &Place) -> Fault {
    at.fault(Code::SourceNotFound, "the upload is gone")
}
