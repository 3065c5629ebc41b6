//! One object's decryption: mode, key and IV bound together, part by part.

use std::ops::Range;

use super::cobblestone::{CHUNK_BYTES, Cobblestone, HEADER_BYTES};
use super::cpu::{Kernel, Keyed};
use super::ctr::{self, CounterStart};
use super::gcm::Gcm;
use super::mode::Mode;
use super::{BLOCK_BYTES, Block, Form, Mark, PartAt, TAG_BYTES, cbc};
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Decrypts one object.
pub struct Decryptor {
    pub(super) mode: Mode,
    pub(super) cpu_only: bool,
}

/// What decrypting a part gave.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where the plaintext lies in the buffer.
    pub plain: Range<usize>,
    /// What it leaves for the whole.
    pub mark: Mark,
    /// The tag that stood at the object's end (last part of GCM).
    pub tag: Option<[u8; TAG_BYTES]>,
}

impl Decryptor {
    /// Takes the bytes as they are.
    pub fn plain() -> Decryptor {
        Decryptor::of(Mode::Plain)
    }

    /// aes-ctr from this counter block on.
    pub fn ctr(
        kernel: &'static dyn Kernel,
        key: &Secret,
        start: CounterStart,
    ) -> Result<Decryptor> {
        Mode::ctr(kernel, key, start).map(Decryptor::of)
    }

    /// aes-cbc-pkcs7 with this IV.
    pub fn cbc(kernel: &'static dyn Kernel, key: &Secret, iv: Block) -> Result<Decryptor> {
        Mode::cbc(kernel, key, iv).map(Decryptor::of)
    }

    /// aes-gcm with this IV.
    pub fn gcm(kernel: &'static dyn Kernel, key: &Secret, iv: &[u8]) -> Result<Decryptor> {
        Mode::gcm(kernel, key, iv).map(Decryptor::of)
    }

    /// cobblestone, opened by the object's header.
    pub fn cobblestone(
        kernel: &'static dyn Kernel,
        key: &Secret,
        header: &[u8; HEADER_BYTES],
        context: &[u8],
    ) -> Result<Decryptor> {
        let object = Cobblestone::open(kernel, key, header, context)?;
        Ok(Decryptor::of(Mode::Cobblestone(object)))
    }

    fn of(mode: Mode) -> Decryptor {
        Decryptor {
            mode,
            cpu_only: false,
        }
    }

    /// The same, but its key never goes to a device.
    #[must_use]
    pub fn on_cpu_only(self, cpu_only: bool) -> Decryptor {
        Decryptor { cpu_only, ..self }
    }

    /// The object's form.
    pub fn form(&self) -> Form {
        self.mode.form()
    }

    /// Decrypts, in place, the bytes of [`Form::read_range`] for one part.
    pub fn decrypt(&self, at: PartAt, data: &mut [u8]) -> Result<Opened> {
        let opened = |plain, mark| {
            Ok(Opened {
                plain,
                mark,
                tag: None,
            })
        };
        match &self.mode {
            Mode::Plain => opened(0..data.len(), Mark::None),
            Mode::Ctr(key, start, _) => {
                ctr::apply(key.as_ref(), *start, at.offset, (&mut *data).into());
                opened(0..data.len(), Mark::None)
            }
            Mode::Cbc(key, iv) => opened(decrypt_cbc(key.as_ref(), iv, at, data)?, Mark::None),
            Mode::Gcm(gcm) => decrypt_gcm(gcm, at, data),
            Mode::Cobblestone(object) => {
                let first = at.offset / CHUNK_BYTES as u64;
                let plain = object.decrypt(first, at.last, data)?;
                opened(0..plain, Mark::None)
            }
        }
    }

    /// Folds the mark of the next part into what the parts before it left.
    pub fn fold(&self, before: Mark, next: Mark) -> Mark {
        self.mode.fold(before, next)
    }

    /// Accepts or refuses the whole, once every part was folded. Only then may anything of it be
    /// published.
    pub fn verify(&self, whole: Mark, tag: Option<[u8; TAG_BYTES]>) -> Result<()> {
        let Mode::Gcm(gcm) = &self.mode else {
            return Ok(());
        };
        let tag = tag.ok_or(Error::DecryptFailed)?;
        gcm.verify(whole.partial(), &tag)
    }
}

fn decrypt_gcm(gcm: &Gcm, at: PartAt, data: &mut [u8]) -> Result<Opened> {
    let tag_bytes = if at.last { TAG_BYTES } else { 0 };
    let plain = data
        .len()
        .checked_sub(tag_bytes)
        .ok_or(Error::DecryptFailed)?;
    let (body, tag) = data.split_at_mut(plain);
    let tag = if at.last {
        <[u8; TAG_BYTES]>::try_from(&*tag).ok()
    } else {
        None
    };
    Ok(Opened {
        plain: 0..plain,
        mark: Mark::Ghash(gcm.decrypt(at.offset, body)),
        tag,
    })
}

/// A part that is not the first one brings the ciphertext block before it along.
fn decrypt_cbc(key: &dyn Keyed, iv: &Block, at: PartAt, data: &mut [u8]) -> Result<Range<usize>> {
    let before = if at.offset == 0 { 0 } else { BLOCK_BYTES };
    if data.len() < before || !(data.len() - before).is_multiple_of(BLOCK_BYTES) {
        return Err(Error::DecryptFailed);
    }
    let (previous, body) = data.split_at_mut(before);
    let previous = <Block>::try_from(&*previous).unwrap_or(*iv);
    key.cbc_decrypt(&previous, body);
    if !at.last {
        return Ok(before..data.len());
    }
    let end = body
        .last_chunk::<BLOCK_BYTES>()
        .ok_or(Error::DecryptFailed)?;
    let kept = cbc::unpadded(end)?;
    Ok(before..data.len() - BLOCK_BYTES + kept)
}
