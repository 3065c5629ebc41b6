//! Paths: where a file may be, and the steps of writing one: a temporary file, then a rename.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use super::Access;
use crate::fault::{Code, Fault, Result};
use crate::job::ObjectUrl;

/// One file's place: a path, and the root it must stay below.
#[derive(Clone)]
pub(super) struct Place {
    path: PathBuf,
    root: Option<PathBuf>,
}

impl Place {
    /// Refuses what `access` does not allow.
    pub(super) fn of(url: &ObjectUrl, access: &Access) -> Result<Place> {
        let ObjectUrl::File { path } = url else {
            return Err(Fault::new(
                Code::Internal,
                "an S3 URL reached the file store",
            ));
        };
        let refused = |why: &str| Err(Fault::new(Code::FileNotAllowed, format!("{url}: {why}")));
        match access {
            Access::Anywhere => Ok(Place {
                path: path.clone(),
                root: None,
            }),
            Access::Refused => refused("files are not allowed from a broker"),
            Access::Below(root) if path.starts_with(root) && path != root => Ok(Place {
                path: path.clone(),
                root: Some(root.clone()),
            }),
            Access::Below(_) => refused("the path is outside of the allowed folder"),
        }
    }

    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn io(&self, what: &str, error: &io::Error) -> Fault {
        Fault::io(what, &self.path, error)
    }

    /// Opens the file for reading. Only regular files are objects; a pipe must not make us wait.
    pub(super) fn open(&self) -> Result<File> {
        let fault = |error: Errno| match error {
            Errno::NOENT | Errno::NOTDIR => Fault::new(
                Code::SourceNotFound,
                format!("there is no file {}", self.shown()),
            ),
            Errno::ACCESS | Errno::PERM => Fault::new(
                Code::SourceDenied,
                format!("no permission to read {}", self.shown()),
            ),
            Errno::XDEV | Errno::LOOP => self.escapes(),
            other => self.io("open", &other.into()),
        };
        let (parent, name) = self.parent(false).map_err(fault)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file: File = self
            .open_at(&parent, Path::new(&name), flags)
            .map_err(fault)?
            .into();
        if file
            .metadata()
            .map_err(|e| self.io("inspect", &e))?
            .is_file()
        {
            return Ok(file);
        }
        Err(Fault::new(
            Code::SourceNotFound,
            format!("{} is not a regular file", self.shown()),
        ))
    }

    /// A new, empty temporary file beside the place, and its name.
    pub(super) fn create_temporary(&self) -> Result<(String, File)> {
        let (parent, name) = self.parent(true).map_err(|e| self.cannot_write(e))?;
        let random: [u8; 8] = crate::secret::random_array()?;
        let stem = stem(name.to_string_lossy().into_owned());
        let temporary = format!(".{stem}.{}.part", hex::encode(random));
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&parent, &temporary, flags, Mode::RUSR | Mode::WUSR);
        Ok((temporary, file.map_err(|e| self.cannot_write(e))?.into()))
    }

    /// Names of temporary files that were begun for this place.
    pub(super) fn temporaries(&self) -> Result<Vec<String>> {
        let name = self
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let path = self.path.with_file_name(format!(".{}.", stem(name)));
        let beside = Place {
            path,
            root: self.root.clone(),
        };
        let names = beside.siblings()?.into_iter();
        let names = names.filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned()));
        Ok(names.filter(|name| name.ends_with(".part")).collect())
    }

    /// Makes the temporary file durable and gives it its name.
    pub(super) fn publish(&self, temporary: &str, file: &File, if_absent: bool) -> Result<()> {
        file.sync_data().map_err(|e| self.io("sync", &e))?;
        let (parent, name) = self.parent(false).map_err(|e| self.cannot_write(e))?;
        let flags = if if_absent {
            RenameFlags::NOREPLACE
        } else {
            RenameFlags::empty()
        };
        match rustix::fs::renameat_with(&parent, temporary, &parent, &name, flags) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                return Err(Fault::new(
                    Code::OutputExists,
                    format!("{} is there already", self.shown()),
                ));
            }
            Err(error) => return Err(self.cannot_write(error)),
        }
        rustix::fs::fsync(&parent).map_err(|e| self.cannot_write(e))
    }

    /// Removes a temporary file; no fault when it is gone. Names that are not ours are left alone.
    pub(super) fn remove_temporary(&self, temporary: &str) -> Result<()> {
        let ours =
            temporary.starts_with('.') && temporary.ends_with(".part") && !temporary.contains('/');
        if ours {
            self.unlink(temporary.as_ref())
        } else {
            Ok(())
        }
    }

    /// Removes the file; no fault when there is none.
    pub(super) fn remove(&self) -> Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_owned();
        self.unlink(&name)
    }

    /// The files in the place's folder whose names begin with the place's name (all, for a path
    /// ending in `/`).
    pub(super) fn siblings(&self) -> Result<Vec<(PathBuf, SystemTime)>> {
        let (folder, prefix) = match self.path.to_string_lossy().ends_with('/') {
            true => (self.path.as_path(), OsString::new()),
            false => (
                self.path.parent().unwrap_or(&self.path),
                self.path.file_name().unwrap_or_default().into(),
            ),
        };
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.io("list", &error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| self.io("list", &e))?;
            let matches = entry
                .file_name()
                .to_string_lossy()
                .starts_with(&*prefix.to_string_lossy());
            if let (true, Ok(facts)) = (matches, entry.metadata())
                && facts.is_file()
            {
                found.push((
                    entry.path(),
                    facts.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                ));
            }
        }
        Ok(found)
    }

    fn unlink(&self, name: &std::ffi::OsStr) -> Result<()> {
        let parent = match self.parent(false) {
            Ok((parent, _)) => parent,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(self.cannot_write(error)),
        };
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.cannot_write(error)),
        }
    }

    /// The folder that holds the file, opened below the root, and the file's name.
    fn parent(&self, create: bool) -> std::result::Result<(OwnedFd, OsString), Errno> {
        let name = self.path.file_name().ok_or(Errno::ISDIR)?.to_owned();
        let folder = self.path.parent().ok_or(Errno::ISDIR)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let start = self.root.as_deref().unwrap_or(Path::new("/"));
        let mut at = rustix::fs::openat(CWD, start, flags, Mode::empty())?;
        for step in folder
            .strip_prefix(start)
            .map_err(|_| Errno::XDEV)?
            .components()
        {
            let step: &Path = step.as_ref();
            at = match self.open_at(&at, step, flags) {
                Err(Errno::NOENT) if create => {
                    match rustix::fs::mkdirat(&at, step, Mode::RWXU | Mode::RGRP | Mode::XGRP) {
                        Ok(()) | Err(Errno::EXIST) => self.open_at(&at, step, flags)?,
                        Err(error) => return Err(error),
                    }
                }
                other => other?,
            };
        }
        Ok((at, name))
    }

    /// Below a root a link may not lead out of the folder it stands in; elsewhere links are
    /// followed.
    fn open_at(
        &self,
        at: &OwnedFd,
        name: &Path,
        flags: OFlags,
    ) -> std::result::Result<OwnedFd, Errno> {
        match self.root {
            Some(_) => {
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
                rustix::fs::openat2(at, name, flags, Mode::empty(), resolve)
            }
            None => rustix::fs::openat(at, name, flags, Mode::empty()),
        }
    }

    fn cannot_write(&self, error: Errno) -> Fault {
        match error {
            Errno::XDEV | Errno::LOOP => self.escapes(),
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Fault::new(
                Code::SinkDenied,
                format!("no permission to write {}", self.shown()),
            ),
            Errno::ISDIR | Errno::NOTDIR => Fault::new(
                Code::SinkDenied,
                format!("{} is or lies below something else", self.shown()),
            ),
            other => self.io("write", &other.into()),
        }
    }

    fn escapes(&self) -> Fault {
        let message = format!("{} leads out of the allowed folder", self.shown());
        Fault::new(Code::FileNotAllowed, message)
    }
}

/// A name short enough to be lengthened.
fn stem(mut name: String) -> String {
    while name.len() > 200 {
        name.pop();
    }
    name
}
