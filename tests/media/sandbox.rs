//! The sandbox keeps its promises (P8, P12): a decoder that was taken over can do nothing inside, and
//! the same attempts succeed outside, so each test could fail.

use crate::fences;

use std::time::{Duration, Instant};

use crate::fences::{both, hostile, sandbox, within};
use ciphermill::media::sandbox::{KilledBy, Limits, Memory, Program, Protection, Status, Stdin};

/// Everything that a hostile decoder tries, with what it needs.
struct World {
    _folder: tempfile::TempDir,
    _leak: std::fs::File,
    _tcp: std::net::TcpListener,
    _udp: std::net::UdpSocket,
    _unix: std::os::unix::net::UnixListener,
    attempts: Vec<Vec<String>>,
}

fn world() -> World {
    use std::os::linux::net::SocketAddrExt;
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .tempdir()
        .unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "the data key").unwrap();
    // Not closed on exec: a descriptor that somebody forgot.
    let leak = std::fs::File::open(&secret).unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let name = format!("sandbox-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let unix = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let me = std::process::id().to_string();
    let folder_name = folder.path().display().to_string();
    let list: Vec<(&str, String)> = vec![
        ("connect", tcp.local_addr().unwrap().to_string()),
        ("udp", udp.local_addr().unwrap().to_string()),
        ("abstract", name),
        ("read", secret.display().to_string()),
        ("read", "/etc/passwd".into()),
        ("read", "/proc/1/cmdline".into()),
        ("fds", String::new()),
        ("fork", "300".into()),
        (
            "write",
            format!("{folder_name}:/tmp:/dev/shm:/var/tmp:/run:/:/dev:/proc:."),
        ),
        ("exec", String::new()),
        ("spawn", String::new()),
        ("ptrace", me.clone()),
        ("signal", me.clone()),
        ("environ", me),
        ("env", String::new()),
        ("eat", (3usize << 30).to_string()),
        ("eat", (700usize << 20).to_string()),
        ("eat-shared", (700usize << 20).to_string()),
        ("eat-stack", (700usize << 20).to_string()),
        ("deathsig", String::new()),
        ("oom", String::new()),
        ("memfd", String::new()),
        ("calls", String::new()),
    ];
    let attempts = list
        .into_iter()
        .map(|(mode, arg)| vec![mode.to_owned(), arg])
        .collect();
    World {
        _folder: folder,
        _leak: leak,
        _tcp: tcp,
        _udp: udp,
        _unix: unix,
        attempts,
    }
}

fn bare(args: &[String]) -> (bool, String) {
    let output = std::process::Command::new(hostile())
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text.contains("GOT"), text)
}

pub async fn fenced(protection: Protection, args: &[String]) -> (bool, String) {
    let outcome = within(protection)
        .await
        .command(Program::Path(hostile()), args)
        .start()
        .await;
    let outcome = outcome.unwrap().wait().await.unwrap();
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let text = if text.is_empty() {
        format!("{:?} {}", outcome.status, outcome.stderr)
    } else {
        text
    };
    (text.contains("GOT"), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_decoder_can_do_nothing_inside_and_everything_outside() {
    let world = world();
    let mut wrong = Vec::new();
    for attempt in &world.attempts {
        let (could, said) = bare(attempt);
        println!("| {} | bare | {could} | {}", attempt.join(" "), said.trim());
        if !could {
            wrong.push(format!(
                "{attempt:?} fails outside, so it proves nothing: {said}"
            ));
        }
        for protection in [Protection::None, Protection::Partial, Protection::Full] {
            let (could, said) = fenced(protection, attempt).await;
            println!(
                "| {} | {} | {could} | {}",
                attempt.join(" "),
                protection.as_str(),
                said.trim()
            );
            if could && protection > Protection::None {
                wrong.push(format!("{attempt:?} succeeds with {protection:?}: {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_allowed_but_not_without_end() {
    let (could, said) = fenced(Protection::Full, &["threads".into(), "8".into()]).await;
    assert!(could, "{said}");
    let (could, said) = fenced(Protection::Full, &["threads".into(), "2000".into()]).await;
    assert!(!could, "{said}");
    println!("{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_sees_of_itself() {
    for protection in [Protection::None, Protection::Partial, Protection::Full] {
        let (_, said) = fenced(protection, &["shape".into()]).await;
        println!("{}: {said}", protection.as_str());
        assert!(
            !said.contains("user 0") && said.contains("cwd / "),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ignores_term_is_killed() {
    for sandbox in both().await {
        let limits = Limits {
            wall: Duration::from_millis(500),
            ..Limits::default()
        };
        let since = Instant::now();
        let child = sandbox
            .command(Program::Path(hostile()), ["sleep"])
            .limits(limits)
            .start()
            .await
            .unwrap();
        let outcome = child.wait().await.unwrap();
        assert_eq!(outcome.killed_by, Some(KilledBy::Watchdog));
        assert_eq!(outcome.status, Status::Signalled(9));
        assert!(
            since.elapsed() > Duration::from_millis(2400)
                && since.elapsed() < Duration::from_secs(6)
        );
        assert!(outcome.stdout.starts_with(b"asleep"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_capped_and_errors_are_drained() {
    for sandbox in both().await {
        let limits = Limits {
            stdout_bytes: 1 << 20,
            ..Limits::default()
        };
        let child = sandbox
            .command(Program::Path(hostile()), ["print"])
            .limits(limits)
            .start()
            .await
            .unwrap();
        let outcome = child.wait().await.unwrap();
        assert_eq!(outcome.killed_by, Some(KilledBy::OutputCap));
        assert!(outcome.stdout.len() <= 1 << 20);
        let child = sandbox
            .command(Program::Path(hostile()), ["shout", "8000000"])
            .start()
            .await
            .unwrap();
        let outcome = child.wait().await.unwrap();
        assert!(outcome.success(), "{outcome:?}");
        assert!(outcome.stderr.len() < 66 << 10 && outcome.stderr.contains("left out"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_time_is_limited() {
    for sandbox in both().await {
        let limits = Limits {
            cpu_seconds: 1,
            ..Limits::default()
        };
        let child = sandbox
            .command(Program::Path(hostile()), ["spin"])
            .limits(limits)
            .start()
            .await
            .unwrap();
        let outcome = child.wait().await.unwrap();
        assert_eq!(outcome.killed_by, Some(KilledBy::CpuLimit), "{outcome:?}");
        assert!(outcome.usage.cpu > Duration::from_millis(800) && outcome.usage.max_rss > 100_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_a_signal_and_no_program_is_a_failure() {
    for sandbox in both().await {
        let child = sandbox
            .command(Program::Path(hostile()), ["abort"])
            .start()
            .await
            .unwrap();
        let outcome = child.wait().await.unwrap();
        assert!(
            matches!(outcome.status, Status::Signalled(6 | 11)),
            "{outcome:?}"
        );
        let missing = sandbox
            .command(Program::Path("/usr/bin/no-such".into()), ["x"])
            .start()
            .await;
        assert!(missing.err().unwrap().message.contains("no-such"));
        let not_a_program = sandbox
            .command(Program::Path("/usr/share/dict".into()), ["x"])
            .start()
            .await;
        if let Ok(child) = not_a_program {
            assert!(
                child
                    .wait()
                    .await
                    .unwrap_err()
                    .message
                    .contains("cannot start")
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_comes_by_pipe_and_by_sealed_memory() {
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
    let expected = format!("GOT 3000000 bytes, sum {sum}\n");
    for sandbox in both().await {
        let mut child = sandbox
            .command(Program::Path(hostile()), ["cat", "-"])
            .stdin(Stdin::Pipe)
            .start()
            .await
            .unwrap();
        let mut stdin = child.take_stdin().unwrap();
        let feed = async {
            tokio::io::AsyncWriteExt::write_all(&mut stdin, &bytes)
                .await
                .unwrap();
            drop(stdin);
        };
        let (outcome, ()) = tokio::join!(child.wait(), feed);
        assert_eq!(
            String::from_utf8(outcome.unwrap().stdout).unwrap(),
            expected
        );

        let memory = Memory::of(&bytes).unwrap();
        let command = sandbox.command(Program::Path(hostile()), ["cat", "/proc/self/fd/7"]);
        let outcome = command
            .fd(7, memory.into_fd())
            .start()
            .await
            .unwrap()
            .wait()
            .await
            .unwrap();
        assert_eq!(
            String::from_utf8(outcome.stdout).unwrap(),
            expected,
            "{}",
            outcome.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_stands_ready_and_refills() {
    let settings = |warm| ciphermill::media::sandbox::Settings {
        warm,
        ..fences::settings(Protection::Full)
    };
    for (warm, name) in [(0, "cold"), (2, "warm")] {
        let sandbox = sandbox(settings(warm)).await;
        let mut times = Vec::new();
        for _ in 0..15 {
            let since = Instant::now();
            while sandbox.warm() < warm && since.elapsed() < Duration::from_secs(10) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(sandbox.warm(), warm);
            let since = Instant::now();
            let child = sandbox
                .command(Program::Path("/usr/bin/true".into()), [""; 0])
                .start()
                .await
                .unwrap();
            let started = since.elapsed();
            assert!(child.wait().await.unwrap().success());
            times.push((since.elapsed(), started));
        }
        times.sort_unstable();
        println!("{name}: median {:?}", times[times.len() / 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn less_than_asked_for_is_an_error_and_says_why() {
    let broken = || ciphermill::media::sandbox::Settings {
        bwrap: "/bin/false".into(),
        ..fences::settings(Protection::Full)
    };
    let failure = ciphermill::media::sandbox::Sandbox::detect(broken())
        .await
        .err()
        .unwrap();
    println!("{failure}");
    assert!(failure.message.contains("full protection") && failure.message.contains("/bin/false"));
    let settings = ciphermill::media::sandbox::Settings {
        least: Protection::Partial,
        ..broken()
    };
    let sandbox = ciphermill::media::sandbox::Sandbox::detect(settings)
        .await
        .unwrap();
    assert_eq!(sandbox.found().protection, Protection::Partial);
    println!("{}", sandbox.found());
    assert!(sandbox.found().to_string().contains("not full"));
}
