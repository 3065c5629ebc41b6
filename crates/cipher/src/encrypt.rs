//! One object's encryption: mode, key and IV bound together, part by part.

use std::ops::Range;

use super::cobblestone::{CHUNK_BYTES, Cobblestone, HEADER_BYTES, Salt};
use super::cpu::{CbcStream, Data, Kernel};
use super::ctr::{self, CounterStart};
use super::mode::Mode;
use super::{Block, Form, Mark, PartAt, TAG_BYTES, cbc};
use crate::error::Result;
use crate::secret::Secret;

/// A part is ciphered in steps of so many bytes of plaintext: what has to be done with the
/// ciphertext is done while it is in the second-level cache.
const STEP_BYTES: usize = 256 * 1024;

/// Encrypts one object. Not `Clone`, and made for one plaintext: its IV or salt serves once.
pub struct Encryptor {
    pub(super) mode: Mode,
    /// `None` for a copy.
    kernel: Option<&'static dyn Kernel>,
    pub(super) cpu_only: bool,
}

/// One step of an object's encryption, to be done together with those of other objects.
pub struct Step<'a> {
    /// The object's cipher.
    pub cipher: &'a Encryptor,
    /// Where it stands: a part of its own.
    pub at: PartAt,
    /// The mark of what is right before it; afterwards its own.
    pub mark: &'a mut Mark,
    /// Its plaintext.
    pub plain: &'a [u8],
    /// Room for its ciphertext, of exactly [`Form::sealed_part_len`].
    pub out: &'a mut [u8],
}

impl Encryptor {
    /// Copies the plaintext.
    pub fn plain() -> Encryptor {
        Encryptor {
            mode: Mode::Plain,
            kernel: None,
            cpu_only: false,
        }
    }

    /// aes-ctr from this counter block on.
    pub fn ctr(
        kernel: &'static dyn Kernel,
        key: &Secret,
        start: CounterStart,
    ) -> Result<Encryptor> {
        Ok(Encryptor::of(kernel, Mode::ctr(kernel, key, start)?))
    }

    /// aes-cbc-pkcs7 with this IV.
    pub fn cbc(kernel: &'static dyn Kernel, key: &Secret, iv: Block) -> Result<Encryptor> {
        Ok(Encryptor::of(kernel, Mode::cbc(kernel, key, iv)?))
    }

    /// aes-gcm with this IV.
    pub fn gcm(kernel: &'static dyn Kernel, key: &Secret, iv: &[u8]) -> Result<Encryptor> {
        Ok(Encryptor::of(kernel, Mode::gcm(kernel, key, iv)?))
    }

    /// cobblestone with this salt, which is used up.
    pub fn cobblestone(
        kernel: &'static dyn Kernel,
        key: &Secret,
        salt: Salt,
        context: &[u8],
    ) -> Result<Encryptor> {
        let object = Cobblestone::new(kernel, key, &salt, context)?;
        Ok(Encryptor::of(kernel, Mode::Cobblestone(object)))
    }

    fn of(kernel: &'static dyn Kernel, mode: Mode) -> Encryptor {
        Encryptor {
            mode,
            kernel: Some(kernel),
            cpu_only: false,
        }
    }

    /// The same, but its key never goes to a device.
    #[must_use]
    pub fn on_cpu_only(self, cpu_only: bool) -> Encryptor {
        Encryptor { cpu_only, ..self }
    }

    /// The kernel that computes it (`none` for a copy).
    pub fn kernel(&self) -> &'static str {
        self.kernel.map_or("none", Kernel::name)
    }

    /// The object's form.
    pub fn form(&self) -> Form {
        self.mode.form()
    }

    /// Whether each part needs the mark of the one before it.
    pub fn is_serial(&self) -> bool {
        matches!(self.mode, Mode::Cbc(..))
    }

    /// Bytes at the object's end that [`Encryptor::finish`] gives.
    pub fn tag_bytes(&self) -> usize {
        if matches!(self.mode, Mode::Gcm(_)) {
            TAG_BYTES
        } else {
            0
        }
    }

    /// Encrypts one part into `out`, which is exactly [`Form::sealed_part_len`] long. `before` is
    /// the mark of the part before it where the mode is serial, and ignored elsewhere. The tag of a
    /// last GCM part is left for [`Encryptor::finish`]. Every stretch of ciphertext is shown to
    /// `ready` in order, still warm.
    pub fn encrypt(
        &self,
        at: PartAt,
        before: Mark,
        plain: &[u8],
        out: &mut [u8],
        mut ready: impl FnMut(&[u8]),
    ) -> Mark {
        let mut mark = if self.is_serial() { before } else { Mark::None };
        let mut rest = out;
        for (at, range) in steps(at, plain.len()) {
            let plain = &plain[range];
            let (out, left) = rest.split_at_mut(self.form().sealed_part_len(at, plain.len()));
            mark = self.step(at, mark, plain, out);
            let tag_bytes = if at.last { self.tag_bytes() } else { 0 };
            ready(&out[..out.len() - tag_bytes]);
            rest = left;
        }
        debug_assert!(rest.is_empty());
        mark
    }

    /// Encrypts what follows `mark` in the same part.
    fn step(&self, at: PartAt, mark: Mark, plain: &[u8], out: &mut [u8]) -> Mark {
        match &self.mode {
            Mode::Plain => {
                out.copy_from_slice(plain);
                Mark::None
            }
            Mode::Ctr(key, start, _) => {
                if let Ok(data) = Data::new(plain, out) {
                    ctr::apply(key.as_ref(), *start, at.offset, data);
                }
                Mark::None
            }
            Mode::Cbc(key, iv) => {
                let mut chain = chain(mark, *iv);
                let (body, end) = cbc::parts(plain, out);
                key.cbc_encrypt(&mut chain, body);
                cbc::pad(key.as_ref(), &mut chain, plain, end);
                Mark::Chain(chain)
            }
            Mode::Gcm(gcm) => {
                Mark::Ghash(gcm.encrypt(at.offset, mark.partial(), plain, &mut out[..plain.len()]))
            }
            Mode::Cobblestone(object) => {
                let header = if at.offset == 0 { HEADER_BYTES } else { 0 };
                let (head, body) = out.split_at_mut(header);
                head.copy_from_slice(&object.header()[..header]);
                object.encrypt(at.offset / CHUNK_BYTES as u64, at.last, plain, body);
                Mark::None
            }
        }
    }

    /// Folds the mark of the next part into what the parts before it left.
    pub fn fold(&self, before: Mark, next: Mark) -> Mark {
        self.mode.fold(before, next)
    }

    /// The bytes that end the object and depend on all of it: the tag of GCM.
    pub fn finish(&self, whole: Mark) -> Option<[u8; TAG_BYTES]> {
        match &self.mode {
            Mode::Gcm(gcm) => Some(gcm.tag(whole.partial())),
            _ => None,
        }
    }
}

/// Encrypts one step of many objects at once. Those of serial modes share the lanes of one kernel,
/// which is how CBC gets fast: alone, each would wait for its own last block.
pub fn encrypt_together(steps: &mut [Step<'_>]) {
    let mut streams = Vec::with_capacity(steps.len());
    let mut ends = Vec::with_capacity(steps.len());
    let mut kernel = None;
    for step in steps {
        let Step {
            cipher,
            at,
            mark,
            plain,
            out,
        } = step;
        let Mode::Cbc(key, iv) = &cipher.mode else {
            **mark = cipher.step(*at, **mark, plain, out);
            continue;
        };
        kernel = kernel.or(cipher.kernel);
        let key = key.as_ref();
        let (data, end) = cbc::parts(plain, out);
        streams.push(CbcStream {
            key,
            chain: chain(**mark, *iv),
            data,
        });
        ends.push((key, mark, *plain, end));
    }
    if let Some(kernel) = kernel {
        kernel.cbc_encrypt(&mut streams);
    }
    for (stream, (key, mark, plain, end)) in streams.into_iter().zip(ends) {
        let mut chain = stream.chain;
        cbc::pad(key, &mut chain, plain, end);
        **mark = Mark::Chain(chain);
    }
}

/// Cuts a part of so many bytes into steps, each a part of its own. At least one.
pub(super) fn steps(at: PartAt, bytes: usize) -> impl Iterator<Item = (PartAt, Range<usize>)> {
    let count = bytes.div_ceil(STEP_BYTES).max(1);
    (0..count).map(move |index| {
        let start = index * STEP_BYTES;
        let at = PartAt {
            offset: at.offset + start as u64,
            last: at.last && index + 1 == count,
        };
        (at, start..bytes.min(start + STEP_BYTES))
    })
}

fn chain(mark: Mark, iv: Block) -> Block {
    if let Mark::Chain(block) = mark {
        block
    } else {
        iv
    }
}
