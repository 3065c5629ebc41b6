//! `ciphermill keys`: data keys for producers, through the keyring or KMS.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use ciphermill_cipher::secret::Secret;
use clap::{Args, Subcommand};
use serde_json::json;

use super::show;
use crate::aws::Aws;
use crate::fault::{Code, Fault, Result};
use crate::job::{Base64, GenerateKeyring, GenerateKms, KeyBits, KeyRef, KeyringKey};
use crate::keys::keyring::Keyring;
use crate::keys::kms::Kms;
use crate::settings::{Flags, Settings};

const EXAMPLES: &str = "\
Examples:
  ciphermill keys create
  ciphermill keys wrap --bits 256 --context title=film-42
  ciphermill keys wrap --key-file data.key           wrap a key that exists
  ciphermill keys wrap --kms alias/media --region eu-west-1";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
    /// The keyring file; overrides `keyring.file`
    #[arg(long, global = true, value_name = "FILE")]
    keyring: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a new keyring file (mode 0600)
    Create,
    /// Make a fresh data key, or wrap one from a file, and print its reference for a job
    Wrap {
        /// Length of the fresh key
        #[arg(long, default_value_t = 256)]
        bits: u64,
        /// Wrap the raw bytes (16, 24 or 32) of this file instead of making a key
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        /// Bind the key to name=value; may be given often
        #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
        context: Vec<(String, String)>,
        /// Wrap with this KMS key instead of the keyring
        #[arg(long, value_name = "ID")]
        kms: Option<String>,
        /// Region of the KMS key
        #[arg(long, requires = "kms")]
        region: Option<String>,
    },
    /// Show the keyring's name; never the key
    Show,
}

impl Options {
    pub fn flags(&self) -> Flags {
        self.keyring
            .iter()
            .map(|file| ("keyring.file", file.display().to_string()))
            .collect()
    }
}

pub async fn run(options: Options, settings: Settings, json: bool) -> Result<ExitCode> {
    let path = &settings.keyring.file;
    match options.action {
        Action::Create => show_keyring(&Keyring::create(path)?, path, json),
        Action::Show => show_keyring(&Keyring::open(path)?, path, json),
        Action::Wrap {
            bits,
            key_file,
            context,
            kms,
            region,
        } => {
            let wrong = || {
                Fault::new(
                    Code::InvalidKeyLength,
                    format!("expected 128, 192 or 256 bits, got {bits}"),
                )
            };
            let bits = KeyBits::new(bits).ok_or_else(wrong)?;
            let key = key_file.as_deref().map(read_key).transpose()?;
            let context: BTreeMap<_, _> = context.into_iter().collect();
            let reference = match kms {
                Some(key_id) => {
                    wrap_by_kms(
                        GenerateKms {
                            key_id,
                            bits,
                            region,
                            context,
                        },
                        key,
                    )
                    .await?
                }
                None => wrap_by_keyring(
                    &Keyring::open(path)?,
                    GenerateKeyring { bits, context },
                    key,
                )?,
            };
            show::line(&reference);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn wrap_by_kms(wanted: GenerateKms, key: Option<Secret>) -> Result<KeyRef> {
    let kms = Kms::new(Aws::default(), None);
    match key {
        Some(key) => kms.wrap(&key, &wanted).await.map(KeyRef::Kms),
        None => kms.generate(&wanted).await.map(|(_, key)| KeyRef::Kms(key)),
    }
}

fn wrap_by_keyring(ring: &Keyring, wanted: GenerateKeyring, key: Option<Secret>) -> Result<KeyRef> {
    let Some(key) = key else {
        return ring.generate(&wanted).map(|(_, key)| KeyRef::Keyring(key));
    };
    let wrapped = Base64(ring.wrap_key(&key, &wanted.context)?);
    Ok(KeyRef::Keyring(KeyringKey {
        wrapped,
        context: wanted.context,
    }))
}

fn show_keyring(ring: &Keyring, path: &std::path::Path, json: bool) {
    let (id, file) = (ring.id(), path.display().to_string());
    if json {
        show::line(&json!({ "keyring": file, "id": id }));
    } else {
        show::text(&format!("keyring {file}, id {id}"));
    }
}

/// Reads raw key bytes. The length is checked, so that a hex or base64 text is not taken for a key.
pub fn read_key(path: &std::path::Path) -> Result<Secret> {
    use std::io::Read;
    let fault = |e: std::io::Error| Fault::io("read the key", path, &e);
    let mut bytes = zeroize::Zeroizing::new(vec![0; 33]);
    let mut file = std::fs::File::open(path).map_err(fault)?;
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..]).map_err(fault)? {
            0 => break,
            more => length += more,
        }
    }
    if matches!(length, 16 | 24 | 32) {
        return Ok(Secret::new(bytes[..length].to_vec()));
    }
    let message = format!("{} must hold 16, 24 or 32 raw key bytes", path.display());
    Err(Fault::new(Code::InvalidKeyLength, message).at("--key-file"))
}

fn pair(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.into(), value.into()))
}
