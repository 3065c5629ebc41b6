//! The demo's jobs: every mode, a fan-out, one that must be refused; then what opens their outputs
//! again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ciphermill_cipher::secret::Secret;
use serde_json::{Value, json};

use super::{Demo, samples, verify};
use crate::fault::{Code, Fault, Result};
use crate::job::{Base64, KeyRef, KeyringKey};

/// A job of the demo, and how its outputs are verified.
pub(super) struct DemoJob {
    pub name: &'static str,
    pub what: String,
    pub message: Value,
    pub check: Check,
}

pub(super) enum Check {
    /// The openssl program decrypts the output with the raw key, and the hash is the sample's.
    OpenSsl {
        cipher: &'static str,
        key: PathBuf,
        sample: PathBuf,
    },
    /// A job of the second wave decrypts it.
    Decrypted,
    /// The output's hash is this sample's.
    SameAs(PathBuf),
    /// openssl opens every companion with this key.
    Companions { key: PathBuf },
    /// It must be refused with this code.
    Refused(&'static str),
}

impl Demo {
    pub(super) fn url(&self, name: &str) -> String {
        format!("file://{}", self.dir.join(name).display())
    }

    /// A data key that stands in a file, so that openssl can use it, and wrapped for the job.
    pub(super) fn key(&self, name: &str, bytes: usize) -> Result<(PathBuf, KeyRef)> {
        let key = Secret::random(bytes)?;
        let path = self.dir.join(format!("{name}.key"));
        samples::write_private(&path, key.expose())?;
        let context = BTreeMap::from([("demo".to_owned(), name.to_owned())]);
        let wrapped = Base64(self.ring.wrap_key(&key, &context)?);
        Ok((path, KeyRef::Keyring(KeyringKey { wrapped, context })))
    }

    pub(super) fn encrypt_jobs(&self) -> Result<Vec<DemoJob>> {
        let random = self.samples.random.clone();
        let one = |id: &str, encryption: Value| {
            json!({ "version": 1, "id": id, "input": { "url": self.url("random.bin") },
                    "outputs": [{ "url": self.url(&format!("out/{id}.bin")), "encryption": encryption }] })
        };
        let mut jobs = Vec::new();
        for (name, mode, bytes, cipher) in [
            ("ctr", "aes-ctr", 32, "-aes-256-ctr"),
            ("cbc", "aes-cbc-pkcs7", 16, "-aes-128-cbc"),
        ] {
            let (key, reference) = self.key(name, bytes)?;
            let message = one(name, json!({ "mode": mode, "key": reference }));
            let check = Check::OpenSsl {
                cipher,
                key,
                sample: random.clone(),
            };
            jobs.push(DemoJob {
                name,
                what: format!("{mode} {}", bytes * 8),
                message,
                check,
            });
        }
        for (name, mode, bits) in [("gcm", "aes-gcm", 192), ("cobblestone", "cobblestone", 256)] {
            let message = one(name, json!({ "mode": mode, "key": generated(bits) }));
            jobs.push(DemoJob {
                name,
                what: format!("{mode} {bits}"),
                message,
                check: Check::Decrypted,
            });
        }
        if self.samples.film.is_some() {
            let output = |mode: &str, bits: u32| {
                json!({ "url": self.url(&format!("out/film.{mode}.mp4")),
                        "encryption": { "mode": mode, "key": generated(bits) } })
            };
            let outputs = [
                output("cobblestone", 128),
                output("aes-gcm", 256),
                output("aes-ctr", 128),
            ];
            let message = json!({ "version": 1, "id": "fan-out", "outputs": outputs,
                                  "input": { "url": self.url("film.mp4") } });
            let what = "one read, 3 outputs".into();
            jobs.push(DemoJob {
                name: "fan-out",
                what,
                message,
                check: Check::Decrypted,
            });
        }
        if self.samples.film.is_some() {
            jobs.push(self.companions_job()?);
        }
        let message = one(
            "bad",
            json!({ "mode": "aes-ctr", "key": "000102030405060708090a0b0c0d0e0f" }),
        );
        let what = "a key in the clear".into();
        jobs.push(DemoJob {
            name: "bad",
            what,
            message,
            check: Check::Refused("plaintext_key"),
        });
        Ok(jobs)
    }

    /// Decrypts by pasting what the results say, as a producer would; one output is re-encrypted on
    /// the way.
    pub(super) fn decrypt_jobs(&self) -> Result<Vec<DemoJob>> {
        let random = &self.samples.random;
        let again = json!({ "mode": "cobblestone", "key": generated(256) });
        let mut jobs = vec![
            self.paste("decrypt-gcm", ("gcm", 0), random, None)?,
            self.paste("decrypt-cobblestone", ("cobblestone", 0), random, None)?,
            self.paste("re-encrypt", ("gcm", 0), random, Some(again))?,
        ];
        if let Some(film) = &self.samples.film {
            for (output, name) in ["decrypt-film-1", "decrypt-film-2", "decrypt-film-3"]
                .into_iter()
                .enumerate()
            {
                jobs.push(self.paste(name, ("fan-out", output), film, None)?);
            }
        }
        Ok(jobs)
    }

    /// Opens what was re-encrypted.
    pub(super) fn last_jobs(&self) -> Result<Vec<DemoJob>> {
        Ok(vec![self.paste(
            "decrypt-again",
            ("re-encrypt", 0),
            &self.samples.random,
            None,
        )?])
    }

    /// A job that reads an output of an earlier one, whose plaintext is the sample.
    fn paste(
        &self,
        name: &'static str,
        (from, output): (&str, usize),
        sample: &Path,
        encryption: Option<Value>,
    ) -> Result<DemoJob> {
        let result = self.result(from)?;
        let written = result.data.outputs.get(output);
        let missing = || {
            Fault::new(
                Code::Internal,
                format!("the job {from} has no output {output}"),
            )
        };
        let (url, opening) = written
            .and_then(|o| Some((&o.url, o.encryption.as_ref()?)))
            .ok_or_else(missing)?;
        let mut target = json!({ "url": self.url(&format!("out/{name}")) });
        let (what, check) = match encryption {
            Some(encryption) => {
                target["encryption"] = encryption;
                ("gcm -> cobblestone".into(), Check::Decrypted)
            }
            None => ("decrypt".into(), Check::SameAs(sample.into())),
        };
        let message = json!({ "version": 1, "id": name, "outputs": [target],
            "input": { "url": url, "encryption": opening, "sha256": verify::sha256(sample)? } });
        Ok(DemoJob {
            name,
            what,
            message,
            check,
        })
    }
}

/// A key that the worker makes.
pub(super) fn generated(bits: u32) -> Value {
    json!({ "generate": { "keyring": { "bits": bits } } })
}
