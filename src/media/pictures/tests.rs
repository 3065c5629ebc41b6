//! Whole orders, from the bytes that come in to the records that go out.

use std::io::Cursor;
use std::process::{Command, Stdio};

use image::codecs::gif::GifEncoder;
use image::{ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

use super::*;
use crate::job::{Extent, HorizontalAlign, Sizing, Target, VerticalAlign, WatermarkSizing};

/// Every format that can be read.
pub(super) const FORMS: [ImageForm; 4] = [
    ImageForm::Jpeg,
    ImageForm::Png,
    ImageForm::Webp,
    ImageForm::Gif,
];

/// A picture with a different colour at every pixel.
pub(super) fn colours(width: u32, height: u32) -> DynamicImage {
    let pixel = |x, y| Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 128]);
    RgbImage::from_fn(width, height, pixel).into()
}

/// A picture as a file of this format.
pub(super) fn encoded(image: &DynamicImage, form: ImageForm) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    match form {
        ImageForm::Jpeg => image.write_to(&mut bytes, ImageFormat::Jpeg).unwrap(),
        ImageForm::Png => image.write_to(&mut bytes, ImageFormat::Png).unwrap(),
        ImageForm::Gif => {
            let frame = image::Frame::new(image.to_rgba8());
            GifEncoder::new(&mut bytes).encode_frame(frame).unwrap();
        }
        ImageForm::Webp => return encode::encode(image, PictureFormat::Webp, None).unwrap(),
    }
    bytes.into_inner()
}

/// What ffmpeg writes to its stdout.
pub(super) fn ffmpeg(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-loglevel", "error"])
        .args(arguments)
        .args((!arguments.contains(&"-y")).then_some("pipe:1"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Width, height and codec as ffprobe sees them.
fn probed(bytes: &[u8], name: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let show = "stream=codec_name,width,height";
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", show, "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Asks for PNG pictures of at most 64x64.
pub(super) fn order(source: Source) -> Order {
    Order {
        source,
        picture: Picture {
            format: PictureFormat::Png,
            quality: None,
            max_width: 64,
            max_height: 64,
            sizing: Sizing::Fit,
            padding: Padding::NoPad,
        },
        background: [0, 0, 0],
        watermarks: Vec::new(),
        limits: Limits::default(),
    }
}

fn image(form: ImageForm) -> Order {
    order(Source::Image { file: 0, form })
}

/// All records of an order, read as the worker reads them.
pub(super) fn records(order: &Order, stream: &[u8], files: &[Vec<u8>]) -> Vec<Record> {
    let order: Order = serde_json::from_str(&serde_json::to_string(order).unwrap()).unwrap();
    let mut files: Vec<_> = files.iter().map(Cursor::new).collect();
    let mut out = Vec::new();
    run(&order, stream, &mut files, &mut out).unwrap();
    let mut records = Records::new(Caps::of(&order, 1 << 30));
    records.push(&out);
    let mut all = Vec::new();
    while let Some(record) = records.next().unwrap() {
        all.push(record);
    }
    assert!(records.is_over());
    all
}

/// The only picture of an order, decoded.
fn made(order: &Order, files: &[Vec<u8>]) -> DynamicImage {
    match &records(order, b"", files)[..] {
        [Record::Picture(made), Record::End] => image::load_from_memory(&made.bytes).unwrap(),
        records => panic!("{records:?}"),
    }
}

fn refusal(order: &Order, files: &[Vec<u8>]) -> String {
    match &records(order, b"", files)[..] {
        [Record::Refused(refused)] => refused.what.clone(),
        records => panic!("{records:?}"),
    }
}

#[test]
fn an_order_reads_back_from_its_json() {
    let json = r#"{"source":{"image":{"file":0,"form":"jpeg"}},"picture":{"max_width":192,
        "max_height":108},"background":[0,0,0],"watermarks":[{"file":1,"form":"png","placement":
        {"max_width":"10%","max_height":"10%","opacity":50.0}}]}"#;
    let order: Order = serde_json::from_str(json).unwrap();
    assert_eq!(
        order.limits,
        Limits {
            pixels: 67_108_864,
            pictures: 100_000
        }
    );
    assert_eq!(
        order.watermarks[0].placement.horizontal_align,
        HorizontalAlign::Right
    );
    assert!(serde_json::from_str::<Order>(&json.replace("\"file\":1", "\"fil\":1")).is_err());
    let frames = json.replace(r#"{"image":{"file":0,"form":"jpeg"}}"#, r#""frames""#);
    let frames: Order = serde_json::from_str(&frames).unwrap();
    assert_eq!(frames.source, Source::Frames);
}

#[test]
fn every_format_in_gives_every_format_out_in_the_size_that_is_asked() {
    for form in FORMS {
        for (format, codec, name) in [
            (PictureFormat::Jpg, "mjpeg", "x.jpg"),
            (PictureFormat::Png, "png", "x.png"),
            (PictureFormat::Webp, "webp", "x.webp"),
        ] {
            for (sizing, padding, size) in [
                (Sizing::Fit, Padding::NoPad, "64,48"),
                (Sizing::Fill, Padding::NoPad, "64,64"),
                (Sizing::Fit, Padding::Pad, "64,64"),
            ] {
                let mut order = image(form);
                order.picture = Picture {
                    format,
                    sizing,
                    padding,
                    ..order.picture
                };
                let file = encoded(&colours(120, 90), form);
                let records = records(&order, b"", &[file]);
                let [Record::Picture(made), Record::End] = &records[..] else {
                    panic!("{records:?}")
                };
                assert_eq!(probed(&made.bytes, name), format!("{codec},{size}"));
                assert_eq!(format!("{},{}", made.width, made.height), size);
            }
        }
    }
}

#[test]
fn three_frames_from_ffmpeg_give_three_pictures() {
    let source = "testsrc=size=320x180:rate=1";
    let stream = ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        source,
        "-frames:v",
        "3",
        "-f",
        "image2pipe",
        "-c:v",
        "ppm",
    ]);
    let records = records(&order(Source::Frames), &stream, &[]);
    assert_eq!(records.len(), 4);
    for record in &records[..3] {
        let Record::Picture(made) = record else {
            panic!("{record:?}")
        };
        assert_eq!((made.width, made.height), (64, 36));
    }
    assert_ne!(records[0], records[1], "the clock in the picture goes on");
    assert_eq!(records[3], Record::End);
    let cut = &stream[..stream.len() - 1];
    let records = self::records(&order(Source::Frames), cut, &[]);
    let why = Refused::new("the stream of frames is cut short");
    assert_eq!(records[2], Record::Skipped { number: 3, why });
    assert_eq!(records[3], Record::End);
}

#[test]
fn more_source_pictures_than_allowed_are_refused() {
    let mut order = order(Source::Frames);
    order.limits.pictures = 2;
    let frame = b"P6 1 1 255 rgb";
    assert_eq!(records(&order, &frame.repeat(2), &[]).len(), 3);
    let records = records(&order, &frame.repeat(3), &[]);
    assert_eq!(
        records[2],
        Record::Refused(Refused::new("more than 2 pictures"))
    );
}

#[test]
fn a_picture_that_is_kept_is_the_very_same() {
    let source = colours(101, 77);
    let mut order = image(ImageForm::Png);
    order.picture.sizing = Sizing::Keep;
    let found = made(&order, &[encoded(&source, ImageForm::Png)]);
    assert_eq!(found, source.crop_imm(18, 6, 64, 64));
}

#[test]
fn bars_have_the_colour_of_the_background_and_nothing_else_does() {
    let mut order = image(ImageForm::Png);
    order.picture.padding = Padding::Pad;
    order.background = [255, 254, 253];
    let blue = DynamicImage::from(RgbImage::from_pixel(32, 8, Rgb([0, 0, 255])));
    let found = made(&order, &[encoded(&blue, ImageForm::Png)]).into_rgb8();
    assert_eq!(found.dimensions(), (64, 64));
    for (_, y, pixel) in found.enumerate_pixels() {
        let expected = if (24..40).contains(&y) {
            [0, 0, 255]
        } else {
            [255, 254, 253]
        };
        assert_eq!(pixel.0, expected, "{y}");
    }
}

#[test]
fn what_is_see_through_stays_so_in_a_png_and_is_laid_on_the_background_in_a_jpeg() {
    let source = RgbaImage::from_pixel(64, 64, Rgba([255, 0, 0, 0])).into();
    let file = [encoded(&source, ImageForm::Png)];
    let mut order = image(ImageForm::Png);
    order.background = [0, 255, 0];
    assert_eq!(made(&order, &file).into_rgba8().get_pixel(9, 9).0[3], 0);
    order.picture.format = PictureFormat::Webp;
    assert_eq!(made(&order, &file).into_rgba8().get_pixel(9, 9).0[3], 0);
    order.picture.format = PictureFormat::Jpg;
    let [red, green, blue] = made(&order, &file).into_rgb8().get_pixel(9, 9).0;
    assert!(red < 4 && green > 250 && blue < 4, "{red} {green} {blue}");
}

fn watermark(file: usize, target: Target) -> Watermark {
    let placement = Placement {
        max_width: Extent::Pixels(16),
        max_height: Extent::Pixels(16),
        sizing: WatermarkSizing::Fit,
        horizontal_align: HorizontalAlign::Right,
        horizontal_offset: Extent::Pixels(3),
        vertical_align: VerticalAlign::Top,
        vertical_offset: Extent::Pixels(2),
        opacity: 100.0,
        target,
    };
    Watermark {
        file,
        form: ImageForm::Png,
        placement,
    }
}

#[test]
fn watermarks_stand_to_the_pixel_on_the_content_and_on_the_frame() {
    let plain = |width, height, colour| {
        let image = RgbImage::from_pixel(width, height, Rgb(colour));
        encoded(&image.into(), ImageForm::Png)
    };
    let files = [
        plain(32, 16, [0, 0, 255]),
        plain(8, 8, [255; 3]),
        plain(8, 8, [255, 0, 0]),
    ];
    let mut order = image(ImageForm::Png);
    order.picture.padding = Padding::Pad;
    order.watermarks = vec![watermark(1, Target::Content), watermark(2, Target::Frame)];
    order.watermarks[1].placement.vertical_offset = Extent::Pixels(10);
    order.watermarks[1].placement.opacity = 40.0;
    // The picture is 64x32 from line 16 on. White is at (45, 18); red, at (45, 10), is over it.
    let found = made(&order, &files).into_rgb8();
    let within = |x: u32, y: u32, top: u32| (45..61).contains(&x) && (top..top + 16).contains(&y);
    for (x, y, pixel) in found.enumerate_pixels() {
        let expected = match (within(x, y, 18), within(x, y, 10), (16..48).contains(&y)) {
            (true, true, _) => [255, 153, 153],
            (true, false, _) => [255, 255, 255],
            (false, true, true) => [102, 0, 153],
            (false, true, false) => [102, 0, 0],
            (false, false, true) => [0, 0, 255],
            (false, false, false) => [0, 0, 0],
        };
        assert_eq!(pixel.0, expected, "{x},{y}");
    }
}

#[test]
fn an_order_that_cannot_be_met_is_refused_and_says_why() {
    let file = encoded(&colours(9, 9), ImageForm::Png);
    let mut order = image(ImageForm::Png);
    assert_eq!(
        refusal(&order, &[]),
        "the order names a file that is not there"
    );
    order.watermarks = vec![watermark(0, Target::Content); 5];
    assert_eq!(
        refusal(&order, std::slice::from_ref(&file)),
        "more than 4 watermarks"
    );
    order.watermarks = vec![watermark(0, Target::Content), watermark(1, Target::Content)];
    let why = refusal(&order, &[file.clone(), b"GIF89a".to_vec()]);
    assert_eq!(why, "watermark 2: the picture is damaged");
    order.watermarks[1].form = ImageForm::Gif;
    let why = refusal(&order, &[file.clone(), b"GIF89a".to_vec()]);
    assert_eq!(why, "watermark 2: neither JPEG nor PNG");
    order = image(ImageForm::Png);
    order.picture.max_height = 0;
    assert_eq!(
        refusal(&order, &[file]),
        "the size asked for is out of range"
    );
}

#[test]
fn noise_at_the_best_quality_stays_within_the_caps() {
    let mut state = 1u32;
    let noise = RgbImage::from_fn(512, 512, |_, _| {
        Rgb([(); 3].map(|()| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }))
    });
    let mut order = image(ImageForm::Png);
    (order.picture.max_width, order.picture.max_height) = (512, 512);
    let caps = Caps::of(&order, 1 << 30);
    for format in [PictureFormat::Jpg, PictureFormat::Png, PictureFormat::Webp] {
        let bytes = encode::encode(&noise.clone().into(), format, Some(100)).unwrap();
        assert!(
            bytes.len() < caps.picture_bytes as usize,
            "{format:?} {}",
            bytes.len()
        );
    }
}
