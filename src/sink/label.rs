//! Label: what stands in an object's metadata about how it was made, so that a lost message is no
//! lost object. Never a key in the clear.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::TOKEN;
use crate::job::{Base64, JobDigest, Mode};

const FORMAT: &str = "ciphermill-format";
const MODE: &str = "ciphermill-mode";
const IV: &str = "ciphermill-iv";
const SALT: &str = "ciphermill-salt";
const KEY: &str = "ciphermill-key";
const JOB: &str = "ciphermill-job";
const DIGEST: &str = "ciphermill-digest";
const PLAIN_BYTES: &str = "ciphermill-plain-bytes";
const FORMAT_VERSION: &str = "1";

/// How one object was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Mode name; none for an object that we did not encrypt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Base64 of the IV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iv: Option<String>,
    /// Base64 of a cobblestone object's salt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// Base64 of a generated key's wrapped form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrapped_key: Option<String>,
    /// The attempt's token.
    pub token: String,
    /// Length of the plaintext, where it was known before the transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_bytes: Option<u64>,
}

impl Label {
    /// The label of an object in this mode.
    pub fn new(mode: Option<Mode>, token: &str) -> Label {
        Label {
            mode: mode.map(|mode| mode.as_str().into()),
            token: token.into(),
            ..Label::default()
        }
    }

    /// The wrapped key, decoded.
    pub fn wrapped(&self) -> Option<Base64> {
        self.wrapped_key.as_deref().and_then(Base64::decode)
    }

    /// Adds the label to an object's metadata.
    pub fn write(&self, metadata: &mut BTreeMap<String, String>, job_id: &str, digest: JobDigest) {
        let bytes = self.plain_bytes.map(|bytes| bytes.to_string());
        let pairs = [
            (FORMAT, Some(FORMAT_VERSION.into())),
            (MODE, self.mode.clone()),
            (IV, self.iv.clone()),
            (SALT, self.salt.clone()),
            (KEY, self.wrapped_key.clone()),
            (JOB, Some(job_id.into())),
            (DIGEST, Some(digest.to_string())),
            (TOKEN, Some(self.token.clone())),
            (PLAIN_BYTES, bytes),
        ];
        metadata.extend(
            pairs
                .into_iter()
                .filter_map(|(name, value)| Some((name.into(), value?))),
        );
    }

    /// Reads the label of an object that this very job wrote; `None` for all others.
    pub fn read(metadata: &BTreeMap<String, String>, digest: JobDigest) -> Option<Label> {
        let get = |name: &str| metadata.get(name).cloned();
        if get(FORMAT)? != FORMAT_VERSION || get(DIGEST)? != digest.to_string() {
            return None;
        }
        Some(Label {
            mode: get(MODE),
            iv: get(IV),
            salt: get(SALT),
            wrapped_key: get(KEY),
            token: get(TOKEN)?,
            plain_bytes: get(PLAIN_BYTES).and_then(|text| text.parse().ok()),
        })
    }
}
