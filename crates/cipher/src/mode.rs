//! Mode: a mode bound to its key and IV, as [`Encryptor`](super::Encryptor) and
//! [`Decryptor`](super::Decryptor) share it.

use super::cobblestone::Cobblestone;
use super::cpu::{Kernel, Keyed};
use super::ctr::CounterStart;
use super::gcm::Gcm;
use super::offload::DeviceKey;
use super::{Block, Form, Mark};
use crate::error::Result;
use crate::secret::Secret;

/// One object's mode, key and IV.
pub(super) enum Mode {
    Plain,
    Ctr(Box<dyn Keyed>, CounterStart, DeviceKey),
    Cbc(Box<dyn Keyed>, Block),
    Gcm(Gcm),
    Cobblestone(Cobblestone),
}

impl Mode {
    pub(super) fn ctr(
        kernel: &'static dyn Kernel,
        key: &Secret,
        start: CounterStart,
    ) -> Result<Mode> {
        let device_key = DeviceKey::new(key);
        Ok(Mode::Ctr(kernel.key(key)?, start, device_key))
    }

    pub(super) fn cbc(kernel: &'static dyn Kernel, key: &Secret, iv: Block) -> Result<Mode> {
        Ok(Mode::Cbc(kernel.key(key)?, iv))
    }

    pub(super) fn gcm(kernel: &'static dyn Kernel, key: &Secret, iv: &[u8]) -> Result<Mode> {
        Ok(Mode::Gcm(Gcm::new(kernel, key, iv)?))
    }

    /// The object's form.
    pub(super) fn form(&self) -> Form {
        match self {
            Mode::Plain => Form::Plain,
            Mode::Ctr(..) => Form::Ctr,
            Mode::Cbc(..) => Form::Cbc,
            Mode::Gcm(_) => Form::Gcm,
            Mode::Cobblestone(_) => Form::Cobblestone,
        }
    }

    /// Folds the mark of the next part into what the parts before it left.
    pub(super) fn fold(&self, before: Mark, next: Mark) -> Mark {
        match (self, before, next) {
            (Mode::Gcm(gcm), Mark::Ghash(left), Mark::Ghash(right)) => {
                Mark::Ghash(gcm.fold(left, right))
            }
            (_, _, next) => next,
        }
    }
}
