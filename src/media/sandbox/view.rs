//! What a child can see: the same read-only paths as mounts (bubblewrap) and as rules (Landlock).
//!
//! The view is the program's libraries and nothing else of the machine: no `/etc` but the loader's
//! cache and the alternatives that Debian's libraries go through, no `/home`, no `/var`, no `/tmp`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

use super::{Failure, Result};

/// Where the range reader listens; nobody else lives in the child's network.
pub(super) const RANGE_PORT: u16 = 8080;

/// Read-only folders and files that every child needs to load its libraries.
const SYSTEM: &[&str] = &[
    "/usr",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/nix/store",
];
/// Folders that are links into `/usr` on most machines, and real folders on others.
const MERGED: &[&str] = &["/bin", "/lib", "/lib32", "/lib64", "/libx32"];
/// Devices that libraries open; each is harmless.
const DEVICES: &[&str] = &["/dev/null", "/dev/urandom"];

/// The newest Landlock that we know how to use; an older kernel gives what it has.
const NEWEST: ABI = ABI::V6;

/// The arguments of bubblewrap, up to the command that it starts.
///
/// The launcher is process 1 of its namespace (`--as-pid-1`): otherwise bubblewrap's own process 1,
/// which has no limits and no filter, would be within a hostile program's reach.
pub(super) fn bwrap_arguments(readable: &[PathBuf], launcher: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = [
        "--unshare-user --unshare-net --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try",
        "--as-pid-1 --die-with-parent --cap-drop ALL --uid 65534 --gid 65534 --hostname sandbox",
        "--clearenv --setenv PATH /usr/bin --setenv LANG C.UTF-8 --proc /proc --dev /dev --remount-ro /dev",
    ]
    .iter()
    .flat_map(|line| line.split(' ').map(OsString::from))
    .collect();
    let mut add = |option: &str, from: &Path, to: &Path| {
        words.extend([
            option.into(),
            from.as_os_str().to_owned(),
            to.as_os_str().to_owned(),
        ]);
    };
    for path in SYSTEM.iter().map(Path::new).filter(|path| path.exists()) {
        add("--ro-bind", path, path);
    }
    for path in MERGED.iter().map(Path::new) {
        match std::fs::read_link(path) {
            Ok(target) => add("--symlink", &target, path),
            Err(_) if path.exists() => add("--ro-bind", path, path),
            Err(_) => {}
        }
    }
    for path in readable.iter().map(PathBuf::as_path).chain([launcher]) {
        add("--ro-bind", path, path);
    }
    words.extend(["--remount-ro", "/", "--chdir", "/", "--"].map(OsString::from));
    words
}

/// The Landlock version of this kernel, as far as we know them; 0 where there is none. Nothing is
/// restricted by asking.
pub(super) fn landlock_version() -> i32 {
    let works = |version: &ABI| {
        let whole = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let rules = whole
            .handle_access(AccessFs::from_all(*version))
            .and_then(|rules| match *version >= ABI::V4 {
                true => rules.handle_access(AccessNet::from_all(*version)),
                false => Ok(rules),
            });
        let rules = rules.and_then(|rules| match *version >= ABI::V6 {
            true => rules.scope(Scope::from_all(*version)),
            false => Ok(rules),
        });
        rules.and_then(Ruleset::create).is_ok()
    };
    let known = [ABI::V6, ABI::V5, ABI::V4, ABI::V3, ABI::V2, ABI::V1];
    known
        .iter()
        .find(|version| works(version))
        .map_or(0, |version| *version as i32)
}

/// Takes from this process, for good, every path that is not in the view, every write, every TCP
/// connection but the range reader's, and (from Landlock 6) signals and abstract sockets that leave it.
pub(super) fn landlock(readable: &[PathBuf], program: &Path, range: bool) -> Result<()> {
    let wrong = |e: landlock::RulesetError| Failure::failed("Landlock refused", e);
    let paths = SYSTEM.iter().chain(MERGED).chain(DEVICES).map(Path::new);
    let paths = paths
        .chain(readable.iter().map(PathBuf::as_path))
        .chain([program]);
    let paths: Vec<&Path> = paths.filter(|path| path.exists()).collect();
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(paths, AccessFs::from_read(NEWEST))))
        .map_err(wrong)?;
    if range {
        let port = NetPort::new(RANGE_PORT, AccessNet::ConnectTcp);
        rules = rules.add_rule(port).map_err(wrong)?;
    }
    let status = rules.restrict_self().map_err(wrong)?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err(Failure::unavailable("Landlock is not in this kernel")),
        _ => Ok(()),
    }
}
