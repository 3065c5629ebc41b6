//! What is too large for memory is read in ranges, and nothing else can be reached that way.

use ciphermill_formats::FileType;
use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ciphermill::media::sandbox::{
    Input, Limits, Outcome, Program, Protection, RangeSource, arguments,
};

use crate::decoders::{FFMPEG, clip, clips, words};
use crate::fences::{hostile, within};

/// A source in memory that counts, and can fail.
struct Counting {
    bytes: Vec<u8>,
    reads: AtomicU64,
    fail_after: u64,
}

impl RangeSource for Counting {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> std::io::Result<Bytes> {
        tokio::task::yield_now().await;
        if self.reads.fetch_add(1, Ordering::Relaxed) >= self.fail_after {
            return Err(std::io::Error::other("the store is down"));
        }
        Ok(Bytes::copy_from_slice(
            &self.bytes[range.start as usize..range.end as usize],
        ))
    }
}

async fn ranged(source: &Counting, before: &str, limits: Limits) -> Outcome {
    let sandbox = within(Protection::Full).await;
    let mut args: Vec<String> = before.split_whitespace().map(str::to_owned).collect();
    args.extend(arguments(FileType::Mov, Input::Range));
    args.extend(
        "-frames:v 1 -c:v png -f image2pipe pipe:1"
            .split(' ')
            .map(str::to_owned),
    );
    let command = sandbox
        .command(Program::Path(FFMPEG.into()), args)
        .range_reader()
        .limits(limits);
    let child = send(command.start()).await.unwrap();
    send(child.wait_serving(source)).await.unwrap()
}

/// What a task may run: the worker's tasks move between threads.
fn send<T: Send>(future: T) -> T {
    future
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_memory_is_read_in_ranges() {
    // The index stands at the end: this cannot be read without seeking.
    let source = Counting {
        bytes: clip("base.mp4"),
        reads: AtomicU64::new(0),
        fail_after: u64::MAX,
    };
    let outcome = ranged(&source, "-ss 7", Limits::default()).await;
    assert!(
        outcome.success() && outcome.stderr.is_empty(),
        "{outcome:?}"
    );
    let path = clips().path().join("base.mp4").display().to_string();
    let args = words(
        "-f mov -ss 7",
        &path,
        "-frames:v 1 -c:v png -f image2pipe pipe:1",
    );
    assert!(Command::new(FFMPEG).args(args).output().unwrap().stdout == outcome.stdout);
    println!(
        "{} reads of 256 KiB at most, {:?}",
        source.reads.load(Ordering::Relaxed),
        outcome.wall
    );

    let source = Counting {
        bytes: clip("base.mp4"),
        reads: AtomicU64::new(0),
        fail_after: 1,
    };
    let outcome = ranged(&source, "", Limits::default()).await;
    assert_eq!(outcome.source.as_deref(), Some("the store is down"));
    let source = Counting {
        bytes: clip("base.mp4"),
        reads: AtomicU64::new(0),
        fail_after: u64::MAX,
    };
    let outcome = ranged(
        &source,
        "",
        Limits {
            range_bytes: 300 << 10,
            ..Limits::default()
        },
    )
    .await;
    assert!(outcome.source.unwrap().contains("over and over"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_range_reader_is_all_that_the_child_can_reach() {
    let outside = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let source = Counting {
        bytes: vec![1; 10],
        reads: AtomicU64::new(0),
        fail_after: u64::MAX,
    };
    let sandbox = within(Protection::Full).await;
    for (mode, address, reached) in [
        ("connect", "127.0.0.1:8080", true),
        ("connect", &outside, false),
        ("udp", &outside, false),
    ] {
        let command = sandbox
            .command(Program::Path(hostile()), [mode, address])
            .range_reader();
        let outcome = command
            .start()
            .await
            .unwrap()
            .wait_serving(&source)
            .await
            .unwrap();
        assert_eq!(outcome.success(), reached, "{mode} {address}: {outcome:?}");
    }
    // Without namespaces it could reach everything: refused.
    let sandbox = within(Protection::Partial).await;
    let refused = sandbox
        .command(Program::Path(FFMPEG.into()), [""; 0])
        .range_reader()
        .start()
        .await;
    assert!(
        refused
            .err()
            .unwrap()
            .message
            .contains("needs full protection")
    );
}
