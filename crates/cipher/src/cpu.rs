//! AES on the CPU: the traits every kernel implements, and the choice among kernels.
//!
//! A kernel turns key bytes into a [`Keyed`] cipher, or into a [`GcmKeyed`] one that hashes as
//! well. Modes are built on those and never ask which kernel they got; every kernel passes the same
//! suite. A kernel with its own instructions can only be had where the CPU has them ([`all`]).

#[allow(unsafe_code, reason = "the same code, compiled for more instructions")]
pub mod portable;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "instruction sets and raw pointers")]
mod vaes;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "instruction sets and raw pointers")]
mod vaes256;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "instruction sets and raw pointers")]
mod vaes512;

use aes::cipher::inout::InOutBuf;

use super::{BLOCK_BYTES, Block};
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Bytes to cipher, in place or from one buffer into another of the same length.
pub type Data<'a, 'b> = InOutBuf<'a, 'b, u8>;

/// How many low bits of the counter block count; the rest stays fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterWidth {
    /// The whole block, big-endian (NIST SP 800-38A, OpenSSL).
    Bits128,
    /// The last eight bytes, wrapping (ISO/IEC 23001-7, Common Encryption).
    Bits64,
    /// The last four bytes, wrapping (GCM, NIST SP 800-38D).
    Bits32,
}

impl CounterWidth {
    /// The counter block so many `blocks` later; what does not count stays.
    pub fn later(self, counter: Block, blocks: u64) -> Block {
        let mask = match self {
            CounterWidth::Bits128 => u128::MAX,
            CounterWidth::Bits64 => u128::from(u64::MAX),
            CounterWidth::Bits32 => u128::from(u32::MAX),
        };
        let number = u128::from_be_bytes(counter);
        let sum = number.wrapping_add(u128::from(blocks));
        (number & !mask | sum & mask).to_be_bytes()
    }
}

/// One way to compute AES and GHASH.
pub trait Kernel: Send + Sync {
    /// Its name in results, metrics and benchmarks.
    fn name(&self) -> &'static str;
    /// Expands a key of 16, 24 or 32 bytes.
    fn key(&self, key: &Secret) -> Result<Box<dyn Keyed>>;
    /// Expands a key and prepares its hash key.
    fn gcm(&self, key: &Secret) -> Result<Box<dyn GcmKeyed>>;
    /// CBC-encrypts many streams at once, each under its own key. A kernel with SIMD lanes puts one
    /// stream in each; a lane whose stream ends takes the next one.
    fn cbc_encrypt(&self, streams: &mut [CbcStream<'_>]) {
        for stream in streams {
            let CbcStream { key, chain, data } = stream;
            key.cbc_encrypt(chain, data.reborrow());
        }
    }
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
    /// The expanded key, for the lanes of the same kernel.
    fn round_keys(&self) -> Option<RoundKeys<'_>> {
        None
    }
}

/// The round keys of a [`Keyed`] cipher, readable by kernels only.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub struct RoundKeys<'a>(&'a [Block]);

/// An expanded AES key with its hash key H = E(0) (NIST SP 800-38D, section 6.4). Both are zeroed
/// when dropped.
pub trait GcmKeyed: Send + Sync {
    /// Encrypts one block.
    fn encrypt_block(&self, block: &mut Block);
    /// GHASH over `data`, zero-padded to whole blocks, continuing from `state`.
    fn ghash(&self, state: &mut Block, data: &[u8]);
    /// Encrypts from counter block `start` on (32 bits count) and hashes the ciphertext, continuing
    /// from `state`; whole blocks, but for an object's end.
    fn encrypt(&self, start: Block, state: &mut Block, data: Data<'_, '_>);
    /// The reverse: hashes the ciphertext and decrypts it.
    fn decrypt(&self, start: Block, state: &mut Block, data: Data<'_, '_>);
    /// Encrypts messages of their own and writes their tags. The end of one overlaps the begin of
    /// the next, where a kernel can do that.
    fn encrypt_messages<'m>(&self, messages: &mut dyn Iterator<Item = Message<'m>>) {
        for Message { j0, mut data, tag } in messages {
            let mut state = [0; BLOCK_BYTES];
            self.encrypt(later(j0, 1), &mut state, data.reborrow());
            *tag = self.tag(j0, state, data.len() as u64);
        }
    }
    /// Decrypts a message of its own; returns the tag that it should have.
    fn decrypt_whole(&self, j0: Block, mut data: Data<'_, '_>) -> Block {
        let mut state = [0; BLOCK_BYTES];
        self.decrypt(later(j0, 1), &mut state, data.reborrow());
        self.tag(j0, state, data.len() as u64)
    }
    /// The tag of a message without AAD, from the hash of its ciphertext.
    fn tag(&self, j0: Block, mut state: Block, bytes: u64) -> Block {
        self.ghash(&mut state, &length_block(0, bytes));
        let mut mask = j0;
        self.encrypt_block(&mut mask);
        xor(state, mask)
    }
    /// The hash key.
    fn h(&self) -> &Block;
    /// The product of two elements of GHASH's field.
    fn multiply(&self, a: &Block, b: &Block) -> Block;
}

/// The counter block so many `blocks` later: its last four bytes count, wrapping (inc32 of SP
/// 800-38D, section 6.2).
pub(super) fn later(block: Block, blocks: u32) -> Block {
    CounterWidth::Bits32.later(block, u64::from(blocks))
}

/// The last block that GHASH takes: both lengths in bits.
pub(super) fn length_block(aad_bytes: u64, bytes: u64) -> Block {
    (u128::from(aad_bytes * 8) << 64 | u128::from(bytes * 8)).to_be_bytes()
}

/// XOR of two blocks.
pub(super) fn xor(a: Block, b: Block) -> Block {
    (u128::from_ne_bytes(a) ^ u128::from_ne_bytes(b)).to_ne_bytes()
}

/// A message of GCM without AAD.
pub struct Message<'a> {
    /// Its counter block 0; the text starts at the one after it.
    pub j0: Block,
    /// Its bytes.
    pub data: Data<'a, 'a>,
    /// Room for its tag.
    pub tag: &'a mut Block,
}

/// One stream of CBC encryption, in whole blocks.
pub struct CbcStream<'a> {
    /// Its key.
    pub key: &'a dyn Keyed,
    /// What it is chained to; afterwards the last ciphertext block.
    pub chain: Block,
    /// Its bytes.
    pub data: Data<'a, 'a>,
}

/// Every kernel that this machine can run, the fastest first; the last one is `portable`.
pub fn all() -> &'static [&'static dyn Kernel] {
    static ALL: std::sync::OnceLock<Vec<&'static dyn Kernel>> = std::sync::OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: Vec<&'static dyn Kernel> = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(vaes512::kernel());
            all.extend(vaes256::kernel());
        }
        all.push(&portable::Portable);
        all
    })
}

/// The fastest kernel this machine has.
pub fn best() -> &'static dyn Kernel {
    all().first().copied().unwrap_or(&portable::Portable)
}

/// The kernel of this name, where this machine can run it.
pub fn named(name: &str) -> Result<&'static dyn Kernel> {
    let found = all().iter().copied().find(|kernel| kernel.name() == name);
    found.ok_or_else(|| {
        let names: Vec<_> = all().iter().map(|kernel| kernel.name()).collect();
        Error::UnknownKernel {
            name: name.to_owned(),
            known: names.join(", "),
        }
    })
}

/// Checks a key length.
pub fn check_key_length(bytes: usize) -> Result<()> {
    if matches!(bytes, 16 | 24 | 32) {
        return Ok(());
    }
    Err(Error::KeyLength { bytes })
}
