//! Split and merge: an object encrypted in parts of any size, by any kernel, equals the one made in
//! one piece, and decrypts again in parts of any other size.
#![no_main]

use ciphermill::cipher::cobblestone::{CHUNK_BYTES, HEADER_BYTES, Salt};
use ciphermill::cipher::cpu::{self, Kernel};
use ciphermill::cipher::ctr::CounterStart;
use ciphermill::cipher::{Decryptor, Encryptor, Form, Mark, PartAt};
use ciphermill::fault::Result;
use ciphermill::secret::Secret;
use libfuzzer_sys::fuzz_target;

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

fn seal(cipher: &Encryptor, plain: &[u8], part_bytes: usize) -> Vec<u8> {
    let parts = Form::parts(plain.len() as u64, part_bytes as u64) as usize;
    let (mut object, mut mark) = (Vec::new(), Mark::None);
    for index in 0..parts {
        let start = index * part_bytes;
        let part = &plain[start..plain.len().min(start + part_bytes)];
        let at = PartAt {
            offset: start as u64,
            last: index + 1 == parts,
        };
        let mut out = vec![0; cipher.form().sealed_part_len(at, part.len())];
        let next = cipher.encrypt(at, mark, part, &mut out, |_| {});
        mark = cipher.fold(mark, next);
        if let (true, Some(tag)) = (at.last, cipher.finish(mark)) {
            let end = out.len() - tag.len();
            out[end..].copy_from_slice(&tag);
        }
        object.extend_from_slice(&out);
    }
    object
}

fn open(cipher: &Decryptor, object: &[u8], part_bytes: usize) -> Result<Vec<u8>> {
    let form = cipher.form();
    let bound = form.plain_len(object.len() as u64)?;
    let parts = Form::parts(bound, part_bytes as u64);
    let (mut plain, mut mark, mut tag) = (Vec::new(), Mark::None, None);
    for index in 0..parts {
        let start = index * part_bytes as u64;
        let at = PartAt {
            offset: start,
            last: index + 1 == parts,
        };
        let read = form.read_range(
            start..bound.min(start + part_bytes as u64),
            at.last,
            object.len() as u64,
        );
        let mut data = object[read.start as usize..read.end as usize].to_vec();
        let opened = cipher.decrypt(at, &mut data)?;
        mark = cipher.fold(mark, opened.mark);
        tag = opened.tag.or(tag);
        plain.extend_from_slice(&data[opened.plain]);
    }
    cipher.verify(mark, tag)?;
    Ok(plain)
}
