//! The ttml parser on any bytes behind what makes a file ttml: no panic, and cues in their one shape.
#![no_main]

#[path = "shape.rs"]
mod shape;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| shape::check(b"<tt ", data));
