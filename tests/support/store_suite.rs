//! One suite for every store: files, Garage, the AWS double and the stores in memory behave alike through the `Store`
//! trait, and where they cannot, the table of abilities says so. A store that gains or loses one fails here, so that it
//! is noticed.

// The paths are spelled out because this file is included by `#[path]`.
#[path = "store_suite/abilities.rs"]
pub mod abilities;
#[path = "store_suite/conditions.rs"]
mod conditions;
#[path = "store_suite/objects.rs"]
mod objects;
#[path = "store_suite/subject.rs"]
pub mod subject;
#[path = "store_suite/uploads.rs"]
mod uploads;

use ciphermill::checksum::{Algorithm, Checksum};
use ciphermill::fault::{Code, Fault};

use subject::Subject;

const MIB: usize = 1 << 20;

fn crc(body: &[u8]) -> Checksum {
    Algorithm::Crc64Nvme.of(body)
}

fn code<T>(result: Result<T, Fault>) -> Option<Code> {
    result.err().map(|fault| fault.code)
}

/// Bytes without a pattern that a store or a cipher could be right about by chance; always the same ones.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (0..bytes.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(bytes).collect()
}

pub async fn conforms(subject: &Subject) {
    objects::check(subject).await;
    uploads::check(subject).await;
    conditions::check(subject).await;
    // Last, because the bucket keeps versions afterwards.
    objects::versions(subject).await;
}
