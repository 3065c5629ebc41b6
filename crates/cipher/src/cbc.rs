//! aes-cbc-pkcs7: NIST SP 800-38A CBC with PKCS#7 padding (RFC 5652, section 6.3). No integrity.
//!
//! Encryption is serial inside one object; decryption needs only the ciphertext block before a
//! part.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeLess};

use super::cpu::{Data, Keyed};
use super::{BLOCK_BYTES, Block};
use crate::error::{Error, Result};

/// The whole blocks of a part, with their places in `out`, and what is left of `out` for padding.
pub fn parts<'a>(plain: &'a [u8], out: &'a mut [u8]) -> (Data<'a, 'a>, &'a mut [u8]) {
    let whole = plain.len() - plain.len() % BLOCK_BYTES;
    let (body, end) = out.split_at_mut(whole);
    // Both are `whole` long, which the compiler cannot know.
    let data = Data::new(&plain[..whole], body).unwrap_or_else(|_| (&mut [][..]).into());
    (data, end)
}

/// Writes the last, padded block of an object into `end`, which is empty before an object's end.
pub fn pad(key: &dyn Keyed, chain: &mut Block, plain: &[u8], end: &mut [u8]) {
    if end.is_empty() {
        return;
    }
    let tail = &plain[plain.len() - plain.len() % BLOCK_BYTES..];
    end[..tail.len()].copy_from_slice(tail);
    end[tail.len()..].fill((BLOCK_BYTES - tail.len()) as u8);
    key.cbc_encrypt(chain, end.into());
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
        Err(Error::DecryptFailed)
    }
}
