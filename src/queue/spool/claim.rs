//! Claims: who owns a job file.
//!
//! A file in `new/` or `running/` comes in, a locked [`Claim`] goes out, or nothing when another
//! worker was quicker. The lock is taken before the rename and stays with the file across it, so a
//! job is never seen unowned while a worker has it. Links and special files are never opened for
//! reading, and nothing here reads what a job says.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, open, renameat_with};
use tracing::warn;

use crate::fault::{Fault, Result};
use crate::queue::Settlement;

/// More than any job may have: the checker sees that it is too large, the worker's memory does not.
const MOST_BYTES: u64 = 1024 * 1024;

/// The folders of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    New,
    Running,
    Done,
    Failed,
}

/// A job file in `running/`, locked by us.
pub(super) struct Claim {
    root: PathBuf,
    name: String,
    attempt: u32,
    body: Bytes,
    delivered: bool,
    /// Holds the lock for as long as it is there.
    lock: Mutex<Option<File>>,
}

impl Folder {
    pub(super) const ALL: [Folder; 4] =
        [Folder::New, Folder::Running, Folder::Done, Folder::Failed];

    /// Its path.
    pub(super) fn of(self, root: &Path) -> PathBuf {
        root.join(match self {
            Folder::New => "new",
            Folder::Running => "running",
            Folder::Done => "done",
            Folder::Failed => "failed",
        })
    }
}

impl Claim {
    /// Takes a job: first one that a crashed worker left, then the oldest new one.
    pub(super) fn any(root: &Path, refused: &Mutex<HashSet<String>>) -> Result<Option<Claim>> {
        for folder in [Folder::Running, Folder::New] {
            let path = folder.of(root);
            let names = jobs(&path).map_err(|error| Fault::io("list", &path, &error))?;
            for name in names {
                match Claim::one(root, folder, &name) {
                    Ok(Some(claim)) => return Ok(Some(claim)),
                    Ok(None) => {}
                    Err(error) => complain(name, &error, refused),
                }
            }
        }
        Ok(None)
    }

    fn one(root: &Path, folder: Folder, name: &str) -> io::Result<Option<Claim>> {
        let path = folder.of(root).join(format!("{name}.json"));
        let Some(mut file) = lock(&path)? else {
            return Ok(None);
        };
        if folder == Folder::New && !start(&path, &running(root, name))? {
            return Ok(None);
        }
        if folder == Folder::New {
            forget_stale_attempts(&file, &sidecar(root, name));
        }
        let mut body = Vec::new();
        file.by_ref().take(MOST_BYTES).read_to_end(&mut body)?;
        let attempt = attempts(root, name).saturating_add(1);
        std::fs::write(sidecar(root, name), attempt.to_string())?;
        Ok(Some(Claim {
            root: root.into(),
            name: name.into(),
            attempt,
            body: body.into(),
            delivered: false,
            lock: Mutex::new(Some(file)),
        }))
    }

    /// The job's name, without `.json`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The job's file name.
    pub(super) fn file_name(&self) -> String {
        format!("{}.json", self.name)
    }

    /// Which attempt this is, from 1.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The job's bytes. From here on, a claim that is dropped counts as a crash.
    pub(super) fn deliver(&mut self) -> Bytes {
        self.delivered = true;
        self.body.clone()
    }

    /// Moves the job where it belongs and gives up the lock. False when it had been moved behind
    /// our back, or is settled.
    pub(super) fn settle(&self, settlement: Settlement) -> Result<bool> {
        let mut lock = self
            .lock
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(file) = lock.take() else {
            return Ok(false);
        };
        let path = running(&self.root, &self.name);
        let owned = file.metadata().is_ok_and(|ours| is_at(&ours, &path));
        let moved = if owned {
            self.relocate(settlement, &path)?
        } else {
            false
        };
        drop(file);
        Ok(moved)
    }

    fn relocate(&self, settlement: Settlement, path: &Path) -> Result<bool> {
        let (folder, attempts) = match settlement {
            Settlement::Done => (Folder::Done, 0),
            Settlement::Dead => (Folder::Failed, 0),
            Settlement::Retry => (Folder::New, self.attempt),
            Settlement::Return => (Folder::New, self.attempt - 1),
        };
        self.count(attempts)
            .map_err(|error| Fault::io("update the attempts of", path, &error))?;
        let folder = folder.of(&self.root);
        let moved = std::fs::rename(path, folder.join(self.file_name()));
        let moved = moved.and_then(|()| File::open(&folder)?.sync_all());
        moved
            .map(|()| true)
            .map_err(|error| Fault::io("move", path, &error))
    }

    fn count(&self, attempts: u32) -> io::Result<()> {
        let sidecar = sidecar(&self.root, &self.name);
        if attempts > 0 {
            return std::fs::write(sidecar, attempts.to_string());
        }
        match std::fs::remove_file(sidecar) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.delivered
            && let Err(fault) = self.settle(Settlement::Return)
        {
            warn!(name = self.name, %fault, "spooled job not returned");
        }
    }
}

/// A spool is polled several times a second: each job is complained about once.
fn complain(name: String, error: &io::Error, refused: &Mutex<HashSet<String>>) {
    let mut refused = refused
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if !refused.contains(&name) {
        warn!(name, %error, "spooled job cannot be taken");
        refused.insert(name);
    }
}

/// Names of the jobs in a folder, the oldest first.
fn jobs(folder: &Path) -> io::Result<Vec<String>> {
    let mut jobs: Vec<(SystemTime, String)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Neither call follows links. A file that is gone by now was taken by another worker.
        let (Some(name), Ok(metadata)) = (job_name(&entry.file_name()), entry.metadata()) else {
            continue;
        };
        if metadata.is_file() {
            jobs.push((metadata.modified()?, name));
        }
    }
    jobs.sort_unstable();
    Ok(jobs.into_iter().map(|(_, name)| name).collect())
}

fn job_name(file: &OsStr) -> Option<String> {
    let name = file.to_str()?.strip_suffix(".json")?;
    let hidden = name.is_empty() || name.starts_with('.');
    // A result laid into `new/` by mistake would end up under the name of another job's result.
    (!hidden && !name.ends_with(".result")).then(|| name.to_owned())
}

/// Attempts that were counted before the file was written were those of another job of that name.
fn forget_stale_attempts(job: &File, sidecar: &Path) {
    let written = job.metadata().and_then(|job| job.modified());
    let counted = std::fs::metadata(sidecar).and_then(|sidecar| sidecar.modified());
    if let (Ok(written), Ok(counted)) = (written, counted)
        && counted < written
    {
        // Gone already, or left: then the job starts at a later attempt, no worse.
        let _ = std::fs::remove_file(sidecar);
    }
}

/// Opens and locks the file at `path`; none when it is gone, another's, or not a plain file.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // Between opening and locking, its last owner may have moved it on.
    Ok(is_at(&metadata, path).then_some(file))
}

fn is_at(ours: &Metadata, path: &Path) -> bool {
    std::fs::symlink_metadata(path)
        .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()))
}

/// Moves a locked job to `running/`, unless one of its name is there already.
fn start(from: &Path, to: &Path) -> io::Result<bool> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOENT) => Ok(false),
        // Some network file systems cannot promise it; there, two jobs of one name may meet.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            if std::fs::symlink_metadata(to).is_ok() {
                return Ok(false);
            }
            std::fs::rename(from, to).map(|()| true)
        }
        Err(error) => Err(error.into()),
    }
}

fn attempts(root: &Path, name: &str) -> u32 {
    let text = std::fs::read_to_string(sidecar(root, name)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn running(root: &Path, name: &str) -> PathBuf {
    Folder::Running.of(root).join(format!("{name}.json"))
}

fn sidecar(root: &Path, name: &str) -> PathBuf {
    Folder::Running.of(root).join(format!("{name}.attempt"))
}
