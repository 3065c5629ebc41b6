//! Films that are broken, hostile or too large, sources that fail, and colours.

use crate::films;
use ciphermill_formats::FileType;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::films::Ppm;
use crate::ways::{WALL, by_pipe, by_range, full, in_memory, probe, take};
use bytes::Bytes;
use ciphermill::media::film::{
    Film, Frames, Kind, Limits, Opening, Plaintext, StreamSource, Times, frames,
};
use ciphermill::media::sandbox::{RangeSource, SharedRange};

/// What is asked of a film that nobody has looked at: its facts, then its frames.
async fn ask(film: &Film, limits: &Limits) -> (Vec<u8>, Frames) {
    let sandbox = full().await;
    let mut out = Vec::new();
    let frames = match probe(&sandbox, film, WALL).await {
        Ok(facts) => frames(&sandbox, film, &facts, &Times::Every(0.5), limits, &mut out).await,
        Err(failure) => Frames {
            failure: Some(failure),
            ..Frames::default()
        },
    };
    (out, frames)
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_films_give_what_they_have_and_are_at_fault() {
    let limits = Limits {
        wall: WALL,
        ..Limits::default()
    };
    let cut = |name: &str, part: f64| {
        let mut bytes = films::bytes(name);
        bytes.truncate((bytes.len() as f64 * part) as usize);
        bytes
    };
    let noise = |name: &str| {
        let mut bytes = cut(name, 0.05);
        let mut state = 1u32;
        bytes.extend((0..200_000).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }));
        bytes
    };
    let cases = [
        ("no index", FileType::Mov, cut("base.mp4", 0.6), 0),
        ("half of it", FileType::Mov, cut("fast.mp4", 0.5), 5),
        ("half of it", FileType::Matroska, cut("base.mkv", 0.5), 5),
        ("nothing", FileType::Mov, Vec::new(), 0),
        ("nothing", FileType::MpegTs, Vec::new(), 0),
        ("nothing", FileType::Matroska, Vec::new(), 0),
        ("noise", FileType::Mov, noise("fast.mp4"), 0),
        ("noise", FileType::Matroska, noise("base.mkv"), 0),
        (
            "another form",
            FileType::Matroska,
            films::bytes("fast.mp4"),
            0,
        ),
    ];
    for (what, form, bytes, least) in cases {
        for plaintext in [in_memory(&bytes).await, by_range(&bytes), by_pipe(&bytes)] {
            let film = Film { form, plaintext };
            let (out, frames) = ask(&film, &limits).await;
            println!(
                "{what} {film:?}: {} frames, {:?}",
                frames.frames.len(),
                frames.failure
            );
            let failure = frames.failure.unwrap();
            assert!(
                failure.is_media() && !failure.message.contains('/'),
                "{what}: {failure:?}"
            );
            assert!(
                (least..16).contains(&frames.frames.len()),
                "{what} {film:?}"
            );
            let numbers: Vec<_> = Ppm::all(&out)
                .iter()
                .take(least)
                .map(|ppm| ppm.number(0))
                .collect();
            let expected: Vec<_> = (0..least).map(|index| index * 25 / 2).collect();
            let near = |(a, b): (&usize, &usize)| a.abs_diff(*b) <= 1;
            assert!(
                numbers.iter().zip(&expected).all(near),
                "{what}: {numbers:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_kept_and_named() {
    let bytes = films::bytes("base.mp4");
    let film = Film {
        form: FileType::Mov,
        plaintext: in_memory(&bytes).await,
    };
    let usual = Limits::default();
    let kind = async |limits| ask(&film, &limits).await.1.failure.unwrap().kind;
    assert_eq!(
        kind(Limits {
            pixels: 320 * 239,
            ..usual
        })
        .await,
        Kind::TooLarge
    );
    assert_eq!(
        kind(Limits {
            frames: 15,
            ..usual
        })
        .await,
        Kind::TooLarge
    );
    assert_eq!(
        kind(Limits {
            wall: Duration::from_millis(30),
            ..usual
        })
        .await,
        Kind::TookTooLong
    );
    assert!(
        ask(
            &film,
            &Limits {
                frames: 16,
                ..usual
            }
        )
        .await
        .1
        .failure
        .is_none()
    );
    let film = Film {
        form: FileType::Mov,
        plaintext: by_range(&bytes),
    };
    let limits = Limits {
        range_bytes: 100_000,
        ..usual
    };
    assert_eq!(
        ask(&film, &limits).await.1.failure.unwrap().kind,
        Kind::Broken
    );
}

/// Reads nothing, for good.
struct Gone;

impl StreamSource for Gone {
    fn open(&self) -> Opening<'_> {
        Box::pin(async { Err(std::io::Error::other("the store is down")) })
    }
}

impl RangeSource for Gone {
    fn len(&self) -> u64 {
        1 << 20
    }

    async fn read(&self, _: Range<u64>) -> std::io::Result<Bytes> {
        Err(std::io::Error::other("the store is down"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_is_not_the_medias_fault() {
    let gone = [
        Plaintext::Pipe(Arc::new(Gone)),
        Plaintext::Range(SharedRange::new(Gone)),
    ];
    for plaintext in gone {
        let film = Film {
            form: FileType::MpegTs,
            plaintext,
        };
        let failure = ask(&film, &Limits::default()).await.1.failure.unwrap();
        assert!(!failure.is_media() && failure.message.contains("the store is down"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_come_to_an_end_and_sound_has_no_frames() {
    let limits = Limits {
        wall: WALL,
        ..Limits::default()
    };
    let film = Film {
        form: FileType::Matroska,
        plaintext: in_memory(&films::many_streams()).await,
    };
    let failure = ask(&film, &limits).await.1.failure.unwrap();
    assert!(failure.is_media(), "{failure:?}");
    films::make(films::folder(), "-i base.mp4 -vn -c:a flac sound.flac");
    let film = Film {
        form: FileType::Flac,
        plaintext: in_memory(&films::bytes("sound.flac")).await,
    };
    let facts = probe(&full().await, &film, WALL).await.unwrap();
    assert!(facts.is_audio_only());
    assert_eq!(
        ask(&film, &limits).await.1.failure.unwrap().kind,
        Kind::NoVideo
    );
}

/// ffmpeg's own turning and a matrix of our own say whether ours are right.
#[tokio::test(flavor = "multi_thread")]
async fn colours_are_those_of_the_tagged_matrix_and_range() {
    let sandbox = full().await;
    let red = "-f lavfi -i color=red:s=320x240:r=5:d=1,format=rgb24";
    let huge = "-f lavfi -i color=red:s=1280x720:r=5:d=1,format=rgb24";
    let cases = [
        (
            red,
            "bt709:out_range=tv",
            "-colorspace bt709 -color_range tv",
        ),
        (
            red,
            "bt601:out_range=tv",
            "-colorspace smpte170m -color_range tv",
        ),
        (red, "bt601:out_range=tv", ""),
        (huge, "bt709:out_range=tv", ""),
        (
            red,
            "bt709:out_range=pc",
            "-colorspace bt709 -color_range pc",
        ),
    ];
    for (source, matrix, tags) in cases {
        let scale = format!("-vf scale=out_color_matrix={matrix},format=yuv420p");
        let coding = "-c:v libx264 -qp 5 -movflags +faststart colour.mp4";
        films::make(
            films::folder(),
            &format!("{source} {scale} {tags} {coding}"),
        );
        let film = Film {
            form: FileType::Mov,
            plaintext: in_memory(&films::bytes("colour.mp4")).await,
        };
        let facts = probe(&sandbox, &film, WALL).await.unwrap();
        let (_, ppms) = take(&sandbox, &film, &facts, &Times::At(vec![0.5])).await;
        let [r, g, b] = ppms[0].at((0.5, 0.5));
        assert!(r >= 251 && g <= 4 && b <= 4, "{matrix} {tags}: {r} {g} {b}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_film_with_many_references_fits_into_its_memory() {
    let coding = "-c:v libx264 -preset ultrafast -bf 3 -refs 16 -pix_fmt yuv420p";
    let source = "-f lavfi -i testsrc2=s=3840x2160:r=25:d=1";
    films::make(
        films::folder(),
        &format!("{source} {coding} -movflags +faststart large.mp4"),
    );
    let turn = "-c copy -metadata:s:v rotate=90 -movflags +faststart";
    films::make(films::folder(), &format!("-i large.mp4 {turn} turned.mp4"));
    let film = Film {
        form: FileType::Mov,
        plaintext: in_memory(&films::bytes("turned.mp4")).await,
    };
    let sandbox = full().await;
    let facts = probe(&sandbox, &film, WALL).await.unwrap();
    let (frames, ppms) = take(&sandbox, &film, &facts, &Times::Every(0.25)).await;
    assert_eq!((ppms.len(), frames.width, frames.height), (4, 2160, 3840));
}
