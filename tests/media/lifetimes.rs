//! Children come and go with the worker: they leave nothing behind, and nothing of them outlives it.

use std::time::{Duration, Instant};

use crate::fences::{self, children, descriptors, hostile, within};
use crate::sandbox::fenced;
use ciphermill::media::sandbox::{Program, Protection};

/// Two hundred children leave nothing behind, whether they end, are dropped, or are given up.
#[test]
fn nothing_is_left_behind() {
    alone("two_hundred_children");
}

/// Runs an ignored test in a process of its own: it counts what its process has, or changes it.
fn alone(test: &str) {
    let me = std::env::current_exe().unwrap();
    let args = ["--ignored", "--exact", &format!("lifetimes::{test}")];
    let output = std::process::Command::new(me).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
#[ignore = "run by nothing_is_left_behind"]
fn two_hundred_children() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    for protection in [Protection::Full, Protection::Partial] {
        // The runtime's own descriptors come first.
        runtime.block_on(async { drop(within(protection).await) });
        std::thread::sleep(Duration::from_millis(300));
        let before = (descriptors(), children());
        runtime.block_on(async {
            let sandbox = within(protection).await;
            for run in 0..100 {
                let mode = if run % 3 == 0 { "sleep" } else { "env" };
                let child = sandbox
                    .command(Program::Path(hostile()), [mode])
                    .start()
                    .await
                    .unwrap();
                match run % 3 {
                    0 => drop(tokio::time::timeout(Duration::from_millis(5), child.wait()).await),
                    1 => drop(child),
                    _ => drop(child.wait().await.unwrap()),
                }
            }
        });
        let since = Instant::now();
        while (descriptors(), children()) != before && since.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!((descriptors(), children()), before, "{protection:?}");
    }
}

/// The worker keeps its own memory from others (P8): its children start all the same.
#[test]
#[ignore = "run by a_hardened_worker_has_children"]
fn a_hardened_worker() {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for protection in [Protection::Full, Protection::Partial] {
        let (could, said) = runtime.block_on(fenced(protection, &["shape".into()]));
        assert!(could, "{said}");
    }
}

#[test]
fn a_hardened_worker_has_children() {
    alone("a_hardened_worker");
}

/// The worker is killed while a child runs: nothing of the child survives, although the thread that
/// asked for it is long gone (a child dies with the thread that started it).
#[test]
fn children_die_with_the_worker_and_not_before() {
    for protection in ["full", "partial"] {
        let mut worker = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "lifetimes::a_worker_to_kill",
                "--nocapture",
            ])
            .env("PROTECTION", protection)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(worker.stdout.take().unwrap()));
        let line = lines
            .map(Result::unwrap)
            .find(|line| line.contains("descendants "))
            .unwrap();
        let pids: Vec<u32> = line
            .split_once("descendants ")
            .unwrap()
            .1
            .split(' ')
            .map(|pid| pid.parse().unwrap())
            .collect();
        assert_eq!(pids.len(), if protection == "full" { 2 } else { 1 });
        let alive = |pid: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains("State") && !status.contains("Z (zombie)")
        };
        std::thread::sleep(Duration::from_millis(300));
        assert!(pids.iter().all(alive), "{protection}: they ended too early");
        worker.kill().unwrap();
        worker.wait().unwrap();
        let since = Instant::now();
        while pids.iter().any(alive) && since.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(
            !pids.iter().any(alive),
            "{protection}: {pids:?} outlived the worker"
        );
    }
}

/// Not a test: the worker of the one above.
#[test]
#[ignore = "run by children_die_with_the_worker_and_not_before"]
fn a_worker_to_kill() {
    let protection = match std::env::var("PROTECTION").as_deref() {
        Ok("full") => Protection::Full,
        Ok("partial") => Protection::Partial,
        _ => return,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Started from a thread that ends.
    let handle = runtime.handle().clone();
    let start = move || {
        handle.block_on(async {
            let sandbox = within(protection).await;
            (
                sandbox
                    .command(Program::Path(hostile()), ["sleep"])
                    .start()
                    .await
                    .unwrap(),
                sandbox,
            )
        })
    };
    let _child = std::thread::spawn(start).join().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let mut pids = fences::below(std::process::id());
    pids.sort_unstable();
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    println!("descendants {}", pids.join(" "));
    std::thread::sleep(Duration::from_secs(30));
}
