//! Whole objects, part by part as the pipeline does it; for the suite and the fuzzer.

use ciphermill_cipher::Result;
use ciphermill_cipher::{Decryptor, Encryptor, Form, Mark, PartAt};

/// Encrypts in parts of `part_bytes`, as the pipeline does.
pub fn seal(encryptor: &Encryptor, plain: &[u8], part_bytes: usize) -> Vec<u8> {
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
pub fn open(decryptor: &Decryptor, object: &[u8], part_bytes: usize) -> Result<Vec<u8>> {
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
