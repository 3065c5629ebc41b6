//! Keys that cannot be had, or may not be used as the job says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::world::Jobs;
use crate::support::noise;
use crate::support::store::Kms;

/// What the keyring refuses.
pub fn keyring(jobs: &mut Jobs<'_>) {
    let bench = jobs.bench;
    let at = "/outputs/0/encryption/key";
    let (_, good) = bench.key(32);
    let wrapped = STANDARD
        .decode(good["keyring"]["wrapped"].as_str().unwrap())
        .unwrap();
    let changed = |index: usize| {
        let mut wrapped = wrapped.clone();
        wrapped[index] ^= 1;
        json!({ "keyring": { "wrapped": STANDARD.encode(wrapped) } })
    };
    jobs.key(
        "keyring: one bit",
        "key_refused",
        at,
        changed(wrapped.len() - 1),
    );
    jobs.key("keyring: another keyring", "key_refused", at, changed(3));
    jobs.key(
        "keyring: garbage",
        "key_refused",
        at,
        json!({ "keyring": { "wrapped": STANDARD.encode(noise(61, 9)) } }),
    );
    jobs.key(
        "keyring: cut",
        "key_refused",
        at,
        json!({ "keyring": { "wrapped": STANDARD.encode(&wrapped[..12]) } }),
    );
    let mut bound = bench.wrap(&noise(32, 10), &[("film", "42")]);
    bound["keyring"]["context"] = json!({ "film": "43" });
    jobs.key("keyring: wrong context", "key_refused", at, bound);
    jobs.key(
        "keyring: no key length",
        "invalid_key_length",
        at,
        bench.wrap(&noise(20, 11), &[]),
    );
    let (_, middle) = bench.key(24);
    jobs.key(
        "cobblestone with 192 bits",
        "invalid_key_length",
        "/outputs/0/encryption",
        middle,
    );
    let generate = json!({ "generate": { "keyring": { "bits": 192 } } });
    jobs.key(
        "generate 192 bits",
        "invalid_key_length",
        "/outputs/0/encryption/key/generate/keyring/bits",
        generate,
    );
}

/// P13: a key serves one mode, and no two plaintexts meet the same keystream.
pub fn reuse(jobs: &mut Jobs<'_>) {
    let bench = jobs.bench;
    for (name, second, iv, code) in [
        ("a key in two modes", "aes-cbc-pkcs7", 16, "key_reuse"),
        ("a gcm iv twice", "aes-gcm", 12, "keystream_reuse"),
        ("a keystream twice", "aes-ctr", 16, "keystream_reuse"),
    ] {
        let (_, key) = bench.key(16);
        let first = if code == "key_reuse" {
            "aes-ctr"
        } else {
            second
        };
        let iv_of = |mode: &str| {
            if mode == "aes-gcm" {
                STANDARD.encode([1; 12])
            } else {
                STANDARD.encode(vec![1; iv])
            }
        };
        jobs.add(name, code, "/outputs/1/encryption", |job| {
            let mut other = job["outputs"][0].clone();
            other["url"] = json!(format!("{}-2", other["url"].as_str().unwrap()));
            job["outputs"][0]["encryption"] =
                json!({ "mode": first, "iv": iv_of(first), "key": key });
            other["encryption"] = json!({ "mode": second, "iv": iv_of(second), "key": key });
            job["outputs"].as_array_mut().unwrap().push(other);
        });
    }
}

/// What KMS refuses.
pub async fn kms(jobs: &mut Jobs<'_>, kms: &Kms, keys: &KmsKeys) {
    let at = "/outputs/0/encryption/key";
    let key = noise(32, 12);
    jobs.bench.secrets.add(&key);
    let reference = async |id: &str| {
        let wrapped = kms.wrap(id, &key, &[("film", "42")]).await;
        json!({ "kms": { "ciphertext": STANDARD.encode(wrapped), "context": { "film": "42" } } })
    };
    let good = reference(&keys.good).await;
    let change = |name: &str, value: Value| {
        let mut reference = good.clone();
        reference["kms"][name] = value;
        reference
    };
    jobs.key(
        "kms: off the list",
        "key_not_allowed",
        at,
        reference(&keys.unlisted).await,
    );
    let (disabled, leaving) = (
        reference(&keys.disabled).await,
        reference(&keys.leaving).await,
    );
    kms.disable(&keys.disabled).await;
    kms.schedule_deletion(&keys.leaving).await;
    jobs.key("kms: disabled", "key_disabled", at, disabled);
    jobs.key("kms: pending deletion", "key_disabled", at, leaving);
    jobs.key(
        "kms: wrong context",
        "key_refused",
        at,
        change("context", json!({ "film": "43" })),
    );
    jobs.key(
        "kms: no context",
        "key_refused",
        at,
        change("context", json!({})),
    );
    jobs.key(
        "kms: garbage",
        "key_refused",
        at,
        change("ciphertext", json!(STANDARD.encode(noise(150, 13)))),
    );
    jobs.key(
        "kms: another key id",
        "key_refused",
        at,
        change("key_id", json!(keys.second)),
    );
    jobs.key(
        "kms: wrong digest",
        "key_digest_mismatch",
        at,
        change("ciphertext_md5", json!(STANDARD.encode([0; 16]))),
    );
    jobs.key(
        "kms: denied",
        "key_denied",
        at,
        change("region", json!("eu-west-3")),
    );
    generated(jobs, keys);
}

fn generated(jobs: &mut Jobs<'_>, keys: &KmsKeys) {
    let at = "/outputs/0/encryption/key";
    let generate = |id: &str| json!({ "generate": { "kms": { "key_id": id, "bits": 256 } } });
    jobs.key(
        "kms: generate off the list",
        "key_not_allowed",
        at,
        generate(&keys.unlisted),
    );
    jobs.key(
        "kms: generate under an unknown key",
        "key_not_found",
        at,
        generate(UNKNOWN),
    );
    jobs.key(
        "kms: generate under a disabled key",
        "key_disabled",
        at,
        generate(&keys.disabled),
    );
}

const UNKNOWN: &str = "00000000-1111-2222-3333-444444444444";

/// Master keys in every state.
pub struct KmsKeys {
    good: String,
    second: String,
    disabled: String,
    leaving: String,
    unlisted: String,
}

impl KmsKeys {
    pub async fn create(kms: &Kms) -> KmsKeys {
        KmsKeys {
            good: kms.create().await,
            second: kms.create().await,
            disabled: kms.create().await,
            leaving: kms.create().await,
            unlisted: kms.create().await,
        }
    }

    pub fn listed(&self) -> String {
        [
            &self.good,
            &self.second,
            &self.disabled,
            &self.leaving,
            UNKNOWN,
        ]
        .join(",")
    }
}
