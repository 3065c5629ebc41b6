//! Paths: where a file may be, and the steps of writing one: a temporary file, then a rename.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
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

    /// A new, empty temporary file beside the place, and its name. A rename would put it in the place
    /// of a device, a pipe or a socket as well: what is there and is no file is refused.
    pub(super) fn create_temporary(&self) -> Result<(String, File)> {
        let (parent, name) = self.parent(true).map_err(|e| self.cannot_write(e))?;
        let there = rustix::fs::statat(&parent, &name, AtFlags::empty());
        let kind = there.map(|there| FileType::from_raw_mode(there.st_mode));
        // In the place of a folder no rename puts a file.
        let replaceable = [FileType::RegularFile, FileType::Directory];
        if kind.is_ok_and(|kind| !replaceable.contains(&kind)) {
            let message = format!("{} is there and is no file", self.shown());
            return Err(Fault::new(Code::InvalidValue, message));
        }
        let random: [u8; 8] = ciphermill_cipher::secret::random_array()?;
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
        let begin = format!(".{}.", stem(name));
        let names = self.siblings()?.into_iter();
        Ok(names
            .filter(|name| name.starts_with(&begin) && name.ends_with(".part"))
            .collect())
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
        match self.listing(&parent) {
            Ok(folder) => rustix::fs::fsync(&folder).map_err(|e| self.cannot_write(e)),
            // A folder that may be written but not read cannot be synced by anybody.
            Err(_) => Ok(()),
        }
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

    /// Names of what lies in the place's folder; none when there is no such folder.
    pub(super) fn siblings(&self) -> Result<Vec<String>> {
        let folder = match self
            .parent(false)
            .and_then(|(parent, _)| self.listing(&parent))
        {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            Err(error) => return Err(self.io("list", &error.into())),
        };
        let entries = Dir::read_from(&folder).map_err(|e| self.io("list", &e.into()))?;
        let names =
            entries.filter_map(|entry| Some(entry.ok()?.file_name().to_str().ok()?.to_owned()));
        Ok(names.collect())
    }

    /// The folder again, opened in a way that lets it be read and synced.
    fn listing(&self, parent: &OwnedFd) -> std::result::Result<OwnedFd, Errno> {
        self.open_at(
            parent,
            Path::new("."),
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        )
    }

    /// A prefix as a place in a folder and the beginning of names there: all of them, where the
    /// prefix ends in `/`.
    pub(super) fn as_prefix(&self) -> (Place, String) {
        if self.path.to_string_lossy().ends_with('/') {
            let inside = Place {
                path: self.path.join("-"),
                root: self.root.clone(),
            };
            return (inside, String::new());
        }
        let begin = self.path.file_name().unwrap_or_default();
        (self.clone(), begin.to_string_lossy().into_owned())
    }

    /// A file beside this one.
    pub(super) fn beside(&self, name: &str) -> Place {
        Place {
            path: self.path.with_file_name(name),
            root: self.root.clone(),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
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
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
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
                format!("{} cannot be the name of a file here", self.shown()),
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
