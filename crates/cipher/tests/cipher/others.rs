//! What other libraries make of the same input: aws-lc-rs, and the RustCrypto crates used directly.

use aes::cipher::{BlockModeEncrypt, KeyIvInit, StreamCipher, block_padding::NoPadding};
use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use ciphermill_cipher::Block;
use ciphermill_cipher::cpu::CounterWidth;

/// CTR with a 128-bit counter, by aws-lc-rs.
pub fn ctr(key: &[u8], start: Block, plain: &[u8]) -> Vec<u8> {
    let algorithm = match key.len() {
        16 => &cipher::AES_128,
        24 => &cipher::AES_192,
        32 => &cipher::AES_256,
        other => panic!("AES has no key of {other} bytes"),
    };
    let key = UnboundCipherKey::new(algorithm, key).expect("key");
    let key = EncryptingKey::ctr(key).expect("key");
    let mut data = plain.to_vec();
    let iv = EncryptionContext::Iv128(FixedLength::from(start));
    key.less_safe_encrypt(&mut data, iv).expect("any length");
    data
}

/// CTR of any width, by the crates.
pub fn ctr_of(width: CounterWidth, key: &[u8], start: Block, plain: &[u8]) -> Vec<u8> {
    let mut data = plain.to_vec();
    macro_rules! run {
        ($flavour:ident, $aes:ty) => {
            ctr::$flavour::<$aes>::new_from_slices(key, &start)
                .expect("key")
                .apply_keystream(&mut data)
        };
    }
    macro_rules! sizes {
        ($flavour:ident) => {
            match key.len() {
                16 => run!($flavour, aes::Aes128),
                24 => run!($flavour, aes::Aes192),
                32 => run!($flavour, aes::Aes256),
                other => panic!("AES has no key of {other} bytes"),
            }
        };
    }
    match width {
        CounterWidth::Bits128 => sizes!(Ctr128BE),
        CounterWidth::Bits64 => sizes!(Ctr64BE),
        CounterWidth::Bits32 => sizes!(Ctr32BE),
    }
    data
}

/// GCM with a 12-byte IV, by aws-lc-rs: ciphertext and tag.
pub fn gcm(key: &[u8], iv: [u8; 12], plain: &[u8]) -> Vec<u8> {
    let algorithm = match key.len() {
        16 => &aead::AES_128_GCM,
        24 => &aead::AES_192_GCM,
        32 => &aead::AES_256_GCM,
        other => panic!("AES has no key of {other} bytes"),
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).expect("key"));
    let mut data = plain.to_vec();
    let nonce = Nonce::assume_unique_for_key(iv);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut data)
        .expect("short enough");
    data
}

/// CBC of whole blocks without padding, by the crates.
pub fn cbc(key: &[u8], iv: Block, plain: &[u8]) -> Vec<u8> {
    let mut data = plain.to_vec();
    let length = data.len();
    macro_rules! run {
        ($aes:ty) => {
            cbc::Encryptor::<$aes>::new_from_slices(key, &iv)
                .expect("key")
                .encrypt_padded::<NoPadding>(&mut data, length)
                .expect("whole blocks")
        };
    }
    match key.len() {
        16 => run!(aes::Aes128),
        24 => run!(aes::Aes192),
        32 => run!(aes::Aes256),
        other => panic!("AES has no key of {other} bytes"),
    };
    data
}
