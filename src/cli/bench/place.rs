//! Where the report goes: a folder with `bench.json` and `bench.html`, each by rename.

use std::path::{Path, PathBuf};

use crate::fault::{Fault, Result};

/// A folder that can be written to.
pub struct Place {
    folder: PathBuf,
}

impl Place {
    /// Creates the folder and proves that files can be made there: a long run is not for nothing.
    pub fn open(folder: &Path) -> Result<Place> {
        std::fs::create_dir_all(folder).map_err(|e| Fault::io("create", folder, &e))?;
        let place = Place {
            folder: folder.to_owned(),
        };
        let probe = place.temporary("probe");
        std::fs::write(&probe, b"").map_err(|e| Fault::io("write", &probe, &e))?;
        let _ = std::fs::remove_file(&probe);
        Ok(place)
    }

    /// Writes a file; it appears complete or not at all.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let (path, temporary) = (self.folder.join(name), self.temporary(name));
        let written =
            std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, &path));
        written.map_err(|e| {
            let _ = std::fs::remove_file(&temporary);
            Fault::io("write", &path, &e)
        })?;
        Ok(path)
    }

    fn temporary(&self, name: &str) -> PathBuf {
        self.folder
            .join(format!(".{name}.{}.tmp", std::process::id()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Code;

    #[test]
    fn files_appear_and_nothing_else_does() {
        let root = tempfile::tempdir().expect("folder");
        let folder = root.path().join("new/out");
        let place = Place::open(&folder).expect("a place");
        place.write("a.txt", "one").expect("written");
        place.write("a.txt", "two").expect("written again");
        let names: Vec<_> = std::fs::read_dir(&folder)
            .expect("folder")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        assert_eq!(names, ["a.txt"]);
        assert_eq!(
            std::fs::read_to_string(folder.join("a.txt")).expect("text"),
            "two"
        );
    }

    #[test]
    fn a_file_in_the_way_is_a_fault_at_once() {
        let root = tempfile::tempdir().expect("folder");
        std::fs::write(root.path().join("file"), "").expect("file");
        let fault = Place::open(&root.path().join("file/out"))
            .err()
            .expect("a fault");
        assert_eq!(fault.code, Code::FileIo);
    }
}
