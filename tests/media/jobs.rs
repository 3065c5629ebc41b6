//! Thumbnails, captions and artwork of whole jobs, from encrypted sources to encrypted companions.

use ciphermill_captions as captions;
use serde_json::{Value, json};

use crate::captioned;
use crate::films::{self, Truth};
use crate::job::{Desk, ctr, decoded, name};

/// Less than any film here: it is streamed, or read in ranges.
const LITTLE: (&str, &str) = ("CIPHERMILL_MEDIA__PLAINTEXT_BYTES", "65536");

/// Films, how they are turned, and the size of their thumbnails within 160 x 160.
const FILMS: [(&str, u32, (u64, u64)); 9] = [
    ("base.mp4", 0, (160, 120)),
    ("fast.mp4", 0, (160, 120)),
    ("frag.mp4", 0, (160, 120)),
    ("base.mkv", 0, (160, 120)),
    ("base.ts", 0, (160, 120)),
    ("base.mov", 0, (160, 120)),
    ("turn90.mp4", 90, (120, 160)),
    ("turn270.mp4", 270, (120, 160)),
    ("wide.mp4", 0, (160, 60)),
];

/// One for each second, and again one for each of three times, out of memory, out of a pipe and
/// out of ranges.
#[test]
fn each_thumbnail_is_the_frame_of_its_time_upright_and_opens_with_openssl() {
    let desk = Desk::new();
    let (source_key, key) = (desk.key(), desk.key());
    for (film, turn, size) in FILMS {
        let truth = Truth::of(film, turn);
        let input = desk.sealed(film, &films::bytes(film), &source_key);
        for (way, settings) in [("memory", &[][..]), ("little", &[LITTLE])] {
            for times in [
                json!({ "interval_seconds": 1 }),
                json!({ "at_seconds": [0.5, 2.04, 6.5] }),
                json!({ "count": 4 }),
            ] {
                let what = format!("{film} {way} {times}");
                let id = format!("t{}", desk.files("job-").len());
                desk.write(&format!("job-{id}"), b"");
                let mut job = desk.job(&id, input.clone());
                let mut thumbnails = json!({ "max_width": 160, "max_height": 160,
                    "url_pattern": desk.url(&format!("{id}-{{resolution}}-{{count}}")),
                    "encryption": ctr(&key) });
                thumbnails
                    .as_object_mut()
                    .unwrap()
                    .extend(times.as_object().unwrap().clone());
                job["thumbnails"] = thumbnails;
                let data = desk.done(&job, settings);
                let made = data["companions"].as_array().unwrap();
                let expected = match &times {
                    times if times["interval_seconds"] == 1 => truth.last().ceil() as usize,
                    times if times["count"] == 4 => 4,
                    _ => 3,
                };
                assert!(
                    made.len().abs_diff(expected) <= 1,
                    "{what}: {} of {expected}",
                    made.len()
                );
                for (number, thumbnail) in made.iter().enumerate() {
                    let expected = format!("{id}-{}x{}-{:05}.jpg", size.0, size.1, number + 1);
                    assert_eq!(name(thumbnail), expected, "{what}");
                    let picture = decoded(&desk.open(thumbnail, &key));
                    let shown = (picture.width as u64, picture.height as u64);
                    assert_eq!(shown, size, "{what}");
                    let at = thumbnail["at_seconds"].as_f64().unwrap();
                    assert_eq!(picture.number(turn), truth.at(at), "{what} at {at}");
                }
            }
        }
    }
}

/// An index that stands first and is longer than what is looked at of a film that streams.
#[test]
fn an_index_longer_than_the_first_bytes_is_read_again() {
    let desk = Desk::new();
    let (source_key, key) = (desk.key(), desk.key());
    let words = format!(";FFMETADATA1\ncomment={}\n", "long ".repeat(1 << 20));
    desk.write("words", words.as_bytes());
    desk.write("fast.mp4", &films::bytes("fast.mp4"));
    films::make(
        desk.dir.path(),
        "-i fast.mp4 -f ffmetadata -i words -map 0 -map_metadata 1 -c copy \
         -movflags +faststart long.mp4",
    );
    let film = std::fs::read(desk.path("long.mp4")).unwrap();
    let data = film.windows(4).position(|bytes| bytes == b"mdat");
    assert!(data.unwrap() > 5 << 20, "{data:?}");
    let mut job = desk.job("long", desk.sealed("in", &film, &source_key));
    job["thumbnails"] = json!({ "url_pattern": desk.url("t-{count}"), "interval_seconds": 1,
        "max_width": 160, "max_height": 160, "encryption": ctr(&key) });
    let data = desk.done(&job, &[LITTLE]);
    let made = data["companions"].as_array().unwrap();
    assert_eq!(made.len(), 8, "{data:#}");
    let truth = Truth::of("fast.mp4", 0);
    for thumbnail in made {
        let picture = decoded(&desk.open(thumbnail, &key));
        let at = thumbnail["at_seconds"].as_f64().unwrap();
        assert_eq!(picture.number(0), truth.at(at), "at {at}");
    }
}

/// All sidecars are encrypted, and so is all that is made of them and of the film's own tracks.
#[test]
fn captions_of_files_and_films_come_out_equal_in_every_format() {
    let desk = Desk::new();
    let (source_key, key) = (desk.key(), desk.key());
    let film = desk.sealed("film", &captioned::film("text.mp4"), &source_key);
    let other = captions::parse(captioned::VTT.as_bytes()).unwrap().track;
    let ttml = captions::write(&other, captions::Output::Ttml);
    let files = [
        ("fr", captioned::SRT.to_owned()),
        ("es", captioned::VTT.to_owned()),
        ("it", ttml),
        ("en", captioned::SCC.to_owned()),
    ];
    let sources = files.iter().map(|(language, text)| {
        let mut source = desk.sealed(language, text.as_bytes(), &source_key);
        source["language"] = json!(language);
        source
    });
    let outputs = ["srt", "webvtt", "ttml"].map(|format| {
        json!({ "url_pattern": desk.url("c-{language}"), "format": format,
            "encryption": ctr(&key) })
    });
    let mut job = desk.job("captions", film);
    job["captions"] = json!({ "sources": sources.collect::<Vec<_>>(), "outputs": outputs });
    let data = desk.done(&job, &[]);
    let made = data["companions"].as_array().unwrap();
    // Four files, and German of the film; its English one gives way to the file's.
    assert_eq!(made.len(), 5 * 3, "{data:#}");
    let german = captions::parse(&captioned::text_of("text.mp4", 1))
        .unwrap()
        .track;
    for caption in made {
        let opened = desk.open(caption, &key);
        let track = captions::parse(&opened).unwrap().track;
        assert_eq!(caption["cues"], track.cues.len(), "{caption:#}");
        let texts = |track: &captions::Track| -> Vec<_> {
            let text = |cue: &captions::Cue| {
                let lines = cue.lines.iter().map(|line| {
                    line.iter()
                        .map(|span| span.text.as_str())
                        .collect::<String>()
                });
                (cue.start_ms, cue.end_ms, lines.collect::<Vec<_>>())
            };
            track.cues.iter().map(text).collect()
        };
        let expected = match caption["language"].as_str().unwrap() {
            "fr" => captions::parse(captioned::SRT.as_bytes()).unwrap().track,
            "es" | "it" => captions::parse(captioned::VTT.as_bytes()).unwrap().track,
            "en" => captions::parse(captioned::SCC.as_bytes()).unwrap().track,
            "deu" => german.clone(),
            other => panic!("a track in {other}"),
        };
        assert_eq!(texts(&track), texts(&expected), "{caption:#}");
    }
    let found = data["caption_sources"].as_array().unwrap();
    let formats: Vec<_> = found
        .iter()
        .map(|source| source["format"].as_str().unwrap())
        .collect();
    assert_eq!(
        formats,
        ["srt", "webvtt", "ttml", "scc", "mov_text", "mov_text"]
    );
}

#[test]
fn a_broken_cue_is_named_and_the_others_are_kept() {
    let desk = Desk::new();
    desk.write("film", b"no film at all");
    let text = "1\n00:00:01,000 --> 00:00:02,000\none\n\n2\n00:00:03,000 --> never\ntwo\n\n\
        3\n00:00:05,000 --> 00:00:06,000\nthree\n";
    desk.write("c.srt", text.as_bytes());
    let mut job = desk.job("cues", json!({ "url": desk.url("film") }));
    job["captions"] = json!({ "merge": "override",
        "sources": [{ "url": desk.url("c.srt"), "language": "en", "time_offset": "-4.5" }],
        "outputs": [{ "url_pattern": desk.url("c-{language}"), "format": "srt" }] });
    let data = desk.done(&job, &[]);
    let source = &data["caption_sources"][0];
    assert_eq!(
        (&source["broken_cues"], &source["dropped_cues"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(source["broken"][0]["number"], 2);
    let written = std::fs::read_to_string(desk.path("c-en.srt")).unwrap();
    assert_eq!(written, "1\n00:00:00,500 --> 00:00:01,500\nthree\n\n");
}

/// What ffprobe says of the first track is more than it may say.
#[test]
fn a_track_that_is_too_large_costs_no_other() {
    let desk = Desk::new();
    let clock = |millis: usize| {
        let (seconds, millis) = (millis / 1000, millis % 1000);
        format!("00:{:02}:{:02},{millis:03}", seconds / 60, seconds % 60)
    };
    let cue = |number| format!("1\n{} --> {}\nmuch\n\n", clock(number), clock(number + 1));
    let large: String = (0..100_000).map(cue).collect();
    desk.write("large.srt", large.as_bytes());
    desk.write("small.srt", captioned::SRT.as_bytes());
    films::make(
        desk.dir.path(),
        "-i large.srt -i small.srt -map 0 -map 1 -c mov_text -metadata:s:0 language=eng \
         -metadata:s:1 language=deu two.mp4",
    );
    let mut job = desk.job("two", json!({ "url": desk.url("two.mp4") }));
    job["captions"] = json!({
        "outputs": [{ "url_pattern": desk.url("c-{language}"), "format": "srt" }] });
    let data = desk.done(&job, &[("CIPHERMILL_MEDIA__DECODER_BYTES", "33554432")]);
    let made = data["companions"].as_array().unwrap();
    assert_eq!(made.len(), 1, "{data:#}");
    assert_eq!(made[0]["language"], "deu", "{data:#}");
    let sources = data["caption_sources"].as_array().unwrap();
    let codes: Vec<_> = sources
        .iter()
        .map(|source| &source["fault"]["code"])
        .collect();
    assert_eq!(codes, [&json!("media_too_large"), &json!(null)], "{data:#}");
}

/// A watermark of red pixels, encrypted, in the lower right corner of white pictures.
#[test]
fn pictures_are_thumbnails_too_and_carry_watermarks() {
    let desk = Desk::new();
    let (source_key, key) = (desk.key(), desk.key());
    let make = |args: &str| films::make(desk.dir.path(), args);
    make("-f lavfi -i color=white:size=400x200 -frames:v 1 white.png");
    make("-f lavfi -i color=red:size=50x50 -frames:v 1 red.png");
    for to in ["white.jpg", "white.webp", "white.gif"] {
        make(&format!("-i white.png {to}"));
    }
    let red = std::fs::read(desk.path("red.png")).unwrap();
    let mut watermark = desk.sealed("red", &red, &source_key);
    for (field, value) in [
        ("max_width", "10%"),
        ("max_height", "20px"),
        ("horizontal_offset", "10px"),
    ] {
        watermark[field] = json!(value);
    }
    for (form, sizing, padding, size) in [
        ("png", "fit", "no_pad", (200, 100)),
        ("jpg", "fill", "no_pad", (200, 150)),
        ("webp", "fit", "pad", (200, 150)),
        ("gif", "keep", "no_pad", (200, 150)),
    ] {
        let bytes = std::fs::read(desk.path(&format!("white.{form}"))).unwrap();
        let mut job = desk.job(form, desk.sealed("in", &bytes, &source_key));
        job["thumbnails"] = json!({ "url_pattern": desk.url(&format!("{form}-{{count}}")),
            "format": "png", "max_width": 200, "max_height": 150, "sizing": sizing,
            "padding": padding, "watermarks": [watermark], "encryption": ctr(&key) });
        let data = desk.done(&job, &[]);
        let made = data["companions"].as_array().unwrap();
        assert_eq!(made.len(), 1, "{data:#}");
        let picture = decoded(&desk.open(&made[0], &key));
        assert_eq!((picture.width, picture.height), size, "{form}");
        let pixel = |x: usize, y: usize| {
            let place = (y * picture.width + x) * 3;
            <[u8; 3]>::try_from(&picture.pixels[place..place + 3]).unwrap()
        };
        // The picture without bars ends at 125 where there are some.
        let bottom = if padding == "pad" { 125 } else { size.1 };
        let [r, g, b] = pixel(185, bottom - 5);
        assert!(r > 250 && g < 5 && b < 5, "{form}: {r} {g} {b}");
        assert!(pixel(195, bottom - 5)[1] > 250, "{form}: the offset");
        assert!(pixel(100, bottom / 2)[2] > 250, "{form}");
        if padding == "pad" {
            assert_eq!(pixel(100, 5), [0, 0, 0]);
        }
    }
}

#[test]
fn covers_come_out_of_sound() {
    let desk = Desk::new();
    let (source_key, key) = (desk.key(), desk.key());
    let make = |args: &str| films::make(desk.dir.path(), args);
    make("-f lavfi -i color=blue:size=300x300 -frames:v 1 cover.png");
    let sound = "-f lavfi -i sine=duration=2 -i cover.png -map 0 -map 1";
    make(&format!(
        "{sound} -c:a libmp3lame -c:v copy -id3v2_version 3 a.mp3"
    ));
    make(&format!(
        "{sound} -c:a flac -c:v copy -disposition:v attached_pic a.flac"
    ));
    make(&format!(
        "{sound} -c:a aac -c:v copy -disposition:v attached_pic a.m4a"
    ));
    for sound in ["a.mp3", "a.flac", "a.m4a"] {
        let bytes = std::fs::read(desk.path(sound)).unwrap();
        for settings in [&[][..], &[("CIPHERMILL_MEDIA__PLAINTEXT_BYTES", "65536")]] {
            let id = format!("{sound}{}", settings.len());
            let mut job = desk.job(&id, desk.sealed("in", &bytes, &source_key));
            job["artwork"] = json!({ "url_pattern": desk.url(&format!("{id}-{{resolution}}")),
                "max_width": 100, "max_height": 100, "encryption": ctr(&key) });
            let data = desk.done(&job, settings);
            let made = data["companions"].as_array().unwrap();
            assert_eq!(made.len(), 1, "{data:#}");
            assert_eq!(name(&made[0]), format!("{id}-100x100.jpg"));
            let picture = decoded(&desk.open(&made[0], &key));
            let [r, g, b] = picture.at((0.5, 0.5));
            assert!(r < 20 && g < 20 && b > 235, "{sound}: {r} {g} {b}");
        }
    }
}

/// What is not required costs itself; what is required fails the job, and nothing is published.
#[test]
fn media_that_is_none_fails_what_was_to_be_made_of_it() {
    let desk = Desk::new();
    desk.write("in", b"#EXTM3U\nfile:///etc/passwd\n");
    let input = json!({ "url": desk.url("in") });
    let thumbnails =
        |required: bool| json!({ "url_pattern": desk.url("t-{count}"), "required": required });
    let mut job = desk.job("optional", input.clone());
    job["thumbnails"] = thumbnails(false);
    let data = desk.done(&job, &[]);
    let failed = &data["companions"][0];
    assert_eq!(failed["status"], "failed", "{data:#}");
    assert_eq!(failed["fault"]["code"], "media_unreadable");
    assert_eq!(failed["url"], desk.url("t-{count}"));
    assert!(desk.path("optional.out").exists());
    let mut job = desk.job("required", input);
    job["thumbnails"] = thumbnails(true);
    let event = desk.run(&job, &[]);
    let fault = &event["data"]["fault"];
    assert_eq!(
        (&fault["code"], &fault["retryable"]),
        (&json!("media_unreadable"), &json!(false))
    );
    assert_eq!(fault["pointer"], "/thumbnails", "{event:#}");
    assert_eq!(desk.files("required"), Vec::<String>::new());
    assert_eq!(desk.files("t-"), Vec::<String>::new());
}

/// P3 and P13: a job that is done writes nothing again, and no companion shares a keystream.
#[test]
fn done_is_done_and_every_companion_has_an_iv_of_its_own() {
    let desk = Desk::new();
    let key = desk.key();
    desk.write("in", &films::bytes("fast.mp4"));
    let mut job = desk.job("again", json!({ "url": desk.url("in") }));
    job["thumbnails"] = json!({ "url_pattern": desk.url("t-{count}"), "interval_seconds": 1,
        "encryption": ctr(&key), "if_exists": "fail" });
    let first = desk.done(&job, &[]);
    let ivs = |data: &Value| -> Vec<String> {
        let made = data["companions"].as_array().unwrap().iter();
        made.map(|c| c["encryption"]["iv"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut different = ivs(&first);
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 8, "{first:#}");
    let written = |name: &String| {
        std::fs::metadata(desk.path(name))
            .unwrap()
            .modified()
            .unwrap()
    };
    let before: Vec<_> = desk.files("t-").iter().map(written).collect();
    let second = desk.done(&job, &[]);
    assert_eq!(ivs(&first), ivs(&second));
    assert_eq!(
        before,
        desk.files("t-").iter().map(written).collect::<Vec<_>>()
    );
    // The same key in another mode.
    let mut job = desk.job("modes", json!({ "url": desk.url("in") }));
    job["outputs"][0]["encryption"]["key"] = key.reference.clone();
    job["thumbnails"] = json!({ "url_pattern": desk.url("m-{count}"), "encryption": ctr(&key) });
    let event = desk.run(&job, &[]);
    assert_eq!(event["data"]["fault"]["code"], "key_reuse", "{event:#}");
    assert_eq!(event["data"]["fault"]["pointer"], "/thumbnails/encryption");
    assert_eq!(desk.files("m-"), Vec::<String>::new());
}
