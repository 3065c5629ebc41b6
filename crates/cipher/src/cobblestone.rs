//! cobblestone: the C2SP chunked-encryption format (c2sp.org/chunked-encryption), Cobblestone-128
//! and -256.
//!
//! ```text
//! key (16|32) || base nonce (12) || commitment (32) = HKDF-Expand-SHA-512(input key, info)
//! info   = "c2sp.org/chunked-encryption@v1+" || aead || 0x00 || salt || context
//! object = salt (24) || commitment (32) || chunk 0 || chunk 1 || ...
//! chunk  = AES-GCM(key, base nonce XOR n, no AAD) over 16,384 bytes; the last always shorter, possibly empty
//! ```
//!
//! The commitment is compared before any chunk is opened. A last chunk of full length means
//! truncation.

use hkdf::Hkdf;
use sha2::Sha512;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::cpu::{Data, GcmKeyed, Kernel, Message};
use super::gcm::initial_counter;
use super::offload::DeviceKey;
use super::{BLOCK_BYTES, Block, TAG_BYTES};
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Plaintext bytes of a full chunk.
pub const CHUNK_BYTES: usize = 16_384;
/// Bytes of a full chunk with its tag.
pub const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
/// Bytes of the salt.
pub const SALT_BYTES: usize = 24;
/// Bytes of the commitment.
pub const COMMITMENT_BYTES: usize = 32;
/// Bytes before the first chunk.
pub const HEADER_BYTES: usize = SALT_BYTES + COMMITMENT_BYTES;
/// Most chunks of one object.
pub const MAX_CHUNKS: u64 = 1 << 38;

const LABEL: &[u8] = b"c2sp.org/chunked-encryption@v1+";
const NONCE_BYTES: usize = 12;

/// Salt of one object: never twice under one input key. Not `Clone`: one salt, one object.
#[derive(Debug, PartialEq, Eq)]
pub struct Salt([u8; SALT_BYTES]);

impl Salt {
    /// A fresh random salt.
    pub fn random() -> Result<Salt> {
        crate::secret::random_array().map(Salt)
    }

    /// A salt that stands in an object's header, or in a test vector.
    pub fn existing(bytes: [u8; SALT_BYTES]) -> Salt {
        Salt(bytes)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; SALT_BYTES] {
        &self.0
    }
}

/// The derived keys of one object.
pub struct Cobblestone {
    key: Box<dyn GcmKeyed>,
    device_key: DeviceKey,
    base_nonce: [u8; NONCE_BYTES],
    header: [u8; HEADER_BYTES],
}

impl Cobblestone {
    /// Derives the keys of the object with this salt.
    pub fn new(
        kernel: &'static dyn Kernel,
        key: &Secret,
        salt: &Salt,
        context: &[u8],
    ) -> Result<Cobblestone> {
        let input = key.expose();
        let aead: &[u8] = match input.len() {
            16 => b"AEAD_AES_128_GCM",
            32 => b"AEAD_AES_256_GCM",
            bytes => return Err(Error::CobblestoneKeyLength { bytes }),
        };
        let hkdf = Hkdf::<Sha512>::from_prk(hmac_key(input).as_slice())
            .map_err(|_| Error::KeyExpansion)?;
        let mut derived = Zeroizing::new(vec![0; input.len() + NONCE_BYTES + COMMITMENT_BYTES]);
        hkdf.expand_multi_info(&[LABEL, aead, &[0], salt.bytes(), context], &mut derived)
            .map_err(|_| Error::KeyExpansion)?;
        let (message_key, rest) = derived.split_at(input.len());
        let (nonce, commitment) = rest.split_at(NONCE_BYTES);
        let mut header = [0; HEADER_BYTES];
        header[..SALT_BYTES].copy_from_slice(salt.bytes());
        header[SALT_BYTES..].copy_from_slice(commitment);
        let message_key = Secret::new(message_key.to_vec());
        let device_key = DeviceKey::new(&message_key);
        let key = kernel.gcm(&message_key)?;
        let base_nonce = std::array::from_fn(|index| nonce[index]);
        Ok(Cobblestone {
            key,
            device_key,
            base_nonce,
            header,
        })
    }

    /// Opens an object by its header: derives the keys and compares the commitment.
    pub fn open(
        kernel: &'static dyn Kernel,
        key: &Secret,
        header: &[u8; HEADER_BYTES],
        context: &[u8],
    ) -> Result<Cobblestone> {
        let salt = Salt(std::array::from_fn(|index| header[index]));
        let opened = Cobblestone::new(kernel, key, &salt, context)?;
        if bool::from(opened.header.ct_eq(header)) {
            Ok(opened)
        } else {
            Err(Error::DecryptFailed)
        }
    }

    /// Salt and commitment, as they stand before the first chunk.
    pub fn header(&self) -> &[u8; HEADER_BYTES] {
        &self.header
    }

    /// Encrypts the chunks from number `first` on; `out` has room for every chunk's tag. The last
    /// part of an object ends with a short chunk, which may be empty.
    pub fn encrypt(&self, first: u64, last: bool, plain: &[u8], out: &mut [u8]) {
        let chunks = plain.len() / CHUNK_BYTES + usize::from(last);
        let mut rest = (plain, out);
        let mut messages = (first..).take(chunks).map_while(|number| {
            let (plain, out) = std::mem::take(&mut rest);
            let (plain, more) = plain.split_at(plain.len().min(CHUNK_BYTES));
            let (body, out) = out.split_at_mut(plain.len());
            let (tag, out) = out.split_first_chunk_mut()?;
            rest = (more, out);
            Some(Message {
                j0: self.counter(number),
                data: Data::new(plain, body).ok()?,
                tag,
            })
        });
        self.key.encrypt_messages(&mut messages);
    }

    /// Opens the chunks of a part in place and closes the gaps their tags leave; returns the
    /// plaintext length.
    pub fn decrypt(&self, first: u64, last: bool, data: &mut [u8]) -> Result<usize> {
        plain_len(last, data.len()).ok_or(Error::DecryptFailed)?;
        let mut plain = 0;
        for index in 0..data.len().div_ceil(SEALED_CHUNK_BYTES) {
            let start = index * SEALED_CHUNK_BYTES;
            let end = data.len().min(start + SEALED_CHUNK_BYTES);
            let length = end - start - TAG_BYTES;
            self.decrypt_chunk(first + index as u64, &mut data[start..end])?;
            data.copy_within(start..start + length, plain);
            plain += length;
        }
        Ok(plain)
    }

    /// Of a forged chunk nothing is left.
    fn decrypt_chunk(&self, number: u64, sealed: &mut [u8]) -> Result<()> {
        let (body, tag) = sealed.split_at_mut(sealed.len() - TAG_BYTES);
        let data = (&mut *body).into();
        let expected = self.key.decrypt_whole(self.counter(number), data);
        if !bool::from(expected.ct_eq(tag)) {
            body.fill(0);
            return Err(Error::DecryptFailed);
        }
        Ok(())
    }

    /// The tag of a chunk's ciphertext.
    pub(super) fn tag(&self, number: u64, ciphertext: &[u8]) -> Block {
        let mut sum = [0; BLOCK_BYTES];
        self.key.ghash(&mut sum, ciphertext);
        self.key
            .tag(self.counter(number), sum, ciphertext.len() as u64)
    }

    /// Checks the tag of a chunk that is not opened yet.
    pub(super) fn check(&self, number: u64, sealed: &[u8]) -> Result<()> {
        let (ciphertext, tag) = sealed.split_at(sealed.len() - TAG_BYTES);
        if bool::from(self.tag(number, ciphertext).ct_eq(tag)) {
            Ok(())
        } else {
            Err(Error::DecryptFailed)
        }
    }

    pub(super) fn device_key(&self) -> &DeviceKey {
        &self.device_key
    }

    pub(super) fn key(&self) -> &dyn GcmKeyed {
        self.key.as_ref()
    }

    /// J0 of a chunk: its nonce is the base nonce XOR its number.
    pub(super) fn counter(&self, number: u64) -> Block {
        let mut nonce = self.base_nonce;
        for (byte, n) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= n;
        }
        initial_counter(nonce)
    }
}

/// Plaintext bytes of a part that is sealed in so many; `None` where no part is. The last chunk is
/// shorter than the others, and there is one.
pub(super) fn plain_len(last: bool, sealed_bytes: usize) -> Option<usize> {
    let short = sealed_bytes % SEALED_CHUNK_BYTES;
    let possible = if last { short >= TAG_BYTES } else { short == 0 };
    possible.then(|| sealed_bytes - sealed_bytes.div_ceil(SEALED_CHUNK_BYTES) * TAG_BYTES)
}

/// HKDF-Expand keys HMAC with the input key itself. The crate wants a pseudo-random key of at least
/// one hash length; HMAC pads shorter keys with zeroes (RFC 2104, section 2), so padding here
/// changes nothing.
fn hmac_key(input: &[u8]) -> Zeroizing<[u8; 64]> {
    let mut key = Zeroizing::new([0; 64]);
    key[..input.len()].copy_from_slice(input);
    key
}
