//! Pictures that claim to be huge, pictures that unpack to gigabytes, and the like in audio tags.

use std::io::Write;

use base64::Engine;
use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::damage::{find, patched};
use super::seeds::flac_picture;

const MIB: usize = 1 << 20;

/// So many zeros, packed.
fn packed_zeros(count: usize) -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    let piece = vec![0; MIB];
    for _ in 0..count / MIB {
        packer.write_all(&piece).unwrap();
    }
    packer.finish().unwrap()
}

fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let named = [name, body].concat();
    let mut sum = flate2::Crc::new();
    sum.update(&named);
    let length = (body.len() as u32).to_be_bytes();
    [&length[..], &named, &sum.sum().to_be_bytes()].concat()
}

/// A grey PNG of this size with these chunks after its header.
fn png(width: u32, height: u32, bits: u8, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([bits, 0, 0, 0, 0]);
    let parts = [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header)];
    [&parts[..], chunks, &[chunk(b"IEND", &[])]]
        .concat()
        .concat()
}

fn pngs() -> Vec<(&'static str, Vec<u8>)> {
    let zeros = chunk(b"IDAT", &packed_zeros(36 * MIB));
    let hidden = |name: &[u8; 4], head: &[u8]| {
        let body = [head, &packed_zeros(80 * MIB)].concat();
        png(
            8,
            8,
            8,
            &[chunk(name, &body), chunk(b"IDAT", &packed_zeros(MIB))],
        )
    };
    let many: Vec<_> = (0..60_000).map(|_| chunk(b"tEXt", b"k\0v")).collect();
    vec![
        (
            "png-65535",
            png(65_535, 65_535, 8, std::slice::from_ref(&zeros)),
        ),
        ("png-2-31", png(0x7fff_ffff, 0x7fff_ffff, 16, &[])),
        (
            "png-tall",
            png(1, 0x7fff_ffff, 8, std::slice::from_ref(&zeros)),
        ),
        ("png-flat", png(6000, 6000, 8, std::slice::from_ref(&zeros))),
        ("png-more-than-it-says", png(2, 2, 8, &[zeros])),
        ("png-profile", hidden(b"iCCP", b"x\0\0")),
        ("png-text", hidden(b"zTXt", b"x\0\0")),
        ("png-texts", png(8, 8, 8, &many)),
        ("png-nothing", png(0, 0, 8, &[])),
    ]
}

fn gif(width: u16, height: u16, frames: usize) -> Vec<u8> {
    let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
    let frame = [b"\x2c\0\0\0\0", &size[..], b"\0\x02\x02\x44\x01\0"].concat();
    let head = [b"GIF89a", &size[..], b"\x80\0\0", b"\0\0\0\xff\xff\xff"].concat();
    [head, frame.repeat(frames), b"\x3b".to_vec()].concat()
}

/// Pictures; `read` gives the bytes of a seed.
pub fn pictures(read: &impl Fn(&str) -> Vec<u8>) -> Vec<(&'static str, Vec<u8>)> {
    let jpg = read("base.jpg");
    let size = find(&jpg, b"\xff\xc0") + 5;
    let webp = read("base.webp");
    let lossy = find(&webp, b"\x9d\x01\x2a") + 3;
    let extended = b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff";
    let mut all = pngs();
    all.extend([
        ("jpg-65535", patched(&jpg, size, &[0xff; 4])),
        ("jpg-wide", patched(&jpg, size, &[0, 90, 0xff, 0xff])),
        ("jpg-nothing", patched(&jpg, size, &[0; 4])),
        (
            "webp-16383",
            patched(&webp, lossy, &[0xff, 0x3f, 0xff, 0x3f]),
        ),
        ("webp-2-24", [&extended[..], &webp[12..]].concat()),
        ("gif-65535", gif(65_535, 65_535, 1)),
        ("gif-frames", gif(2, 2, 40_000)),
        ("gif-nothing", gif(0, 0, 1)),
    ]);
    all
}

/// An ID3v2.4 tag of these frames, before some sound.
fn id3(frames: &[(u16, Vec<u8>)], sound: &[u8]) -> Vec<u8> {
    let synchsafe = |n: usize| [21, 14, 7, 0].map(|shift| (n >> shift & 0x7f) as u8);
    let frame = |(flags, body): &(u16, Vec<u8>)| {
        let size = synchsafe(body.len());
        [b"APIC", &size[..], &flags.to_be_bytes(), body].concat()
    };
    let frames: Vec<u8> = frames.iter().flat_map(frame).collect();
    [b"ID3\x04\0\0", &synchsafe(frames.len())[..], &frames, sound].concat()
}

fn apic(mime: &str, picture: &[u8]) -> Vec<u8> {
    [b"\0", mime.as_bytes(), b"\0\x03\0", picture].concat()
}

/// Sounds with covers that are no good; `secret` is the path of a picture that none may read.
pub fn covers(read: &impl Fn(&str) -> Vec<u8>, secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let (mp3, cover) = (read("base.mp3"), read("cover.jpg"));
    let tag = mp3[6..10]
        .iter()
        .fold(0, |size, byte| size << 7 | usize::from(*byte));
    let sound = &mp3[10 + tag..];
    let flac = read("base.flac");
    let bomb = [vec![0x0c, 0x50, 0, 0], packed_zeros(80 * MIB)].concat();
    let png = png(65_535, 65_535, 8, &[]);
    let with_flac = |picture: &[u8]| {
        let length = &(picture.len() as u32).to_be_bytes()[1..];
        let head = 42;
        [&flac[..head], b"\x06", length, picture, &flac[head..]].concat()
    };
    let good = apic("image/jpeg", &cover);
    let m4a = read("base.m4a");
    let covr = find(&m4a, b"covr");
    let ogg = read("base.ogg");
    let block = find(&ogg, b"METADATA_BLOCK_PICTURE=") + 23;
    let base64 = base64::engine::general_purpose::STANDARD;
    let link = base64.encode(flac_picture("-->", secret.as_bytes()));
    vec![
        ("mp3-bomb", id3(&[(0x09, bomb)], sound)),
        (
            "mp3-link",
            id3(&[(0, apic("-->", secret.as_bytes()))], sound),
        ),
        ("mp3-many", id3(&vec![(0, good.clone()); 25], sound)),
        (
            "mp3-half",
            id3(&[(0, apic("image/png", &cover)), (0, good)], sound),
        ),
        ("mp3-pixels", id3(&[(0, apic("image/png", &png))], sound)),
        (
            "mp3-length",
            [b"ID3\x04\0\0\x7f\x7f\x7f\x7f", &mp3[10..]].concat(),
        ),
        (
            "flac-link",
            with_flac(&flac_picture("-->", secret.as_bytes())),
        ),
        ("flac-pixels", with_flac(&flac_picture("image/png", &png))),
        (
            "flac-length",
            patched(&with_flac(&flac_picture("", &cover)), 43, &[0xff; 3]),
        ),
        (
            "m4a-covr",
            patched(&m4a, covr - 4, &[0x7f, 0xff, 0xff, 0xff]),
        ),
        ("m4a-data", patched(&m4a, covr + 4, &[0xff; 4])),
        ("ogg-link", patched(&ogg, block, link.as_bytes())),
        ("ogg-no-base64", patched(&ogg, block, &[b'='; 200])),
    ]
}
