//! AWS KMS, and services that speak its protocol: Decrypt and GenerateDataKey with encryption
//! context.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use aws_sdk_kms::Client;
use aws_sdk_kms::config::Region;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use ciphermill_cipher::secret::Secret;
use md5::{Digest, Md5};

use super::refused;
use crate::aws::{self, Answer, Aws};
use crate::fault::{Code, Fault, Result};
use crate::job::{Base64, GenerateKms, KmsKey};

/// Clients kept, one a region. Jobs name regions, so there must be a bound.
const MOST_REGIONS: usize = 64;

/// KMS in as many regions as jobs name.
pub struct Kms {
    aws: Aws,
    allow: Option<Vec<String>>,
    clients: Mutex<HashMap<Option<String>, Client>>,
}

impl Kms {
    /// `allow` limits which keys jobs can use: ids, ARNs or aliases.
    pub fn new(aws: Aws, allow: Option<Vec<String>>) -> Kms {
        Kms {
            aws,
            allow,
            clients: Mutex::default(),
        }
    }

    /// KMS Decrypt. The MD5 of the blob is checked before KMS is asked.
    pub async fn unwrap(&self, key: &KmsKey) -> Result<Secret> {
        check_md5(key)?;
        let client = self.client(key.region.as_deref()).await;
        let answer = client
            .decrypt()
            .ciphertext_blob(Blob::new(key.ciphertext.0.clone()))
            .set_key_id(key.key_id.clone())
            .set_encryption_context(context(&key.context))
            .send()
            .await
            .map_err(|e| fault(&e, key.region.is_some()))?;
        // KMS itself makes sure that a key id in the request is the one that wrapped the blob.
        let named = key.key_id.as_deref().is_some_and(|id| self.allows(id));
        if !named && !answer.key_id().is_some_and(|arn| self.allows(arn)) {
            return Err(not_allowed(answer.key_id().unwrap_or("without a name")));
        }
        let plaintext = answer.plaintext.ok_or_else(|| refused("key service"))?;
        Ok(Secret::new(plaintext.into_inner()))
    }

    /// KMS GenerateDataKey; the returned reference yields the same key.
    pub async fn generate(&self, wanted: &GenerateKms) -> Result<(Secret, KmsKey)> {
        if !self.allows(&wanted.key_id) {
            return Err(not_allowed(&wanted.key_id));
        }
        let client = self.client(wanted.region.as_deref()).await;
        let answer = client
            .generate_data_key()
            .key_id(&wanted.key_id)
            .number_of_bytes(wanted.bits.bytes() as i32)
            .set_encryption_context(context(&wanted.context))
            .send()
            .await
            .map_err(|e| fault(&e, wanted.region.is_some()))?;
        let (Some(plaintext), Some(blob)) = (answer.plaintext, answer.ciphertext_blob) else {
            return Err(refused("key service"));
        };
        let key = KmsKey {
            ciphertext: Base64(blob.into_inner()),
            region: wanted.region.clone(),
            key_id: answer.key_id,
            context: wanted.context.clone(),
            ciphertext_md5: None,
        };
        Ok((Secret::new(plaintext.into_inner()), key))
    }

    /// KMS Encrypt, for `keys wrap`.
    pub async fn wrap(&self, key: &Secret, wanted: &GenerateKms) -> Result<KmsKey> {
        let client = self.client(wanted.region.as_deref()).await;
        let answer = client
            .encrypt()
            .key_id(&wanted.key_id)
            .plaintext(Blob::new(key.expose()))
            .set_encryption_context(context(&wanted.context))
            .send()
            .await
            .map_err(|e| fault(&e, wanted.region.is_some()))?;
        let blob = answer
            .ciphertext_blob
            .ok_or_else(|| refused("key service"))?;
        Ok(KmsKey {
            ciphertext: Base64(blob.into_inner()),
            region: wanted.region.clone(),
            key_id: answer.key_id,
            context: wanted.context.clone(),
            ciphertext_md5: None,
        })
    }

    async fn client(&self, region: Option<&str>) -> Client {
        let config = self.aws.config().await;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let build = || {
            let builder = aws_sdk_kms::config::Builder::from(config);
            let region = region.map(|name| Region::new(name.to_owned()));
            let region = region.or_else(|| config.region().cloned());
            Client::from_conf(builder.region(region).build())
        };
        if clients.len() >= MOST_REGIONS {
            clients.clear();
        }
        clients
            .entry(region.map(Into::into))
            .or_insert_with(build)
            .clone()
    }

    /// Whether the service of the worker's own region answers at all.
    pub async fn reachable(&self) -> Result<()> {
        let answer = self.client(None).await.list_keys().limit(1).send().await;
        match answer.map_err(|e| fault(&e, false)) {
            Err(fault) if fault.code == Code::KeyServiceDown => Err(fault),
            _ => Ok(()),
        }
    }

    /// A name on the list matches itself, and an ARN that ends with it.
    fn allows(&self, key: &str) -> bool {
        let Some(allow) = &self.allow else {
            return true;
        };
        // An ARN of a key names one key; an ARN of an alias could be any account's.
        allow
            .iter()
            .any(|name| key == name || key.ends_with(&format!(":key/{name}")))
    }
}

/// Elastic Transcoder's `KeyMd5` is the MD5 of the ciphertext blob, not of the key.
fn check_md5(key: &KmsKey) -> Result<()> {
    let Some(expected) = &key.ciphertext_md5 else {
        return Ok(());
    };
    let actual = Md5::digest(&key.ciphertext.0);
    if actual.as_slice() == expected.0 {
        return Ok(());
    }
    let message = format!(
        "the ciphertext's MD5 is {}, not {expected}",
        Base64(actual.to_vec())
    );
    Err(Fault::new(Code::KeyDigestMismatch, message))
}

fn context(pairs: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!pairs.is_empty()).then(|| pairs.clone().into_iter().collect())
}

fn not_allowed(key: &str) -> Fault {
    Fault::new(
        Code::KeyNotAllowed,
        format!("the KMS key {key} is not on this worker's list"),
    )
}

/// `foreign_region`: a region that a job names may not exist, so its silence is not taken for an
/// outage.
fn fault<E>(error: &SdkError<E, HttpResponse>, foreign_region: bool) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Answer { status, code, text } = Answer::of(error);
    let down = if foreign_region {
        Code::KeyRegionDown
    } else {
        Code::KeyServiceDown
    };
    let fault_code = if aws::is_credentials_code(code) {
        down
    } else {
        classify(status, code, down)
    };
    let said = match status {
        0 => format!("the key service does not answer: {}", aws::chain(error)),
        _ => format!("the key service answered {status} {code}: {text}"),
    };
    Fault::new(fault_code, said)
}

fn classify(status: u16, code: &str, down: Code) -> Code {
    match code {
        "DisabledException" | "KMSInvalidStateException" => Code::KeyDisabled,
        "NotFoundException" => Code::KeyNotFound,
        "AccessDeniedException" => Code::KeyDenied,
        // The store behind this one key is out of reach: not an outage of the service.
        "KeyUnavailableException" => Code::KeyRegionDown,
        "DependencyTimeoutException"
        | "KMSInternalException"
        | "ThrottlingException"
        | "LimitExceededException" => down,
        _ if status == 0 || status >= 500 || status == 429 => down,
        _ => Code::KeyRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_md5_is_that_of_the_blob() {
        let mut key = KmsKey {
            ciphertext: Base64(b"blob".to_vec()),
            region: None,
            key_id: None,
            context: BTreeMap::new(),
            ciphertext_md5: Some(Base64(Md5::digest(b"blob").to_vec())),
        };
        assert!(check_md5(&key).is_ok());
        key.ciphertext_md5 = Some(Base64(vec![0; 16]));
        assert_eq!(
            check_md5(&key).err().map(|f| f.code),
            Some(Code::KeyDigestMismatch)
        );
    }

    #[test]
    fn the_list_matches_ids_arns_and_aliases() {
        let kms = Kms::new(
            Aws::default(),
            Some(vec!["1234".into(), "alias/media".into()]),
        );
        assert!(kms.allows("1234"));
        assert!(kms.allows("arn:aws:kms:eu-west-1:111122223333:key/1234"));
        assert!(kms.allows("alias/media"));
        assert!(!kms.allows("arn:aws:kms:eu-west-1:111122223333:alias/media"));
        assert!(!kms.allows("arn:aws:kms:eu-west-1:111122223333:key/99991234"));
        assert!(!kms.allows("12345"));
    }

    #[test]
    fn an_outage_is_told_from_a_refusal() {
        assert_eq!(
            classify(400, "InvalidCiphertextException", Code::KeyServiceDown),
            Code::KeyRefused
        );
        assert_eq!(
            classify(400, "ThrottlingException", Code::KeyServiceDown),
            Code::KeyServiceDown
        );
        assert_eq!(classify(0, "", Code::KeyRegionDown), Code::KeyRegionDown);
        assert_eq!(
            classify(400, "DisabledException", Code::KeyServiceDown),
            Code::KeyDisabled
        );
    }
}
