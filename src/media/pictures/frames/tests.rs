//! Streams of frames, whole and broken.

use super::*;

fn frames(stream: &[u8]) -> Vec<Result<DynamicImage>> {
    Frames::new(stream, Bounds::of(100)).collect()
}

fn frame(width: u32, height: u32, value: u8) -> Vec<u8> {
    let mut bytes = format!("P6\n{width} {height}\n255\n").into_bytes();
    bytes.resize(bytes.len() + (width * height * 3) as usize, value);
    bytes
}

#[test]
fn each_frame_comes_as_it_stands_in_the_stream() {
    // The pixels start with what looks like space and like a header.
    let stream = [frame(2, 3, b'\n'), frame(10, 10, b'P'), frame(1, 1, 0)].concat();
    let frames = frames(&stream);
    let found: Vec<_> = frames
        .iter()
        .map(|frame| frame.as_ref().unwrap())
        .map(|frame| (frame.width(), frame.height(), frame.as_bytes()[0]))
        .collect();
    assert_eq!(found, [(2, 3, b'\n'), (10, 10, b'P'), (1, 1, 0)]);
    assert!(super::tests::frames(b"").is_empty());
}

#[test]
fn a_broken_stream_gives_what_came_before_and_one_refusal() {
    let good = frame(2, 2, 9);
    let cases: [(&[u8], &str); 10] = [
        (
            b"P6\n2 2\n255\n12345678901",
            "the stream of frames is cut short",
        ),
        (b"P", "the stream of frames is cut short"),
        (
            b"P5\n2 2\n255\n1234",
            "the stream of frames has something else in it",
        ),
        (
            b"P6\n2 2\n65535\n",
            "the stream of frames has something else in it",
        ),
        (
            b"P6\n-2 2\n255\n",
            "the stream of frames has something else in it",
        ),
        (
            b"P6\n# 2 2\n255\n",
            "the stream of frames has something else in it",
        ),
        (
            b"P6\n11111111111111111 2\n255\n",
            "the stream of frames has something else in it",
        ),
        (
            b"P6\n4294967298 2\n255\n",
            "the stream of frames has something else in it",
        ),
        (b"P6\n0 2\n255\n", "the picture has no pixels"),
        (
            b"P6\n60000 60000\n255\n",
            "the picture has more than 100 pixels",
        ),
    ];
    for (bad, why) in cases {
        let found = frames(&[&good, bad, &good].concat()[..good.len() + bad.len()]);
        assert_eq!(found.len(), 2, "{why}");
        assert!(found[0].is_ok(), "{why}");
        assert_eq!(found[1].as_ref().unwrap_err().what, why);
    }
    let after = frames(&[b"P6\n-2 2\n255\n", &good[..]].concat());
    assert_eq!(after.len(), 1, "nothing is read after it");
}
