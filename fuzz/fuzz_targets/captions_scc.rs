//! The scc parser on any bytes behind what makes a file scc: no panic, and cues in their one shape.
#![no_main]

#[path = "shape.rs"]
mod shape;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| shape::check(b"Scenarist_SCC V1.0\n", data));
