//! Secrets: the one type that holds key bytes.
//!
//! Key bytes come in from key services and go out to ciphers only. A [`Secret`] is zeroed when dropped
//! and has neither `Debug`, `Display`, `Clone` nor `Serialize`, so it cannot reach a message, a log
//! line or an event by accident (P8).

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Key bytes on the heap, zeroed on drop.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over, where they are: moving them would leave a copy behind. The vector must
    /// not have been reallocated while it held key material.
    pub fn new(bytes: Vec<u8>) -> Self {
        Secret(Zeroizing::new(bytes))
    }

    /// `bytes` fresh random bytes from the operating system.
    pub fn random(bytes: usize) -> Result<Self> {
        let mut secret = vec![0; bytes];
        fill_random(&mut secret)?;
        Ok(Secret::new(secret))
    }

    /// The bytes, for the cipher and the key services only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// SHA-256 of the bytes: names a key inside one job (P13) without showing it. Never logged or
    /// stored.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.expose()).into()
    }
}

/// Fills `buffer` from the operating system's random source.
pub fn fill_random(buffer: &mut [u8]) -> Result<()> {
    getrandom::fill(buffer).map_err(|e| Error::NoRandomness(e.to_string()))
}

/// `N` fresh random bytes that are not secret: IVs and salts.
pub fn random_array<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill_random(&mut bytes)?;
    Ok(bytes)
}
