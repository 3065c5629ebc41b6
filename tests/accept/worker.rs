//! Worker processes: started, killed, stopped, and their memory watched.

use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::checks::{Outcome, cannot};
use crate::memory::ALLOWED;
use crate::world::{World, last_lines};

/// Longest time until a worker is connected, and until it has drained.
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(60);

pub struct Worker {
    child: Child,
    pid: u32,
    log: PathBuf,
}

impl Worker {
    /// A worker with these settings and arguments, once it is connected. Its log is at `name`.log.
    pub async fn start(
        world: &World,
        name: &str,
        endpoint: &str,
        settings: &[(&str, &str)],
        arguments: &[&str],
    ) -> Outcome<Worker> {
        let command = world.ciphermill(endpoint);
        Worker::start_by(world, name, command, settings, arguments).await
    }

    /// The same by this command.
    pub async fn start_by(
        world: &World,
        name: &str,
        mut command: Command,
        settings: &[(&str, &str)],
        arguments: &[&str],
    ) -> Outcome<Worker> {
        let log = world.path(&format!("{name}.log"));
        let file = File::create(&log).map_err(cannot("make a log file"))?;
        command.args(["work", "--declare"]).args(arguments);
        let child = command
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(cannot("start a worker"))?;
        let pid = child.id().ok_or("the worker has ended")?;
        let mut worker = Worker { child, pid, log };
        let end = Instant::now() + START;
        while !worker.logged("worker started") {
            if !worker.running() || Instant::now() > end {
                return Err(worker.with_tail("the worker does not start"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(worker)
    }

    /// Kills it where it stands.
    pub async fn kill(&mut self) -> Outcome<()> {
        self.child.kill().await.map_err(cannot("kill the worker"))
    }

    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGTERM, and the exit status.
    pub async fn stop(&mut self) -> Outcome<()> {
        if let Some(pid) = Pid::from_raw(self.pid as i32).filter(|_| self.running()) {
            kill_process(pid, Signal::TERM).map_err(cannot("stop the worker"))?;
        }
        self.ended(STOP).await
    }

    /// Waits for its end, which must be a good one.
    pub async fn ended(&mut self, limit: Duration) -> Outcome<()> {
        let status = timeout(limit, self.child.wait()).await;
        let status: ExitStatus = status
            .map_err(|_| self.with_tail(&format!("the worker did not end in {limit:?}")))?
            .map_err(cannot("wait for the worker"))?;
        if status.success() {
            Ok(())
        } else {
            Err(self.with_tail(&format!("the worker ended with {status}")))
        }
    }

    /// Whether its log says so.
    pub fn logged(&self, text: &str) -> bool {
        std::fs::read_to_string(&self.log).is_ok_and(|log| log.contains(text))
    }

    /// A reason, with the end of the worker's log.
    pub fn with_tail(&self, reason: &str) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let name = self.log.file_stem().unwrap_or_default().to_string_lossy();
        format!("{reason}\n     | {name}:\n     | {}", last_lines(&log, 15))
    }

    /// Samples its memory until it ends.
    pub fn watch_memory(&self) -> JoinHandle<Peak> {
        let pid = self.pid;
        std::thread::spawn(move || {
            let mut peak = Peak::default();
            while peak.sample(pid) {
                std::thread::sleep(Duration::from_millis(100));
            }
            peak
        })
    }
}

/// The most memory that a worker and all below it had.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peak {
    /// Summed proportional set size; 0 where the system does not let us read it (it is root's).
    pub pss: u64,
    /// The worker's own high-water mark, kept by the kernel: no moment is missed.
    pub resident: u64,
    pub samples: usize,
}

impl Peak {
    /// False when the process has ended.
    fn sample(&mut self, pid: u32) -> bool {
        let Some(resident) = field(&format!("/proc/{pid}/status"), "VmHWM:") else {
            return false;
        };
        self.resident = self.resident.max(resident);
        let mut family = vec![pid];
        let mut next = 0;
        while let Some(pid) = family.get(next) {
            family.extend(children(*pid));
            next += 1;
        }
        let pss = family
            .iter()
            .filter_map(|pid| field(&format!("/proc/{pid}/smaps_rollup"), "Pss:"));
        self.pss = self.pss.max(pss.sum());
        self.samples += 1;
        true
    }

    /// The figure to hold against what is allowed: what the kernel counted for a cgroup, else the sum. Where it keeps
    /// both from us, its own high-water mark of the worker stands in.
    pub fn measured(&self, cgroup: Option<u64>) -> u64 {
        match (cgroup, self.pss) {
            (Some(peak), _) => peak,
            (None, 0) => self.resident,
            (None, pss) => pss,
        }
    }

    /// All of it in words, and what is allowed.
    pub fn figures(&self, cgroup: Option<u64>) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let cgroup = cgroup.map_or(String::new(), |peak| {
            format!("cgroup's peak {:.1} MiB, ", mib(peak))
        });
        format!(
            "{cgroup}peak PSS {:.1} MiB, VmHWM {:.1} MiB, allowed {} MiB ({} samples)",
            mib(self.pss),
            mib(self.resident),
            ALLOWED >> 20,
            self.samples
        )
    }
}

/// Processes that any thread of this one started.
fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let lists = tasks
        .into_iter()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    let lists: Vec<String> = lists.collect();
    let pids = lists.iter().flat_map(|list| list.split_whitespace());
    pids.filter_map(|pid| pid.parse().ok()).collect()
}

/// A number of kB in one of the kernel's tables, in bytes.
fn field(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
