//! Decoding of whole, turned, strange, huge and broken files.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};

use super::*;
use crate::media::pictures::tests::{FORMS, encoded, ffmpeg};

mod broken;

fn bounds() -> Bounds {
    Bounds::of(64 << 20)
}

fn decoded(bytes: &[u8], form: ImageForm) -> DynamicImage {
    decode(bytes, form, bounds()).unwrap_or_else(|refused| panic!("{form:?}: {refused}"))
}

/// A TIFF structure with an orientation and nothing else.
fn exif(orientation: u8) -> Vec<u8> {
    let head = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0";
    [&head[..], &[orientation], &[0; 6]].concat()
}

fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    for (name, bytes) in chunks {
        body.extend_from_slice(*name);
        body.extend((bytes.len() as u32).to_le_bytes());
        body.extend_from_slice(bytes);
        body.resize(body.len().next_multiple_of(2), 0);
    }
    let length = (body.len() as u32).to_le_bytes();
    [b"RIFF", &length[..], &body].concat()
}

/// A `VP8X` body: flags, and a canvas of this many pixels.
fn vp8x(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    [vec![flags, 0, 0, 0], side(width), side(height)].concat()
}

/// The four corners of a picture, from the upper left on: red, green, blue or white.
fn corners(image: &DynamicImage) -> String {
    let image = image.to_rgb8();
    let (right, bottom) = (image.width() - 4, image.height() - 4);
    let corner = |x, y| match image.get_pixel(x, y).0.map(|value| value > 127) {
        [true, false, false] => 'r',
        [false, true, false] => 'g',
        [false, false, true] => 'b',
        _ => 'w',
    };
    [(3, 3), (right, 3), (3, bottom), (right, bottom)]
        .map(|(x, y)| corner(x, y))
        .iter()
        .collect()
}

/// `rgbw` at its four corners, 64x48.
fn four_corners() -> DynamicImage {
    let image = RgbImage::from_fn(64, 48, |x, y| match (x < 32, y < 24) {
        (true, true) => Rgb([255, 0, 0]),
        (false, true) => Rgb([0, 255, 0]),
        (true, false) => Rgb([0, 0, 255]),
        (false, false) => Rgb([255, 255, 255]),
    });
    image.into()
}

#[test]
fn a_picture_is_turned_as_each_of_the_eight_orientations_says() {
    // By the EXIF standard: what side the first row and the first column of the file are.
    let turned = [
        "rgbw", "grwb", "wbgr", "bwrg", "rbgw", "brwg", "wgbr", "gwrb",
    ];
    let image = four_corners();
    for (expected, number) in turned.into_iter().zip(1u8..) {
        let sides = if number > 4 { (48, 64) } else { (64, 48) };
        let check = |bytes: &[u8], form| {
            let image = decoded(bytes, form);
            assert_eq!(corners(&image), expected, "{form:?} {number}");
            assert_eq!((image.width(), image.height()), sides, "{form:?} {number}");
        };
        let jpeg = encoded(&image, ImageForm::Jpeg);
        let app1 = [b"Exif\0\0", &exif(number)[..]].concat();
        let length = (app1.len() as u16 + 2).to_be_bytes();
        let head = [&jpeg[..2], &[0xff, 0xe1], &length].concat();
        check(&[&head, &app1, &jpeg[2..]].concat(), ImageForm::Jpeg);

        let mut png = Vec::new();
        let mut encoder = PngEncoder::new(&mut png);
        encoder.set_exif_metadata(exif(number)).unwrap();
        encoder
            .write_image(image.as_bytes(), 64, 48, ExtendedColorType::Rgb8)
            .unwrap();
        check(&png, ImageForm::Png);

        let webp = encoded(&image, ImageForm::Webp);
        let canvas = vp8x(0x08, 64, 48);
        for exif in [exif(number), app1] {
            let chunks = [
                (b"VP8X", &canvas[..]),
                (b"VP8 ", &webp[20..]),
                (b"EXIF", &exif),
            ];
            check(&riff(&chunks), ImageForm::Webp);
        }
    }
}

#[test]
fn every_format_gives_its_pixels() {
    for form in FORMS {
        let image = decoded(&encoded(&four_corners(), form), form);
        assert_eq!(corners(&image), "rgbw", "{form:?}");
        assert_eq!((image.width(), image.height()), (64, 48), "{form:?}");
        assert_eq!(image.color(), image::ColorType::Rgb8, "{form:?}");
    }
}

#[test]
fn grey_palette_deep_and_see_through_become_8_bit() {
    for (format, alpha) in [
        ("gray", false),
        ("gray16be", false),
        ("ya8", true),
        ("ya16be", true),
        ("pal8", false),
        ("monob", false),
        ("rgb48be", false),
        ("rgba64be", true),
        ("rgba", true),
    ] {
        let colour = if alpha { "white@0.5" } else { "white" };
        let source = format!(
            "color={colour}:size=8x8,format={}",
            if alpha { "rgba" } else { "rgb24" }
        );
        let png = ffmpeg(&[
            "-f",
            "lavfi",
            "-i",
            &source,
            "-frames:v",
            "1",
            "-pix_fmt",
            format,
            "-c:v",
            "png",
            "-f",
            "image2pipe",
        ]);
        let image = decoded(&png, ImageForm::Png);
        let pixel = image.to_rgba8().get_pixel(4, 4).0;
        assert_eq!(image.color().has_alpha(), alpha, "{format}");
        assert_eq!(
            image.color().bits_per_pixel(),
            if alpha { 32 } else { 24 },
            "{format}"
        );
        assert!(
            pixel[..3].iter().all(|value| *value > 250),
            "{format} {pixel:?}"
        );
        let expected = if alpha { 126..=129 } else { 255..=255 };
        assert!(expected.contains(&pixel[3]), "{format} {pixel:?}");
    }
}

/// A JPEG of one block with four components, written by hand: the ink is inverted, as Adobe has it.
fn cmyk_jpeg(stored: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8];
    let mut segment = |marker: u8, body: &[u8]| {
        bytes.extend([0xff, marker]);
        bytes.extend((body.len() as u16 + 2).to_be_bytes());
        bytes.extend_from_slice(body);
    };
    segment(0xee, b"Adobe\0\x64\0\0\0\0\0");
    segment(0xdb, &[&[0][..], &[8; 64]].concat());
    let components: Vec<u8> = (1..=4).flat_map(|id| [id, 0x11, 0]).collect();
    segment(0xc0, &[&[8, 0, 8, 0, 8, 4][..], &components].concat());
    // Nine classes of DC, four bits each; of AC only the end of a block, one bit.
    segment(
        0xc4,
        &[&[0, 0, 0, 0, 9][..], &[0; 12], &[0, 1, 2, 3, 4, 5, 6, 7, 8]].concat(),
    );
    segment(0xc4, &[&[0x10, 1][..], &[0; 15], &[0]].concat());
    let scan: Vec<u8> = (1..=4).flat_map(|id| [id, 0]).collect();
    segment(0xda, &[&[4][..], &scan, &[0, 63, 0]].concat());
    let mut bits = String::new();
    for value in stored {
        let value = i32::from(value) - 128;
        let class = 32 - value.unsigned_abs().leading_zeros() as usize;
        let code = if value < 0 {
            value + (1 << class) - 1
        } else {
            value
        };
        bits += &format!("{class:04b}");
        if class > 0 {
            bits += &format!("{code:0class$b}");
        }
        bits += "0";
    }
    bits += &"1".repeat(bits.len().next_multiple_of(8) - bits.len());
    for byte in bits.as_bytes().chunks(8) {
        let byte = u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap();
        bytes.push(byte);
        bytes.extend((byte == 0xff).then_some(0));
    }
    bytes.extend([0xff, 0xd9]);
    bytes
}

#[test]
fn a_jpeg_for_print_has_its_colours_on_screen() {
    for (stored, colour) in [
        ([255, 255, 255, 255], [255, 255, 255]),
        ([255, 255, 255, 0], [0, 0, 0]),
        ([0, 255, 255, 255], [0, 255, 255]),
        ([255, 0, 0, 255], [255, 0, 0]),
    ] {
        let image = decoded(&cmyk_jpeg(stored), ImageForm::Jpeg).into_rgb8();
        let pixel = image.get_pixel(4, 4).0;
        assert!(
            pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 4),
            "{pixel:?} {colour:?}"
        );
    }
}

#[test]
fn of_an_animation_the_first_picture_is_taken() {
    let source = "color=red:size=16x16:rate=2:duration=1,format=rgb24[a];\
        color=blue:size=16x16:rate=2:duration=1,format=rgb24[b];[a][b]concat=n=2";
    for (codec, container, form) in [
        ("gif", "gif", ImageForm::Gif),
        ("apng", "apng", ImageForm::Png),
        ("libwebp_anim", "webp", ImageForm::Webp),
    ] {
        let bytes = ffmpeg(&["-filter_complex", source, "-c:v", codec, "-f", container]);
        let [red, green, blue] = decoded(&bytes, form).into_rgb8().get_pixel(8, 8).0;
        assert!(
            red > 200 && green < 60 && blue < 60,
            "{codec}: {red} {green} {blue}"
        );
    }
}
