//! Containers that lie: MP4 and Matroska with sizes, counts, depths and tables that cannot be.

use super::damage::{Random, find, patched};
use crate::mp4::{boxed, full};

/// A box inside of itself, so many times.
fn nested(name: &[u8; 4], depth: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(depth * 8);
    for left in (1..=depth as u32).rev() {
        all.extend((left * 8).to_be_bytes());
        all.extend(name);
    }
    all
}

/// MP4s; `read` gives the bytes of a seed.
pub fn mp4s(read: &impl Fn(&str) -> Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let (end, m4a) = (read("end.mp4"), read("base.m4a"));
    let mut all = Vec::new();
    for name in ["moov", "trak", "stbl", "mdat"] {
        let place = find(&end, name.as_bytes()) - 4;
        for size in [0_u32, 1, 7, 0xffff_ffff] {
            let lie = patched(&end, place, &size.to_be_bytes());
            all.push((format!("size-{name}-{size}"), lie));
        }
    }
    for name in [
        "stts", "ctts", "stsc", "stco", "stss", "elst", "stsd", "dref",
    ] {
        let place = find(&end, name.as_bytes()) + 8;
        all.push((format!("count-{name}"), patched(&end, place, &[0xff; 4])));
    }
    let sizes = find(&end, b"stsz") + 8;
    for (name, lie) in [("each", [0, 0, 0, 0]), ("same", [0, 0, 0, 1])] {
        let lie = [&lie[..], &[0xff; 4]].concat();
        all.push((format!("sizes-{name}"), patched(&end, sizes, &lie)));
    }
    let scale = find(&end, b"mdhd") + 16;
    all.push(("no-time-scale".into(), patched(&end, scale, &[0; 4])));
    all.push(("no-duration".into(), patched(&end, scale + 4, &[0xff; 4])));
    let side = find(&end, b"avc1") + 28;
    all.push(("claims-65535".into(), patched(&end, side, &[0xff; 4])));
    let head = &end[..find(&end, b"mdat") - 4];
    for name in [b"moov", b"meta", b"udta"] {
        let text = String::from_utf8_lossy(name);
        all.push((
            format!("nested-{text}"),
            [head, &nested(name, 20_000)].concat(),
        ));
        let deep = boxed(b"moov", &[nested(name, 20_000)]);
        all.push((
            format!("moov-{text}"),
            [head, &deep, &m4a[head.len()..]].concat(),
        ));
    }
    all.push(("long-edits".into(), edits(&end)));
    all.push(("large-size".into(), large_sizes(head)));
    all
}

/// An edit list of 100,000 entries that all show the same millisecond.
fn edits(end: &[u8]) -> Vec<u8> {
    let entries: Vec<u8> = [0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0].repeat(100_000);
    let count = 100_000_u32.to_be_bytes().to_vec();
    let list = boxed(b"edts", &[full(b"elst", 0, &[count, entries])]);
    let place = find(end, b"edts") - 4;
    let old = u32::from_be_bytes(end[place..place + 4].try_into().unwrap()) as usize;
    let mut film = [&end[..place], &list, &end[place + old..]].concat();
    for name in [b"moov", b"trak"] {
        let size = find(&film, name) - 4;
        let grown = u32::from_be_bytes(film[size..size + 4].try_into().unwrap());
        let grown = grown + list.len() as u32 - old as u32;
        film[size..size + 4].copy_from_slice(&grown.to_be_bytes());
    }
    film
}

/// Boxes of nearly 2^64 bytes, one after the other.
fn large_sizes(head: &[u8]) -> Vec<u8> {
    let one = [
        &1_u32.to_be_bytes()[..],
        b"moov",
        &(u64::MAX - 7).to_be_bytes(),
    ]
    .concat();
    [head, &one.repeat(100)].concat()
}

/// A Matroska element of this content.
pub fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let size = (content.len() as u64 | 1 << 56).to_be_bytes();
    [id, &size, content].concat()
}

const HEADER: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];
const SEGMENT: [u8; 4] = [0x18, 0x53, 0x80, 0x67];
const INFO: [u8; 4] = [0x15, 0x49, 0xa9, 0x66];
const TRACKS: [u8; 4] = [0x16, 0x54, 0xae, 0x6b];
const CLUSTER: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];
const CUES: [u8; 4] = [0x1c, 0x53, 0xbb, 0x6b];

/// A whole file of these parts of a segment.
pub fn matroska(parts: &[Vec<u8>]) -> Vec<u8> {
    let header = element(&HEADER, &element(&[0x42, 0x82], b"matroska"));
    [header, element(&SEGMENT, &parts.concat())].concat()
}

pub fn info(more: &[u8]) -> Vec<u8> {
    let scale = element(&[0x2a, 0xd7, 0xb1], &1_000_000_u32.to_be_bytes());
    element(&INFO, &[&scale, more].concat())
}

/// A track of this number, kind (1 is video, 17 is captions) and codec.
pub fn track(number: u16, kind: u8, codec: &str, more: &[u8]) -> Vec<u8> {
    let number = number.to_be_bytes();
    let parts = [
        element(&[0xd7], &number),
        element(&[0x73, 0xc5], &number),
        element(&[0x83], &[kind]),
        element(&[0x86], codec.as_bytes()),
        more.to_vec(),
    ];
    element(&[0xae], &parts.concat())
}

fn sides(width: u32, height: u32) -> Vec<u8> {
    let sides = [
        element(&[0xb0], &width.to_be_bytes()),
        element(&[0xba], &height.to_be_bytes()),
    ];
    element(&[0xe0], &sides.concat())
}

fn cluster(blocks: &[Vec<u8>]) -> Vec<u8> {
    let time = element(&[0xe7], &[0]);
    element(&CLUSTER, &[time, blocks.concat()].concat())
}

/// A block of track 1 at this time, with these flags.
fn block(milliseconds: u16, flags: u8, content: &[u8]) -> Vec<u8> {
    let [a, b] = milliseconds.to_be_bytes();
    element(&[0xa3], &[&[0x81, a, b, flags], content].concat())
}

/// Matroska files; `read` gives the bytes of a seed.
pub fn matroskas(read: &impl Fn(&str) -> Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let picture = read("base.jpg");
    let video = |width, height| element(&TRACKS, &track(1, 1, "V_MJPEG", &sides(width, height)));
    let film = |width, height, parts: &[Vec<u8>]| {
        matroska(&[&[info(&[]), video(width, height)], parts].concat())
    };
    let frame = || cluster(&[0, 500, 1000].map(|time| block(time, 0x80, &picture)));
    let cue = element(
        &[0xbb],
        &[element(&[0xb3], &[9]), element(&[0xb7], &[0xf7, 0x81, 1])].concat(),
    );
    let lacing = |flags: u8, lies: &[u8]| {
        let blocks: Vec<_> = (0..50)
            .map(|time| block(time, 0x80 | flags, &[lies, &picture[..64]].concat()))
            .collect();
        film(160, 90, &[cluster(&blocks)])
    };
    let void = [&[0xec, 0x01][..], &[0xff; 6], &[0xf0]].concat();
    let endless = [&CLUSTER[..], &[0x01], &[0xff; 7], &block(0, 0x80, &picture)].concat();
    let many: Vec<_> = (0..20_000)
        .map(|n| block(n, 0x80, &picture[..40]))
        .collect();
    let named = |name: &str, file: Vec<u8>| (format!("mkv-{name}"), file);
    vec![
        named(
            "lacing-ebml",
            lacing(0x06, &[200, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ),
        named("lacing-xiph", lacing(0x02, &[255; 40])),
        named("lacing-fixed", lacing(0x04, &[255, 1, 2, 3])),
        named("void", film(160, 90, &[void, frame()])),
        named("endless", film(160, 90, &[endless])),
        named(
            "index",
            film(160, 90, &[element(&CUES, &cue.repeat(30_000)), frame()]),
        ),
        named(
            "index-cut",
            film(
                160,
                90,
                &[[&CUES[..], &[0x08, 0xff, 0xff, 0xff, 0xff]].concat()],
            ),
        ),
        named("65535", film(65_535, 65_535, &[frame()])),
        named("2-31", film(0x7fff_ffff, 0x7fff_ffff, &[frame()])),
        named("frames", film(160, 90, &[cluster(&many)])),
        named("nested", film(160, 90, &[nested_elements(3_000)])),
        named(
            "ebml",
            [
                &HEADER[..],
                &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe],
            ]
            .concat(),
        ),
        named("streams", crate::films::many_streams()),
        named("tracks", tracks()),
        named("noise", film(160, 90, &[Random::new(5).bytes(100_000)])),
    ]
}

/// Tags in tags: Matroska's own element that may hold itself.
fn nested_elements(depth: usize) -> Vec<u8> {
    let mut inner = Vec::new();
    for _ in 0..depth {
        inner = element(&[0x67, 0xc8], &inner);
    }
    element(&[0x12, 0x54, 0xc3, 0x67], &element(&[0x73, 0x73], &inner))
}

/// As many caption tracks as are read, each with the longest name, which twice doubles in JSON.
fn tracks() -> Vec<u8> {
    let name = "\"".repeat(200);
    let names = [
        element(&[0x22, 0xb5, 0x9c], &name.as_bytes()[..32]),
        element(&[0x53, 0x6e], name.as_bytes()),
    ];
    let names = names.concat();
    let tracks: Vec<u8> = (1..=125)
        .flat_map(|number| track(number, 17, "S_TEXT/UTF8", &names))
        .collect();
    let group = [
        element(&[0xa1], b"\x81\0\0\0hello"),
        element(&[0x9b], &[0x03, 0xe8]),
    ];
    let said = element(&[0xa0], &group.concat());
    matroska(&[info(&[]), element(&TRACKS, &tracks), cluster(&[said])])
}

/// An H.264 stream whose parameter set claims so many pixels each way, before pictures of another.
pub fn huge_h264(read: &impl Fn(&str) -> Vec<u8>, side: u32) -> Vec<u8> {
    let golomb = |value: u32| {
        let coded = value + 1;
        let length = 32 - coded.leading_zeros();
        format!("{}{coded:b}", "0".repeat(length as usize - 1))
    };
    let across = golomb(side / 16 - 1);
    let numbers: String = [0, 0, 2, 1].into_iter().map(golomb).collect();
    // No gaps; both sides; whole frames, direct inference, no crop, no more; the end.
    let mut bits = format!("{numbers}0{across}{across}11001");
    bits.extend(std::iter::repeat_n(
        '0',
        bits.len().next_multiple_of(8) - bits.len(),
    ));
    let bytes = bits.as_bytes().chunks(8);
    let packed = bytes.map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0')));
    let set: Vec<u8> = [0, 0, 0, 1, 0x67, 66, 0, 62]
        .into_iter()
        .chain(packed)
        .collect();
    let stream = read("base.h264");
    let rest = find(&stream, &[0, 0, 0, 1, 0x68]);
    [&set, &stream[rest..]].concat()
}
