//! A memory cgroup: what a worker and all its children take together, memory without a name included, kept by the
//! kernel so that no moment is missed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::checks::{Outcome, cannot};
use crate::world::World;

/// Where version 1 and version 2 keep their groups, and their high-water marks.
const PLACES: [(&str, &str); 2] = [
    ("/sys/fs/cgroup/memory", "memory.max_usage_in_bytes"),
    ("/sys/fs/cgroup", "memory.peak"),
];

pub struct Cgroup {
    folder: PathBuf,
    peak: PathBuf,
    program: PathBuf,
}

impl Cgroup {
    /// A new one; `None` where the system lets us make none.
    pub fn new(world: &World) -> Outcome<Option<Cgroup>> {
        for (place, peak) in PLACES {
            let folder = Path::new(place).join(format!("ciphermill-accept-{}", std::process::id()));
            if std::fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Cgroup {
                peak: folder.join(peak),
                program: world.path("worker-in-group"),
                folder,
            };
            if group.peak().is_ok() {
                let script = format!(
                    "#!/bin/sh\necho $$ >'{}/cgroup.procs' && exec '{}' \"$@\"\n",
                    group.folder.display(),
                    world.bin.display()
                );
                std::fs::write(&group.program, script).map_err(cannot("write a script"))?;
                let mode = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(&group.program, mode).map_err(cannot("write a script"))?;
                return Ok(Some(group));
            }
        }
        Ok(None)
    }

    /// The program under test, inside.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The most that was in use, in bytes.
    pub fn peak(&self) -> Outcome<u64> {
        let text = std::fs::read_to_string(&self.peak).map_err(cannot("read the cgroup's peak"))?;
        text.trim()
            .parse()
            .map_err(cannot("read the cgroup's peak"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.folder);
    }
}
