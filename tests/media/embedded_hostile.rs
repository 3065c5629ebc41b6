//! Films and files that mean harm: nothing is opened, nothing hangs, the good ones are still read.

use crate::captioned as films;
use crate::mp4;
use ciphermill_formats::FileType;

use crate::captioned::film;
use crate::run::*;
use ciphermill::media::caption_helper::{Order, Report, Source};
use ciphermill::media::embedded::{Run, in_video, take, take_gathered};
use ciphermill_captions::Output;
use ciphermill_captions::merge::Policy;

/// All runs that there are for films of this form.
fn all_runs(form: FileType) -> Vec<Run> {
    let codecs = [
        "subrip", "mov_text", "webvtt", "ass", "eia_608", "wvtt", "stpp",
    ];
    let streams = codecs.map(|codec| stream(0, codec, "eng"));
    let mut runs: Vec<Run> = streams
        .iter()
        .filter_map(|stream| take(form, FD, stream))
        .collect();
    runs.extend(
        streams
            .iter()
            .filter_map(|stream| take_gathered(FD, stream)),
    );
    runs.extend(
        ["h264", "hevc", "mpeg2video"]
            .iter()
            .filter_map(|codec| in_video(form, FD, codec)),
    );
    runs
}

/// In the film's place stand lists that name the film: outside of the whitelists ffmpeg follows them.
#[tokio::test(flavor = "multi_thread")]
async fn playlists_in_place_of_a_film_open_nothing() {
    let sandbox = sandbox().await;
    let folder = films::folder();
    let target = folder.join("none.ts").display().to_string();
    let lists = [
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:12\n#EXTINF:12,\n{target}\n#EXT-X-ENDLIST\n"),
        format!("ffconcat version 1.0\nfile {target}\n"),
    ];
    for list in &lists {
        let path = folder.join("list.mp4");
        std::fs::write(&path, list).unwrap();
        let opened = match list.starts_with('#') {
            true => "-f hls -allowed_extensions ALL -i",
            false => "-f concat -safe 0 -i",
        };
        let mut free = std::process::Command::new("/usr/bin/ffmpeg");
        free.args(["-v", "error"])
            .args(opened.split(' '))
            .arg(&path);
        let followed = free
            .args(["-map", "0:v", "-f", "framecrc", "-"])
            .output()
            .unwrap();
        assert!(!followed.stdout.is_empty(), "unfenced, it is followed");
        assert_eq!(FileType::sniff(list.as_bytes()), None);
        for form in [FileType::Mov, FileType::Matroska, FileType::MpegTs] {
            for run in all_runs(form) {
                let outcome = tool(&sandbox, run.tool, &run.args, list.as_bytes()).await;
                assert!(!outcome.success(), "{run:?} {outcome:?}");
                check_nothing_said(&outcome.stdout);
                // Outside of the sandbox the words alone have to do it.
                let args = run.args.iter().map(|word| match word.as_str() {
                    "/proc/self/fd/3" => path.display().to_string(),
                    word => word.to_owned(),
                });
                let outside = std::process::Command::new(program(run.tool))
                    .args(args)
                    .output()
                    .unwrap();
                assert!(!outside.status.success(), "{run:?} {outside:?}");
                check_nothing_said(&outside.stdout);
            }
        }
    }
}

fn check_nothing_said(stdout: &[u8]) {
    let said = String::from_utf8_lossy(stdout);
    assert!(
        said.trim_matches(['{', '}', '\n', ' ']).is_empty(),
        "{said}"
    );
}

/// A film, damaged in one of six ways.
fn damaged(film: &[u8], case: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(case as u64 + 1);
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut bytes = film.to_vec();
    match case % 6 {
        0 => bytes.truncate(random(film.len())),
        1 => (0..20).for_each(|_| bytes[random(film.len())] ^= 1 << random(8)),
        2 => (0..2000).for_each(|_| bytes[random(film.len())] ^= 1 << random(8)),
        // The index stands at one of the ends.
        3 => (0..20)
            .for_each(|_| bytes[film.len() - 1 - random(film.len().min(3000))] ^= 1 << random(8)),
        4 => (0..20).for_each(|_| bytes[random(film.len().min(3000))] ^= 1 << random(8)),
        _ => bytes[100..]
            .iter_mut()
            .for_each(|byte| *byte = u8::try_from(random(256)).unwrap()),
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_films_end_soon_with_an_error_or_with_cues() {
    let sandbox = sandbox().await;
    let wvtt = (
        mp4::fragmented(
            b"wvtt",
            &[(1000, mp4::vttc("", "a")), (1000, mp4::vttc("", "b"))],
        ),
        "wvtt",
    );
    let films = [
        (film("text.mp4"), "mov_text"),
        (film("text.mkv"), "subrip"),
        (film("c608.mov"), "eia_608"),
        wvtt,
        (film("cc1.b.ts"), "video"),
        (film("cc1.b.mkv"), "video"),
    ];
    let mut read = 0;
    for case in 0..60 {
        let (film, codec) = &films[case / 10];
        let form = form(film);
        let damaged = damaged(film, case);
        let run = match *codec {
            "video" => in_video(form, FD, "h264"),
            codec => take(form, FD, &stream(0, codec, "eng")),
        };
        let started = std::time::Instant::now();
        let answer = embedded(&sandbox, &damaged, vec![(run.unwrap(), None)]).await;
        assert!(started.elapsed().as_secs() < 15, "case {case}");
        assert!(
            answer.tracks.iter().all(|track| track.cues <= 20),
            "case {case} {answer:?}"
        );
        read += usize::from(matches!(&answer.sources[0], Report::Read { cues: 1.., .. }));
    }
    assert!((10..60).contains(&read), "{read} of 60 still had a cue");
}

/// Matroska as large as it may be, with a pair in each of as many pictures as may be.
fn endless_captions() -> Vec<u8> {
    // Nothing, 95 MiB of it.
    let mut file = b"\xec\x15\xf0\0\0".to_vec();
    file.resize(5 + 0x05f0_0000, 0);
    for time in 0_u32..2_000_000 {
        if time % 30_000 == 0 {
            file.extend(b"\xe7\x84");
            file.extend(time.to_be_bytes());
        }
        let relative = u16::try_from(time % 30_000).unwrap().to_be_bytes();
        file.extend(b"\xa3\x8e\x81");
        file.extend(relative);
        file.extend(b"\x80GA94\x03\x41\xff\xfc\xe1\xe1");
    }
    assert!(file.len() < 128 << 20);
    file
}

/// The child has 512 MiB; a text of which every second byte is markup takes most room.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_are_refused_one_by_one_and_the_last_good_one_is_read() {
    let sandbox = sandbox().await;
    let cue = format!(
        "00:00:01,000 --> 00:00:02,000\n{}\n\n",
        "<b>x</b>y".repeat(7000)
    );
    let dense = cue.repeat((16 << 20) / cue.len()).into_bytes();
    let dense = |language: &str| (source(Some(language)), dense.clone());
    let list = format!("{{\"packets\":[{}{{}}]}}", "{},".repeat(20 << 20));
    let samples = Source {
        kind: ciphermill::media::caption_helper::Kind::WebVttSamples,
        embedded: true,
        ..source(None)
    };
    let closed = Source {
        kind: ciphermill::media::caption_helper::Kind::ClosedCaptions,
        embedded: true,
        ..source(None)
    };
    let sources = vec![
        dense("fr"),
        dense("de"),
        dense("es"),
        (samples, list.into_bytes()),
        (closed, endless_captions()),
        (source(Some("it")), vec![b'\n'; 17 << 20]),
        (source(Some("en")), films::SRT.into()),
    ];
    let (order, files) = order(sources, Policy::MergeOverride);
    let order = Order {
        outputs: vec![Output::Vtt],
        ..order
    };
    let answer = helped(&sandbox, &order, &files).await;
    let refused = |report: &&Report| matches!(report, Report::Refused { .. });
    assert!(
        answer.sources.iter().filter(refused).count() >= 3,
        "{:?}",
        answer.sources
    );
    assert!(matches!(answer.sources[6], Report::Read { cues: 4, .. }));
}
