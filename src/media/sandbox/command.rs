//! A child to be started: its program, what it is given, and its limits.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::net::unix::pipe;

use super::child::Child;
use super::order::{self, Limits, Note, Order};
use super::pool::Pool;
use super::spawn::Ready;
use super::{Failure, Inner, Kind, Result, raw};

/// The program of a child.
#[derive(Clone, Debug)]
pub enum Program {
    /// This binary, with a hidden verb as its first argument.
    Own,
    /// A program of the system.
    Path(PathBuf),
}

/// What a child's stdin is.
#[derive(Debug, Default)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// A pipe; its other end is [`Child::take_stdin`].
    Pipe,
    /// A descriptor, for instance a [`Memory`].
    Fd(OwnedFd),
}

/// A child to be started.
pub struct Command {
    inner: Arc<Inner>,
    program: Program,
    args: Vec<String>,
    stdin: Stdin,
    fds: Vec<(i32, OwnedFd)>,
    limits: Limits,
    range: bool,
}

impl Command {
    pub(super) fn new(inner: &Arc<Inner>, program: Program, args: Vec<String>) -> Self {
        Command {
            inner: Arc::clone(inner),
            program,
            args,
            stdin: Stdin::Null,
            fds: Vec::new(),
            limits: Limits::default(),
            range: false,
        }
    }

    /// What its stdin is; `/dev/null` unless said otherwise.
    #[must_use]
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// One more descriptor, under this number (3 to 63).
    #[must_use]
    pub fn fd(mut self, number: i32, fd: impl Into<OwnedFd>) -> Self {
        self.fds.push((number, fd.into()));
        self
    }

    /// Its limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// It may read from [`RANGE_URL`]; attend it with [`Child::wait_serving`].
    #[must_use]
    pub fn range_reader(mut self) -> Self {
        self.range = true;
        self
    }

    /// Starts it, in a launcher that stands ready where there is one.
    pub async fn start(self) -> Result<Child> {
        let inner = Arc::clone(&self.inner);
        let (order, fds, stdin) = self.order()?;
        let fds: Vec<_> = fds.iter().map(OwnedFd::as_fd).collect();
        let mut warm = inner.pool.take();
        let (ready, server) = loop {
            let was_warm = warm.is_some();
            let ready = match warm.take() {
                Some(ready) => ready,
                None => inner.launcher().await?,
            };
            match hand_over(&ready, &order, &fds).await {
                Ok(server) => break (ready, server),
                // It died while it waited: nothing was started yet.
                Err(failure) if was_warm && failure.kind == Kind::Unavailable => {
                    warm = inner.pool.take()
                }
                Err(failure) => return Err(failure),
            }
        };
        Pool::refill(&inner);
        Ok(Child::new(ready, order.limits, stdin, server))
    }

    fn order(self) -> Result<(Order, Vec<OwnedFd>, Option<pipe::Sender>)> {
        let fences = self.inner.fences;
        if self.range && !fences.namespaces {
            let why = "this media is too large for memory, and reading it in ranges needs full protection";
            return Err(Failure::unavailable(format!(
                "{why} ({})",
                self.inner.found
            )));
        }
        let (mut numbers, mut fds): (Vec<i32>, Vec<OwnedFd>) = self.fds.into_iter().unzip();
        check_numbers(&numbers)?;
        let (stdin, sender) = self.stdin.ends()?;
        numbers.extend(stdin.iter().map(|_| 0));
        fds.extend(stdin);
        let program = match self.program {
            Program::Own => self.inner.launcher.clone(),
            Program::Path(path) => path,
        };
        let order = Order {
            program,
            args: self.args,
            numbers,
            limits: self.limits,
            fences,
            readable: self.inner.readable.clone(),
            range: self.range,
        };
        Ok((order, fds, sender))
    }
}

impl Stdin {
    /// The child's end, and ours.
    fn ends(self) -> Result<(Option<OwnedFd>, Option<pipe::Sender>)> {
        let wrong = |e| Failure::failed("cannot make a pipe", e);
        match self {
            Stdin::Null => Ok((None, None)),
            Stdin::Fd(fd) => Ok((Some(fd), None)),
            Stdin::Pipe => {
                let (ours, theirs) = pipe::pipe().map_err(wrong)?;
                Ok((Some(theirs.into_blocking_fd().map_err(wrong)?), Some(ours)))
            }
        }
    }
}

fn check_numbers(numbers: &[i32]) -> Result<()> {
    let different: BTreeSet<_> = numbers.iter().collect();
    let fit = numbers
        .iter()
        .all(|number| (3..raw::FIRST_FREE).contains(number));
    if fit && different.len() == numbers.len() && numbers.len() < order::MOST_FDS {
        return Ok(());
    }
    Err(Failure::refused(
        "descriptors take numbers from 3 to 63, each once",
    ))
}

/// Gives a launcher its order; comes back when its fences are up, with the range reader's socket.
async fn hand_over(
    ready: &Ready,
    order: &Order,
    fds: &[BorrowedFd<'_>],
) -> Result<Option<TcpListener>> {
    let dead = || Failure::unavailable("the launcher ended before it had started anything");
    ready.control.order(order, fds).await?;
    match ready.control.note().await? {
        Some((Note::Started, message)) => {
            let Some(fd) = message.fds.into_iter().next() else {
                return Ok(None);
            };
            let server = std::net::TcpListener::from(fd);
            let ready = server
                .set_nonblocking(true)
                .and_then(|()| TcpListener::from_std(server));
            ready
                .map(Some)
                .map_err(|e| Failure::failed("cannot use the range reader's socket", e))
        }
        Some((Note::Failed(why), _)) => Err(Failure::failed("the sandbox", why)),
        _ => Err(dead()),
    }
}
