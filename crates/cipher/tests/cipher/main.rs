//! The cipher suite: every kernel that this machine can run, against published vectors, against
//! other libraries and against itself cut into parts. What is checked of a kernel is in `checks`;
//! `broken` proves that the checks would notice.

mod broken;
mod checks;
mod guard;
mod lanes;
mod others;
mod parts;
mod vectors;
mod whole;

use ciphermill_cipher::Result;
use ciphermill_cipher::cobblestone::{CHUNK_BYTES, HEADER_BYTES};
use ciphermill_cipher::cpu::{self, Kernel};
use ciphermill_cipher::secret::Secret;
use ciphermill_cipher::{Decryptor, Form};
use whole::{open, seal};

/// Every kernel of this machine. A CPU that says it has the instructions must have the kernels.
fn kernels() -> Vec<&'static dyn Kernel> {
    let names: Vec<_> = cpu::all().iter().map(|kernel| kernel.name()).collect();
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag| info.split_whitespace().any(|word| word == flag);
    let wide = has("vaes") && has("vpclmulqdq");
    let wanted = [
        ("vaes512", wide && has("avx512bw") && has("avx512vl")),
        ("vaes256", wide && has("avx2")),
        ("portable", true),
    ];
    let wanted = wanted.iter().filter(|(_, there)| *there);
    let wanted: Vec<_> = wanted.map(|(name, _)| *name).collect();
    assert_eq!(names, wanted);
    cpu::all().to_vec()
}

#[test]
fn every_kernel_passes_every_check() {
    for kernel in kernels() {
        for (name, check) in checks::CHECKS {
            println!("{}: {name}", kernel.name());
            check(kernel);
        }
    }
}

fn secret(key: &[u8]) -> Secret {
    Secret::new(key.to_vec())
}

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).expect("hex")
}

const PART: usize = 4 * CHUNK_BYTES;

fn open_cobblestone(
    kernel: &'static dyn Kernel,
    key: &Secret,
    object: &[u8],
    context: &[u8],
) -> Result<Vec<u8>> {
    Form::Cobblestone.plain_len(object.len() as u64)?;
    let header = <&[u8; HEADER_BYTES]>::try_from(&object[..HEADER_BYTES]).expect("header");
    open(
        &Decryptor::cobblestone(kernel, key, header, context)?,
        object,
        PART,
    )
}

/// Bytes that look random and are the same each time.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) as u8
        })
        .collect()
}
