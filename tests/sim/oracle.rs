//! The oracle: what the bytes of an output must be, computed past the pipeline and on another
//! kernel, and which versions of a source met which keystream.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciphermill::job::Mode;
use ciphermill_cipher::cobblestone::Salt;
use ciphermill_cipher::{Form, PartAt};

use crate::jobs::{encryptor, key_bytes, key_name};
use crate::schedule::{JobSpec, KeySpec, PART_BYTES};
use crate::whole::seal;

/// Metadata of an object or upload.
pub type Metadata = BTreeMap<String, String>;

/// What one output was encrypted with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keystream {
    pub key: Vec<u8>,
    /// IV or salt.
    pub start: Vec<u8>,
}

/// What an output of a job must be, made of one plaintext.
pub struct Expected {
    /// The whole object.
    pub object: Vec<u8>,
    form: Form,
    /// None for an output that is not encrypted.
    pub keystream: Option<Keystream>,
}

/// What output `output` must be with this metadata, made of `plain`. `generated` opens wrapped keys
/// that the worker made. An error is metadata that no reader could use.
pub fn expected(
    job: &JobSpec,
    output: usize,
    plain: &[u8],
    metadata: &Metadata,
    generated: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<Expected, String> {
    let spec = &job.outputs[output];
    let get = |name: &str| {
        let text = metadata.get(name).ok_or(format!("{name} is missing"))?;
        STANDARD.decode(text).map_err(|e| format!("{name}: {e}"))
    };
    let Some(mode) = spec.mode else {
        return Ok(Expected {
            object: plain.to_vec(),
            form: Form::Plain,
            keystream: None,
        });
    };
    if metadata.get("ciphermill-mode").map(String::as_str) != Some(mode.as_str()) {
        return Err("the metadata names another mode".into());
    }
    let key = match spec.key {
        KeySpec::Generated => {
            let wrapped = get("ciphermill-key")?;
            generated(&wrapped).ok_or("the wrapped key does not open")?
        }
        KeySpec::Own | KeySpec::Shared | KeySpec::Alias => {
            key_bytes(&key_name(job, Some(output)), spec.key_bytes)
        }
    };
    let start = match mode {
        Mode::Cobblestone => get("ciphermill-salt")?,
        Mode::AesGcm | Mode::AesCtr | Mode::AesCbcPkcs7 => get("ciphermill-iv")?,
    };
    if spec.given_iv && start != crate::jobs::given_iv(job, output) {
        return Err("another iv than the job gave was used".into());
    }
    let salt = match mode {
        Mode::Cobblestone => start
            .as_slice()
            .try_into()
            .map_err(|_| "a salt of another length")?,
        Mode::AesGcm | Mode::AesCtr | Mode::AesCbcPkcs7 => [0; 24],
    };
    let cipher = encryptor(mode, &key, &start, Salt::existing(salt));
    Ok(Expected {
        object: seal(&cipher, plain, PART_BYTES),
        form: cipher.form(),
        keystream: Some(Keystream { key, start }),
    })
}

impl Expected {
    /// Whether this is part `number` of an upload of the object, from 1.
    pub fn has_part(&self, number: i32, body: &[u8]) -> bool {
        let before = usize::try_from(number - 1).expect("parts count from 1");
        let full = |index: usize| {
            let at = PartAt {
                offset: (index * PART_BYTES) as u64,
                last: false,
            };
            self.form.sealed_part_len(at, PART_BYTES)
        };
        let start: usize = (0..before).map(full).sum();
        let whole = body.len() == full(before) || start + body.len() == self.object.len();
        whole && self.object.get(start..start + body.len()) == Some(body)
    }
}
