//! What the worker and a waiting launcher say to each other, over one pair of sockets.
//!
//! The launcher says [`Note::Ready`] (with its process id, put there by the kernel), gets one
//! [`Order`] with the descriptors for the program, says [`Note::Started`] or [`Note::Failed`], and
//! becomes the program. The socket does not survive that: what runs then can say nothing here.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Failure, Result, raw};

/// Most descriptors in one message, stdin included.
pub(super) const MOST_FDS: usize = 16;
/// Most bytes of one message; a socket's default send buffer holds it.
pub(super) const MOST_BYTES: usize = 128 << 10;

/// Limits of one child. The first group is kept by the kernel, the second by the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Private memory (RLIMIT_DATA, and the filter refuses shared anonymous memory): what the budget
    /// should count for the child.
    pub memory: u64,
    /// Address space (RLIMIT_AS): ffmpeg maps some hundred libraries, so this is far above `memory`.
    pub address_space: u64,
    /// Processor seconds, all threads together.
    pub cpu_seconds: u64,
    /// Largest file that it may write; nothing is writable anyway.
    pub file_bytes: u64,
    /// Open descriptors.
    pub open_files: u64,
    /// Threads, where a user namespace of its own makes them countable.
    pub threads: u64,
    /// Added to the niceness.
    pub nice: i32,

    /// From start to end by the clock on the wall; then TERM, and KILL two seconds later.
    pub wall: Duration,
    /// Most bytes that are taken from its output.
    pub stdout_bytes: u64,
    /// Most bytes that the range reader serves, re-reads included.
    pub range_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 512 << 20,
            address_space: 2 << 30,
            cpu_seconds: 60,
            file_bytes: 0,
            open_files: 64,
            threads: 64,
            nice: 5,
            wall: Duration::from_secs(120),
            stdout_bytes: 64 << 20,
            range_bytes: 64 << 30,
        }
    }
}

/// Which fences the launcher puts around itself; the namespaces stand already when it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fences {
    pub(super) namespaces: bool,
    pub(super) landlock: bool,
    pub(super) seccomp: bool,
}

/// One program to become.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    /// The number that each descriptor of the message gets; 0 is stdin.
    pub(super) numbers: Vec<i32>,
    pub(super) limits: Limits,
    pub(super) fences: Fences,
    /// Read-only paths besides the system's own.
    pub(super) readable: Vec<PathBuf>,
    /// Make the range reader's listening socket and send it back.
    pub(super) range: bool,
}

/// What a launcher says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Note {
    /// It stands inside its namespaces and waits.
    Ready,
    /// Every fence is up; the next thing is the program. The range reader's socket comes along.
    Started,
    /// It could not; it is gone.
    Failed(String),
}

/// A message with what came beside it.
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
    pub(super) pid: Option<Pid>,
}

/// The worker's end (told the sender's process id by the kernel) and the launcher's end.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::sockopt::set_socket_passcred(&ours, true)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// Sends one message with its descriptors.
pub(super) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other(format!(
            "more than {MOST_FDS} descriptors"
        )));
    }
    let flags = SendFlags::NOSIGNAL;
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut beside, flags)?;
    Ok(())
}

/// Receives one message; no bytes mean that the other side is gone.
pub(super) fn receive(socket: BorrowedFd<'_>) -> io::Result<Message> {
    let mut bytes = vec![0; MOST_BYTES];
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS), ScmCredentials(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut beside,
        flags,
    )?;
    let (mut fds, mut pid) = (Vec::new(), None);
    for part in beside.drain() {
        match part {
            RecvAncillaryMessage::ScmRights(rights) => fds.extend(rights),
            RecvAncillaryMessage::ScmCredentials(sender) => pid = Some(sender.pid),
            _ => {}
        }
    }
    bytes.truncate(got.bytes);
    Ok(Message { bytes, fds, pid })
}

/// The worker's end of the socket.
pub(super) struct Control(AsyncFd<OwnedFd>);

impl Control {
    pub(super) fn new(ours: OwnedFd) -> io::Result<Self> {
        raw::watch(ours).map(Control)
    }

    /// Sends the order. It fits the socket's buffer, so this waits for nothing.
    pub(super) async fn order(&self, order: &Order, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let bytes =
            serde_json::to_vec(order).map_err(|e| Failure::failed("cannot write the order", e))?;
        if bytes.len() > MOST_BYTES {
            return Err(Failure::refused("the command line is too long"));
        }
        let sent = self.0.async_io(Interest::WRITABLE, |socket| {
            send(socket.as_fd(), &bytes, fds)
        });
        sent.await
            .map_err(|e| Failure::unavailable(format!("the launcher took no order: {e}")))
    }

    /// The next note; `None` when the launcher is gone.
    pub(super) async fn note(&self) -> Result<Option<(Note, Message)>> {
        let got = self
            .0
            .async_io(Interest::READABLE, |socket| receive(socket.as_fd()));
        let message = got
            .await
            .map_err(|e| Failure::failed("the launcher's socket broke", e))?;
        if message.bytes.is_empty() {
            return Ok(None);
        }
        let note = serde_json::from_slice(&message.bytes);
        let note = note.map_err(|e| Failure::failed("the launcher said something strange", e))?;
        Ok(Some((note, message)))
    }

    /// A note that is there already, for when the launcher may have ended: waits for nothing.
    pub(super) fn last_note(&self) -> Option<Note> {
        let message = receive(self.0.get_ref().as_fd()).ok()?;
        serde_json::from_slice(&message.bytes).ok()
    }
}
