//! Files on this machine as objects.
//!
//! An object is written to a temporary file beside its name, `fsync`ed and renamed (mode 0600), so
//! a reader sees all of it or nothing. A version is the file's inode, size and modification time.
//! Below a root folder every step of a path is resolved by the kernel with `RESOLVE_BENEATH`, so no
//! link leads out of it.

mod paths;

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};

use self::paths::Place;
use super::{
    Aborted, Condition, Facts, Listed, ListedPart, NewObject, PartPlace, Store, Upload, UploadId,
    UploadedPart, Version,
};
use crate::buffers::PartBuffer;
use crate::checksum::Checksum;
use crate::fault::{Code, Fault, Result};
use crate::job::ObjectUrl;

/// Which files may be named.
#[derive(Clone, Debug)]
pub enum Access {
    /// All that this process may open: for jobs given on this machine.
    Anywhere,
    /// Files below this folder: for jobs from a broker, when a root is set.
    Below(PathBuf),
    /// None: for jobs from a broker.
    Refused,
}

/// The files of this machine.
pub struct FileStore {
    access: Access,
    /// Temporary files of uploads that this process began.
    open: Arc<Mutex<HashMap<String, Arc<File>>>>,
}

impl FileStore {
    /// Files as far as `access` allows.
    pub fn new(access: Access) -> FileStore {
        FileStore {
            access,
            open: Arc::default(),
        }
    }

    /// Runs file work off the I/O runtime.
    fn blocking<T: Send + 'static>(
        &self,
        url: &ObjectUrl,
        work: impl FnOnce(Place) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let place = Place::of(url, &self.access);
        async move {
            let place = place?;
            let task = tokio::task::spawn_blocking(move || work(place));
            task.await
                .map_err(|e| Fault::new(Code::Internal, format!("a file task failed: {e}")))?
        }
        .boxed()
    }

    fn handle(&self, upload: &UploadId) -> Option<Arc<File>> {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&upload.0)
            .cloned()
    }

    fn forget(&self, upload: &UploadId) {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&upload.0);
    }
}

impl Store for FileStore {
    fn head<'a>(&'a self, url: &'a ObjectUrl, _: Option<&'a str>) -> BoxFuture<'a, Result<Facts>> {
        self.blocking(url, |place| {
            let file = place.open()?;
            let (version, len) = version(&place, &file)?;
            Ok(Facts {
                len,
                version,
                ..Facts::default()
            })
        })
    }

    fn read<'a>(
        &'a self,
        url: &'a ObjectUrl,
        version: &'a Version,
        range: Range<u64>,
        into: PartBuffer,
    ) -> BoxFuture<'a, (PartBuffer, Result<()>)> {
        let place = Place::of(url, &self.access);
        let pinned = version.clone();
        async move {
            let place = match place {
                Ok(place) => place,
                Err(fault) => return (into, Err(fault)),
            };
            let task = tokio::task::spawn_blocking(move || {
                let mut into = into;
                let result = read_range(&place, &pinned, range, &mut into);
                (into, result)
            });
            // A panic in the task would lose the buffer: there is nothing to give back then.
            task.await
                .unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
        }
        .boxed()
    }

    fn put<'a>(
        &'a self,
        url: &'a ObjectUrl,
        new: &'a NewObject,
        body: Bytes,
        _: &'a Checksum,
    ) -> BoxFuture<'a, Result<()>> {
        let refuses = refuses_existing(&new.condition);
        self.blocking(url, move |place| {
            let if_absent = refuses?;
            let (temporary, file) = place.create_temporary()?;
            let written = file
                .write_all_at(&body, 0)
                .map_err(|e| place.io("write", &e));
            let published = written.and_then(|()| place.publish(&temporary, &file, if_absent));
            if published.is_err() {
                place.remove_temporary(&temporary)?;
            }
            published
        })
    }

    fn begin<'a>(
        &'a self,
        url: &'a ObjectUrl,
        new: &'a NewObject,
    ) -> BoxFuture<'a, Result<UploadId>> {
        let open = Arc::clone(&self.open);
        let refuses = refuses_existing(&new.condition);
        self.blocking(url, move |place| {
            refuses?;
            let (temporary, file) = place.create_temporary()?;
            let inode = file.metadata().map_err(|e| place.io("inspect", &e))?.ino();
            let temporary = format!("{temporary}{INODE_MARK}{inode:x}");
            open.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(temporary.clone(), Arc::new(file));
            Ok(UploadId(temporary))
        })
    }

    fn upload<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
        part: PartPlace,
        body: Bytes,
        checksum: Checksum,
    ) -> BoxFuture<'a, Result<UploadedPart>> {
        let file = self.handle(upload);
        self.blocking(url, move |place| {
            let file = file.ok_or_else(|| gone(&place))?;
            file.write_all_at(&body, part.offset)
                .map_err(|e| place.io("write", &e))?;
            let bytes = body.len() as u64;
            Ok(UploadedPart {
                number: part.number,
                etag: String::new(),
                checksum,
                bytes,
            })
        })
    }

    fn complete<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
        new: &'a NewObject,
        parts: &'a [UploadedPart],
    ) -> BoxFuture<'a, Result<()>> {
        let file = self.handle(upload);
        let (temporary, refuses) = (upload.0.clone(), refuses_existing(&new.condition));
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        let publish = self.blocking(url, move |place| {
            let if_absent = refuses?;
            let file = file.ok_or_else(|| gone(&place))?;
            let found = file.metadata().map_err(|e| place.io("inspect", &e))?.len();
            if found != bytes {
                let message = format!(
                    "{} holds {found} bytes, {bytes} were written",
                    place.shown()
                );
                return Err(Fault::new(Code::IntegrityMismatch, message));
            }
            place.publish(name_of(&temporary), &file, if_absent)
        });
        async move {
            publish.await?;
            self.forget(upload);
            Ok(())
        }
        .boxed()
    }

    fn abort<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Aborted>> {
        self.forget(upload);
        let temporary = upload.0.clone();
        self.blocking(url, move |place| {
            place
                .remove_temporary(name_of(&temporary))
                .map(|()| Aborted::Gone)
        })
    }

    /// Nobody keeps a list of the parts of a temporary file.
    fn parts<'a>(
        &'a self,
        _: &'a ObjectUrl,
        _: &'a UploadId,
    ) -> BoxFuture<'a, Result<Option<Vec<ListedPart>>>> {
        async { Ok(None) }.boxed()
    }

    fn uploads<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, Result<Vec<Upload>>> {
        self.blocking(url, |place| {
            let found = place.temporaries()?.into_iter().filter_map(|name| {
                let begun = place
                    .beside(&name)
                    .open()
                    .ok()?
                    .metadata()
                    .ok()?
                    .modified()
                    .ok()?;
                Some(Upload {
                    id: UploadId(name),
                    begun,
                })
            });
            Ok(found.collect())
        })
    }

    fn delete<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, Result<()>> {
        self.blocking(url, |place| place.remove())
    }

    fn get_small<'a>(
        &'a self,
        url: &'a ObjectUrl,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<Bytes>>> {
        self.blocking(url, move |place| {
            let file = match place.open() {
                Ok(file) => file,
                Err(fault) if fault.code == Code::SourceNotFound => return Ok(None),
                Err(fault) => return Err(fault),
            };
            let len = file.metadata().map_err(|e| place.io("inspect", &e))?.len();
            if len > limit as u64 {
                let message = format!("{} is larger than {limit} bytes", place.shown());
                return Err(Fault::new(Code::LimitExceeded, message));
            }
            let mut bytes = vec![0; len as usize];
            file.read_exact_at(&mut bytes, 0)
                .map_err(|e| place.io("read", &e))?;
            Ok(Some(bytes.into()))
        })
    }

    fn list<'a>(&'a self, prefix: &'a ObjectUrl) -> BoxFuture<'a, Result<Vec<Listed>>> {
        self.blocking(prefix, |place| {
            let (place, begin) = place.as_prefix();
            let names = place
                .siblings()?
                .into_iter()
                .filter(|name| name.starts_with(&begin));
            let found = names.filter_map(|name| {
                let file = place.beside(&name);
                let modified = file.open().ok()?.metadata().ok()?.modified().ok()?;
                Some(Listed {
                    url: ObjectUrl::File {
                        path: file.path().to_owned(),
                    },
                    modified,
                })
            });
            Ok(found.collect())
        })
    }

    fn has_bucket<'a>(&'a self, _: &'a ObjectUrl) -> BoxFuture<'a, bool> {
        async { true }.boxed()
    }

    fn keeps_if_absent<'a>(&'a self, _: &'a ObjectUrl) -> BoxFuture<'a, Result<bool>> {
        async { Ok(true) }.boxed()
    }

    fn reachable(&self) -> BoxFuture<'_, Result<()>> {
        async { Ok(()) }.boxed()
    }
}

/// Whether a file that is there must stay. `Unsupported` for a condition that a rename cannot keep.
fn refuses_existing(condition: &Condition) -> Result<bool> {
    match condition {
        Condition::Always => Ok(false),
        Condition::IfAbsent => Ok(true),
        Condition::IfMatch(_) => Err(Fault::new(
            Code::Unsupported,
            "a file cannot be replaced on the condition that it is a certain one",
        )),
    }
}

/// Between the name of a temporary file and its inode, in an upload id.
const INODE_MARK: char = '|';

fn name_of(upload: &str) -> &str {
    upload.split(INODE_MARK).next().unwrap_or(upload)
}

/// Whether this version is the file that the upload became: a rename keeps the inode.
pub fn is_upload(upload: &UploadId, version: &Version) -> bool {
    let inode = upload.0.rsplit_once(INODE_MARK).map(|(_, inode)| inode);
    inode.is_some_and(|inode| version.etag.split('-').next() == Some(inode))
}

/// An open file's version and length.
fn version(place: &Place, file: &File) -> Result<(Version, u64)> {
    let facts = file.metadata().map_err(|e| place.io("inspect", &e))?;
    let etag = format!(
        "{:x}-{:x}-{:x}.{:x}",
        facts.ino(),
        facts.len(),
        facts.mtime(),
        facts.mtime_nsec()
    );
    Ok((
        Version {
            etag,
            version_id: None,
        },
        facts.len(),
    ))
}

/// Reads the range and looks at the version before and after: a writer in between is noticed.
fn read_range(
    place: &Place,
    pinned: &Version,
    range: Range<u64>,
    into: &mut PartBuffer,
) -> Result<()> {
    let file = place.open()?;
    let unchanged = || match version(place, &file)?.0 == *pinned {
        true => Ok(()),
        false => Err(Fault::new(
            Code::SourceChanged,
            format!("{} was changed while it was read", place.shown()),
        )),
    };
    unchanged()?;
    let start = into.len();
    let wanted = (range.end - range.start) as usize;
    into.set_len(start + wanted);
    file.read_exact_at(&mut into[start..], range.start)
        .map_err(|e| place.io("read", &e))?;
    unchanged()
}

fn gone(place: &Place) -> Fault {
    Fault::new(
        Code::SourceNotFound,
        format!("the temporary file of {} is gone", place.shown()),
    )
}
