//! Files that claim to be huge, and files with changed bytes.

use std::process::Command;
use std::time::{Duration, Instant};

use image::codecs::jpeg::JpegEncoder;
use image::{ImageEncoder, Rgba, RgbaImage};
use proptest::test_runner::{RngAlgorithm, TestRng};
use rand_core::Rng;

use super::{bounds, cmyk_jpeg, corners, exif, four_corners, riff, vp8x};
use crate::media::pictures::decode::*;
use crate::media::pictures::tests::{FORMS, colours, encoded, ffmpeg};

/// The checksum at the end of a PNG chunk.
fn crc(bytes: &[u8]) -> [u8; 4] {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    (!crc).to_be_bytes()
}

/// Small files that claim to be huge.
fn bombs() -> Vec<(&'static str, ImageForm, Vec<u8>)> {
    let image = four_corners();
    let side = 60_000u16;
    let mut jpeg = encoded(&image, ImageForm::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|bytes| bytes == [0xff, 0xc0])
        .unwrap();
    jpeg[frame + 5..frame + 7].copy_from_slice(&side.to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&side.to_be_bytes());
    let mut png = encoded(&image, ImageForm::Png);
    png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let checksum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&checksum);
    let mut wide = png.clone();
    wide[16..20].copy_from_slice(&0x7fff_ffffu32.to_be_bytes());
    let checksum = crc(&wide[12..29]);
    wide[29..33].copy_from_slice(&checksum);
    let mut gif = encoded(&image, ImageForm::Gif);
    gif[6..10].copy_from_slice(&[0x60, 0xea, 0x60, 0xea]);
    let mut gif_frame = encoded(&image, ImageForm::Gif);
    let screen = gif_frame
        .windows(5)
        .position(|bytes| bytes == [0x2c, 0, 0, 0, 0])
        .unwrap();
    gif_frame[screen + 5..screen + 9].copy_from_slice(&[0x60, 0xea, 0x60, 0xea]);
    let small = encoded(&image, ImageForm::Webp);
    let mut vp8 = small.clone();
    vp8[26..30].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    let canvas = vp8x(0, 64, 48);
    let hidden = riff(&[(b"VP8X", &canvas), (b"VP8 ", &vp8[20..])]);
    let large = vp8x(0, 60_000, 60_000);
    let large = riff(&[(b"VP8X", &large), (b"VP8 ", &small[20..])]);
    let animated = vp8x(2, 64, 48);
    let moving = [
        &[0; 6][..],
        &[63, 0, 0, 47, 0, 0, 0, 0, 0, 0],
        b"VP8 ",
        &vp8[16..],
    ]
    .concat();
    let moving = riff(&[(b"VP8X", &animated), (b"ANIM", &[0; 6]), (b"ANMF", &moving)]);
    let exif = vp8x(8, 64, 48);
    let mut exif = riff(&[
        (b"VP8X", &exif),
        (b"VP8 ", &small[20..]),
        (b"EXIF", &[0; 4]),
    ]);
    let place = exif.len() - 8;
    exif[place..place + 4].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff]);
    let lossless = riff(&[(b"VP8L", &[0x2f, 0xfe, 0xbf, 0xff, 0x0f, 0, 0, 0])]);
    vec![
        ("jpeg", ImageForm::Jpeg, jpeg),
        ("png", ImageForm::Png, png),
        ("png with a line of gigabytes", ImageForm::Png, wide),
        ("gif", ImageForm::Gif, gif),
        ("frame of a gif", ImageForm::Gif, gif_frame),
        ("webp, lossy", ImageForm::Webp, vp8),
        ("webp, lossless", ImageForm::Webp, lossless),
        ("webp, canvas", ImageForm::Webp, large),
        (
            "webp, frame larger than its canvas",
            ImageForm::Webp,
            hidden,
        ),
        ("webp, frame of an animation", ImageForm::Webp, moving),
        ("webp, exif", ImageForm::Webp, exif),
    ]
}

/// The environment variable by which the test below knows that its memory is limited.
const LIMITED: &str = "PICTURES_MEMORY_IS_LIMITED";

#[test]
fn a_small_file_that_claims_to_be_huge_is_refused_at_once_in_48_mib() {
    if std::env::var_os(LIMITED).is_none() {
        let name = std::thread::current().name().unwrap().to_owned();
        let command = "ulimit -d 49152; exec \"$0\" --exact \"$1\" --test-threads=1";
        let output = Command::new("sh")
            .args(["-c", command])
            .args([std::env::current_exe().unwrap().as_os_str(), name.as_ref()])
            .env(LIMITED, "")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{output:?}"
        );
        return;
    }
    for (name, form, bytes) in bombs() {
        let start = Instant::now();
        let refused = decode(&bytes, form, bounds());
        assert!(start.elapsed() < Duration::from_millis(500), "{name}");
        match refused {
            // The claim is about the metadata only: the picture itself is whole.
            Ok(image) => assert_eq!((name, corners(&image)), ("webp, exif", "rgbw".into())),
            Err(refused) => assert!(refused.what.len() < Refused::LONGEST, "{name} {refused}"),
        }
    }
}

#[test]
fn a_huge_picture_is_refused_for_its_size_and_not_for_something_else() {
    for (name, form, bytes) in bombs() {
        if name == "webp, exif" {
            continue;
        }
        let why = decode(&bytes, form, bounds()).unwrap_err().what;
        assert!(
            why.contains("more than 67108864 pixels") || why.contains("too large"),
            "{name}: {why}"
        );
    }
}

#[test]
fn a_picture_of_exactly_the_most_pixels_passes_and_one_more_does_not() {
    for form in FORMS {
        let bytes = encoded(&four_corners(), form);
        assert!(
            decode(&bytes, form, Bounds::of(64 * 48)).is_ok(),
            "{form:?}"
        );
        assert!(
            decode(&bytes, form, Bounds::of(64 * 48 - 1)).is_err(),
            "{form:?}"
        );
        let bounds = bounds().with_largest((64, 47));
        assert!(decode(&bytes, form, bounds).is_err(), "{form:?}");
    }
}

#[test]
fn a_file_of_another_format_is_refused() {
    for named in FORMS {
        for form in FORMS.into_iter().filter(|form| *form != named) {
            let bytes = encoded(&four_corners(), form);
            assert!(
                decode(&bytes, named, bounds()).is_err(),
                "{form:?} as {named:?}"
            );
        }
    }
}

/// Files to be broken: every format, plain and with everything in it that it can have.
fn seeds() -> Vec<(ImageForm, Vec<u8>)> {
    let see_through = RgbaImage::from_fn(40, 30, |x, y| {
        Rgba([(x * 6) as u8, (y * 8) as u8, 99, (x * y) as u8])
    });
    let mut seeds: Vec<_> = FORMS
        .map(|form| (form, encoded(&colours(40, 30), form)))
        .into();
    let (png, gif) = (ImageForm::Png, ImageForm::Gif);
    seeds.push((png, encoded(&see_through.clone().into(), png)));
    seeds.push((gif, encoded(&see_through.clone().into(), gif)));
    let webp = webp::Encoder::from_rgba(&see_through, 40, 30);
    seeds.push((ImageForm::Webp, webp.encode(50.0).to_vec()));
    seeds.push((ImageForm::Webp, webp.encode_lossless().to_vec()));
    let source = "testsrc=size=40x30:rate=2:duration=1";
    for (arguments, form) in [
        ("-c:v libwebp_anim -f webp", ImageForm::Webp),
        ("-c:v gif -f gif", gif),
        ("-c:v apng -f apng", png),
        ("-frames:v 1 -c:v png -pix_fmt rgb48be -f image2pipe", png),
        (
            "-frames:v 1 -c:v mjpeg -pix_fmt yuvj420p -f image2pipe",
            ImageForm::Jpeg,
        ),
    ] {
        let arguments = ["-f", "lavfi", "-i", source]
            .into_iter()
            .chain(arguments.split(' '));
        seeds.push((form, ffmpeg(&arguments.collect::<Vec<_>>())));
    }
    let mut jpeg = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 50);
    encoder.set_exif_metadata(exif(6)).unwrap();
    encoder.encode_image(&colours(40, 30)).unwrap();
    seeds.push((ImageForm::Jpeg, jpeg));
    seeds.push((ImageForm::Jpeg, cmyk_jpeg([1, 2, 3, 4])));
    seeds
}

#[test]
fn broken_files_never_panic() {
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let (seeds, mut refused) = (seeds(), 0);
    let cases = std::env::var("PICTURES_CASES").map_or(2_000, |cases| cases.parse().unwrap());
    for case in 0..cases {
        let (form, whole) = &seeds[case % seeds.len()];
        let mut bytes = whole.clone();
        let mut below = |most: usize| random.next_u64() as usize % most;
        if below(3) == 0 {
            bytes.truncate(below(whole.len()));
        }
        for _ in 0..below(8) {
            // Half of the changes go to the head, where the numbers stand.
            let reach = if below(2) == 0 {
                bytes.len().min(64)
            } else {
                bytes.len()
            };
            if reach > 0 {
                bytes[below(reach)] ^= [1 << below(8), 0xff, below(256) as u8][below(3)];
            }
        }
        refused += usize::from(decode(&bytes, *form, Bounds::of(1 << 20)).is_err());
    }
    assert!(
        refused > cases / 4,
        "{refused} of {cases}: hardly anything was broken"
    );
}
