//! Objects cut into parts: the same bytes whatever the cut.

use aes_gcm::aead::Aead;
use aes_gcm::{AesGcm, KeyInit};
use ciphermill_cipher::cobblestone::{CHUNK_BYTES, Salt};
use ciphermill_cipher::ctr::CounterStart;
use ciphermill_cipher::{Decryptor, Encryptor};
use proptest::prelude::*;

use super::{PART, bytes, kernels, open, open_cobblestone, seal, secret};

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
        (16, 16) => run!(Aes128, U16),
        (24, 12) => run!(Aes192, U12),
        (24, 16) => run!(Aes192, U16),
        (32, 12) => run!(Aes256, U12),
        (32, 16) => run!(Aes256, U16),
        (key, iv) => panic!("no GCM for a key of {key} and an iv of {iv} bytes"),
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
