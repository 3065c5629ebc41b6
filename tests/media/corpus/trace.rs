//! What a program and everything below it made, opened for writing or connected to, as the kernel
//! was asked: strace goes in, every line that should not be there comes out.

use std::path::Path;
use std::process::Command;

const CALLS: &str = "trace=open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,link,linkat,symlink,\
    symlinkat,rename,renameat,renameat2,truncate,memfd_create,execve,execveat,connect,bind";

/// A program under the trace, which goes into this folder, a file for each thread.
pub fn traced(program: &Path, folder: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace.args([
        "-ff",
        "-qq",
        "-y",
        "-s",
        "300",
        "--seccomp-bpf",
        "-e",
        "signal=none",
        "-e",
        CALLS,
    ]);
    strace
        .arg("-o")
        .arg(folder.join("thread"))
        .arg("--")
        .arg(program);
    strace
}

/// Which program a thread is.
#[derive(Clone, Copy, PartialEq)]
enum Image {
    /// None of its own yet: a thread, or a process before its program.
    Parents,
    /// The worker.
    Worker,
    /// bubblewrap, which builds a world in memory.
    Bubblewrap,
    /// This binary between bubblewrap and a parser.
    Launcher,
    /// ffmpeg, ffprobe or the helper: it reads hostile media.
    Parser,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Programs that read media.
    pub parsers: usize,
    /// What was made where it may be.
    pub made: usize,
    /// Lines that should not be there.
    pub wrong: Vec<String>,
}

/// Reads the traces: only what lies in `outputs` may be made, and nothing in `secrets` be opened.
pub fn read(folder: &Path, outputs: &Path, secrets: &Path) -> Found {
    let (outputs, secrets) = (outputs.to_str().unwrap(), secrets.to_str().unwrap());
    let mut found = Found::default();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read(file.unwrap().path()).unwrap();
        let mut image = Image::Parents;
        for line in String::from_utf8_lossy(&text).lines() {
            if line.starts_with("execve") && line.ends_with(" = 0") {
                image = becomes(line);
                found.parsers += usize::from(image == Image::Parser);
                continue;
            }
            let secret = line.contains(secrets) && !line.starts_with("execve");
            match (secret, makes(line)) {
                (true, _) => found.wrong.push(line.to_owned()),
                (_, false) => {}
                (_, true) if may(image, line, outputs) => found.made += 1,
                (_, true) => found.wrong.push(line.to_owned()),
            }
        }
    }
    found
}

fn becomes(line: &str) -> Image {
    // The launcher opens a program and starts what it opened, which has no name then.
    let mut names = line.split('"').skip(1).step_by(2);
    let program = names.find(|name| !name.is_empty()).unwrap_or_default();
    match program.rsplit('/').next() {
        Some("bwrap") => Image::Bubblewrap,
        Some("ffmpeg" | "ffprobe") => Image::Parser,
        _ if line.contains("\"media-helper\"") => Image::Parser,
        _ if line.contains("\"sandbox-launch\"") => Image::Launcher,
        _ => Image::Worker,
    }
}

/// Whether a call made something, opened it for writing, or reached for the network.
fn makes(line: &str) -> bool {
    let (call, _) = line.split_once('(').unwrap_or_default();
    let failed = line.contains(" = -1 ");
    match call {
        // What is not even to be tried.
        "connect" | "bind" => line.contains("AF_INET"),
        "open" | "openat" | "openat2" => {
            let flags = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TMPFILE"];
            !failed && flags.iter().any(|flag| line.contains(flag))
        }
        "execve" | "execveat" => false,
        _ => !failed && line.contains('('),
    }
}

fn may(image: Image, line: &str, outputs: &str) -> bool {
    let (call, rest) = line.split_once('(').unwrap_or_default();
    let below = |folder: &str| {
        rest.contains(&format!("<{folder}>, \"")) || rest.contains(&format!("<{folder}/"))
    };
    let name = rest.split('"').nth(1).unwrap_or_default();
    let second = rest.split('"').nth(3).unwrap_or_default();
    let worker = match call {
        "memfd_create" => name == "media",
        // Both ends of a renaming lie in one folder.
        "renameat2" | "renameat" => below(outputs) && !name.contains('/') && !second.contains('/'),
        "mkdirat" | "openat" | "openat2" | "linkat" => below(outputs) && !name.contains('/'),
        _ => false,
    };
    let own = |file: &str| {
        let path = rest.rsplit_once('<').map_or("", |(_, path)| path);
        path.starts_with("/proc/") && path.ends_with(&format!("{file}>"))
    };
    let in_memory =
        |path: &str| path.starts_with("/newroot/") || ["newroot", "oldroot"].contains(&path);
    let bubblewrap = match call {
        "symlink" => in_memory(second),
        "mkdir" | "creat" => in_memory(name),
        "openat" => ["uid_map", "gid_map", "setgroups"].into_iter().any(own),
        _ => false,
    };
    let launcher = call == "openat" && own("oom_score_adj")
        || call == "bind" && line.contains("inet_addr(\"127.0.0.1\")");
    match image {
        Image::Worker => worker,
        Image::Bubblewrap => bubblewrap,
        Image::Launcher => launcher,
        // What it is served, in a network of its own.
        Image::Parser => call == "connect" && line.contains("htons(8080)"),
        Image::Parents => worker || bubblewrap || call == "connect" && line.contains("htons(8080)"),
    }
}

/// A program that makes and writes in every way is told of, and one that only reads is not.
#[test]
fn a_trace_tells_of_every_way_to_make_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, script: &str| {
        let traces = folder.path().join(format!("trace-{name}"));
        std::fs::create_dir(&traces).unwrap();
        let mut shell = traced(Path::new("/bin/sh"), &traces);
        let status = shell
            .args(["-c", script])
            .current_dir(folder.path())
            .status();
        assert!(status.unwrap().success(), "{script}");
        read(
            &traces,
            &folder.path().join("out"),
            &folder.path().join("secret"),
        )
    };
    let quiet = run("quiet", "read line < /etc/passwd; mkdir -p /etc; true");
    assert_eq!(quiet.wrong, [""; 0]);
    for (name, script) in [
        ("write", "echo x > made"),
        ("append", "echo x >> made"),
        ("folder", "mkdir new"),
        ("pipe", "mkfifo made-pipe"),
        ("link", "ln made link"),
        ("symlink", "ln -s made symlink"),
        ("rename", "mv made renamed"),
        ("into", "mkdir -p out && mv renamed out/into"),
        (
            "nameless",
            "python3 -c 'import os; os.open(\".\", os.O_TMPFILE | os.O_RDWR)'",
        ),
        ("memory", "python3 -c 'import os; os.memfd_create(\"x\")'"),
        ("secret", "mkdir secret; echo x > secret/x"),
        ("secret-read", "cat secret/x"),
        (
            "network",
            "python3 -c 'import socket; socket.socket().connect_ex((\"127.0.0.1\", 1))'",
        ),
    ] {
        assert!(!run(name, script).wrong.is_empty(), "{name}");
    }
}
