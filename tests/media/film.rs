//! The exact frames of films, by every way that plaintext comes in.

use crate::films;
use ciphermill_formats::FileType;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::films::Truth;
use crate::ways::{Sparse, WALL, full, probe, take, ways, within};
use ciphermill::media::Tools;
use ciphermill::media::film::{Facts, Film, Plaintext, Reading, Times};
use ciphermill::media::sandbox::{Protection, SharedRange};

/// Holds what is delivered against the truth; how it was read comes back.
async fn exact(
    tools: &Tools,
    film: &Film,
    facts: &Facts,
    times: &Times,
    truth: &Truth,
    turn: u32,
) -> Reading {
    let (frames, ppms) = take(tools, film, facts, times).await;
    let what = format!("{film:?} {times:?} {:?}", frames.reading);
    let delivered = frames.frames.iter().map(|frame| frame.seconds).zip(&ppms);
    let (found, expected): (Vec<_>, Vec<_>) = delivered
        .map(|(seconds, ppm)| (ppm.number(turn), truth.at(seconds)))
        .unzip();
    assert_eq!(found, expected, "{what}");
    // The last frame is on screen for a while after it begins; nobody says exactly how long.
    match times {
        Times::Every(step) => {
            let next = found.len() as f64 * step;
            assert!(
                next > truth.last() && next - step < truth.last() + 0.5,
                "{what} {next}"
            );
        }
        Times::Count(count) => assert_eq!(found.len(), *count, "{what}"),
        Times::At(list) => {
            assert_eq!(
                frames.frames.len() + frames.missing.len(),
                list.len(),
                "{what}"
            );
            for frame in &frames.missing {
                assert!(frame.seconds > truth.last(), "{what} {frame:?}");
                assert_eq!(frame.seconds, list[frame.index]);
            }
        }
    }
    frames.reading
}

/// Every film, how it is to be turned, and its upright size.
const FILMS: [(&str, u32, (u64, u64)); 23] = [
    ("base.mp4", 0, (320, 240)),
    ("fast.mp4", 0, (320, 240)),
    ("frag.mp4", 0, (320, 240)),
    ("base.mkv", 0, (320, 240)),
    ("base.mov", 0, (320, 240)),
    ("base.ts", 0, (320, 240)),
    ("prores.mov", 0, (320, 240)),
    ("mjpeg.mov", 0, (320, 240)),
    ("vp9.webm", 0, (320, 240)),
    ("hevc.mp4", 0, (320, 240)),
    ("mpeg2.ts", 0, (320, 240)),
    ("vfr.mp4", 0, (320, 240)),
    ("vfr.mkv", 0, (320, 240)),
    ("edit.mp4", 0, (320, 240)),
    ("late.mp4", 0, (320, 240)),
    ("late.mkv", 0, (320, 240)),
    ("late.ts", 0, (320, 240)),
    ("turn90.mp4", 90, (240, 320)),
    ("turn180.mp4", 180, (320, 240)),
    ("turn270.mp4", 270, (240, 320)),
    ("wide.mp4", 0, (640, 240)),
    ("narrow.mkv", 0, (284, 240)),
    ("live.mkv", 0, (320, 240)),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_is_the_one_on_screen_at_its_time() {
    let sandbox = full().await;
    let at = Times::At(vec![
        7.0,
        0.0,
        3.999,
        4.0,
        4.001,
        0.5,
        0.5,
        1e4,
        2.0 / 3.0,
        -1.0,
        6.29,
    ]);
    for (name, turn, size) in FILMS {
        let truth = Truth::of(name, turn);
        let bytes = films::bytes(name);
        for film in ways(&bytes).await {
            let facts = probe(&sandbox, &film, WALL).await.unwrap();
            let video = facts.video.as_ref().unwrap();
            assert_eq!(video.upright(), size, "{name}");
            println!(
                "{name} {film:?} {:?} {:?}",
                video.start_seconds, video.end_seconds
            );
            for times in [
                Times::Every(1.0),
                Times::Every(0.33),
                at.clone(),
                Times::Count(5),
            ] {
                exact(&sandbox, &film, &facts, &times, &truth, turn).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_sought_is_the_one_that_reading_through_finds() {
    let sandbox = full().await;
    let names = [
        "long.mp4",
        "long.mkv",
        "long.ts",
        "long_frag.mp4",
        "long_open.ts",
        "long_hevc.mp4",
    ];
    for name in names {
        let truth = Truth::of(name, 0);
        let bytes = films::bytes(name);
        for film in &ways(&bytes).await[..2] {
            let facts = probe(&sandbox, film, WALL).await.unwrap();
            let times = [
                Times::Every(40.0),
                Times::At(vec![80.0, 89.97]),
                Times::At(vec![61.23]),
                Times::At(vec![59.99, 60.04, 84.04, 95.0]),
                Times::At(vec![24.0]),
                Times::Count(2),
            ];
            for times in times {
                let reading = exact(&sandbox, film, &facts, &times, &truth, 0).await;
                // Fragments do not say where they end; for a count that is found out.
                let known = name != "long_frag.mp4" || matches!(times, Times::Count(_));
                assert_eq!(reading == Reading::Seek, known, "{name} {times:?}");
            }
            let times = Times::Every(7.77);
            let reading = exact(&sandbox, film, &facts, &times, &truth, 0).await;
            assert_eq!(reading, Reading::Through, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_protection_gives_the_same_frames() {
    let sandbox = within(Protection::Partial).await;
    for name in ["fast.mp4", "base.ts", "turn90.mp4"] {
        let turn = if name.starts_with("turn") { 90 } else { 0 };
        let truth = Truth::of(name, turn);
        for film in ways(&films::bytes(name)).await {
            if matches!(film.plaintext, Plaintext::Range(_)) {
                let failure = probe(&sandbox, &film, WALL).await.unwrap_err();
                assert!(!failure.is_media() && failure.message.contains("full protection"));
                continue;
            }
            let facts = probe(&sandbox, &film, WALL).await.unwrap();
            exact(&sandbox, &film, &facts, &Times::Every(0.33), &truth, turn).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gibibytes_by_range_cost_few_bytes() {
    let sandbox = full().await;
    let bytes = films::bytes("long.mp4");
    let index = bytes.windows(4).rposition(|four| four == b"moov").unwrap() - 4;
    let hole = 2 << 30;
    let mut before = bytes[..index].to_vec();
    before.extend([&b"\0\0\0\x01free"[..], &(hole + 16_u64).to_be_bytes()].concat());
    let served = Arc::new(AtomicU64::new(0));
    let source = Sparse {
        before,
        hole,
        after: bytes[index..].to_vec(),
        served: served.clone(),
    };
    let plaintext = Plaintext::Range(SharedRange::new(source));
    let film = Film {
        form: FileType::Mov,
        plaintext,
    };
    let truth = Truth::of("long.mp4", 0);
    let facts = probe(&sandbox, &film, WALL).await.unwrap();
    for (times, reading) in [
        (Times::Count(3), Reading::Seek),
        (Times::Every(10.0), Reading::Through),
    ] {
        assert_eq!(
            exact(&sandbox, &film, &facts, &times, &truth, 0).await,
            reading
        );
        println!(
            "{times:?}: {} bytes of {} and 2 GiB",
            served.swap(0, Ordering::Relaxed),
            bytes.len()
        );
    }
    exact(&sandbox, &film, &facts, &Times::At(vec![61.0]), &truth, 0).await;
    let read = served.load(Ordering::Relaxed);
    assert!(read < 8 << 20, "{read} bytes for one frame");
}
