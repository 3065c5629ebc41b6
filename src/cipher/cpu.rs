//! AES on the CPU: the traits every kernel implements, and the choice among kernels.
//!
//! A kernel turns key bytes into a [`Keyed`] cipher and hash keys into a [`Ghasher`]. Modes are
//! built on those two and never ask which kernel they got; every kernel passes the same suite.

pub mod portable;

use aes::cipher::inout::InOutBuf;

use super::Block;
use crate::fault::{Code, Fault, Result};
use crate::secret::Secret;

/// Bytes to cipher, in place or from one buffer into another of the same length.
pub type Data<'a, 'b> = InOutBuf<'a, 'b, u8>;

/// How many low bits of the counter block count; the rest stays fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterWidth {
    /// The whole block, big-endian (NIST SP 800-38A, OpenSSL).
    Bits128,
    /// The last four bytes, wrapping (GCM, NIST SP 800-38D).
    Bits32,
}

/// One way to compute AES and GHASH.
pub trait Kernel: Send + Sync {
    /// Its name in results, metrics and benchmarks.
    fn name(&self) -> &'static str;
    /// Expands a key of 16, 24 or 32 bytes.
    fn key(&self, key: &Secret) -> Result<Box<dyn Keyed>>;
    /// Prepares the hash key H.
    fn ghash(&self, h: &Block) -> Box<dyn Ghasher>;
}

/// An expanded AES key. Its schedule is zeroed when dropped.
pub trait Keyed: Send + Sync {
    /// Encrypts one block.
    fn encrypt_block(&self, block: &mut Block);
    /// XORs the keystream that starts with counter block `start`; any length.
    fn ctr(&self, start: Block, width: CounterWidth, data: Data<'_, '_>);
    /// CBC-encrypts whole blocks, chained to `chain`, which becomes the last ciphertext block.
    fn cbc_encrypt(&self, chain: &mut Block, data: Data<'_, '_>);
    /// CBC-decrypts whole blocks in place, the first chained to `previous`.
    fn cbc_decrypt(&self, previous: &Block, data: &mut [u8]);
}

/// A prepared GHASH key (NIST SP 800-38D, section 6.4).
pub trait Ghasher: Send + Sync {
    /// GHASH over `data`, zero-padded to whole blocks, continuing from `state`.
    fn update(&self, state: &mut Block, data: &[u8]);
}

/// The fastest kernel this machine has.
pub fn best() -> &'static dyn Kernel {
    &portable::Portable
}

/// Checks a key length.
pub fn check_key_length(bytes: usize) -> Result<()> {
    if matches!(bytes, 16 | 24 | 32) {
        return Ok(());
    }
    let message = format!("expected a key of 16, 24 or 32 bytes, got {bytes}");
    Err(Fault::new(Code::InvalidKeyLength, message))
}
