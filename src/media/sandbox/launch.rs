//! The launcher: this binary, re-executed as a hidden verb, alone inside the child's namespaces.
//!
//! It is ours and trusted, holds nothing, and waits for one order on its stdin. Then it puts the
//! descriptors in their places, takes away from itself all that the program must not have, and
//! becomes the program. The order of the steps matters: what needs a right stands before the step
//! that takes it away. Everything is done by the process to itself, with one thread, so no code of ours runs
//! between `fork` and `exec` in the worker.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use super::order::{self, Limits, Note, Order};
use super::{Failure, Result, filter, raw, view};

/// Second argument of the verb: see [`probe`].
pub(super) const PROBE: &str = "probe";
/// All that stands in the child's environment.
const ENVIRONMENT: [&str; 2] = ["PATH=/usr/bin", "LANG=C.UTF-8"];
/// The kernel kills this one first when memory is short.
const OOM_SCORE: &[u8] = b"800";

/// Runs the hidden verb: comes back only when there was nothing to become.
pub fn launch() -> ExitCode {
    if std::env::args().nth(2).as_deref() == Some(PROBE) {
        return probe();
    }
    let stdin = std::io::stdin();
    let Ok(control) = rustix::io::fcntl_dupfd_cloexec(stdin.as_fd(), raw::FIRST_FREE) else {
        return ExitCode::from(2);
    };
    let said = prepare().and_then(|()| say(&control, &Note::Ready, None));
    let Err(failure) = said.and_then(|()| obey(&control)) else {
        return ExitCode::SUCCESS;
    };
    // With a plain write: the filter may be up already. Nobody listens when the worker is gone.
    let note = serde_json::to_vec(&Note::Failed(failure.message)).unwrap_or_default();
    let _ = rustix::io::write(&control, &note);
    ExitCode::from(127)
}

/// Inside, as the first child of a worker: tries what must not be possible.
fn probe() -> ExitCode {
    let tried = [
        ("make a socket", UdpSocket::bind("127.0.0.1:0").is_ok()),
        (
            "make a process",
            Command::new("/proc/self/exe")
                .stdin(Stdio::null())
                .spawn()
                .is_ok(),
        ),
        ("read /etc/passwd", File::open("/etc/passwd").is_ok()),
        (
            "write a file",
            File::create("/tmp/ciphermill-probe").is_ok(),
        ),
    ];
    let could: Vec<_> = tried
        .iter()
        .filter(|(_, could)| *could)
        .map(|(what, _)| *what)
        .collect();
    match could.is_empty() {
        true => ExitCode::SUCCESS,
        false => {
            let _ = writeln!(
                std::io::stderr(),
                "inside, a child can still {}",
                could.join(", ")
            );
            ExitCode::FAILURE
        }
    }
}

/// Dies with the worker (the thread that starts children lives as long as they), leads a group of
/// its own, stands in no folder of the worker's.
fn prepare() -> Result<()> {
    let wrong = |e| Failure::failed("cannot prepare", e);
    // Refused when it leads one already.
    let _ = rustix::process::setsid();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(wrong)?;
    rustix::process::chdir("/").map_err(wrong)
}

/// Waits for the order and carries it out. `Ok` only when the worker went away without one.
fn obey(control: &OwnedFd) -> Result<()> {
    let message = order::receive(control.as_fd()).map_err(|e| Failure::failed("no order", e))?;
    if message.bytes.is_empty() {
        return Ok(());
    }
    let order: Order = serde_json::from_slice(&message.bytes)
        .map_err(|e| Failure::failed("cannot read the order", e))?;
    let file = open(&order.program)?;
    place(&order.numbers, message.fds)?;
    let server = order.range.then(listen).transpose()?;
    // May be refused on odd systems; it is a wish.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    let _ = rustix::process::nice(order.limits.nice);
    limit(&order.limits, order.fences.namespaces)?;
    rustix::thread::set_no_new_privs(true)
        .map_err(|e| Failure::failed("cannot refuse new privileges", e))?;
    if order.fences.landlock {
        // While this process can still see the paths that it names.
        view::landlock(&order.readable, &order.program, order.range)?;
    }
    become_nobody()?;
    become_program(control, &order, &file, server)
}

fn become_program(
    control: &OwnedFd,
    order: &Order,
    file: &OwnedFd,
    server: Option<TcpListener>,
) -> Result<()> {
    let nonce = getrandom::u64().map_err(|e| Failure::failed("no random bytes", e))?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let filter = filter::program(nonce, pid, order.range)?;
    let name = order.program.as_os_str();
    let texts = std::iter::once(name.as_bytes()).chain(order.args.iter().map(String::as_bytes));
    let args: Result<Vec<_>, _> = texts.map(CString::new).collect();
    let env: Result<Vec<_>, _> = ENVIRONMENT.into_iter().map(CString::new).collect();
    let nul = |e| Failure::failed("a zero byte in an argument", e);
    let (args, env) = (args.map_err(nul)?, env.map_err(nul)?);
    say(control, &Note::Started, server.as_ref())?;
    raw::default_sigpipe();
    if order.fences.seccomp {
        filter::apply(&filter)?;
    }
    let error = raw::exec(file.as_fd(), &args, &env, nonce);
    Err(Failure::failed(
        &format!("cannot start {}", order.program.display()),
        error,
    ))
}

fn say(control: &OwnedFd, note: &Note, server: Option<&TcpListener>) -> Result<()> {
    let bytes = serde_json::to_vec(note).map_err(|e| Failure::failed("cannot say", e))?;
    let fds: Vec<_> = server.iter().map(|server| server.as_fd()).collect();
    order::send(control.as_fd(), &bytes, &fds).map_err(|e| Failure::failed("the worker is gone", e))
}

/// Opens what is to be run while this process can still see it.
fn open(path: &Path) -> Result<OwnedFd> {
    let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let file =
        opened.map_err(|e| Failure::failed(&format!("cannot open {}", path.display()), e))?;
    rustix::io::fcntl_dupfd_cloexec(&file, raw::FIRST_FREE)
        .map_err(|e| Failure::failed("no descriptor", e))
}

/// Gives each descriptor its number (stdin is `/dev/null` when the order names none) and closes
/// everything else, inherited by mistake or not, at `exec`.
fn place(numbers: &[i32], fds: Vec<OwnedFd>) -> Result<()> {
    let wrong = |e| Failure::failed("cannot place a descriptor", e);
    if numbers.len() != fds.len() {
        return Err(Failure::refused("an order with too few descriptors"));
    }
    let null = File::open("/dev/null").map_err(wrong)?;
    raw::place(null.as_fd(), 0).map_err(wrong)?;
    // First away from the numbers that others may be meant for.
    let high = fds
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, raw::FIRST_FREE));
    let high: Vec<OwnedFd> = high
        .collect::<Result<_, _>>()
        .map_err(|e| wrong(e.into()))?;
    drop((fds, null));
    for (number, fd) in numbers.iter().zip(&high) {
        raw::place(fd.as_fd(), *number).map_err(wrong)?;
    }
    let mut kept: Vec<i32> = numbers
        .iter()
        .copied()
        .filter(|number| *number > 2)
        .collect();
    kept.sort_unstable();
    let mut first = 3;
    for number in kept {
        raw::close_on_exec(first, number - 1).map_err(wrong)?;
        first = number + 1;
    }
    raw::close_on_exec(first, i32::MAX).map_err(wrong)
}

/// The range reader's socket, in this process's own network: no other machine is in it.
fn listen() -> Result<TcpListener> {
    let server = TcpListener::bind(("127.0.0.1", view::RANGE_PORT));
    server.map_err(|e| Failure::failed("cannot listen for the range reader", e))
}

fn limit(limits: &Limits, own_namespace: bool) -> Result<()> {
    let list = [
        (Resource::As, limits.address_space),
        (Resource::Data, limits.memory),
        (Resource::Stack, 8 << 20),
        (Resource::Cpu, limits.cpu_seconds),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nofile, limits.open_files),
        // libgcrypt, which ffmpeg loads, complains loudly without some.
        (Resource::Memlock, 64 << 10),
        (Resource::Core, 0),
    ];
    // Elsewhere the kernel counts the worker's own threads too, and those of every other child.
    let threads = own_namespace.then_some((Resource::Nproc, limits.threads));
    for (resource, most) in list.into_iter().chain(threads) {
        let both = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, both)
            .map_err(|e| Failure::failed(&format!("cannot limit {resource:?}"), e))?;
    }
    Ok(())
}

/// Where the worker runs as root, the child does not: it loses every capability with the user id.
/// Where bubblewrap started it, that has happened before.
fn become_nobody() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (user, group) = (
        rustix::fs::Uid::from_raw(super::NOBODY),
        rustix::fs::Gid::from_raw(super::NOBODY),
    );
    rustix::thread::set_thread_groups(&[])
        .and_then(|()| rustix::thread::set_thread_res_gid(group, group, group))
        .and_then(|()| rustix::thread::set_thread_res_uid(user, user, user))
        // The change of user cleared it.
        .and_then(|()| rustix::process::set_parent_process_death_signal(Some(Signal::KILL)))
        .map_err(|e| Failure::failed("cannot become nobody", e))
}
