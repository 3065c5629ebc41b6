//! Fixed keys, for tests: a table of wrapped keys comes in, the same data keys go out every time.
//!
//! A wrapped key is any name; KMS and keyring references are looked up alike, whatever their
//! context. Generated keys are derived from a seed and counted, so that a run can be repeated, and
//! are found by their wrapped form afterwards. Never for a worker: nothing here is secret.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ciphermill_cipher::secret::Secret;
use futures_util::future::{BoxFuture, FutureExt, ready};
use sha2::{Digest, Sha256};

use super::{DataKey, KeySource, refused};
use crate::fault::Result;
use crate::job::{Base64, GenerateKey, KeyBits, KeyRef};

/// A key source without a service.
pub struct FixedKeys {
    seed: u64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    keys: BTreeMap<Vec<u8>, Vec<u8>>,
    generated: u64,
}

impl FixedKeys {
    /// No keys; those that are generated follow from the seed.
    pub fn new(seed: u64) -> FixedKeys {
        FixedKeys {
            seed,
            table: Mutex::default(),
        }
    }

    /// Adds a key of 16, 24 or 32 bytes under its wrapped form.
    #[must_use]
    pub fn with(self, wrapped: &[u8], key: &[u8]) -> FixedKeys {
        self.table().keys.insert(wrapped.to_vec(), key.to_vec());
        self
    }

    /// The bytes of a key that was added or generated.
    pub fn key_of(&self, wrapped: &[u8]) -> Option<Vec<u8>> {
        self.table().keys.get(wrapped).cloned()
    }

    fn generate(&self, bits: KeyBits) -> Vec<u8> {
        let mut table = self.table();
        table.generated += 1;
        let wrapped = format!("generated-{}", table.generated).into_bytes();
        let mut hash = Sha256::new_with_prefix(self.seed.to_be_bytes());
        hash.update(table.generated.to_be_bytes());
        let key = hash.finalize()[..bits.bytes()].to_vec();
        table.keys.insert(wrapped.clone(), key);
        wrapped
    }

    fn find(&self, reference: &KeyRef) -> Result<DataKey> {
        let (wrapped, generated) = match reference {
            KeyRef::Kms(key) => (key.ciphertext.0.clone(), false),
            KeyRef::Keyring(key) => (key.wrapped.0.clone(), false),
            KeyRef::Generate(GenerateKey::Kms(wanted)) => (self.generate(wanted.bits), true),
            KeyRef::Generate(GenerateKey::Keyring(wanted)) => (self.generate(wanted.bits), true),
        };
        let key = self.key_of(&wrapped).ok_or_else(|| refused("table"))?;
        Ok(DataKey {
            secret: Arc::new(Secret::new(key)),
            generated: generated.then_some(Base64(wrapped)),
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeySource for FixedKeys {
    fn fetch<'a>(
        &'a self,
        reference: &'a KeyRef,
        pointer: &'a str,
    ) -> BoxFuture<'a, Result<DataKey>> {
        let found = self.find(reference);
        ready(found.map_err(|fault| fault.at(pointer))).boxed()
    }

    fn reachable(&self) -> BoxFuture<'_, Result<()>> {
        ready(Ok(())).boxed()
    }
}
