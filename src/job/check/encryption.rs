//! Encryption: mode, key reference and IV of one object.
//!
//! An `encryption` value comes in, an [`Encryption`] goes out; the rules between its fields (IV
//! length by mode, what goes with `aes-ctr` or `cobblestone` only) are checked here. No key
//! material passes: a key in the clear is refused, and nothing below `key` is repeated in a fault.

use std::collections::BTreeMap;

use super::walk::{Fields, Spot};
use crate::fault::Code;
use crate::job::{
    Base64, Encryption, GenerateKey, GenerateKeyring, GenerateKms, KeyBits, KeyRef, KeyringKey,
    KmsKey, Mode, limits,
};

/// Which end of the job an encryption belongs to.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    Input,
    Output,
    /// Of something that is made of the input, and may be made otherwise the next time.
    Companion,
}

/// Reads an `encryption` object.
pub(super) fn encryption(spot: &Spot<'_>, end: End) -> Option<Encryption> {
    spot.object(|f| {
        let mode = f.required("mode", |s| s.choice(&Mode::ALL.map(|m| (m.as_str(), m))));
        let key = f.required("key", |s| key_ref(s, end, mode));
        if end == End::Companion {
            let message =
                "each companion gets a fresh iv: its bytes may differ from attempt to attempt";
            f.forbidden("iv", Code::InvalidValue, message);
        }
        let iv_given = f.has("iv");
        let iv = f.optional("iv", |s| iv(s, mode));
        if let Some(mode) = mode {
            if end == End::Input && mode != Mode::Cobblestone && !iv_given {
                let message = format!("decrypting {} needs the iv", mode.as_str());
                f.refuse::<()>("iv", Code::MissingField, message);
            }
            refuse_misplaced(f, mode);
        }
        let ctr_start = f.optional("ctr_start", |s| {
            let readable = iv.is_some() || !iv_given;
            ctr_start(s, readable.then(|| iv.as_ref().map_or(0, |iv| iv.0.len())))
        });
        let cobblestone_context = f.optional("cobblestone_context", |s| {
            s.base64(limits::COBBLESTONE_CONTEXT_BYTES, Code::LimitExceeded)
        });
        let cpu_only = f.optional("cpu_only", Spot::flag);
        Some(Encryption {
            mode: mode?,
            key: key?,
            iv,
            ctr_start,
            cobblestone_context,
            cpu_only: cpu_only.unwrap_or(false),
        })
    })
}

/// Fields that belong to another mode.
fn refuse_misplaced(f: &Fields<'_, '_>, mode: Mode) {
    for (name, owner) in [
        ("ctr_start", Mode::AesCtr),
        ("cobblestone_context", Mode::Cobblestone),
    ] {
        if mode != owner && f.has(name) {
            let message = format!("goes with mode {} only", owner.as_str());
            f.refuse::<()>(name, Code::InvalidValue, message);
        }
    }
}

fn iv(spot: &Spot<'_>, mode: Option<Mode>) -> Option<Base64> {
    let iv = spot.base64(16, Code::InvalidIvLength)?;
    let expected = match (mode, iv.0.len()) {
        (Some(Mode::Cobblestone), _) => "cobblestone takes no iv: its salt stands in the object",
        (Some(Mode::AesCbcPkcs7), 16) | (None, 12 | 16) => return Some(iv),
        (Some(Mode::AesCtr | Mode::AesGcm), 12 | 16) => return Some(iv),
        (Some(Mode::AesCbcPkcs7), _) => "aes-cbc-pkcs7 takes an iv of 16 bytes",
        _ => "expected an iv of 12 or 16 bytes",
    };
    spot.refuse(Code::InvalidIvLength, expected)
}

/// `iv_bytes` is `None` where the iv is at fault itself, and nothing can be said about the two
/// together.
fn ctr_start(spot: &Spot<'_>, iv_bytes: Option<usize>) -> Option<u32> {
    match spot.integer()? {
        0 | 1 if iv_bytes.is_some_and(|bytes| bytes != 12) => {
            let message = "needs a 12-byte iv: the counter is the last four bytes of the block";
            spot.refuse(Code::InvalidValue, message)
        }
        start @ (0 | 1) => Some(start as u32),
        _ => spot.refuse(Code::InvalidValue, "expected 0 or 1"),
    }
}

fn key_ref(spot: &Spot<'_>, end: End, mode: Option<Mode>) -> Option<KeyRef> {
    if spot.is_text() {
        let message = "a key in the clear where a key reference belongs; it is not repeated here";
        return spot.refuse(Code::PlaintextKey, message);
    }
    spot.guarded().object(|f| {
        let kms = f.optional("kms", kms_key).map(KeyRef::Kms);
        let keyring = f.optional("keyring", keyring_key).map(KeyRef::Keyring);
        let generate = f.optional("generate", |s| match end {
            End::Output | End::Companion => generate(s, mode).map(KeyRef::Generate),
            End::Input => s.refuse(
                Code::InvalidValue,
                "a fresh key decrypts nothing: `generate` is for outputs",
            ),
        });
        for (name, message) in [
            (
                "secret",
                "this version does not read keys from Secrets Manager yet",
            ),
            (
                "speke",
                "this version does not ask SPEKE servers for keys yet",
            ),
        ] {
            f.forbidden(name, Code::Unsupported, message);
        }
        f.exactly_one([kms, keyring, generate])
    })
}

fn kms_key(spot: &Spot<'_>) -> Option<KmsKey> {
    spot.object(|f| {
        let ciphertext = f.required("ciphertext", |s| blob(s, limits::KMS_CIPHERTEXT_BYTES));
        let region = f.optional("region", region);
        let key_id = f.optional("key_id", key_id);
        let context = f.optional("context", context).unwrap_or_default();
        let ciphertext_md5 = f.optional("ciphertext_md5", md5);
        Some(KmsKey {
            ciphertext: ciphertext?,
            region,
            key_id,
            context,
            ciphertext_md5,
        })
    })
}

fn keyring_key(spot: &Spot<'_>) -> Option<KeyringKey> {
    spot.object(|f| {
        let wrapped = f.required("wrapped", |s| blob(s, limits::KEYRING_WRAPPED_BYTES));
        let context = f.optional("context", context).unwrap_or_default();
        Some(KeyringKey {
            wrapped: wrapped?,
            context,
        })
    })
}

fn generate(spot: &Spot<'_>, mode: Option<Mode>) -> Option<GenerateKey> {
    spot.object(|f| {
        let kms = f.optional("kms", |s| generate_kms(s, mode));
        let keyring = f.optional("keyring", |s| generate_keyring(s, mode));
        f.exactly_one([kms, keyring])
    })
}

fn generate_kms(spot: &Spot<'_>, mode: Option<Mode>) -> Option<GenerateKey> {
    spot.object(|f| {
        let key_id = f.required("key_id", key_id);
        let bits = f.required("bits", |s| bits(s, mode));
        let region = f.optional("region", region);
        let context = f.optional("context", context).unwrap_or_default();
        Some(GenerateKey::Kms(GenerateKms {
            key_id: key_id?,
            bits: bits?,
            region,
            context,
        }))
    })
}

fn generate_keyring(spot: &Spot<'_>, mode: Option<Mode>) -> Option<GenerateKey> {
    spot.object(|f| {
        let bits = f.required("bits", |s| bits(s, mode));
        let context = f.optional("context", context).unwrap_or_default();
        Some(GenerateKey::Keyring(GenerateKeyring {
            bits: bits?,
            context,
        }))
    })
}

fn bits(spot: &Spot<'_>, mode: Option<Mode>) -> Option<KeyBits> {
    match KeyBits::new(spot.integer()?) {
        None => spot.refuse(Code::InvalidKeyLength, "expected 128, 192 or 256"),
        Some(bits) if bits.bytes() == 24 && mode == Some(Mode::Cobblestone) => {
            spot.refuse(Code::InvalidKeyLength, "cobblestone takes 128 or 256 bits")
        }
        bits => bits,
    }
}

/// Ciphertext in base64: at least one byte.
fn blob(spot: &Spot<'_>, max: usize) -> Option<Base64> {
    let bytes = spot.base64(max, Code::LimitExceeded)?;
    if bytes.0.is_empty() {
        return spot.refuse(Code::InvalidValue, "empty");
    }
    Some(bytes)
}

fn md5(spot: &Spot<'_>) -> Option<Base64> {
    let digest = spot.base64(16, Code::InvalidValue)?;
    if digest.0.len() != 16 {
        return spot.refuse(Code::InvalidValue, "expected base64 of 16 bytes");
    }
    Some(digest)
}

fn key_id(spot: &Spot<'_>) -> Option<String> {
    spot.text(limits::KMS_KEY_ID_BYTES).map(Into::into)
}

fn region(spot: &Spot<'_>) -> Option<String> {
    spot.word(
        limits::REGION_BYTES,
        "a-z, 0-9 and '-'",
        |c| matches!(c, 'a'..='z' | '0'..='9' | '-'),
    )
}

/// A KMS encryption context, or the keyring's own.
pub(super) fn context(spot: &Spot<'_>) -> Option<BTreeMap<String, String>> {
    spot.map(limits::CONTEXT_ENTRIES, |_, value| {
        value.text_or_empty(limits::CONTEXT_BYTES).map(Into::into)
    })
}
