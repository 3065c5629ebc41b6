//! What ffmpeg hands over of a film's own tracks: samples as ffprobe prints them, and closed
//! captions in Matroska. No panic, and cues in their one shape.
#![no_main]

#[path = "shape.rs"]
mod shape;

use ciphermill_captions::{Kind, parse_as};
use libfuzzer_sys::fuzz_target;

const STARTS: [(Kind, &[u8]); 5] = [
    (Kind::WebVttSamples, PACKETS),
    (Kind::TimedTextSamples, PACKETS),
    (Kind::TtmlSamples, PACKETS),
    (Kind::ClosedCaptionSamples, PACKETS),
    (
        Kind::ClosedCaptions,
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff",
    ),
];
const PACKETS: &[u8] = b"{\"packets\":[{\"pts_time\":\"1.0\",\"duration_time\":\"1.0\",\"data\":\"";

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let (kind, start) = STARTS[usize::from(*first) % STARTS.len()];
    // With its beginning, and as it is.
    for bytes in [[start, rest].concat(), rest.to_vec()] {
        if let Ok(parsed) = parse_as(kind, &bytes) {
            shape::check_parsed(&parsed);
        }
    }
});
