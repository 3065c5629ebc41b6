//! Split and merge: an object encrypted in parts of any size, by any kernel, equals the one made in
//! one piece, and decrypts again in parts of any other size.
#![no_main]

#[path = "../../crates/cipher/tests/cipher/whole.rs"]
mod whole;

use ciphermill_cipher::cobblestone::{CHUNK_BYTES, HEADER_BYTES, Salt};
use ciphermill_cipher::cpu::{self, Kernel};
use ciphermill_cipher::ctr::CounterStart;
use ciphermill_cipher::{Decryptor, Encryptor};
use ciphermill_cipher::Result;
use ciphermill_cipher::secret::Secret;
use libfuzzer_sys::fuzz_target;
use whole::{open, seal};

fuzz_target!(|input: (u8, [u8; 32], [u8; 16], u8, u8, u16, &[u8])| {
    let (mode, key, iv, seal_chunks, open_chunks, extra, data) = input;
    // Inputs are short; parts are whole chunks. Repetition makes objects of several parts.
    let plain = data.repeat(1 + usize::from(extra) % 64);
    let key = &key[..[16, 24, 32][usize::from(mode / 4) % 3]];
    let part = |chunks: u8| (1 + usize::from(chunks) % 4) * CHUNK_BYTES;
    let mut whole = None;
    for kernel in cpu::all() {
        let Ok(cipher) = encryptor(*kernel, mode, key, iv) else {
            return;
        };
        let object = seal(&cipher, &plain, part(seal_chunks));
        let expected = whole.get_or_insert_with(|| seal(&cipher, &plain, 1 << 30));
        assert_eq!(&object, expected, "{}", kernel.name());
        let cipher = decryptor(*kernel, mode, key, iv, &object).expect("the same key");
        assert_eq!(
            open(&cipher, &object, part(open_chunks)).expect("valid"),
            plain
        );
    }
});

fn encryptor(kernel: &'static dyn Kernel, mode: u8, key: &[u8], iv: [u8; 16]) -> Result<Encryptor> {
    let key = Secret::new(key.to_vec());
    match mode % 4 {
        0 => Encryptor::ctr(kernel, &key, CounterStart::from_block(iv)),
        1 => Encryptor::cbc(kernel, &key, iv),
        2 => Encryptor::gcm(kernel, &key, &iv[..if mode >= 128 { 12 } else { 16 }]),
        _ => Encryptor::cobblestone(kernel, &key, Salt::existing([iv[0]; 24]), &iv),
    }
}

fn decryptor(
    kernel: &'static dyn Kernel,
    mode: u8,
    key: &[u8],
    iv: [u8; 16],
    object: &[u8],
) -> Result<Decryptor> {
    let key = Secret::new(key.to_vec());
    match mode % 4 {
        0 => Decryptor::ctr(kernel, &key, CounterStart::from_block(iv)),
        1 => Decryptor::cbc(kernel, &key, iv),
        2 => Decryptor::gcm(kernel, &key, &iv[..if mode >= 128 { 12 } else { 16 }]),
        _ => {
            let header = object[..HEADER_BYTES].try_into().expect("a header");
            Decryptor::cobblestone(kernel, &key, header, &iv)
        }
    }
}
