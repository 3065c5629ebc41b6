//! The GPU engine on software Vulkan (Mesa's lavapipe): the suite that the CPU kernels pass, whole
//! objects in every mode beside the CPU engine, and what happens when a device is wrong, lost or
//! too slow. A machine without any Vulkan adapter fails these tests: `make test` installs one.
#![cfg(feature = "gpu")]

#[path = "../../crates/cipher/tests/cipher/checks.rs"]
#[allow(dead_code, reason = "a device does CTR only")]
mod checks;
mod cli;
mod jobs;
#[path = "../../crates/cipher/tests/cipher/lanes.rs"]
#[allow(dead_code, reason = "a device does CTR only")]
mod lanes;
mod many;
#[path = "../../crates/cipher/tests/cipher/others.rs"]
#[allow(dead_code, reason = "a device does CTR only")]
mod others;
mod suite;
mod trust;
mod validation;

use std::sync::Arc;

use ciphermill::buffers::{Pool, Reservation};
use ciphermill::checksum::Algorithm;
use ciphermill::engine::both::Both;
use ciphermill::engine::cpu::CpuEngine;
use ciphermill::engine::gpu::Options;
use ciphermill::engine::{self, Encrypted, Plaintext};
use ciphermill::fault::Result;
use ciphermill_cipher::cpu;
use ciphermill_cipher::ctr::CounterStart;
use ciphermill_cipher::secret::Secret;
use ciphermill_cipher::{Encryptor, Form, Mark, PartAt};

fn secret(key: &[u8]) -> Secret {
    Secret::new(key.to_vec())
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

/// Options for a software adapter with small slots.
fn options() -> Options {
    Options {
        software: true,
        slot_bytes: 1 << 20,
        threads: 2,
        ..Options::default()
    }
}

/// Everything that a device can do goes to one; the CPU does the rest.
fn forced(options: Options) -> Result<Both> {
    Both::forced(CpuEngine::start(2, false)?, options)
}

/// Memory for parts.
async fn memory(budget_bytes: usize) -> Arc<Reservation> {
    let pool = Pool::new(budget_bytes);
    pool.reserve(budget_bytes).await.expect("it fits")
}

fn plaintext(memory: &Arc<Reservation>, content: &[u8]) -> Plaintext {
    let mut part = memory.buffer(content.len());
    part.append(content);
    Plaintext {
        part: Arc::new(part),
        range: (0, content.len()),
    }
}

/// Encrypts one part through the engine.
async fn encrypt(
    engine: &Both,
    memory: &Arc<Reservation>,
    cipher: &Arc<Encryptor>,
    at: PartAt,
    content: &[u8],
) -> Encrypted {
    let plain = plaintext(memory, content);
    let out = memory.buffer(Form::buffer_bytes(content.len() as u64));
    let cipher = Arc::clone(cipher);
    engine::encrypt(
        engine,
        cipher,
        at,
        Mark::None,
        (plain, out),
        Algorithm::Crc64Nvme,
    )
    .await
    .expect("an answer")
}

/// An object of one part, in CTR.
fn ctr(key: &[u8], start: [u8; 16]) -> Arc<Encryptor> {
    let start = CounterStart::from_block(start);
    Arc::new(Encryptor::ctr(cpu::best(), &secret(key), start).expect("key"))
}

const WHOLE: PartAt = PartAt {
    offset: 0,
    last: true,
};
