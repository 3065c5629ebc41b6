//! Starting launchers, and burying what nobody waits for.
//!
//! A child dies with the *thread* that started it (PR_SET_PDEATHSIG means the thread), and a
//! runtime's threads come and go. So one thread starts all of them, and lives until the last one is
//! off the process table.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::order::{self, Control, Note};
use super::{Failure, Result, Status, Usage, raw};

/// A launcher that does not report within this time is taken for broken.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a child that was told to end may take before it is killed.
const BURIAL: Duration = Duration::from_secs(2);

enum Ask {
    Start(
        Box<Command>,
        oneshot::Sender<io::Result<std::process::Child>>,
    ),
    Bury(Pid),
}

/// The thread that starts children.
#[derive(Debug)]
pub(super) struct Spawner(Sender<Ask>);

impl Spawner {
    pub(super) fn start() -> io::Result<Arc<Self>> {
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new().name("sandbox".into());
        thread.spawn(move || work(&receiver))?;
        Ok(Arc::new(Spawner(sender)))
    }

    async fn spawn(&self, command: Command) -> io::Result<std::process::Child> {
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts children is gone");
        self.0
            .send(Ask::Start(Box::new(command), answer))
            .map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    fn bury(&self, pid: Pid) {
        let _ = self.0.send(Ask::Bury(pid));
    }
}

/// Ends when nobody can ask any more and everything is buried.
fn work(asked: &Receiver<Ask>) {
    let mut dying: Vec<(Pid, Instant)> = Vec::new();
    loop {
        let ask = match dying.is_empty() {
            true => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => asked.recv_timeout(Duration::from_millis(10)),
        };
        match ask {
            Ok(Ask::Start(mut command, answer)) => {
                // Whoever asked may have gone: then the child is buried at once.
                if let Err(Ok(child)) = answer.send(command.spawn()) {
                    dying.extend(
                        Pid::from_raw(child.id().cast_signed()).map(|pid| (pid, Instant::now())),
                    );
                }
            }
            Ok(Ask::Bury(pid)) => dying.push((pid, Instant::now())),
            Err(RecvTimeoutError::Disconnected) if dying.is_empty() => return,
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(10)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        dying.retain(|(pid, since)| {
            if since.elapsed() > BURIAL {
                // Not waited for yet, so the number is still this child's.
                let _ = rustix::process::kill_process(*pid, Signal::KILL);
            }
            matches!(raw::wait(pid.as_raw_nonzero().get()), Ok(None))
        });
    }
}

/// A direct child (bubblewrap, or the launcher itself) until somebody has waited for it.
#[derive(Debug)]
pub(super) struct Grave {
    spawner: Arc<Spawner>,
    /// Empty once it is off the process table.
    pid: Option<Pid>,
    /// Readable when it has ended.
    ended: AsyncFd<OwnedFd>,
}

impl Grave {
    /// Whether somebody has waited for it.
    pub(super) fn is_empty(&self) -> bool {
        self.pid.is_none()
    }

    /// Waits for its end, kills what it left in its group, and takes it off the process table.
    pub(super) async fn ended(&mut self, leader: Option<&Leader>) -> io::Result<(Status, Usage)> {
        loop {
            let mut ready = self.ended.readable().await?;
            let pid = self.pid.ok_or(io::ErrorKind::NotFound)?;
            if leader.is_some_and(|leader| leader.group) {
                // Before it is waited for: until then its number, and so its group's, is its own.
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            }
            if let Some(end) = raw::wait(pid.as_raw_nonzero().get())? {
                self.pid = None;
                return Ok(end);
            }
            ready.clear_ready();
        }
    }

    /// Kills the direct child itself; only where nothing below it would be orphaned, or nothing else
    /// has helped.
    pub(super) fn kill(&self) {
        if self.pid.is_some() {
            let _ = pidfd_send_signal(self.ended.get_ref(), Signal::KILL);
        }
    }
}

impl Drop for Grave {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            self.spawner.bury(pid);
        }
    }
}

/// The launcher process, as this process sees it.
#[derive(Debug)]
pub(super) struct Leader {
    pid: Pid,
    handle: OwnedFd,
    /// It is our direct child, so its group can be named safely until it is waited for. Inside a
    /// process namespace nothing outlives it, and nobody needs the group.
    group: bool,
}

impl Leader {
    /// To the process and, where it can have made others, to its group.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.handle, signal);
        if self.group {
            let _ = rustix::process::kill_process_group(self.pid, signal);
        }
    }
}

/// A launcher that stands inside its fences and waits for its order.
pub(super) struct Ready {
    // The order of the fields is the order of their end: the socket first, so that a launcher that
    // was never asked leaves by itself.
    pub(super) control: Control,
    /// Empty once the child has it.
    pub(super) stdout: Option<pipe::Receiver>,
    pub(super) stderr: pipe::Receiver,
    pub(super) leader: Leader,
    pub(super) grave: Grave,
}

/// Starts a launcher with `command` (its program and arguments only) and waits until it is ready.
pub(super) async fn launcher(spawner: &Arc<Spawner>, mut command: Command) -> Result<Ready> {
    let wrong = |e| Failure::failed("cannot start the sandbox", e);
    let (ours, theirs) = order::pair().map_err(wrong)?;
    let control = Control::new(ours).map_err(wrong)?;
    command.env_clear().stdin(Stdio::from(theirs));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let started = spawner.spawn(command).await;
    let mut child =
        started.map_err(|e| Failure::unavailable(format!("cannot start {program}: {e}")))?;
    let mut grave = grave(spawner, child.id()).map_err(wrong)?;
    let gone = || wrong(io::Error::other("a pipe is missing"));
    let stdout = child.stdout.take().ok_or_else(gone)?;
    let stderr = child.stderr.take().ok_or_else(gone)?;
    let stdout = pipe::Receiver::from_owned_fd(stdout.into()).map_err(wrong)?;
    let mut stderr = pipe::Receiver::from_owned_fd(stderr.into()).map_err(wrong)?;
    let leader = tokio::select! {
        leader = ready(&control, grave.pid) => leader?,
        _ = grave.ended(None) => None,
        () = tokio::time::sleep(PATIENCE) => None,
    };
    let Some(leader) = leader else {
        let mut text = [0; 1024];
        let read = tokio::time::timeout(Duration::from_millis(200), stderr.read(&mut text)).await;
        let text =
            String::from_utf8_lossy(&text[..read.unwrap_or(Ok(0)).unwrap_or(0)]).into_owned();
        let text = text
            .lines()
            .next()
            .unwrap_or("it ended without a word")
            .to_owned();
        return Err(Failure::unavailable(format!(
            "{program} does not start the sandbox: {text}"
        )));
    };
    Ok(Ready {
        control,
        stdout: Some(stdout),
        stderr,
        leader,
        grave,
    })
}

fn grave(spawner: &Arc<Spawner>, id: u32) -> io::Result<Grave> {
    let pid = Pid::from_raw(id.cast_signed()).ok_or(io::ErrorKind::InvalidData)?;
    let opened = pidfd_open(pid, PidfdFlags::empty())
        .map_err(io::Error::from)
        .and_then(raw::watch);
    let ended = opened.inspect_err(|_| spawner.bury(pid))?;
    Ok(Grave {
        spawner: Arc::clone(spawner),
        pid: Some(pid),
        ended,
    })
}

/// The launcher's first words. The kernel put its process id there, as seen from here, and it waits
/// for us: the id is still its own when the handle is opened.
async fn ready(control: &Control, child: Option<Pid>) -> Result<Option<Leader>> {
    match control.note().await? {
        Some((Note::Ready, message)) => {
            let pid = message
                .pid
                .ok_or_else(|| Failure::unavailable("the kernel tells no process id"))?;
            let handle = pidfd_open(pid, PidfdFlags::empty());
            let handle =
                handle.map_err(|e| Failure::failed("cannot open the launcher's handle", e))?;
            Ok(Some(Leader {
                pid,
                handle,
                group: Some(pid) == child,
            }))
        }
        Some((Note::Failed(why), _)) => Err(Failure::unavailable(why)),
        _ => Ok(None),
    }
}
