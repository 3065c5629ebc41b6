//! Opening what claims to be a cobblestone object: any bytes, and real objects with any damage. It
//! never panics; what opens is what was sealed.
#![no_main]

use ciphermill_cipher::cobblestone::{CHUNK_BYTES, HEADER_BYTES, SEALED_CHUNK_BYTES, Salt};
use ciphermill_cipher::{Decryptor, Encryptor, Form, Mark, PartAt, cpu};
use ciphermill_cipher::secret::Secret;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, u32, u16, u8, &[u8])| {
    let (real, place, length, change, data) = input;
    let kernel = cpu::all()[usize::from(change) % cpu::all().len()];
    let key = Secret::new(vec![7; 32]);
    let plain = vec![change; usize::from(length) % (3 * CHUNK_BYTES)];
    let mut object = if real {
        let salt = Salt::existing([9; 24]);
        let cipher = Encryptor::cobblestone(kernel, &key, salt, b"fuzz").expect("key");
        let at = PartAt {
            offset: 0,
            last: true,
        };
        let mut object = vec![0; cipher.form().sealed_part_len(at, plain.len())];
        cipher.encrypt(at, Mark::None, &plain, &mut object, |_| {});
        object
    } else {
        data.to_vec()
    };
    // Cut, lengthened or changed at one place, as `data` says.
    let sealed = object.clone();
    let index = place as usize % (object.len() + 1);
    match data.first() {
        Some(0) => object.truncate(index),
        Some(1) => object.extend_from_slice(data),
        Some(other) if index < object.len() => object[index] ^= other,
        _ => {}
    }
    match open(kernel, &key, &object) {
        Some(opened) => assert!(
            real && object == sealed && opened == plain,
            "a forgery opened"
        ),
        None => assert!(!real || object != sealed, "a real object did not open"),
    }
});

fn open(kernel: &'static dyn cpu::Kernel, key: &Secret, object: &[u8]) -> Option<Vec<u8>> {
    Form::Cobblestone.plain_len(object.len() as u64).ok()?;
    let (header, body) = object.split_first_chunk::<HEADER_BYTES>()?;
    let cipher = Decryptor::cobblestone(kernel, key, header, b"fuzz").ok()?;
    // Chunk by chunk, as the smallest parts are.
    let parts = body.len() / SEALED_CHUNK_BYTES + 1;
    let mut plain = Vec::new();
    for index in 0..parts {
        let start = index * SEALED_CHUNK_BYTES;
        let mut part = body[start..body.len().min(start + SEALED_CHUNK_BYTES)].to_vec();
        let at = PartAt {
            offset: (index * CHUNK_BYTES) as u64,
            last: index + 1 == parts,
        };
        let opened = cipher.decrypt(at, &mut part).ok()?;
        plain.extend_from_slice(&part[opened.plain]);
    }
    cipher.verify(Mark::None, None).ok()?;
    Some(plain)
}
