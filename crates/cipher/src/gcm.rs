//! aes-gcm: NIST SP 800-38D, no AAD, a 16-byte tag appended by the caller.
//!
//! Parts are independent: each is ciphered at its offset and hashed from zero; [`Gcm::fold`]
//! puts two neighbours together by multiplying the left sum with H to the power of the right one's
//! blocks. So one object runs on all cores.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::cpu::{Data, GcmKeyed, Kernel, later, length_block, xor};
use super::offload::DeviceKey;
use super::{BLOCK_BYTES, Block, TAG_BYTES};
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Longest plaintext under one key and IV: 2^39 - 256 bits (SP 800-38D, section 5.2.1.1).
pub const MAX_BYTES: u64 = (1 << 36) - 32;

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
    key: Box<dyn GcmKeyed>,
    device_key: DeviceKey,
    j0: Block,
}

impl Gcm {
    /// A 12-byte IV is followed by the counter 1; any other length is hashed (SP 800-38D, section
    /// 7.1).
    pub fn new(kernel: &'static dyn Kernel, key: &Secret, iv: &[u8]) -> Result<Gcm> {
        let device_key = DeviceKey::new(key);
        let key = kernel.gcm(key)?;
        let j0 = match <[u8; 12]>::try_from(iv) {
            Ok(iv) => initial_counter(iv),
            Err(_) if iv.is_empty() => return Err(Error::IvEmpty),
            Err(_) => {
                let mut sum = [0; BLOCK_BYTES];
                key.ghash(&mut sum, iv);
                key.ghash(&mut sum, &length_block(0, iv.len() as u64));
                sum
            }
        };
        Ok(Gcm {
            key,
            device_key,
            j0,
        })
    }

    /// Encrypts `plain`, which stands at `offset` (a multiple of 16), and adds its ciphertext to
    /// the hash of what is right before it; a default one starts a stretch.
    pub fn encrypt(&self, offset: u64, before: Partial, plain: &[u8], out: &mut [u8]) -> Partial {
        let mut partial = before.longer(plain.len());
        if let Ok(data) = Data::new(plain, out) {
            self.key
                .encrypt(self.counter(offset), &mut partial.sum, data);
        }
        partial
    }

    /// Hashes the ciphertext part at `offset` and decrypts it in place. Nothing of it may be shown
    /// before [`Gcm::verify`] has accepted the whole.
    pub fn decrypt(&self, offset: u64, data: &mut [u8]) -> Partial {
        let mut partial = Partial::default().longer(data.len());
        self.key
            .decrypt(self.counter(offset), &mut partial.sum, data.into());
        partial
    }

    /// Adds ciphertext that a device made to the hash of what is right before it.
    pub(super) fn hash(&self, before: Partial, ciphertext: &[u8]) -> Partial {
        let mut partial = before.longer(ciphertext.len());
        self.key.ghash(&mut partial.sum, ciphertext);
        partial
    }

    pub(super) fn device_key(&self) -> &DeviceKey {
        &self.device_key
    }

    pub(super) fn key(&self) -> &dyn GcmKeyed {
        self.key.as_ref()
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
        self.key.tag(self.j0, whole.sum, whole.bytes)
    }

    /// Compares in constant time.
    pub fn verify(&self, whole: Partial, tag: &[u8]) -> Result<()> {
        if bool::from(self.tag(whole).ct_eq(tag)) {
            Ok(())
        } else {
            Err(Error::DecryptFailed)
        }
    }

    /// The counter block of the plaintext at `offset`: the first one is J0 + 1, and 32 bits count.
    pub(super) fn counter(&self, offset: u64) -> Block {
        let blocks = (offset / BLOCK_BYTES as u64) as u32;
        later(self.j0, blocks.wrapping_add(1))
    }

    /// `sum` x H^`exponent` in GF(2^128).
    fn multiply_by_h_power(&self, mut sum: Block, mut exponent: u64) -> Block {
        let mut power = Zeroizing::new(*self.key.h());
        while exponent > 0 {
            if exponent & 1 == 1 {
                sum = self.key.multiply(&sum, &power);
            }
            exponent >>= 1;
            if exponent > 0 {
                *power = self.key.multiply(&power, &power);
            }
        }
        sum
    }
}

impl Partial {
    fn longer(self, bytes: usize) -> Partial {
        debug_assert_eq!(self.bytes % BLOCK_BYTES as u64, 0);
        Partial {
            bytes: self.bytes + bytes as u64,
            ..self
        }
    }
}

/// J0 of a 12-byte IV.
pub(super) fn initial_counter(iv: [u8; 12]) -> Block {
    let mut block = [0; BLOCK_BYTES];
    block[..12].copy_from_slice(&iv);
    block[15] = 1;
    block
}
