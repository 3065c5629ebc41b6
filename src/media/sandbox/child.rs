//! A running child: what it says is read, the clock is watched, and its end is certain.
//!
//! One future does all of it: output up to a cap, errors drained to the last byte and kept in part,
//! the range reader, the watchdog. Nothing is spawned beside it, so dropping the future (or the
//! [`Child`]) ends everything, and the child is killed and buried.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpListener;
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::order::{Limits, Note};
use super::range::{self, RangeSource};
use super::spawn::{Grave, Leader, Ready};
use super::{Failure, Result};

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long pipes may stay open after the end, before what is left in them is given up.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Kept of the first and of the last part of what it says on stderr.
const HALF_STDERR: usize = 32 << 10;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

impl Status {
    pub(super) fn from_raw(status: i32) -> Self {
        match (libc::WIFSIGNALED(status), libc::WEXITSTATUS(status)) {
            (true, _) => Status::Signalled(libc::WTERMSIG(status)),
            // bubblewrap, like a shell, says so of the program's signal.
            (false, code) if code > 128 => Status::Signalled(code - 128),
            (false, code) => Status::Exited(code),
        }
    }
}

/// Who ended it, if it did not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KilledBy {
    /// It ran past `Limits::wall`.
    Watchdog,
    /// It wrote more than `Limits::stdout_bytes`.
    OutputCap,
    /// It used `Limits::cpu_seconds`.
    CpuLimit,
}

/// What it used, every process and thread below it included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time.
    pub cpu: Duration,
    /// Most resident memory of its largest process.
    pub max_rss: u64,
}

/// How a child ended, and what it said.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Its output, unless that was taken to be read as a stream.
    pub stdout: Vec<u8>,
    /// The first and the last 32 KiB of its errors, without control characters.
    pub stderr: String,
    /// What it used.
    pub usage: Usage,
    /// From its order to its end.
    pub wall: Duration,
    /// Who ended it, if it did not end by itself.
    pub killed_by: Option<KilledBy>,
    /// The range reader's source failed: the child's failure is then not the media's fault.
    pub source: Option<String>,
}

impl Outcome {
    /// It ended by itself, with code 0, having read everything it asked for.
    pub fn success(&self) -> bool {
        self.status == Status::Exited(0) && self.killed_by.is_none() && self.source.is_none()
    }
}

/// The child's output as a stream: fails, and has the child killed, when it is longer than allowed.
#[derive(Debug)]
pub struct Stdout {
    pipe: pipe::Receiver,
    left: u64,
    over: Arc<Notify>,
}

impl AsyncRead for Stdout {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.pipe).poll_read(cx, buf))?;
        let read = (buf.filled().len() - before) as u64;
        if read > self.left {
            buf.set_filled(before);
            self.left = 0;
            self.over.notify_one();
            return Poll::Ready(Err(io::Error::other("the output is longer than allowed")));
        }
        self.left -= read;
        Poll::Ready(Ok(()))
    }
}

/// A child at work.
pub struct Child {
    ready: Ready,
    limits: Limits,
    since: Instant,
    stdin: Option<pipe::Sender>,
    stdout: Option<Stdout>,
    server: Option<TcpListener>,
    over: Arc<Notify>,
    ended: bool,
}

impl Child {
    pub(super) fn new(
        mut ready: Ready,
        limits: Limits,
        stdin: Option<pipe::Sender>,
        server: Option<TcpListener>,
    ) -> Self {
        let over = Arc::new(Notify::new());
        let left = limits.stdout_bytes;
        let stdout = ready.stdout.take().map(|pipe| Stdout {
            pipe,
            left,
            over: Arc::clone(&over),
        });
        Child {
            ready,
            limits,
            since: Instant::now(),
            stdin,
            stdout,
            server,
            over,
            ended: false,
        }
    }

    /// The pipe to its stdin, once; close it to say that this was all.
    pub fn take_stdin(&mut self) -> Option<pipe::Sender> {
        self.stdin.take()
    }

    /// Its output as a stream, once; it must be read while [`Child::wait`] runs.
    pub fn take_stdout(&mut self) -> Option<Stdout> {
        self.stdout.take()
    }

    /// Waits for its end and collects its output.
    pub async fn wait(self) -> Result<Outcome> {
        self.attend(std::future::pending()).await
    }

    /// The same, serving `source` to it meanwhile at [`super::RANGE_URL`].
    pub async fn wait_serving<S: RangeSource>(mut self, source: &S) -> Result<Outcome> {
        let server = self
            .server
            .take()
            .ok_or_else(|| Failure::refused("it was started without a range reader"))?;
        let most = self.limits.range_bytes;
        self.attend(async move { range::serve(&server, source, most).await })
            .await
    }

    async fn attend(mut self, serving: impl Future<Output = String>) -> Result<Outcome> {
        // A pipe that nobody took would keep a reader waiting for ever.
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), Kept::default());
        let mut watch = Watch::new(self.since + self.limits.wall);
        let collected = self.stdout.take();
        let errors = &mut self.ready.stderr;
        let pumps = async {
            tokio::join!(collect(collected, &mut stdout), drain(errors, &mut stderr));
        };
        let (leader, grave) = (&self.ready.leader, &mut self.ready.grave);
        let end = watch.over(leader, grave, &self.over, pumps, serving).await;
        self.ended = true;
        let (status, usage) = end.map_err(|e| Failure::failed("cannot wait for the sandbox", e))?;
        // It never became the program.
        if let Some(Note::Failed(why)) = self.ready.control.last_note() {
            return Err(Failure::failed("the sandbox", why));
        }
        // The kernel's limit and its account are not the same clock.
        let spent = (usage.cpu + Duration::from_millis(200)).as_secs() >= self.limits.cpu_seconds;
        let by_limit = spent && status == Status::Signalled(libc::SIGKILL);
        Ok(Outcome {
            status,
            stdout,
            stderr: stderr.text(),
            usage,
            wall: self.since.elapsed(),
            killed_by: watch.killed_by.or(by_limit.then_some(KilledBy::CpuLimit)),
            source: watch.source,
        })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The number of one that is off the process table may be another's by now.
        if !self.ended && !self.ready.grave.is_empty() {
            self.ready.leader.signal(Signal::KILL);
        }
    }
}

/// The clock, and who has ended the child so far.
struct Watch {
    deadline: Instant,
    blows: u32,
    killed_by: Option<KilledBy>,
    source: Option<String>,
}

impl Watch {
    fn new(deadline: Instant) -> Self {
        Watch {
            deadline,
            blows: 0,
            killed_by: None,
            source: None,
        }
    }

    /// Lets everything run until the child has ended and its pipes are empty.
    async fn over(
        &mut self,
        leader: &Leader,
        grave: &mut Grave,
        too_much: &Notify,
        pumps: impl Future<Output = ()>,
        serving: impl Future<Output = String>,
    ) -> io::Result<(Status, Usage)> {
        let (mut pumps, mut serving) = (std::pin::pin!(pumps), std::pin::pin!(serving));
        let mut pumped = false;
        let end = loop {
            tokio::select! {
                end = grave.ended(Some(leader)) => break end,
                () = &mut pumps, if !pumped => pumped = true,
                why = &mut serving, if self.source.is_none() => {
                    self.source = Some(why);
                    leader.signal(Signal::KILL);
                }
                () = too_much.notified() => {
                    self.killed_by.get_or_insert(KilledBy::OutputCap);
                    leader.signal(Signal::KILL);
                }
                () = tokio::time::sleep_until(self.deadline) => self.strike(leader, grave),
            }
        };
        if !pumped {
            let _ = tokio::time::timeout(LAST_WORDS, pumps).await;
        }
        end
    }

    /// Time is up: first a word, then the end, then whatever stands in the way.
    fn strike(&mut self, leader: &Leader, grave: &Grave) {
        if self.source.is_none() {
            self.killed_by.get_or_insert(KilledBy::Watchdog);
        }
        match self.blows {
            0 => leader.signal(Signal::TERM),
            1 => leader.signal(Signal::KILL),
            _ => grave.kill(),
        }
        self.blows += 1;
        self.deadline = Instant::now() + GRACE;
    }
}

async fn collect(stdout: Option<Stdout>, kept: &mut Vec<u8>) {
    if let Some(mut stdout) = stdout {
        // Over the cap the child is killed; a pipe cannot fail otherwise.
        let _ = stdout.read_to_end(kept).await;
    }
}

async fn drain(pipe: &mut pipe::Receiver, kept: &mut Kept) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        kept.add(&buffer[..read]);
    }
}

/// The first and the last part of a text of any length.
#[derive(Default)]
struct Kept {
    first: Vec<u8>,
    last: Vec<u8>,
    left_out: u64,
}

impl Kept {
    fn add(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(HALF_STDERR - self.first.len());
        self.first.extend_from_slice(&bytes[..fits]);
        self.last.extend_from_slice(&bytes[fits..]);
        let over = self.last.len().saturating_sub(HALF_STDERR);
        self.last.drain(..over);
        self.left_out += over as u64;
    }

    /// Control characters could rewrite a log on somebody's screen.
    fn text(&self) -> String {
        let gap = match self.left_out {
            0 => String::new(),
            bytes => format!("\n[{bytes} bytes left out]\n"),
        };
        let [first, last] = [&self.first, &self.last].map(|part| String::from_utf8_lossy(part));
        let clean = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
        format!("{first}{gap}{last}").chars().map(clean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_words_are_kept() {
        let mut kept = Kept::default();
        for line in 0..100_000 {
            kept.add(format!("line {line}\x1b[2J\n").as_bytes());
        }
        let text = kept.text();
        assert!(text.starts_with("line 0 [2J\n") && text.ends_with("line 99999 [2J\n"));
        assert!(text.contains("bytes left out") && text.len() < 2 * HALF_STDERR + 100);
    }
}
