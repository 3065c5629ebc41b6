//! aes-ctr: NIST SP 800-38A counter mode. The whole block counts, big-endian; length is preserved;
//! no integrity.

use super::cpu::{CounterWidth, Data, Keyed};
use super::{Block, block};
use crate::error::Result;

/// The counter block of the first block of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterStart(u128);

impl CounterStart {
    /// A 16-byte IV is the first counter block.
    pub fn from_block(iv: Block) -> Self {
        CounterStart(u128::from_be_bytes(iv))
    }

    /// A 12-byte IV is followed by a 32-bit counter that starts at `start`.
    pub fn from_iv12(iv: [u8; 12], start: u32) -> Self {
        let mut block = [0; 16];
        block[..12].copy_from_slice(&iv);
        block[12..].copy_from_slice(&start.to_be_bytes());
        CounterStart::from_block(block)
    }

    /// An IV of 16 bytes, or of 12 with the first value of the counter after it.
    pub fn from_iv(iv: &[u8], start: u32) -> Result<Self> {
        match <[u8; 12]>::try_from(iv) {
            Ok(short) => Ok(CounterStart::from_iv12(short, start)),
            Err(_) => block(iv).map(CounterStart::from_block),
        }
    }

    /// As a number: used to compare ranges of counters.
    pub fn number(self) -> u128 {
        self.0
    }

    /// The counter block `blocks` later, modulo 2^128.
    pub fn plus(self, blocks: u64) -> Block {
        CounterWidth::Bits128.later(self.0.to_be_bytes(), blocks)
    }
}

/// Ciphers the bytes that stand at `offset` of the object; `offset` is any multiple of 16.
pub fn apply(key: &dyn Keyed, start: CounterStart, offset: u64, data: Data<'_, '_>) {
    debug_assert_eq!(offset % 16, 0);
    key.ctr(start.plus(offset / 16), CounterWidth::Bits128, data);
}
