//! The srt parser on any bytes behind what makes a file srt: no panic, and cues in their one shape.
#![no_main]

#[path = "shape.rs"]
mod shape;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| shape::check(b"1\n00:00:01,000 --> 00:00:02,000\n", data));
