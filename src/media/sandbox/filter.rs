//! The system calls that a child may make (seccomp): a list of what decoders need, nothing else.
//!
//! What is not on the list fails with `ENOSYS`, as on an older kernel, so that the C library falls
//! back where it can (`clone3` to `clone`) instead of giving up. No process can be made, only
//! threads; no socket but the range reader's; no other program started; no signal sent elsewhere; no
//! memory that RLIMIT_DATA does not count.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Op,
    SeccompCondition, SeccompFilter, SeccompRule,
};

use super::{Failure, Result};

/// Calls that are allowed whatever their arguments: reading, memory, threads, time.
const ALWAYS: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_lseek,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_fadvise64,
    libc::SYS_pselect6,
    libc::SYS_ppoll,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_futex,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_getcpu,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getrandom,
];

/// The older names of some of them, which only x86-64 still has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_dup2,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_time,
    libc::SYS_arch_prctl,
    libc::SYS_getrlimit,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// Calls on the one socket that the range reader's client makes.
const CLIENT: &[c_long] = &[
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_shutdown,
];

/// `fcntl` that only touches the caller's own descriptors: no owner to signal, no larger pipe.
const FCNTL: &[i32] = &[
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
];

/// "Is this a terminal?"; its type differs between C libraries, its value does not.
const TCGETS: u64 = 0x5401;

/// A thread, in no namespace of its own.
const THREAD: u64 = libc::CLONE_THREAD as u64;
const NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u64;

/// Memory that RLIMIT_DATA would not count: shared and without a file, or growing like a stack.
const UNCOUNTED: u64 = (libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN) as u64;
const COUNTED: &[i32] = &[0, libc::MAP_SHARED, libc::MAP_ANONYMOUS];

/// The filter for one child: `nonce` lets the launcher, who knows it, become the program once; `pid`
/// is its own, the only one that it may signal.
pub(super) fn program(nonce: u64, pid: i32, range: bool) -> Result<BpfProgram> {
    build(nonce, pid, range).map_err(|e| Failure::failed("cannot build the system call filter", e))
}

/// Puts the filter on, for good.
pub(super) fn apply(program: &BpfProgram) -> Result<()> {
    seccompiler::apply_filter(program)
        .map_err(|e| Failure::unavailable(format!("seccomp was refused: {e}")))
}

fn build(nonce: u64, pid: i32, range: bool) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let always = ALWAYS.iter().chain(OLDER);
    let client = CLIENT.iter().filter(|_| range);
    rules.extend(always.chain(client).map(|call| (*call, Vec::new())));
    let one = |conditions| Ok::<_, BackendError>(vec![SeccompRule::new(conditions)?]);
    let int = |argument, value: i32| is(argument, Width::Dword, Op::Eq, value as u32 as u64);
    let bits = |argument, mask, value| is(argument, Width::Qword, Op::MaskedEq(mask), value);

    rules.insert(
        libc::SYS_execveat,
        one(vec![is(5, Width::Qword, Op::Eq, nonce)?])?,
    );
    rules.insert(
        libc::SYS_clone,
        one(vec![bits(0, THREAD | NAMESPACES, THREAD)?])?,
    );
    rules.insert(libc::SYS_tgkill, one(vec![int(0, pid)?])?);
    // Asking for a limit, not setting one; of this process.
    rules.insert(
        libc::SYS_prlimit64,
        one(vec![int(0, 0)?, bits(2, u64::MAX, 0)?])?,
    );
    // Naming a thread. Above all not PR_SET_PDEATHSIG, which ties the child to the worker.
    rules.insert(libc::SYS_prctl, one(vec![int(0, libc::PR_SET_NAME)?])?);
    rules.insert(
        libc::SYS_ioctl,
        one(vec![is(1, Width::Dword, Op::Eq, TCGETS)?])?,
    );
    if range {
        let stream = is(1, Width::Dword, Op::MaskedEq(0xf), libc::SOCK_STREAM as u64)?;
        rules.insert(libc::SYS_socket, one(vec![int(0, libc::AF_INET)?, stream])?);
    }
    let fcntl: Result<Vec<_>, _> = FCNTL
        .iter()
        .map(|command| SeccompRule::new(vec![int(1, *command)?]))
        .collect();
    rules.insert(libc::SYS_fcntl, fcntl?);
    let mmap = COUNTED
        .iter()
        .map(|flags| SeccompRule::new(vec![bits(3, UNCOUNTED, *flags as u64)?]));
    rules.insert(libc::SYS_mmap, mmap.collect::<Result<_, _>>()?);

    let refuse = SeccompAction::Errno(libc::ENOSYS as u32);
    SeccompFilter::new(
        rules,
        refuse,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

fn is(argument: u8, width: Width, op: Op, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, width, op, value)
}
