//! Jobs as messages, and how long their outputs must be.

use serde_json::{Value, json};

use crate::store::BUCKET;
use crate::world::World;

/// The cipher modes, each with a key of 256 bits.
pub const MODES: [&str; 4] = ["cobblestone", "aes-gcm", "aes-ctr", "aes-cbc-pkcs7"];

/// A job that encrypts an object; without a mode it copies it. The worker makes IV or salt, so that no two outputs
/// have a block in common.
pub fn message(world: &World, id: &str, from: &str, to: &str, mode: Option<&str>) -> Value {
    let url = |key: &str| format!("s3://{BUCKET}/{key}");
    let mut output = json!({ "url": url(to) });
    if let Some((mode, key)) = mode.and_then(|mode| Some((mode, world.keys.get(mode)?))) {
        output["encryption"] = json!({ "mode": mode, "key": key.reference });
    }
    json!({ "version": 1, "id": id, "input": { "url": url(from) }, "outputs": [output] })
}

/// Length of the output of a source of so many bytes.
pub fn sealed_bytes(mode: Option<&str>, bytes: u64) -> u64 {
    match mode {
        Some("cobblestone") => bytes + 56 + 16 * (bytes / 16_384 + 1),
        Some("aes-gcm") => bytes + 16,
        Some("aes-cbc-pkcs7") => bytes / 16 * 16 + 16,
        _ => bytes,
    }
}

/// The same for rclone's crypt: a header, and 16 bytes for each chunk of 64 KiB.
pub fn rclone_bytes(bytes: u64) -> u64 {
    bytes + 32 + 16 * bytes.div_ceil(65_536)
}
