//! aes-cbc-pkcs7: NIST SP 800-38A CBC with PKCS#7 padding (RFC 5652, section 6.3). No integrity.
//!
//! Encryption is serial inside one object; decryption needs only the ciphertext block before a
//! part.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeLess};

use super::cpu::{Data, Keyed};
use super::{BLOCK_BYTES, Block, decrypt_failed};
use crate::fault::Result;

/// Encrypts one part into `out`, which has room for the padding when the part is the last one.
/// Returns the block that the next part is chained to.
pub fn encrypt(key: &dyn Keyed, mut chain: Block, plain: &[u8], out: &mut [u8]) -> Block {
    let whole = plain.len() - plain.len() % BLOCK_BYTES;
    let (body, rest) = out.split_at_mut(whole);
    if let Ok(data) = Data::new(&plain[..whole], body) {
        key.cbc_encrypt(&mut chain, data);
    }
    if !rest.is_empty() {
        let tail = plain.len() - whole;
        rest[..tail].copy_from_slice(&plain[whole..]);
        rest[tail..].fill((BLOCK_BYTES - tail) as u8);
        key.cbc_encrypt(&mut chain, rest.into());
    }
    chain
}

/// Number of plaintext bytes in the last, padded and decrypted, block of an object. The whole block
/// is looked at whatever it holds, so the time does not tell which byte was wrong.
pub fn unpadded(block: &Block) -> Result<usize> {
    let pad = block[BLOCK_BYTES - 1];
    let mut good = pad.ct_lt(&(BLOCK_BYTES as u8 + 1)) & !pad.ct_eq(&0);
    for (index, byte) in block.iter().enumerate() {
        let inside = ((BLOCK_BYTES - 1 - index) as u8).ct_lt(&pad);
        good &= Choice::conditional_select(&Choice::from(1), &byte.ct_eq(&pad), inside);
    }
    if bool::from(good) {
        Ok(BLOCK_BYTES - usize::from(pad))
    } else {
        Err(decrypt_failed())
    }
}
