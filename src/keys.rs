//! Keys: a key reference comes in, a data key goes out.
//!
//! Two services unwrap data keys: [`kms`] (AWS KMS and what speaks its protocol) and [`keyring`],
//! the embedded default. Key bytes leave this room only as [`Secret`]; wrapped forms are public and
//! go into results and object metadata. This room never sees an object's bytes.

pub mod keyring;
pub mod kms;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::OnceCell;

use self::keyring::Keyring;
use self::kms::Kms;
use crate::aws::Aws;
use crate::fault::{Code, Fault, Result};
use crate::job::{Base64, GenerateKey, KeyRef};
use ciphermill_cipher::cpu::check_key_length;
use ciphermill_cipher::secret::Secret;

/// A data key.
pub struct DataKey {
    /// The key bytes: 16, 24 or 32.
    pub secret: Arc<Secret>,
    /// The wrapped form, of a key that was generated for this job.
    pub generated: Option<Base64>,
}

/// All key services.
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

    /// Unwraps, or makes, the key that `reference` names. Faults name the place below `pointer`.
    pub async fn fetch(&self, reference: &KeyRef, pointer: &str) -> Result<DataKey> {
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

    /// Whether the key service of the worker's own region answers at all.
    pub async fn reachable(&self) -> Result<()> {
        self.kms.reachable().await
    }

    async fn keyring(&self) -> Result<&Keyring> {
        self.keyring
            .get_or_try_init(async || Keyring::open(&self.keyring_file))
            .await
    }
}

/// The one text for a wrapped key that does not open.
fn refused(what: &str) -> Fault {
    Fault::new(
        Code::KeyRefused,
        format!("the {what} does not unwrap this key in this context"),
    )
}
