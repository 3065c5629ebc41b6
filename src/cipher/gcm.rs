//! aes-gcm: NIST SP 800-38D, no AAD, a 16-byte tag appended by the caller.
//!
//! Parts are independent: each is CTR-ciphered at its offset and hashed from zero; [`Gcm::fold`]
//! puts two neighbours together by multiplying the left sum with H to the power of the right one's
//! blocks. So one object runs on all cores.

use subtle::ConstantTimeEq;

use super::cpu::{CounterWidth, Data, Ghasher, Kernel, Keyed};
use super::{BLOCK_BYTES, Block, TAG_BYTES, decrypt_failed};
use crate::fault::{Code, Fault, Result};
use crate::secret::Secret;

/// Longest plaintext under one key and IV: 2^39 - 256 bits (SP 800-38D, section 5.2.1.1).
pub const MAX_BYTES: u64 = (1 << 36) - 32;

/// Ciphered and hashed at once: a step stays in the first-level caches between the two.
const STEP_BYTES: usize = 32 * 1024;

/// A GCM tag.
pub type Tag = [u8; TAG_BYTES];

/// GHASH over one stretch of ciphertext, from zero. All stretches but an object's last are whole
/// blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    sum: Block,
    bytes: u64,
}

/// One key with one IV.
pub struct Gcm {
    key: Box<dyn Keyed>,
    hash: Box<dyn Ghasher>,
    h: Block,
    kernel: &'static dyn Kernel,
    j0: Block,
}

impl Gcm {
    /// A 12-byte IV is followed by the counter 1; any other length is hashed (SP 800-38D, section
    /// 7.1).
    pub fn new(kernel: &'static dyn Kernel, key: &Secret, iv: &[u8]) -> Result<Gcm> {
        let key = kernel.key(key)?;
        let mut h = [0; BLOCK_BYTES];
        key.encrypt_block(&mut h);
        let hash = kernel.ghash(&h);
        let j0 = match <[u8; 12]>::try_from(iv) {
            Ok(iv) => initial_counter(iv),
            Err(_) if iv.is_empty() => {
                return Err(Fault::new(Code::InvalidIvLength, "the iv is empty"));
            }
            Err(_) => {
                let mut sum = [0; BLOCK_BYTES];
                hash.update(&mut sum, iv);
                hash.update(&mut sum, &length_block(0, iv.len() as u64));
                sum
            }
        };
        Ok(Gcm {
            key,
            hash,
            h,
            kernel,
            j0,
        })
    }

    /// Encrypts the part at `offset` (a multiple of 16) and hashes its ciphertext.
    pub fn encrypt(&self, offset: u64, plain: &[u8], out: &mut [u8]) -> Partial {
        let mut partial = Partial {
            bytes: plain.len() as u64,
            ..Partial::default()
        };
        let steps = plain.chunks(STEP_BYTES).zip(out.chunks_mut(STEP_BYTES));
        for (index, (plain, out)) in steps.enumerate() {
            let start = self.counter(offset + (index * STEP_BYTES) as u64);
            if let Ok(data) = Data::new(plain, out) {
                self.key.ctr(start, CounterWidth::Bits32, data);
            }
            self.hash.update(&mut partial.sum, out);
        }
        partial
    }

    /// Hashes the ciphertext part at `offset` and decrypts it in place. Nothing of it may be shown
    /// before [`Gcm::verify`] has accepted the whole.
    pub fn decrypt(&self, offset: u64, data: &mut [u8]) -> Partial {
        let mut partial = Partial {
            bytes: data.len() as u64,
            ..Partial::default()
        };
        for (index, step) in data.chunks_mut(STEP_BYTES).enumerate() {
            self.hash.update(&mut partial.sum, step);
            let start = self.counter(offset + (index * STEP_BYTES) as u64);
            self.key.ctr(start, CounterWidth::Bits32, step.into());
        }
        partial
    }

    /// Puts the hash of a stretch and that of the stretch after it together.
    pub fn fold(&self, left: Partial, right: Partial) -> Partial {
        debug_assert_eq!(left.bytes % BLOCK_BYTES as u64, 0);
        if left.bytes == 0 {
            return right;
        }
        let shifted = self.multiply_by_h_power(left.sum, right.bytes.div_ceil(BLOCK_BYTES as u64));
        Partial {
            sum: xor(shifted, right.sum),
            bytes: left.bytes + right.bytes,
        }
    }

    /// The tag of a whole object, from the folded hash of its parts.
    pub fn tag(&self, whole: Partial) -> Tag {
        let mut sum = whole.sum;
        self.hash.update(&mut sum, &length_block(0, whole.bytes));
        let mut mask = self.j0;
        self.key.encrypt_block(&mut mask);
        xor(sum, mask)
    }

    /// Compares in constant time.
    pub fn verify(&self, whole: Partial, tag: &[u8]) -> Result<()> {
        if bool::from(self.tag(whole).ct_eq(tag)) {
            Ok(())
        } else {
            Err(decrypt_failed())
        }
    }

    /// The counter block of the plaintext at `offset`: the first one is J0 + 1, and 32 bits count.
    fn counter(&self, offset: u64) -> Block {
        let mut block = self.j0;
        let low = u32::from_be_bytes([block[12], block[13], block[14], block[15]]);
        let blocks = (offset / BLOCK_BYTES as u64) as u32;
        block[12..].copy_from_slice(&low.wrapping_add(1).wrapping_add(blocks).to_be_bytes());
        block
    }

    /// `sum` x H^`exponent` in GF(2^128): hashing one block under the key X multiplies it by X.
    fn multiply_by_h_power(&self, mut sum: Block, mut exponent: u64) -> Block {
        let mut power = self.h;
        while exponent > 0 {
            if exponent & 1 == 1 {
                sum = multiply(self.kernel, &power, sum);
            }
            exponent >>= 1;
            if exponent > 0 {
                power = multiply(self.kernel, &power, power);
            }
        }
        sum
    }
}

/// J0 of a 12-byte IV.
pub(super) fn initial_counter(iv: [u8; 12]) -> Block {
    let mut block = [0; BLOCK_BYTES];
    block[..12].copy_from_slice(&iv);
    block[15] = 1;
    block
}

/// The last block that GHASH takes: both lengths in bits.
pub(super) fn length_block(aad_bytes: u64, bytes: u64) -> Block {
    let mut block = [0; BLOCK_BYTES];
    block[..8].copy_from_slice(&(aad_bytes * 8).to_be_bytes());
    block[8..].copy_from_slice(&(bytes * 8).to_be_bytes());
    block
}

fn multiply(kernel: &dyn Kernel, by: &Block, value: Block) -> Block {
    let mut product = [0; BLOCK_BYTES];
    kernel.ghash(by).update(&mut product, &value);
    product
}

/// XOR of two blocks.
pub(super) fn xor(a: Block, b: Block) -> Block {
    std::array::from_fn(|index| a[index] ^ b[index])
}
