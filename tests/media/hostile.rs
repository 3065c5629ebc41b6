//! A stand-in for a decoder that a hostile file has taken over. Each mode tries one thing and says
//! whether it could: exit code 0 and "GOT ..." when it did, 1 and "failed ..." when not.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::unwrap_used)]

use std::ffi::CString;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;

type Tried = Result<String, String>;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = args.get(1).map_or("", String::as_str);
    let tried = match args.first().map_or("", String::as_str) {
        "connect" => io(TcpStream::connect(arg)).map(|_| "connected".into()),
        "udp" => io(UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"x", arg)))
            .map(|_| "sent".into()),
        "abstract" => abstract_socket(arg),
        "read" => io(std::fs::read_to_string(arg)),
        "fds" => fds(),
        "fork" => fork(arg.parse().unwrap()),
        "write" => write(arg),
        "exec" => Err(format!(
            "{}",
            std::process::Command::new("/bin/sh")
                .args(["-c", "echo GOT a shell"])
                .exec()
        )),
        "spawn" => io(std::process::Command::new("/bin/sh")
            .args(["-c", "echo GOT a shell"])
            .status())
        .map(|_| "ran".into()),
        "ptrace" => ptrace(arg.parse().unwrap()),
        "signal" => returned(unsafe { libc::kill(arg.parse().unwrap(), libc::SIGCONT) }.into()),
        "environ" => io(std::fs::read(format!("/proc/{arg}/environ")))
            .map(|bytes| format!("{} bytes", bytes.len())),
        "env" => env(),
        "eat" => eat(arg.parse().unwrap(), libc::MAP_PRIVATE),
        "eat-shared" => eat(arg.parse().unwrap(), libc::MAP_SHARED),
        "eat-stack" => eat(
            arg.parse().unwrap(),
            libc::MAP_PRIVATE | libc::MAP_GROWSDOWN,
        ),
        "threads" => threads(arg.parse().unwrap()),
        "deathsig" => returned(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) }.into()),
        "oom" => io(std::fs::write("/proc/self/oom_score_adj", "0")).map(|()| "changed".into()),
        "memfd" => memfd(),
        "calls" => calls(),
        "sleep" => sleep(),
        "print" => print(),
        "shout" => shout(arg.parse().unwrap()),
        "spin" => loop {
            std::hint::spin_loop()
        },
        "abort" => std::process::abort(),
        "cat" => cat(arg),
        "shape" => Ok(shape()),
        other => Err(format!("no mode {other}")),
    };
    match tried {
        Ok(what) => println!("GOT {what}"),
        Err(why) => {
            println!("failed: {why}");
            std::process::exit(1);
        }
    }
}

fn io<T>(result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|e| e.to_string())
}

fn returned(code: i64) -> Tried {
    if code < 0 {
        Err(std::io::Error::last_os_error().to_string())
    } else {
        Ok(code.to_string())
    }
}

fn abstract_socket(name: &str) -> Tried {
    use std::os::linux::net::SocketAddrExt;
    let address = io(std::os::unix::net::SocketAddr::from_abstract_name(name))?;
    io(std::os::unix::net::UnixStream::connect_addr(&address)).map(|_| "connected".into())
}

/// Reads every descriptor from 3 on, by number.
fn fds() -> Tried {
    let mut found = Vec::new();
    for number in 3..2048 {
        if unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0 {
            let mut text = [0u8; 32];
            let read = unsafe { libc::pread(number, text.as_mut_ptr().cast(), text.len(), 0) };
            let text =
                String::from_utf8_lossy(&text[..usize::try_from(read).unwrap_or(0)]).into_owned();
            found.push(format!("{number} {text:?}"));
        }
    }
    if found.is_empty() {
        Err("none but 0, 1, 2".into())
    } else {
        Ok(found.join(", "))
    }
}

fn fork(most: usize) -> Tried {
    let mut children = Vec::new();
    let mut last = String::new();
    for _ in 0..most.min(300) {
        match unsafe { libc::fork() } {
            0 => {
                std::thread::sleep(std::time::Duration::from_secs(20));
                std::process::exit(0);
            }
            -1 => last = std::io::Error::last_os_error().to_string(),
            pid => children.push(pid),
        }
    }
    for pid in &children {
        unsafe { libc::kill(*pid, libc::SIGKILL) };
        unsafe { libc::waitpid(*pid, std::ptr::null_mut(), 0) };
    }
    if children.is_empty() {
        Err(last)
    } else {
        Ok(format!("{} processes", children.len()))
    }
}

/// One byte to a file in any of the places, separated by colons.
fn write(places: &str) -> Tried {
    let mut last = String::new();
    for place in places.split(':') {
        let path = format!("{place}/hostile-{}", std::process::id());
        let written = std::fs::File::create(&path).and_then(|mut file| file.write_all(b"x"));
        let _ = std::fs::remove_file(&path);
        match written {
            Ok(()) => return Ok(format!("wrote {path}")),
            Err(e) => last = format!("{path}: {e}"),
        }
    }
    Err(last)
}

fn ptrace(pid: i32) -> Tried {
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) };
    if seized == 0 {
        return Ok("attached".into());
    }
    let why = std::io::Error::last_os_error();
    match std::fs::File::open(format!("/proc/{pid}/mem")) {
        Ok(_) => Ok("opened its memory".into()),
        Err(e) => Err(format!("{why}; {e}")),
    }
}

fn env() -> Tried {
    let names: Vec<String> = std::env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    let more = names.iter().any(|name| name != "PATH" && name != "LANG");
    if more {
        Ok(format!("{} names", names.len()))
    } else {
        Err(format!("only {names:?}"))
    }
}

fn eat(bytes: usize, flags: i32) -> Tried {
    let step = 64 << 20;
    for eaten in (0..bytes).step_by(step) {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                step,
                protection,
                flags | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(format!(
                "after {} MiB: {}",
                eaten >> 20,
                std::io::Error::last_os_error()
            ));
        }
        // One byte of each page would really take it; the machine that tests run on is small.
        unsafe { at.cast::<u8>().write_volatile(1) };
    }
    Ok(format!("{} MiB", bytes >> 20))
}

fn threads(most: usize) -> Tried {
    for number in 0..most {
        let builder = std::thread::Builder::new().stack_size(16 << 10);
        let spawned = builder.spawn(|| std::thread::sleep(std::time::Duration::from_secs(60)));
        if let Err(e) = spawned {
            return Err(format!("after {number}: {e}"));
        }
    }
    Ok(format!("{most} threads"))
}

fn memfd() -> Tried {
    let fd = unsafe { libc::memfd_create(c"x".as_ptr(), 0) };
    returned(fd.into())?;
    let shell = io(std::fs::read("/bin/sh"))?;
    let path = format!("/proc/self/fd/{fd}");
    io(std::fs::write(&path, shell))?;
    let path = CString::new(path).unwrap();
    let args = [
        path.as_ptr(),
        c"-c".as_ptr(),
        c"echo GOT a program of its own".as_ptr(),
        std::ptr::null(),
    ];
    unsafe { libc::execv(path.as_ptr(), args.as_ptr()) };
    Err(std::io::Error::last_os_error().to_string())
}

/// Calls that no decoder needs: refused before the kernel looks at the arguments, or not.
fn calls() -> Tried {
    let list = [
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("pivot_root", libc::SYS_pivot_root),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("request_key", libc::SYS_request_key),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("kexec_load", libc::SYS_kexec_load),
        ("init_module", libc::SYS_init_module),
        ("finit_module", libc::SYS_finit_module),
        ("personality", libc::SYS_personality),
        ("setns", libc::SYS_setns),
        ("unshare", libc::SYS_unshare),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("process_vm_writev", libc::SYS_process_vm_writev),
        ("pidfd_open", libc::SYS_pidfd_open),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("ptrace", libc::SYS_ptrace),
        ("clone3", libc::SYS_clone3),
        ("execve", libc::SYS_execve),
        ("execveat", libc::SYS_execveat),
        ("socketpair", libc::SYS_socketpair),
        ("memfd_create", libc::SYS_memfd_create),
        ("setrlimit", libc::SYS_setrlimit),
        ("kill", libc::SYS_kill),
        ("tkill", libc::SYS_tkill),
        ("seccomp", libc::SYS_seccomp),
        ("chroot", libc::SYS_chroot),
        ("shmget", libc::SYS_shmget),
        ("mq_open", libc::SYS_mq_open),
        ("setns", libc::SYS_setns),
    ];
    let mut through = Vec::new();
    for (name, call) in list {
        // All arguments are -1: wrong for each of them, so that nothing happens where it is allowed.
        let code = unsafe { libc::syscall(call, -1i64, -1i64, -1i64, -1i64, -1i64, -1i64) };
        let error = std::io::Error::last_os_error().raw_os_error();
        if code != -1 || error != Some(libc::ENOSYS) {
            through.push(name);
        }
    }
    if through.is_empty() {
        Err(format!("{} calls refused", list.len()))
    } else {
        Ok(through.join(" "))
    }
}

fn sleep() -> Tried {
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    println!("asleep");
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}

fn print() -> Tried {
    let line = [b'x'; 64 << 10];
    while std::io::stdout().write_all(&line).is_ok() {}
    Err("nobody reads".into())
}

fn shout(bytes: usize) -> Tried {
    let line = [b'!'; 1 << 10];
    for _ in 0..bytes >> 10 {
        io(std::io::stderr().write_all(&line))?;
    }
    Ok("all said".into())
}

fn cat(path: &str) -> Tried {
    let mut bytes = Vec::new();
    match path {
        "-" => io(std::io::stdin().read_to_end(&mut bytes))?,
        path => io(io(std::fs::File::open(path))?.read_to_end(&mut bytes))?,
    };
    Ok(format!(
        "{} bytes, sum {}",
        bytes.len(),
        bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>()
    ))
}

/// What it can see of itself.
fn shape() -> String {
    let (pid, group, session) = unsafe { (libc::getpid(), libc::getpgid(0), libc::getsid(0)) };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = status.lines().filter(|line| {
        ["NoNew", "Seccomp:", "CapEff"]
            .iter()
            .any(|name| line.starts_with(name))
    });
    let lines: Vec<_> = lines.map(|line| line.replace('\t', " ")).collect();
    let oom = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let user = unsafe { libc::getuid() };
    let folder = std::env::current_dir().unwrap_or_default();
    format!(
        "pid {pid} group {group} session {session} user {user} cwd {} oom {} {}",
        folder.display(),
        oom.trim(),
        lines.join(" ")
    )
}
