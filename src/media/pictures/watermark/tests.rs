//! Where watermarks stand, to the pixel.

use super::*;

fn placement(change: impl FnOnce(&mut Placement)) -> Placement {
    let mut placement = Placement {
        max_width: Extent::Percent(10.0),
        max_height: Extent::Percent(10.0),
        sizing: WatermarkSizing::Fit,
        horizontal_align: HorizontalAlign::Left,
        horizontal_offset: Extent::default(),
        vertical_align: VerticalAlign::Top,
        vertical_offset: Extent::default(),
        opacity: 100.0,
        target: Target::Content,
    };
    change(&mut placement);
    placement
}

#[test]
fn a_watermark_is_as_large_as_its_sizing_says() {
    use WatermarkSizing::*;
    let ground = Size::new(640, 360);
    let (px, percent) = (Extent::Pixels, Extent::Percent);
    let table = [
        (Fit, (100, 50), px(64), px(64), (64, 32)),
        (Fit, (10, 5), px(64), px(64), (64, 32)),
        (Fit, (50, 100), px(64), px(64), (32, 64)),
        (Stretch, (10, 5), px(64), px(16), (64, 16)),
        (ShrinkToFit, (10, 5), px(64), px(64), (10, 5)),
        (ShrinkToFit, (100, 50), px(64), px(64), (64, 32)),
        (Fit, (100, 100), percent(10.0), percent(50.0), (64, 64)),
        (Stretch, (1, 1), percent(12.5), percent(33.33333), (80, 120)),
        (Stretch, (1, 1), px(9999), px(9999), (640, 360)),
        (Stretch, (1, 1), percent(0.0), px(0), (1, 1)),
    ];
    for (sizing, own, max_width, max_height, (width, height)) in table {
        let placement = placement(|placement| {
            (placement.sizing, placement.max_width) = (sizing, max_width);
            placement.max_height = max_height;
        });
        let found = size(&placement, Size::new(own.0, own.1), ground);
        assert_eq!(found, Size::new(width, height), "{placement:?} {own:?}");
    }
}

#[test]
fn a_watermark_stands_where_its_alignment_and_offset_say() {
    use {HorizontalAlign as H, VerticalAlign as V};
    // A picture of 400x200 in a frame, 50 from its left and 20 from its top; a mark of 40x20.
    let ground = Part {
        left: 50,
        top: 20,
        size: Size::new(400, 200),
    };
    let (px, percent) = (Extent::Pixels, Extent::Percent);
    let table = [
        (H::Left, px(0), V::Top, px(0), (50, 20)),
        (H::Left, px(7), V::Top, percent(10.0), (57, 40)),
        (H::Right, px(0), V::Bottom, px(0), (410, 200)),
        (H::Right, px(7), V::Bottom, percent(10.0), (403, 180)),
        (H::Center, px(0), V::Center, px(0), (230, 110)),
        (H::Center, px(7), V::Center, percent(10.0), (237, 130)),
        (
            H::Right,
            px(9999),
            V::Bottom,
            px(9999),
            (410 - 9999, 200 - 9999),
        ),
    ];
    for (horizontal_align, x, vertical_align, y, expected) in table {
        let placement = placement(|placement| {
            placement.horizontal_align = horizontal_align;
            placement.vertical_align = vertical_align;
            (placement.horizontal_offset, placement.vertical_offset) = (x, y);
        });
        assert_eq!(
            corner(&placement, Size::new(40, 20), ground),
            expected,
            "{placement:?}"
        );
    }
}

#[test]
fn a_watermark_is_scaled_once_for_pictures_of_one_size() {
    let image: DynamicImage = RgbaImage::new(8, 8).into();
    let placement = placement(|_| {});
    let mut mark = Mark {
        placement,
        image,
        scaled: None,
    };
    let content = |size| Part {
        left: 0,
        top: 0,
        size,
    };
    let geometry = |width| {
        let full = Size::new(width, 100);
        Geometry {
            scaled: full,
            crop: content(full),
            content: content(full),
            full,
        }
    };
    let mut at = |width| {
        let mut canvas = RgbaImage::new(width, 100).into();
        mark.paint(&mut canvas, &geometry(width)).unwrap();
        let scaled = mark.scaled.as_ref().unwrap();
        (scaled.as_raw().as_ptr(), scaled.width())
    };
    let first = at(100);
    assert_eq!(at(100), first, "the same pixels in the same memory");
    assert_eq!(at(50).1, 5);
}
