//! One object's encryption: mode, key and IV bound together, part by part.

use super::cobblestone::{CHUNK_BYTES, Cobblestone, HEADER_BYTES, Salt};
use super::cpu::{Data, Kernel, Keyed};
use super::ctr::{self, CounterStart};
use super::gcm::{Gcm, Partial};
use super::{Block, Form, Mark, PartAt, TAG_BYTES, cbc};
use crate::fault::Result;
use crate::secret::Secret;

/// Encrypts one object. Not `Clone`, and made for one plaintext: its IV or salt serves once.
pub struct Encryptor {
    mode: ModeKey,
    kernel: &'static str,
}

enum ModeKey {
    Plain,
    Ctr(Box<dyn Keyed>, CounterStart),
    Cbc(Box<dyn Keyed>, Block),
    Gcm(Gcm),
    Cobblestone(Cobblestone),
}

impl Encryptor {
    /// Copies the plaintext.
    pub fn plain() -> Encryptor {
        Encryptor {
            mode: ModeKey::Plain,
            kernel: "none",
        }
    }

    /// aes-ctr from this counter block on.
    pub fn ctr(
        kernel: &'static dyn Kernel,
        key: &Secret,
        start: CounterStart,
    ) -> Result<Encryptor> {
        Ok(Encryptor {
            mode: ModeKey::Ctr(kernel.key(key)?, start),
            kernel: kernel.name(),
        })
    }

    /// aes-cbc-pkcs7 with this IV.
    pub fn cbc(kernel: &'static dyn Kernel, key: &Secret, iv: Block) -> Result<Encryptor> {
        Ok(Encryptor {
            mode: ModeKey::Cbc(kernel.key(key)?, iv),
            kernel: kernel.name(),
        })
    }

    /// aes-gcm with this IV.
    pub fn gcm(kernel: &'static dyn Kernel, key: &Secret, iv: &[u8]) -> Result<Encryptor> {
        Ok(Encryptor {
            mode: ModeKey::Gcm(Gcm::new(kernel, key, iv)?),
            kernel: kernel.name(),
        })
    }

    /// cobblestone with this salt, which is used up.
    pub fn cobblestone(
        kernel: &'static dyn Kernel,
        key: &Secret,
        salt: Salt,
        context: &[u8],
    ) -> Result<Encryptor> {
        let object = Cobblestone::new(kernel, key, &salt, context)?;
        Ok(Encryptor {
            mode: ModeKey::Cobblestone(object),
            kernel: kernel.name(),
        })
    }

    /// The kernel that computes it (`none` for a copy).
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// The object's form.
    pub fn form(&self) -> Form {
        match self.mode {
            ModeKey::Plain => Form::Plain,
            ModeKey::Ctr(..) => Form::Ctr,
            ModeKey::Cbc(..) => Form::Cbc,
            ModeKey::Gcm(_) => Form::Gcm,
            ModeKey::Cobblestone(_) => Form::Cobblestone,
        }
    }

    /// Whether each part needs the mark of the one before it.
    pub fn is_serial(&self) -> bool {
        matches!(self.mode, ModeKey::Cbc(..))
    }

    /// Bytes at the object's end that [`Encryptor::finish`] gives.
    pub fn tag_bytes(&self) -> usize {
        if matches!(self.mode, ModeKey::Gcm(_)) {
            TAG_BYTES
        } else {
            0
        }
    }

    /// Encrypts one part into `out`, which is exactly [`Form::sealed_part_len`] long. `before` is
    /// the mark of the part before it where the mode is serial, and ignored elsewhere. The tag of a
    /// last GCM part is left for [`Encryptor::finish`].
    pub fn encrypt(&self, at: PartAt, before: Mark, plain: &[u8], out: &mut [u8]) -> Mark {
        debug_assert_eq!(out.len(), self.form().sealed_part_len(at, plain.len()));
        match &self.mode {
            ModeKey::Plain => {
                out.copy_from_slice(plain);
                Mark::None
            }
            ModeKey::Ctr(key, start) => {
                if let Ok(data) = Data::new(plain, out) {
                    ctr::apply(key.as_ref(), *start, at.offset, data);
                }
                Mark::None
            }
            ModeKey::Cbc(key, iv) => {
                let chain = if let Mark::Chain(block) = before {
                    block
                } else {
                    *iv
                };
                Mark::Chain(cbc::encrypt(key.as_ref(), chain, plain, out))
            }
            ModeKey::Gcm(gcm) => {
                Mark::Ghash(gcm.encrypt(at.offset, plain, &mut out[..plain.len()]))
            }
            ModeKey::Cobblestone(object) => {
                let header = if at.offset == 0 { HEADER_BYTES } else { 0 };
                out[..header].copy_from_slice(&object.header()[..header]);
                object.encrypt(
                    at.offset / CHUNK_BYTES as u64,
                    at.last,
                    plain,
                    &mut out[header..],
                );
                Mark::None
            }
        }
    }

    /// Folds the mark of the next part into what the parts before it left.
    pub fn fold(&self, before: Mark, next: Mark) -> Mark {
        match (&self.mode, before, next) {
            (ModeKey::Gcm(gcm), Mark::Ghash(left), Mark::Ghash(right)) => {
                Mark::Ghash(gcm.fold(left, right))
            }
            (_, _, next) => next,
        }
    }

    /// The bytes that end the object and depend on all of it: the tag of GCM.
    pub fn finish(&self, whole: Mark) -> Option<[u8; TAG_BYTES]> {
        match (&self.mode, whole) {
            (ModeKey::Gcm(gcm), Mark::Ghash(partial)) => Some(gcm.tag(partial)),
            (ModeKey::Gcm(gcm), _) => Some(gcm.tag(Partial::default())),
            _ => None,
        }
    }
}
