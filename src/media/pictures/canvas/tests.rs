//! Pixels after scaling, cutting and blending.

use image::Rgba;

use super::*;

#[test]
fn one_pixel_over_another_is_as_worked_out_by_hand() {
    let table: [(&[u8], [u8; 4], &[u8]); 7] = [
        (&[0, 100, 200], [255, 255, 255, 0], &[0, 100, 200]),
        (&[0, 100, 200], [10, 20, 30, 255], &[10, 20, 30]),
        (&[0, 100, 200], [255, 255, 0, 51], &[51, 131, 160]),
        (&[0, 100, 200, 255], [255, 255, 0, 51], &[51, 131, 160, 255]),
        (&[9, 9, 9, 0], [10, 20, 30, 128], &[10, 20, 30, 128]),
        (&[9, 9, 9, 0], [10, 20, 30, 0], &[9, 9, 9, 0]),
        (&[0, 0, 0, 128], [255, 255, 255, 128], &[170, 170, 170, 192]),
    ];
    for (under, over, expected) in table {
        let mut pixel = under.to_vec();
        blend(&mut pixel, over);
        assert_eq!(pixel, expected, "{over:?} over {under:?}");
    }
}

#[test]
fn painting_stops_at_the_edges_of_the_part() {
    let mark = RgbaImage::from_pixel(4, 4, Rgba([255; 4]));
    let clip = Part {
        left: 2,
        top: 3,
        size: Size::new(5, 4),
    };
    let whole = (i64::MIN / 2, i64::MAX / 2);
    for corner in [
        (0, 0),
        (5, 5),
        (-1, 4),
        (3, 4),
        (6, 6),
        (7, 3),
        (-4, -4),
        whole,
    ] {
        let mut canvas = RgbImage::new(10, 9).into();
        over(&mut canvas, &mark, corner, clip);
        let canvas = canvas.into_rgb8();
        for (x, y, pixel) in canvas.enumerate_pixels() {
            let (x, y) = (i64::from(x), i64::from(y));
            let inside = (2..7).contains(&x) && (3..7).contains(&y);
            let marked = (0..4).contains(&(x - corner.0)) && (0..4).contains(&(y - corner.1));
            let expected = if inside && marked { 255 } else { 0 };
            assert_eq!(
                pixel.0, [expected; 3],
                "{x},{y} with a corner at {corner:?}"
            );
        }
    }
}

#[test]
fn scaling_down_averages_all_that_is_there() {
    // One white column in eight; a filter that only looks at near pixels would miss most of it.
    let source = RgbImage::from_fn(1024, 64, |x, _| Rgb([if x % 8 == 0 { 255 } else { 0 }; 3]));
    let scaled = scale(&source.into(), Size::new(64, 4)).unwrap().into_rgb8();
    for pixel in scaled.pixels() {
        assert!((24..=40).contains(&pixel.0[0]), "{pixel:?}");
    }
}

#[test]
fn what_cannot_be_seen_does_not_bleed_into_what_can() {
    // Red where it is opaque, green where it is not.
    let source = RgbaImage::from_fn(64, 64, |x, _| match x {
        0..32 => Rgba([255, 0, 0, 255]),
        _ => Rgba([0, 255, 0, 0]),
    });
    let scaled = scale(&source.into(), Size::new(5, 5)).unwrap().into_rgba8();
    for pixel in scaled.pixels().filter(|pixel| pixel.0[3] > 8) {
        assert!(pixel.0[0] > 250 && pixel.0[1] < 5, "{pixel:?}");
    }
}
