//! Captions of real films, taken out by ffmpeg and parsed by the helper, both in the sandbox.

use crate::captioned as films;
use crate::mp4;
use ciphermill_formats::FileType;

use crate::captioned::film;
use crate::run::*;
use ciphermill::media::caption_helper::Answer;
use ciphermill::media::embedded::{Tool, gather, in_video, readable, take, take_gathered};
use ciphermill::media::film::Subtitle;
use ciphermill_captions::Style;

#[tokio::test(flavor = "multi_thread")]
async fn mov_text_of_two_languages_keeps_texts_times_and_styles() {
    let sandbox = sandbox().await;
    for name in ["text.mp4", "text_f.mp4"] {
        let mut film = film(name);
        // ffmpeg's writer drops the colour: 10 pt, opaque white becomes red.
        let white = b"\x01\x04\x10\xff\xff\xff\xff";
        for at in 0..film.len() - 7 {
            if film[at..].starts_with(white) {
                film[at + 3..at + 7].copy_from_slice(b"\xff\0\0\xff");
            }
        }
        let streams = [stream(0, "mov_text", "eng"), stream(1, "mov_text", "deu")];
        let answer = each(&sandbox, &film, &streams).await;
        let english = cues(&answer, "eng");
        assert_eq!(told(&english), told(&parsed(films::SRT)), "{name}");
        assert_eq!(english[0], parsed(films::SRT)[0]);
        let under = &english[1].lines[0][1];
        let red = ciphermill_captions::Colour::Red;
        let expected = Style {
            underline: true,
            colour: Some(red),
            ..Style::default()
        };
        assert_eq!((under.text.as_str(), under.style), ("under", expected));
        let german = films::SRT.replace("Hello", "Hallo");
        assert_eq!(
            told(&cues(&answer, "deu")),
            told(&parsed(&german)),
            "{name}"
        );
    }
}

fn matroska() -> [Subtitle; 4] {
    [
        stream(0, "subrip", "eng"),
        stream(1, "hdmv_pgs_subtitle", "ita"),
        stream(2, "ass", "fre"),
        stream(3, "webvtt", "de"),
    ]
}

fn check_matroska(answer: &Answer) {
    assert_eq!(answer.tracks.len(), 9, "{answer:?}");
    assert_eq!(cues(answer, "eng"), parsed(films::SRT), "to the last style");
    assert_eq!(cues(answer, "de"), parsed(films::VTT), "to the last style");
    let ass = cues(answer, "fre");
    assert_eq!(
        ass,
        parsed(
            "1\n00:00:01,000 --> 00:00:02,500\nHello <i>world</i>\nsecond <b>line</b>\n\n\
             00:00:03,000 --> 00:00:04,500\n{\\an8}<font color=red><b><i>style at the top</i></b></font>\n\n\
             00:00:03,500 --> 00:00:06,000\n<font color=red>overlap</font> ends\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bitmap_track_costs_the_text_tracks_of_matroska_nothing() {
    let (sandbox, film) = (sandbox().await, film("text.mkv"));
    let runs = matroska().into_iter().filter_map(|stream| {
        take(FileType::Matroska, FD, &stream).map(|run| (run, stream.language))
    });
    let runs: Vec<_> = runs.collect();
    assert_eq!(runs.len(), 3);
    check_matroska(&embedded(&sandbox, &film, runs).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn tracks_gathered_in_one_run_are_the_same() {
    let (sandbox, film) = (sandbox().await, film("text.mkv"));
    let (args, streams) = gather(FileType::Matroska, FD, &matroska()).unwrap();
    let gathered = tool(&sandbox, Tool::Ffmpeg, &args, &film).await;
    assert!(
        gathered.success() && gathered.stdout.len() < film.len() / 10,
        "{gathered:?}"
    );
    let run = |stream: &Subtitle| take_gathered(FD, stream).unwrap();
    let runs = streams
        .iter()
        .map(|stream| (run(stream), stream.language.clone()));
    check_matroska(&embedded(&sandbox, &gathered.stdout, runs.collect()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn webvtt_in_mp4_is_read_whole_and_in_fragments() {
    let sandbox = sandbox().await;
    let (one, two) = (
        mp4::vttc("line:0 align:left", "Hello <i>world</i>\n&amp; 1 &lt; 2"),
        mp4::vttc("", "over"),
    );
    let samples = [
        (1000, mp4::vtte()),
        (1000, one.clone()),
        (500, [one, two.clone()].concat()),
        (2000, two),
        (3540, mp4::vtte()),
        (
            1960,
            mp4::vttc("", "naïve 日本\n\nx 00:00.000 --> 01:00.000\n🙂"),
        ),
    ];
    let expected = "WEBVTT\n\n00:01.000 --> 00:02.500 line:0 align:left\nHello <i>world</i>\n&amp; 1 &lt; 2\n\n\
        00:02.000 --> 00:04.500\nover\n\n00:08.040 --> 00:10.000\nnaïve 日本\nx 00:00.000 --&gt; 01:00.000\n🙂\n";
    for film in [
        mp4::plain(b"wvtt", &samples),
        mp4::fragmented(b"wvtt", &samples),
    ] {
        let answer = each(&sandbox, &film, &[stream(0, "wvtt", "en-US")]).await;
        assert_eq!(cues(&answer, "en"), parsed(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ttml_in_mp4_is_read() {
    let sandbox = sandbox().await;
    let answer = each(&sandbox, &film("ttml.mp4"), &[stream(0, "stpp", "eng")]).await;
    assert_eq!(told(&cues(&answer, "eng")), told(&parsed(films::SRT)));
    let document = |body: &str| {
        format!("<tt xmlns='http://www.w3.org/ns/ttml'><body><div>{body}</div></body></tt>")
            .into_bytes()
    };
    let both = "<p begin='1s' end='3s'>one</p><p begin='2.5s' end='4s'>two</p>";
    let samples = [
        (2000, document(both)),
        (2000, document(both)),
        (1000, document("")),
    ];
    let film = mp4::fragmented(b"stpp", &samples);
    let answer = each(&sandbox, &film, &[stream(0, "stpp", "eng")]).await;
    let expected = [
        (1000, 3000, "one".to_owned()),
        (2500, 4000, "two".to_owned()),
    ];
    assert_eq!(told(&cues(&answer, "eng")), expected);
}

/// The captions of [`films::SCC`], each time within one picture of what was put in.
fn check_closed_captions(answer: &Answer, name: &str) {
    check_near(answer, name, 34);
}

fn check_near(answer: &Answer, name: &str, most_ms: u64) {
    let cues = told(&cues(answer, "und"));
    let expected = [(1435, 3437, "Hello"), (3437, 5005, "World")];
    assert_eq!(cues.len(), 2, "{name} {cues:?}");
    for ((start, end, text), expected) in cues.iter().zip(expected) {
        let near = start.abs_diff(expected.0) <= most_ms && end.abs_diff(expected.1) <= most_ms;
        assert!(near && text == expected.2, "{name} {cues:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_caption_track_of_quicktime_is_read() {
    let sandbox = sandbox().await;
    let answer = each(&sandbox, &film("c608.mov"), &[stream(0, "eia_608", "xyz1")]).await;
    check_closed_captions(&answer, "c608.mov");
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_captions_beside_the_pictures_are_read() {
    let sandbox = sandbox().await;
    for (name, codec) in [
        ("cc1.h264.mp4", "h264"),
        ("cc2.h264.mp4", "h264"),
        ("cc3.h264.mp4", "h264"),
        ("cc1.h264.ts", "h264"),
        ("cc1.b.mp4", "h264"),
        ("cc1.b.ts", "h264"),
        ("cc1.b.mkv", "h264"),
        ("cc1.f.mp4", "h264"),
        ("cc1.hevc.mp4", "hevc"),
        ("cc2.hevc.mp4", "hevc"),
        ("cc1.hevc.ts", "hevc"),
        ("cc1.mpeg2video.ts", "mpeg2video"),
    ] {
        let film = film(name);
        let run = in_video(form(&film), FD, codec).unwrap();
        let answer = embedded(&sandbox, &film, vec![(run, None)]).await;
        check_closed_captions(&answer, name);
    }
}

#[test]
fn three_hundred_streams_are_looked_at_and_unknown_ones_skipped() {
    let codecs = ["subrip", "dvd_subtitle", "mov_text", "dvb_teletext", "-i"];
    let streams: Vec<_> = (0..400)
        .map(|at| stream(at, codecs[at % 5], "eng"))
        .collect();
    let chosen: Vec<usize> = readable(&streams).map(|stream| stream.index).collect();
    assert_eq!(
        (chosen.len(), &chosen[..3], chosen[119]),
        (120, &[0, 2, 5][..], 297)
    );
    let (args, gathered) = gather(FileType::Matroska, FD, &streams).unwrap();
    assert_eq!(
        (gathered.len(), gathered[59].index),
        (60, 59),
        "of text, with new places"
    );
    assert!(args.contains(&"0:s:295".to_owned()) && !args.contains(&"0:s:300".to_owned()));
    assert_eq!(gather(FileType::Mov, FD, &streams), None);
    assert_eq!(gather(FileType::Matroska, FD, &streams[..5]), None);
}

/// Takes the times from every second picture of a transport stream.
fn untimed(film: &[u8]) -> Vec<u8> {
    let (mut film, mut pictures) = (film.to_vec(), 0);
    for packet in film
        .chunks_exact_mut(188)
        .filter(|packet| packet[1] & 0x40 != 0)
    {
        let payload = 4 + usize::from(packet[3] >> 5 & 1) * (1 + usize::from(packet[4]));
        if matches!(packet[payload..], [0, 0, 1, 0xe0..=0xef, ..]) {
            pictures += 1;
            if pictures % 2 == 0 {
                packet[payload + 7] &= 0x3f;
                let length = usize::from(packet[payload + 8]);
                packet[payload + 9..][..length].fill(0xff);
            }
        }
    }
    assert_eq!(pictures, 270);
    film
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_without_times_cost_a_picture_of_accuracy() {
    let (sandbox, film) = (sandbox().await, untimed(&film("cc1.h264.ts")));
    let run = in_video(form(&film), FD, "h264").unwrap();
    let answer = embedded(&sandbox, &film, vec![(run, None)]).await;
    check_near(&answer, "untimed", 68);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_without_captions_has_none() {
    let (sandbox, film) = (sandbox().await, film("none.ts"));
    let run = in_video(FileType::MpegTs, FD, "h264").unwrap();
    let answer = embedded(&sandbox, &film, vec![(run, None)]).await;
    assert!(
        answer.tracks.iter().all(|track| track.cues == 0),
        "{answer:?}"
    );
    let run = take(FileType::MpegTs, FD, &stream(0, "subrip", "eng")).unwrap();
    let outcome = tool(&sandbox, run.tool, &run.args, &film).await;
    assert!(!outcome.success() && outcome.stdout.is_empty());
    assert!(take(FileType::MpegTs, FD, &stream(0, "dvb_subtitle", "eng")).is_none());
    assert!(in_video(FileType::MpegTs, FD, "rv40").is_none());
}
