//! Small sound films, sounds, pictures and caption files that everything else is made of.

use std::path::Path;

use base64::Engine;

use crate::captioned::{SCC, SRT, VTT};
use crate::films::make;

/// What a secret file says, and what no companion may say.
pub const SECRET: &str = "CIPHERMILL-SECRET-d41d8cd9";
pub const TTML: &str = "<?xml version=\"1.0\"?>\n<tt xmlns=\"http://www.w3.org/ns/ttml\" xml:lang=\"en\">\
    <body><div>\n<p begin=\"00:00:00.200\" end=\"00:00:00.900\">one &amp; <br/>two</p>\n\
    <p begin=\"00:00:01.000\" end=\"00:00:01.400\">three</p>\n</div></body></tt>\n";

/// The text files, by name.
pub fn texts() -> Vec<(&'static str, Vec<u8>)> {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16: Vec<u8> = [vec![0xff, 0xfe], wide(SRT)].concat();
    vec![
        ("srt", SRT.into()),
        ("vtt", VTT.into()),
        ("ttml", TTML.into()),
        ("scc", SCC.into()),
        ("utf16", utf16),
    ]
}

/// Names of the seeds, made in this folder.
pub const SEEDS: [&str; 16] = [
    "end.mp4",
    "fast.mp4",
    "frag.mp4",
    "base.mov",
    "base.mkv",
    "base.webm",
    "base.ts",
    "hevc.mp4",
    "base.m4a",
    "base.mp3",
    "base.flac",
    "base.ogg",
    "base.jpg",
    "base.png",
    "base.webp",
    "base.gif",
];

/// Makes them all.
pub fn seeds(folder: &Path) {
    let make = |args: &str| make(folder, args);
    let x264 = "-c:v libx264 -preset veryfast -pix_fmt yuv420p";
    std::fs::write(folder.join("cap.srt"), short()).unwrap();
    let sources = "-f lavfi -i testsrc=s=160x90:d=1.5:r=25 -f lavfi -i sine=d=1.5 -i cap.srt";
    make(&format!(
        "{sources} -map 0 -map 1 -map 2 {x264} -bf 2 -g 15 -c:a aac -c:s mov_text \
         -metadata:s:s language=eng end.mp4"
    ));
    make("-i end.mp4 -map 0 -c copy -movflags +faststart fast.mp4");
    make("-i end.mp4 -map 0:v -map 0:a -c copy -movflags +frag_keyframe+empty_moov frag.mp4");
    make("-i end.mp4 -map 0 -c copy base.mov");
    make("-i end.mp4 -map 0 -c copy -c:s srt base.mkv");
    make(
        "-i end.mp4 -map 0 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus \
          -c:s webvtt base.webm",
    );
    make("-i end.mp4 -map 0:v -map 0:a -c copy base.ts");
    make("-i end.mp4 -an -c:v libx265 -preset ultrafast -x265-params log-level=none hevc.mp4");
    make("-i end.mp4 -map 0:v -c:v libx264 -profile:v baseline -frames:v 5 base.h264");
    make("-f lavfi -i testsrc=s=64x64 -frames:v 1 -q:v 5 cover.jpg");
    for (name, codec) in [
        ("base.m4a", "copy"),
        ("base.mp3", "libmp3lame"),
        ("base.flac", "flac"),
    ] {
        make(&format!(
            "-i end.mp4 -i cover.jpg -map 0:a -map 1 -c:a {codec} -c:v copy \
             -disposition:v attached_pic {name}"
        ));
    }
    let cover = std::fs::read(folder.join("cover.jpg")).unwrap();
    let cover =
        base64::engine::general_purpose::STANDARD.encode(flac_picture("image/jpeg", &cover));
    make(&format!(
        "-i end.mp4 -map 0:a -c:a libvorbis -metadata METADATA_BLOCK_PICTURE={cover} base.ogg"
    ));
    for name in ["base.jpg", "base.png", "base.webp"] {
        make(&format!("-f lavfi -i testsrc=s=160x90 -frames:v 1 {name}"));
    }
    make("-f lavfi -i testsrc=s=160x90:d=0.4:r=10 base.gif");
    make(&format!(
        "-f lavfi -i color=black:s=4096x2304:d=2:r=25 {x264} -g 50 large.mp4"
    ));
    // What it would show if it were read.
    make(&format!(
        "-f lavfi -i color=magenta:s=160x90:d=1.5:r=25 {x264} secret.mp4"
    ));
    make("-f lavfi -i color=magenta:s=160x90 -frames:v 1 secret.jpg");
    std::fs::write(folder.join("secret.srt"), short().replace("one", SECRET)).unwrap();
}

/// Captions for a film as short as these.
pub fn short() -> String {
    "1\n00:00:00,200 --> 00:00:00,700\none\n\n2\n00:00:00,800 --> 00:00:01,300\ntwo\n\n".into()
}

/// A picture as FLAC and Ogg hold one.
pub fn flac_picture(mime: &str, picture: &[u8]) -> Vec<u8> {
    let number = |number: usize| (number as u32).to_be_bytes();
    let mut all = number(3).to_vec();
    all.extend(number(mime.len()));
    all.extend(mime.bytes());
    for number in [0, 64, 64, 24, 0, picture.len()].map(number) {
        all.extend(number);
    }
    all.extend(picture);
    all
}
