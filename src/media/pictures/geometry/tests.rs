//! The sizes asked of each sizing, by a table worked out by hand from Elastic Transcoder's rules.

use super::*;
use crate::job::PictureFormat;

fn picture(sizing: Sizing, padding: Padding, (max_width, max_height): (u32, u32)) -> Picture {
    Picture {
        format: PictureFormat::Png,
        quality: None,
        max_width,
        max_height,
        sizing,
        padding,
    }
}

fn of(sizing: Sizing, padding: Padding, source: (u32, u32), most: (u32, u32)) -> Geometry {
    Geometry::new(
        Size::new(source.0, source.1),
        &picture(sizing, padding, most),
    )
}

type Pair = (u32, u32);

/// Sizing, source, most; scaled to, cut from, what is left.
const TABLE: [(Sizing, Pair, Pair, Pair, Pair, Pair); 23] = {
    use Sizing::*;
    [
        (
            Fit,
            (1920, 1080),
            (320, 240),
            (320, 180),
            (0, 0),
            (320, 180),
        ),
        (
            Fit,
            (1080, 1920),
            (320, 240),
            (135, 240),
            (0, 0),
            (135, 240),
        ),
        (Fit, (160, 90), (320, 240), (320, 180), (0, 0), (320, 180)),
        (Fit, (320, 240), (320, 240), (320, 240), (0, 0), (320, 240)),
        (Fit, (65_535, 1), (100, 100), (100, 1), (0, 0), (100, 1)),
        (Fit, (1, 65_535), (100, 100), (1, 100), (0, 0), (1, 100)),
        (Fit, (853, 480), (192, 108), (192, 108), (0, 0), (192, 108)),
        (
            Fill,
            (1920, 1080),
            (320, 240),
            (427, 240),
            (53, 0),
            (320, 240),
        ),
        (
            Fill,
            (1080, 1920),
            (320, 240),
            (320, 569),
            (0, 164),
            (320, 240),
        ),
        (
            Fill,
            (100, 100),
            (320, 240),
            (320, 320),
            (0, 40),
            (320, 240),
        ),
        (
            Fill,
            (65_535, 1),
            (100, 100),
            (6_553_500, 100),
            (3_276_700, 0),
            (100, 100),
        ),
        (
            Stretch,
            (1920, 1080),
            (320, 240),
            (320, 240),
            (0, 0),
            (320, 240),
        ),
        (Stretch, (1, 1), (320, 240), (320, 240), (0, 0), (320, 240)),
        (
            Keep,
            (1920, 1080),
            (320, 240),
            (1920, 1080),
            (800, 420),
            (320, 240),
        ),
        (
            Keep,
            (200, 1080),
            (320, 240),
            (200, 1080),
            (0, 420),
            (200, 240),
        ),
        (Keep, (200, 100), (320, 240), (200, 100), (0, 0), (200, 100)),
        (
            ShrinkToFit,
            (1920, 1080),
            (320, 240),
            (320, 180),
            (0, 0),
            (320, 180),
        ),
        (
            ShrinkToFit,
            (160, 90),
            (320, 240),
            (160, 90),
            (0, 0),
            (160, 90),
        ),
        (
            ShrinkToFit,
            (160, 480),
            (320, 240),
            (80, 240),
            (0, 0),
            (80, 240),
        ),
        (
            ShrinkToFill,
            (1920, 1080),
            (320, 240),
            (427, 240),
            (53, 0),
            (320, 240),
        ),
        (
            ShrinkToFill,
            (160, 90),
            (320, 240),
            (160, 90),
            (0, 0),
            (160, 90),
        ),
        (
            ShrinkToFill,
            (1000, 100),
            (320, 240),
            (1000, 100),
            (340, 0),
            (320, 100),
        ),
        (
            ShrinkToFill,
            (320, 240),
            (320, 240),
            (320, 240),
            (0, 0),
            (320, 240),
        ),
    ]
};

#[test]
fn each_sizing_scales_and_cuts_as_the_table_says() {
    for (sizing, source, most, scaled, (left, top), (width, height)) in TABLE {
        let geometry = of(sizing, Padding::NoPad, source, most);
        let size = Size::new(width, height);
        let expected = Geometry {
            scaled: Size::new(scaled.0, scaled.1),
            crop: Part { left, top, size },
            content: Part {
                left: 0,
                top: 0,
                size,
            },
            full: size,
        };
        assert_eq!(geometry, expected, "{sizing:?} {source:?} to {most:?}");
    }
}

#[test]
fn bars_fill_up_to_the_most_with_the_picture_in_the_middle() {
    let geometry = of(Sizing::Fit, Padding::Pad, (1920, 1080), (320, 240));
    assert_eq!(geometry.full, Size::new(320, 240));
    let size = Size::new(320, 180);
    assert_eq!(
        geometry.content,
        Part {
            left: 0,
            top: 30,
            size
        }
    );
    let geometry = of(Sizing::Keep, Padding::Pad, (101, 51), (320, 240));
    let size = Size::new(101, 51);
    assert_eq!(
        geometry.content,
        Part {
            left: 109,
            top: 94,
            size
        }
    );
}

#[test]
fn whatever_comes_in_every_rule_holds() {
    let sides = [
        1, 2, 3, 31, 32, 33, 97, 320, 853, 1080, 4096, 16_383, 65_535,
    ];
    let mosts = [1, 32, 33, 100, 319, 3072, 4096];
    for (w, h) in sides
        .iter()
        .flat_map(|w| sides.iter().map(move |h| (*w, *h)))
    {
        for most in mosts
            .iter()
            .flat_map(|w| mosts.iter().map(move |h| (*w, *h)))
        {
            for sizing in [
                Sizing::Fit,
                Sizing::Fill,
                Sizing::Stretch,
                Sizing::Keep,
                Sizing::ShrinkToFit,
                Sizing::ShrinkToFill,
            ] {
                let most_size = Size::new(most.0, most.1);
                let Geometry {
                    scaled,
                    crop,
                    content,
                    full,
                } = of(sizing, Padding::NoPad, (w, h), most);
                let case = format!("{sizing:?} {w}x{h} to {most:?}");
                assert!(
                    full.is_within(most_size) && full.width > 0 && full.height > 0,
                    "{case}"
                );
                assert_eq!((content.size, crop.size), (full, full), "{case}");
                assert!(crop.left + full.width <= scaled.width, "{case}");
                assert!(crop.top + full.height <= scaled.height, "{case}");
                let touches = full.width == most.0 || full.height == most.1;
                match sizing {
                    Sizing::Fit => assert!(touches && scaled == full, "{case}"),
                    Sizing::Fill | Sizing::Stretch => assert_eq!(full, most_size, "{case}"),
                    _ => assert!(scaled.is_within(Size::new(w, h)), "{case}"),
                }
            }
        }
    }
}
