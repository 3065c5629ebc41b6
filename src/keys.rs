//! Keys: a key reference comes in, a data key goes out.
//!
//! Behind one trait, [`KeySource`], stand the services of a worker ([`Keys`]: [`kms`], which is AWS
//! KMS and what speaks its protocol, and [`keyring`], the embedded default) and doubles for tests:
//! [`fixed`] keys, and [`faulty`], which lets any source fail. Key bytes leave this module only as
//! [`Secret`]; wrapped forms are public and go into results and object metadata. This module never
//! sees an object's bytes.

pub mod faulty;
pub mod fixed;
pub mod keyring;
pub mod kms;

use std::path::PathBuf;
use std::sync::Arc;

use ciphermill_cipher::cpu::check_key_length;
use ciphermill_cipher::secret::Secret;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::OnceCell;

use self::keyring::Keyring;
use self::kms::Kms;
use crate::aws::Aws;
use crate::fault::{Code, Fault, Result};
use crate::job::{Base64, GenerateKey, KeyRef};

/// A data key.
pub struct DataKey {
    /// The key bytes: 16, 24 or 32.
    pub secret: Arc<Secret>,
    /// The wrapped form, of a key that was generated for this job.
    pub generated: Option<Base64>,
}

/// Where data keys come from.
pub trait KeySource: Send + Sync {
    /// Unwraps, or makes, the key that `reference` names. Faults name the place below `pointer`, the
    /// JSON pointer of the reference in its job.
    fn fetch<'a>(
        &'a self,
        reference: &'a KeyRef,
        pointer: &'a str,
    ) -> BoxFuture<'a, Result<DataKey>>;

    /// Whether the source answers at all, asked without any job's key: after a job could not reach
    /// it.
    fn reachable(&self) -> BoxFuture<'_, Result<()>>;
}

/// The key services of a worker: KMS and a keyring.
pub struct Keys {
    kms: Kms,
    keyring_file: PathBuf,
    keyring: OnceCell<Keyring>,
}

impl Keys {
    /// `allow_kms_keys` limits which KMS keys jobs can use.
    pub fn new(aws: Aws, allow_kms_keys: Option<Vec<String>>, keyring_file: PathBuf) -> Keys {
        Keys {
            kms: Kms::new(aws, allow_kms_keys),
            keyring_file,
            keyring: OnceCell::new(),
        }
    }

    async fn data_key(&self, reference: &KeyRef, pointer: &str) -> Result<DataKey> {
        let fetched = match reference {
            KeyRef::Kms(key) => self.kms.unwrap(key).await.map(|secret| (secret, None)),
            KeyRef::Keyring(key) => {
                let keyring = self.keyring().await;
                keyring.and_then(|ring| Ok((ring.unwrap_key(&key.wrapped.0, &key.context)?, None)))
            }
            KeyRef::Generate(GenerateKey::Kms(wanted)) => {
                let made = self.kms.generate(wanted).await;
                made.map(|(secret, key)| (secret, Some(key.ciphertext)))
            }
            KeyRef::Generate(GenerateKey::Keyring(wanted)) => {
                let made = self.keyring().await.and_then(|ring| ring.generate(wanted));
                made.map(|(secret, key)| (secret, Some(key.wrapped)))
            }
        };
        let (secret, generated) = fetched.map_err(|fault| fault.at(pointer))?;
        check_key_length(secret.expose().len()).map_err(|e| Fault::from(e).at(pointer))?;
        Ok(DataKey {
            secret: Arc::new(secret),
            generated,
        })
    }

    async fn keyring(&self) -> Result<&Keyring> {
        self.keyring
            .get_or_try_init(async || Keyring::open(&self.keyring_file))
            .await
    }
}

impl KeySource for Keys {
    fn fetch<'a>(
        &'a self,
        reference: &'a KeyRef,
        pointer: &'a str,
    ) -> BoxFuture<'a, Result<DataKey>> {
        self.data_key(reference, pointer).boxed()
    }

    /// Asks the KMS of the worker's own region.
    fn reachable(&self) -> BoxFuture<'_, Result<()>> {
        self.kms.reachable().boxed()
    }
}

/// The one text for a wrapped key that does not open.
fn refused(what: &str) -> Fault {
    Fault::new(
        Code::KeyRefused,
        format!("the {what} does not unwrap this key in this context"),
    )
}
