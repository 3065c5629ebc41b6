//! Sandboxes for the tests, and what is left of them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use ciphermill::media::sandbox::{Protection, Sandbox, Settings};

/// A program of the build, at a place that every user can reach: children are nobody.
pub fn reachable(name: &str, built: &Path) -> PathBuf {
    static PLACE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let place = PLACE.get_or_init(|| {
        let place = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(place.path(), open).unwrap();
        place
    });
    let path = place.path().join(name);
    if !path.exists() {
        let fresh = path.with_extension(format!("{:?}", std::thread::current().id()));
        // By another process: while this one has it open for writing, so has for a moment every
        // child that another thread starts, and a program that is open for writing does not run.
        let copied = Command::new("cp").args([built, &fresh]).status();
        assert!(copied.unwrap().success());
        std::fs::rename(fresh, &path).unwrap();
    }
    path
}

/// This project's program.
pub fn launcher() -> PathBuf {
    reachable("ciphermill", Path::new(env!("CARGO_BIN_EXE_ciphermill")))
}

/// The stand-in for a decoder that was taken over.
pub fn hostile() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    reachable("hostile", &target.join("examples/hostile"))
}

pub fn settings(protection: Protection) -> Settings {
    Settings {
        least: protection,
        most: protection,
        readable: vec![hostile()],
        ..Settings::new(launcher())
    }
}

pub async fn sandbox(settings: Settings) -> Sandbox {
    Sandbox::detect(settings).await.unwrap()
}

/// A sandbox with exactly this protection.
pub async fn within(protection: Protection) -> Sandbox {
    sandbox(settings(protection)).await
}

/// Both real protections.
pub async fn both() -> [Sandbox; 2] {
    [
        within(Protection::Full).await,
        within(Protection::Partial).await,
    ]
}

/// How many descriptors this process has.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How many children, of all threads; dead ones count until they are waited for.
pub fn children() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let lists =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists.map(|list| list.split_whitespace().count()).sum()
}

/// Every process below this one.
pub fn below(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    let direct: Vec<u32> = lists
        .flat_map(|list| {
            list.split_whitespace()
                .map(|pid| pid.parse().unwrap())
                .collect::<Vec<_>>()
        })
        .collect();
    direct
        .iter()
        .flat_map(|pid| std::iter::once(*pid).chain(below(*pid)))
        .collect()
}
