//! How much memory this process may use: the smallest limit of its control group and every group
//! above it, or the machine's memory where no limit is set.

use std::path::Path;

const CGROUP: &str = "/sys/fs/cgroup";

/// Bytes this process may use.
pub fn limit_bytes() -> u64 {
    let machine = rustix::system::sysinfo();
    let physical = machine.totalram as u64 * u64::from(machine.mem_unit.max(1));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    cgroup_limit(&groups, Path::new(CGROUP))
        .unwrap_or(u64::MAX)
        .min(physical)
}

/// The smallest limit along the path of the group (v2: `0::/path`; v1: the memory controller's
/// line).
fn cgroup_limit(groups: &str, root: &Path) -> Option<u64> {
    groups
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            match controllers {
                "" => smallest(root, path, "memory.max"),
                list if list.split(',').any(|name| name == "memory") => {
                    smallest(&root.join("memory"), path, "memory.limit_in_bytes")
                }
                _ => None,
            }
        })
        .min()
}

fn smallest(root: &Path, path: &str, file: &str) -> Option<u64> {
    let folder = root.join(path.trim_start_matches('/'));
    folder
        .ancestors()
        .take_while(|step| step.starts_with(root))
        .filter_map(|step| {
            std::fs::read_to_string(step.join(file))
                .ok()?
                .trim()
                .parse()
                .ok()
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_group_limits_its_children() {
        let root = tempfile::tempdir().expect("folder");
        std::fs::create_dir_all(root.path().join("slice/pod")).expect("folder");
        std::fs::write(root.path().join("slice/memory.max"), "1000\n").expect("file");
        std::fs::write(root.path().join("slice/pod/memory.max"), "max\n").expect("file");
        assert_eq!(cgroup_limit("0::/slice/pod\n", root.path()), Some(1000));
        assert_eq!(cgroup_limit("0::/other\n", root.path()), None);
    }
}
