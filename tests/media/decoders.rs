//! Real decoders work inside the sandbox: ffmpeg and ffprobe, by every way that plaintext comes in.

use crate::fences;
use ciphermill_formats::FileType;

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::fences::{both, within};
use ciphermill::media::sandbox::{
    Input, Memory, Outcome, Program, Protection, Sandbox, Settings, Stdin, Version, arguments,
    check_version,
};

pub const FFMPEG: &str = "/usr/bin/ffmpeg";
const QUIET: [&str; 6] = [
    "-nostdin",
    "-hide_banner",
    "-loglevel",
    "error",
    "-threads",
    "1",
];

/// A clip in many forms, made once.
pub fn clips() -> &'static tempfile::TempDir {
    static CLIPS: OnceLock<tempfile::TempDir> = OnceLock::new();
    CLIPS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let make = |args: &str| {
            let mut ffmpeg = Command::new(FFMPEG);
            ffmpeg.args(["-v", "error", "-y"]).args(args.split_whitespace()).current_dir(folder.path());
            assert!(ffmpeg.status().unwrap().success(), "{args}");
        };
        make("-f lavfi -i testsrc2=size=640x360:rate=25:duration=12 -f lavfi -i sine=frequency=440:duration=12 -c:v libx264 \
              -preset veryfast -pix_fmt yuv420p -g 50 -c:a aac base.mp4");
        std::fs::write(folder.path().join("c.srt"), "1\n00:00:01,000 --> 00:00:03,000\nHello\n\n").unwrap();
        make("-i base.mp4 -i c.srt -map 0 -map 1 -c copy -c:s mov_text text.mp4");
        for to in ["a.mkv", "a.ts"] {
            make(&format!("-i base.mp4 -c copy {to}"));
        }
        make("-i base.mp4 -frames:v 1 cover.jpg");
        make("-i base.mp4 -i cover.jpg -map 0:a -map 1 -c:a libmp3lame -c:v copy -id3v2_version 3 a.mp3");
        make("-i base.mp4 -frames:v 2 -an -c:v magicyuv rare.mkv");
        for to in ["a.flac", "a.wav", "a.ogg", "a.aac"] {
            make(&format!("-i base.mp4 -vn {to}"));
        }
        for to in ["i.png", "i.webp", "i.gif"] {
            make(&format!("-i base.mp4 -frames:v 1 {to}"));
        }
        folder
    })
}

pub fn clip(name: &str) -> Vec<u8> {
    std::fs::read(clips().path().join(name)).unwrap()
}

pub fn words(before: &str, input: &str, after: &str) -> Vec<String> {
    let all = QUIET
        .into_iter()
        .chain(before.split_whitespace())
        .chain(["-i", input])
        .chain(after.split_whitespace());
    all.map(str::to_owned).collect()
}

async fn memory(name: &str) -> Memory {
    Memory::of(&clip(name)).unwrap()
}

async fn by_memory(sandbox: &Sandbox, program: &str, name: &str, args: Vec<String>) -> Outcome {
    let command = sandbox
        .command(Program::Path(program.into()), args)
        .fd(3, memory(name).await.into_fd());
    command.start().await.unwrap().wait().await.unwrap()
}

/// The words for a clip in sealed memory, its form found by its first bytes.
fn from_memory(name: &str, after: &str) -> Vec<String> {
    let form = FileType::sniff(&clip(name)).unwrap_or_else(|| panic!("{name} is nothing known"));
    let after = after.split_whitespace().map(str::to_owned);
    arguments(form, Input::Memory(3))
        .into_iter()
        .chain(after)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_is_decoded_from_sealed_memory() {
    let picture = "-frames:v 1 -c:v png -f image2pipe pipe:1";
    let forms = [
        ("base.mp4", picture),
        ("text.mp4", "-map 0:s:0 -f srt pipe:1"),
        ("a.mkv", picture),
        ("a.ts", picture),
        ("a.mp3", "-map 0:v -c copy -f image2pipe pipe:1"),
        ("a.mp3", "-map 0:a -f wav pipe:1"),
        ("a.aac", "-f wav pipe:1"),
        ("a.ogg", "-f wav pipe:1"),
        ("a.wav", "-f flac -"),
        ("a.flac", "-f wav pipe:1"),
        ("cover.jpg", picture),
        ("i.png", picture),
        ("i.webp", picture),
        ("i.gif", picture),
        (
            "base.mp4",
            "-vf fps=1/3,scale=320:-2 -q:v 4 -f image2pipe -c:v mjpeg pipe:1",
        ),
        ("base.mp4", "-frames:v 1 -c:v libwebp -f image2pipe pipe:1"),
    ];
    for sandbox in both().await {
        for (name, after) in forms {
            let outcome = by_memory(&sandbox, FFMPEG, name, from_memory(name, after)).await;
            assert!(
                outcome.success() && outcome.stdout.len() > 30,
                "{name} {after}: {outcome:?}"
            );
            assert_eq!(outcome.stderr, "", "{name} {after}");
            let path = clips().path().join(name).display().to_string();
            let outside = Command::new(FFMPEG)
                .args(words("", &path, after))
                .output()
                .unwrap();
            assert!(
                outside.stdout == outcome.stdout,
                "{name} {after}: other bytes than outside"
            );
        }
    }
}

/// A decoder that nobody needs (the one of CVE-2026-8461) is not even tried.
#[tokio::test(flavor = "multi_thread")]
async fn decoders_that_are_not_on_the_list_are_refused() {
    let sandbox = within(Protection::Full).await;
    let after = "-frames:v 1 -c:v png -f image2pipe pipe:1";
    let outcome = by_memory(
        &sandbox,
        FFMPEG,
        "rare.mkv",
        words("", "/proc/self/fd/3", after),
    )
    .await;
    assert!(
        outcome.success(),
        "without the list it is decoded: {outcome:?}"
    );
    let outcome = by_memory(&sandbox, FFMPEG, "rare.mkv", from_memory("rare.mkv", after)).await;
    assert!(
        !outcome.success() && outcome.stdout.is_empty(),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("whitelist"), "{}", outcome.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_version_is_read_inside() {
    let sandbox = within(Protection::Full).await;
    let outcome = sandbox
        .command(Program::Path(FFMPEG.into()), ["-version"])
        .start()
        .await
        .unwrap()
        .wait()
        .await
        .unwrap();
    let said = String::from_utf8(outcome.stdout).unwrap();
    println!("{:?}", check_version(&said, Version(5, 1, 0)).unwrap());
    assert!(check_version(&said, Version(99, 0, 0)).is_err());
}

/// Not a test: what the sandbox costs.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn timings() {
    let full = within(Protection::Full).await;
    let warm = fences::sandbox(Settings {
        warm: 2,
        ..fences::settings(Protection::Full)
    })
    .await;
    let partial = within(Protection::Partial).await;
    let jpeg = from_memory(
        "cover.jpg",
        "-vf scale=160:-2 -f image2pipe -c:v mjpeg pipe:1",
    );
    let film = from_memory(
        "base.mp4",
        "-vf fps=1/3,scale=320:-2 -q:v 4 -f image2pipe -c:v mjpeg pipe:1",
    );
    let works = [
        ("true", "/usr/bin/true", "cover.jpg", vec![]),
        ("jpeg", FFMPEG, "cover.jpg", jpeg),
        ("film", FFMPEG, "base.mp4", film),
    ];
    for (work, program, name, args) in works {
        let mut all = [const { Vec::new() }; 4];
        for _ in 0..31 {
            let since = Instant::now();
            let path = clips().path().join(name).display().to_string();
            let plain = args
                .iter()
                .map(|word| word.replace("/proc/self/fd/3", &path));
            let outside =
                tokio::task::block_in_place(|| Command::new(program).args(plain).output().unwrap());
            assert!(outside.status.success());
            all[0].push(since.elapsed());
            for (index, sandbox) in [&partial, &full, &warm].into_iter().enumerate() {
                while index == 2 && sandbox.warm() < 2 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let memory = memory(name).await;
                let since = Instant::now();
                let command = sandbox
                    .command(Program::Path(program.into()), &args)
                    .fd(3, memory.into_fd());
                assert!(
                    command
                        .start()
                        .await
                        .unwrap()
                        .wait()
                        .await
                        .unwrap()
                        .success()
                );
                all[index + 1].push(since.elapsed());
            }
        }
        let shown = all.map(|mut times| {
            times.sort_unstable();
            format!(
                "{:.1} ms ({:.1}-{:.1})",
                times[15].as_secs_f64() * 1e3,
                times[7].as_secs_f64() * 1e3,
                times[23].as_secs_f64() * 1e3
            )
        });
        println!("| {work} | {} |", shown.join(" | "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_threads_and_ffprobe() {
    for sandbox in both().await {
        let args = words("-f mov", "/proc/self/fd/3", "-f null -")
            .into_iter()
            .map(|word| if word == "1" { "8".into() } else { word });
        let outcome = by_memory(&sandbox, FFMPEG, "base.mp4", args.collect()).await;
        assert!(outcome.success(), "{outcome:?}");
        println!(
            "{}: {:?} {:?}",
            sandbox.found(),
            outcome.usage,
            outcome.wall
        );
        let args = [
            "-v",
            "error",
            "-f",
            "matroska",
            "-of",
            "json",
            "-show_streams",
            "-show_format",
            "/proc/self/fd/3",
        ];
        let outcome = by_memory(
            &sandbox,
            "/usr/bin/ffprobe",
            "a.mkv",
            args.map(str::to_owned).to_vec(),
        )
        .await;
        assert!(
            outcome.success() && outcome.stdout.len() > 500,
            "{outcome:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_comes_by_pipe_and_goes_by_pipe() {
    for sandbox in both().await {
        let args = words(
            "-protocol_whitelist pipe -f mpegts",
            "pipe:0",
            "-f image2pipe -c:v mjpeg -vf fps=1 pipe:1",
        );
        let command = sandbox
            .command(Program::Path(FFMPEG.into()), args)
            .stdin(Stdin::Pipe);
        let mut child = command.start().await.unwrap();
        let (mut stdin, mut stdout) = (child.take_stdin().unwrap(), child.take_stdout().unwrap());
        let feed = async {
            tokio::io::AsyncWriteExt::write_all(&mut stdin, &clip("a.ts"))
                .await
                .unwrap();
            drop(stdin);
        };
        let mut pictures = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut stdout, &mut pictures);
        let (outcome, (), read) = tokio::join!(child.wait(), feed, read);
        assert!(outcome.unwrap().success() && read.unwrap() > 10_000);
    }
}

/// A playlist that names a local file, dressed up as a film.
#[tokio::test(flavor = "multi_thread")]
async fn a_playlist_in_disguise_reads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim.ts");
    std::fs::write(&victim, clip("a.ts")).unwrap();
    let playlist = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:12\n#EXTINF:12,\n{}\n#EXT-X-ENDLIST\n",
        victim.display()
    );
    let disguised = folder.path().join("film.mp4");
    std::fs::write(&disguised, &playlist).unwrap();
    let after = "-frames:v 1 -c:v png -f image2pipe pipe:1";
    let outside = Command::new(FFMPEG)
        .args(words("", &disguised.display().to_string(), after))
        .output()
        .unwrap();
    assert!(
        outside.stdout.starts_with(b"\x89PNG"),
        "outside it works: {}",
        String::from_utf8_lossy(&outside.stderr)
    );
    for sandbox in both().await {
        // Without the whitelist and the forced demuxer, so that the sandbox alone stops it.
        let memory = Memory::of(playlist.as_bytes()).unwrap();
        let args = words("-allowed_extensions ALL -f hls", "/proc/self/fd/3", after);
        let command = sandbox
            .command(Program::Path(FFMPEG.into()), args)
            .fd(3, memory.into_fd());
        let outcome = command.start().await.unwrap().wait().await.unwrap();
        assert!(
            !outcome.success() && outcome.stdout.is_empty(),
            "{outcome:?}"
        );
    }
}
