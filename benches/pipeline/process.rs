//! Processes under measurement: wall time from the first start to the last end, CPU time of them and their children,
//! and the most memory that each had.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::{Outcome, cannot};

/// Nothing that is measured takes longer.
const LIMIT: Duration = Duration::from_secs(20 * 60);
/// Between two looks at a process's memory. Its high-water mark only rises, so that nothing but the last moment of a
/// process is missed.
const LOOK: Duration = Duration::from_millis(20);
/// Of the times in /proc: fixed on Linux, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// What processes took.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub seconds: f64,
    /// User and system time of the client processes and of nobody else.
    pub cpu_seconds: f64,
    /// High-water marks of resident memory, added up.
    pub peak_bytes: u64,
}

/// Processes of which each reads what the one before it writes.
pub struct Pipe {
    commands: Vec<Command>,
    /// Where the last one's standard output goes, and everybody's errors.
    out: PathBuf,
    errors: PathBuf,
}

impl Pipe {
    pub fn new(commands: Vec<Command>, folder: &Path) -> Pipe {
        let [out, errors] = ["stdout", "stderr"].map(|name| folder.join(name));
        Pipe {
            commands,
            out,
            errors,
        }
    }

    /// The standard output of the last one, after its end.
    pub fn output(folder: &Path) -> Outcome<String> {
        std::fs::read_to_string(folder.join("stdout"))
            .map_err(cannot("read what a program printed"))
    }

    /// Runs all of them, away from the threads of the runtime, which serve front and proxy meanwhile.
    pub async fn run(self, what: &str) -> Outcome<Used> {
        let what = what.to_owned();
        let run = tokio::task::spawn_blocking(move || self.block(&what));
        run.await.map_err(cannot("wait for a thread"))?
    }

    fn block(mut self, what: &str) -> Outcome<Used> {
        let errors = File::create(&self.errors).map_err(cannot("make a file"))?;
        let begun = Instant::now();
        let mut children = self.start(errors).map_err(cannot(what))?;
        let pids: Vec<u32> = children.iter().map(Child::id).collect();
        let done = AtomicBool::new(false);
        let (cpu_seconds, seconds, peak_bytes) = std::thread::scope(|scope| {
            let watch = scope.spawn(|| watch(&pids, &done));
            let cpu: f64 = pids.iter().map(|pid| ended(*pid)).sum();
            let seconds = begun.elapsed().as_secs_f64();
            done.store(true, Ordering::Relaxed);
            (cpu, seconds, watch.join().unwrap_or(0))
        });
        for child in &mut children {
            let status = child.wait().map_err(cannot(what))?;
            self.expect_success(what, status)?;
        }
        Ok(Used {
            seconds,
            cpu_seconds,
            peak_bytes,
        })
    }

    fn start(&mut self, errors: File) -> std::io::Result<Vec<Child>> {
        let mut input = Stdio::null();
        let mut children = Vec::new();
        let last = self.commands.len().saturating_sub(1);
        for (index, command) in self.commands.iter_mut().enumerate() {
            let out = match index == last {
                true => File::create(&self.out)?.into(),
                false => Stdio::piped(),
            };
            command.stdin(input).stdout(out).stderr(errors.try_clone()?);
            let mut child = command.spawn()?;
            input = child.stdout.take().map_or(Stdio::null(), Stdio::from);
            children.push(child);
        }
        Ok(children)
    }

    fn expect_success(&self, what: &str, status: ExitStatus) -> Outcome<()> {
        if status.success() {
            return Ok(());
        }
        let tail = [&self.errors, &self.out].map(|path| tail(path));
        Err(format!("{what}: {status}\n{}", tail.concat()))
    }
}

/// Waits for a process's end and leaves it for its owner to collect: until then its times can be read.
fn ended(pid: u32) -> f64 {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let known = Pid::from_raw(pid as i32);
    let waited = known.map(|known| waitid(WaitId::Pid(known), options));
    match waited {
        Some(Ok(_)) => cpu_seconds(pid),
        _ => f64::NAN,
    }
}

/// Looks at everybody's memory until all have ended; the sum of the marks. Ends who takes too long.
fn watch(pids: &[u32], done: &AtomicBool) -> u64 {
    let marks: Vec<AtomicU64> = pids.iter().map(|_| AtomicU64::new(0)).collect();
    let begun = Instant::now();
    while !done.load(Ordering::Relaxed) {
        for (pid, mark) in pids.iter().zip(&marks) {
            mark.fetch_max(peak_bytes(*pid), Ordering::Relaxed);
            if begun.elapsed() > LIMIT
                && let Some(pid) = Pid::from_raw(*pid as i32)
            {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        std::thread::sleep(LOOK);
    }
    marks.iter().map(|mark| mark.load(Ordering::Relaxed)).sum()
}

/// User and system time of a process and of its children that have ended, from /proc, in hundredths.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything; what follows is numbers.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let times: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse().ok())
        .collect();
    match times.len() {
        4 => times.iter().sum::<f64>() / TICKS_PER_SECOND,
        _ => f64::NAN,
    }
}

/// The high-water mark of a process's resident memory; 0 when it is no more.
pub fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// The end of a file, for an error.
pub fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(8)..];
    last.iter().map(|line| format!("    | {line}\n")).collect()
}

/// Runs a program to its end, unmeasured; its standard output.
pub async fn finished(what: &str, mut command: Command) -> Outcome<String> {
    let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output());
    let output = output.await.map_err(cannot("wait for a thread"))?;
    let output = output.map_err(cannot(what))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!(
            "{what}: {}: {}",
            output.status,
            text(&output.stderr)
        )),
    }
}
