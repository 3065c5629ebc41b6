//! What no safe crate offers: descriptors at given numbers, closing the rest, one `exec` that cannot
//! be repeated, waiting with the resources used, and watching a descriptor of ours. The only `unsafe` of the
//! sandbox; every function is a thin wrapper that keeps the kernel's rules by its types.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_uint};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use super::child::{Status, Usage};

/// Numbers below this one may be asked for; everything that is on its way is kept above.
pub(super) const FIRST_FREE: RawFd = 64;

/// Makes `number` a copy of `fd` that survives `exec`. `number` must be below [`FIRST_FREE`]: what
/// stands there (0 to 2, or nothing) belongs to no `OwnedFd` of this process.
pub(super) fn place(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    if !(0..FIRST_FREE).contains(&number) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: dup2 takes two plain numbers and touches no memory; the check above keeps it from
    // closing a descriptor that somebody owns.
    match unsafe { libc::dup2(fd.as_raw_fd(), number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Every descriptor from `first` to `last` is closed when the process becomes another program.
pub(super) fn close_on_exec(first: RawFd, last: RawFd) -> io::Result<()> {
    if last < first {
        return Ok(());
    }
    let (first, last) = (first as c_uint, last as c_uint);
    let flag = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
    // SAFETY: close_range with CLOEXEC only sets a flag on descriptors; nothing is closed yet. The
    // bare call, because musl and older glibc have no wrapper.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flag) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Lets a write to a closed pipe end the process again: Rust's runtime had switched that off, and
/// `exec` hands the choice on.
pub(super) fn default_sigpipe() {
    // SAFETY: installs the default action, no handler of ours; the launcher has one thread.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Becomes the program behind `file`. The last register carries `nonce`, which the kernel ignores
/// and the filter asks for: whoever does not know it cannot `exec`. Comes back only on failure.
pub(super) fn exec(
    file: BorrowedFd<'_>,
    args: &[CString],
    env: &[CString],
    nonce: u64,
) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const c_char> {
        let ends = std::iter::once(std::ptr::null());
        list.iter().map(|text| text.as_ptr()).chain(ends).collect()
    };
    let (argv, envp) = (pointers(args), pointers(env));
    let empty: &CStr = c"";
    // SAFETY: both vectors hold pointers to strings that live until after the call and end with a
    // null pointer, as execveat(2) wants; the path is empty because of AT_EMPTY_PATH.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            empty.as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
            nonce,
        )
    };
    io::Error::last_os_error()
}

/// Takes a dead child off the process table; `None` while it lives. `pid` must be a child that this
/// program started and has not waited for yet.
pub(super) fn wait(pid: i32) -> io::Result<Option<(Status, Usage)>> {
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid one (plain integers).
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live local variables of the right types.
    match unsafe { libc::wait4(pid, &mut status, libc::WNOHANG, &mut usage) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        _ => Ok(Some((Status::from_raw(status), from_rusage(&usage)))),
    }
}

fn from_rusage(usage: &libc::rusage) -> Usage {
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.try_into().unwrap_or(0))
            + Duration::from_micros(time.tv_usec.try_into().unwrap_or(0))
    };
    Usage {
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        max_rss: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    }
}

/// Lets the runtime wait for this descriptor.
pub(super) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the same open descriptor every time it is asked, until it is dropped;
    // the `AsyncFd` owns it and nobody gets a way to replace it.
    Ok(unsafe { AsyncFd::register(fd) }?)
}
