//! Verifying outputs with other programs than this one.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::fault::{Code, Fault, Result};
use crate::job::Base64;

/// SHA-256 of a file, in hex.
pub(super) fn sha256(path: &Path) -> Result<String> {
    let file = std::fs::File::open(path).map_err(|e| Fault::io("open", path, &e))?;
    hash(file).map_err(|e| Fault::io("read", path, &e))
}

/// Decrypts with the openssl program and compares the result's hash with the sample's.
pub(super) fn by_openssl(
    cipher: &str,
    key: &Path,
    iv: &str,
    object: &Path,
    sample: &Path,
) -> Result<(bool, String)> {
    let openssl = openssl(cipher, key, iv, object)?
        .stdout(Stdio::piped())
        .spawn();
    let mut openssl = match openssl {
        Ok(openssl) => openssl,
        Err(_) => return Ok((true, "nobody: no openssl program here".into())),
    };
    let Some(output) = openssl.stdout.take() else {
        return Err(Fault::new(Code::Internal, "openssl has no output"));
    };
    let decrypted = hash(output).map_err(|e| Fault::io("read", object, &e))?;
    let ended = openssl.wait().is_ok_and(|status| status.success());
    let same = ended && decrypted == sha256(sample)?;
    Ok((
        same,
        if same {
            "openssl".into()
        } else {
            "OPENSSL DISAGREES".into()
        },
    ))
}

/// Decrypts into a file with the openssl program; `false` where there is none.
pub(super) fn open(cipher: &str, key: &Path, iv: &str, object: &Path, to: &Path) -> Result<bool> {
    let to = std::fs::File::create(to).map_err(|e| Fault::io("create", to, &e))?;
    Ok(openssl(cipher, key, iv, object)?
        .stdout(to)
        .status()
        .is_ok())
}

/// The key travels on the command line, which is fine for a demo's key and for nothing else.
fn openssl(cipher: &str, key: &Path, iv: &str, object: &Path) -> Result<Command> {
    let key = std::fs::read(key).map_err(|e| Fault::io("read", key, &e))?;
    let iv = Base64::decode(iv)
        .map(|iv| hex::encode(iv.0))
        .unwrap_or_default();
    let mut openssl = Command::new("openssl");
    openssl
        .args([
            "enc",
            "-d",
            cipher,
            "-K",
            &hex::encode(key),
            "-iv",
            &iv,
            "-in",
        ])
        .arg(object)
        .stdin(Stdio::null());
    Ok(openssl)
}

fn hash(mut from: impl Read) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(hex::encode(hash.finalize())),
            more => hash.update(&chunk[..more]),
        }
    }
}
