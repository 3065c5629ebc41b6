//! Errors: what this crate refuses, and why. No message holds key bytes, plaintext or an IV.

/// Result of anything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No mode takes a key of this length.
    #[error("expected a key of 16, 24 or 32 bytes, got {bytes}")]
    KeyLength {
        /// Bytes of the key.
        bytes: usize,
    },
    /// Cobblestone has no keys of this length.
    #[error("cobblestone takes a key of 16 or 32 bytes, got {bytes}")]
    CobblestoneKeyLength {
        /// Bytes of the key.
        bytes: usize,
    },
    /// HKDF refused the key.
    #[error("the key cannot be expanded")]
    KeyExpansion,
    /// An IV that must be one block is none.
    #[error("expected an iv of 16 bytes, got {bytes}")]
    IvLength {
        /// Bytes of the IV.
        bytes: usize,
    },
    /// An IV that may have any length but this one.
    #[error("the iv is empty")]
    IvEmpty,
    /// This machine has no such kernel.
    #[error("this machine cannot run kernel `{name}`, but {known}")]
    UnknownKernel {
        /// The kernel that was asked for.
        name: String,
        /// The kernels that this machine can run, separated by commas.
        known: String,
    },
    /// The one answer to every failed decryption: tag, padding, commitment, truncation and
    /// reordering look the same.
    #[error("the object does not decrypt under this key")]
    DecryptFailed,
    /// The operating system gave no random bytes.
    #[error("the system gives no random bytes: {0}")]
    NoRandomness(String),
}
