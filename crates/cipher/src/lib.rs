//! Cipher: the AES modes, pure.
//!
//! Key bytes and parts of objects come in, ciphered parts and what they leave behind ([`Mark`]) go
//! out. This room knows no I/O, no threads and no clock. Everything is part-parallel from the
//! start: a part says where it stands ([`PartAt`]), so parts of CTR, GCM, cobblestone and of CBC
//! decryption run in any order on any core, and the little that must be put together in order (a
//! GHASH sum, a CBC chain) travels as a `Mark`.
//!
//! What the bytes mean stands in one file per mode; how AES is computed stands behind
//! [`cpu::Kernel`]. No branch and no index here depends on a secret; tags and commitments are
//! compared in constant time.

pub mod cbc;
pub mod cobblestone;
pub mod cpu;
pub mod ctr;
pub mod decrypt;
pub mod encrypt;
mod error;
pub mod fixsliced;
pub mod gcm;
pub mod layout;
mod mode;
pub mod offload;
pub mod secret;

pub use decrypt::Decryptor;
pub use encrypt::Encryptor;
pub use error::{Error, Result};
pub use layout::Form;
pub use secret::Secret;

/// Bytes in an AES block.
pub const BLOCK_BYTES: usize = 16;
/// Bytes in a GCM tag.
pub const TAG_BYTES: usize = 16;

/// One AES block.
pub type Block = [u8; BLOCK_BYTES];

/// Where a part stands in its object's plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartAt {
    /// Offset of its first plaintext byte. A multiple of the part size, hence of 16 KiB.
    pub offset: u64,
    /// Whether it is the object's last part.
    pub last: bool,
}

/// What a ciphered part leaves behind for those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing: the part stands alone.
    None,
    /// CBC encryption: the last ciphertext block, which the next part is chained to.
    Chain(Block),
    /// GCM: GHASH over this part's ciphertext, to be folded with its neighbours'.
    Ghash(gcm::Partial),
}

impl Mark {
    /// The hash that it carries; that of nothing where it carries none.
    fn partial(self) -> gcm::Partial {
        match self {
            Mark::Ghash(partial) => partial,
            Mark::None | Mark::Chain(_) => gcm::Partial::default(),
        }
    }
}

/// A 16-byte IV.
pub fn block(iv: &[u8]) -> Result<Block> {
    iv.try_into()
        .map_err(|_| Error::IvLength { bytes: iv.len() })
}
