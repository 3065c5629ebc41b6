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

use ciphermill::cipher::cobblestone::{CHUNK_BYTES, HEADER_BYTES};
use ciphermill::cipher::cpu::{self, Kernel};
use ciphermill::cipher::{Decryptor, Encryptor, Form, Mark, PartAt};
use ciphermill::fault::Result;
use ciphermill::secret::Secret;

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

fn secret(key: &[u8]) -> Secret {
    Secret::new(key.to_vec())
}

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).expect("hex")
}

/// Encrypts in parts of `part_bytes`, as the pipeline does.
fn seal(encryptor: &Encryptor, plain: &[u8], part_bytes: usize) -> Vec<u8> {
    let parts = Form::parts(plain.len() as u64, part_bytes as u64) as usize;
    let (mut object, mut mark) = (Vec::new(), Mark::None);
    for index in 0..parts {
        let start = index * part_bytes;
        let part = &plain[start..plain.len().min(start + part_bytes)];
        let at = PartAt {
            offset: start as u64,
            last: index + 1 == parts,
        };
        let mut shown = 0;
        let mut out = vec![0; encryptor.form().sealed_part_len(at, part.len())];
        let next = encryptor.encrypt(at, mark, part, &mut out, |ready| shown += ready.len());
        let tag_bytes = if at.last { encryptor.tag_bytes() } else { 0 };
        assert_eq!(shown, out.len() - tag_bytes, "every byte is shown once");
        mark = encryptor.fold(mark, next);
        if let (true, Some(tag)) = (at.last, encryptor.finish(mark)) {
            let end = out.len() - tag.len();
            out[end..].copy_from_slice(&tag);
        }
        object.extend_from_slice(&out);
    }
    object
}

/// Decrypts in parts of `part_bytes`, as the pipeline does.
fn open(decryptor: &Decryptor, object: &[u8], part_bytes: usize) -> Result<Vec<u8>> {
    let form = decryptor.form();
    let bound = form.plain_len(object.len() as u64)?;
    let parts = Form::parts(bound, part_bytes as u64);
    let (mut plain, mut mark, mut tag) = (Vec::new(), Mark::None, None);
    for index in 0..parts {
        let start = index * part_bytes as u64;
        let at = PartAt {
            offset: start,
            last: index + 1 == parts,
        };
        let range = start..bound.min(start + part_bytes as u64);
        let read = form.read_range(range, at.last, object.len() as u64);
        let mut data = object[read.start as usize..read.end as usize].to_vec();
        let opened = decryptor.decrypt(at, &mut data)?;
        mark = decryptor.fold(mark, opened.mark);
        tag = opened.tag.or(tag);
        plain.extend_from_slice(&data[opened.plain]);
    }
    decryptor.verify(mark, tag)?;
    Ok(plain)
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
