//! The keyring: a local file with one master key, which wraps data keys the way a small KMS would.
//!
//! ```text
//! file    = {"ciphermill_keyring": 1, "id": <16 hex>, "master": <base64 of 32 bytes>}       (mode 0600)
//! wrapped = 0x01 || keyring id (8) || nonce (12) || AES-256-GCM(master, nonce, key)
//! AAD     = 0x01 || keyring id (8) || canonical JSON of the context
//! ```

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciphermill_cipher::secret::{self, Secret};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::refused;
use crate::fault::{Code, Fault, Result};
use crate::job::{Base64, GenerateKeyring, KeyringKey};

const FORMAT: u8 = 1;
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const MASTER_BYTES: usize = 32;

/// What a data key is bound to.
pub type Context = BTreeMap<String, String>;

/// An open keyring.
pub struct Keyring {
    id: [u8; ID_BYTES],
    master: Aes256Gcm,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct File {
    ciphermill_keyring: u8,
    id: String,
    master: String,
}

impl Keyring {
    /// Makes a new keyring file, readable by its owner only. An existing file is never touched.
    pub fn create(path: &Path) -> Result<Keyring> {
        let id: [u8; ID_BYTES] = secret::random_array()?;
        let master = Secret::random(MASTER_BYTES)?;
        let file = File {
            ciphermill_keyring: FORMAT,
            id: hex::encode(id),
            master: STANDARD.encode(master.expose()),
        };
        let text =
            serde_json::to_vec(&file).map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
        let text = Zeroizing::new(text);
        let io = |e: std::io::Error| Fault::io("create the keyring", path, &e).at("keyring.file");
        let mut handle = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        handle
            .write_all(&text)
            .and_then(|()| handle.write_all(b"\n"))
            .map_err(io)?;
        handle.sync_all().map_err(io)?;
        Keyring::from_parts(id, master.expose())
    }

    /// Opens a keyring file. One that others can read is refused.
    pub fn open(path: &Path) -> Result<Keyring> {
        let missing = |e: std::io::Error| {
            let message = format!("cannot open the keyring {}: {e}", path.display());
            Fault::new(Code::KeyringMissing, message).at("keyring.file")
        };
        let broken = |why: &str| {
            let message = format!("the keyring {} {why}", path.display());
            Fault::new(Code::KeyringBroken, message).at("keyring.file")
        };
        let mut handle = std::fs::File::open(path).map_err(missing)?;
        let mode = std::os::unix::fs::MetadataExt::mode(&handle.metadata().map_err(missing)?);
        if mode & 0o077 != 0 {
            return Err(broken("can be read by others: chmod 600 it"));
        }
        // Room for the whole file at once: a growing buffer would leave copies of the key behind.
        let mut text = Zeroizing::new(Vec::with_capacity(4096));
        Read::by_ref(&mut handle)
            .take(4096)
            .read_to_end(&mut text)
            .map_err(missing)?;
        let file: File =
            serde_json::from_slice(&text).map_err(|_| broken("is not a keyring file"))?;
        if file.ciphermill_keyring != FORMAT {
            return Err(broken("has a newer format than this program knows"));
        }
        let mut id = [0; ID_BYTES];
        hex::decode_to_slice(&file.id, &mut id).map_err(|_| broken("has a broken id"))?;
        let master = STANDARD
            .decode(&file.master)
            .map(Zeroizing::new)
            .map_err(|_| broken("has a broken key"))?;
        Keyring::from_parts(id, &master).map_err(|_| broken("has a key of a wrong length"))
    }

    fn from_parts(id: [u8; ID_BYTES], master: &[u8]) -> Result<Keyring> {
        let master = Aes256Gcm::new_from_slice(master);
        let master = master
            .map_err(|_| Fault::new(Code::KeyringBroken, "the master key has a wrong length"))?;
        Ok(Keyring { id, master })
    }

    /// Wraps a data key for this context.
    pub fn wrap_key(&self, key: &Secret, context: &Context) -> Result<Vec<u8>> {
        let nonce: [u8; NONCE_BYTES] = secret::random_array()?;
        let aad = self.aad(context)?;
        let payload = Payload {
            msg: key.expose(),
            aad: &aad,
        };
        let sealed = self.master.encrypt(&nonce.into(), payload);
        let sealed = sealed.map_err(|_| Fault::new(Code::Internal, "the key cannot be wrapped"))?;
        Ok([&[FORMAT], self.id.as_slice(), &nonce, &sealed].concat())
    }

    /// Unwraps a data key; the context must be the one it was wrapped with.
    pub fn unwrap_key(&self, wrapped: &[u8], context: &Context) -> Result<Secret> {
        let header = 1 + ID_BYTES;
        let (Some(head), Some(rest)) = (wrapped.get(..header), wrapped.get(header..)) else {
            return Err(refused("keyring"));
        };
        if head[0] != FORMAT || head[1..] != self.id {
            let message = "this key was wrapped by another keyring";
            return Err(Fault::new(Code::KeyRefused, message));
        }
        let (Some(nonce), Some(sealed)) =
            (rest.first_chunk::<NONCE_BYTES>(), rest.get(NONCE_BYTES..))
        else {
            return Err(refused("keyring"));
        };
        let aad = self.aad(context)?;
        let opened = self.master.decrypt(
            &(*nonce).into(),
            Payload {
                msg: sealed,
                aad: &aad,
            },
        );
        opened.map(Secret::new).map_err(|_| refused("keyring"))
    }

    /// Makes a fresh data key and wraps it.
    pub fn generate(&self, wanted: &GenerateKeyring) -> Result<(Secret, KeyringKey)> {
        let key = Secret::random(wanted.bits.bytes())?;
        let wrapped = Base64(self.wrap_key(&key, &wanted.context)?);
        Ok((
            key,
            KeyringKey {
                wrapped,
                context: wanted.context.clone(),
            },
        ))
    }

    /// The keyring's name in wrapped keys, 16 hex digits.
    pub fn id(&self) -> String {
        hex::encode(self.id)
    }

    fn aad(&self, context: &Context) -> Result<Vec<u8>> {
        // A BTreeMap serialises in key order, so equal contexts give equal bytes.
        let json =
            serde_json::to_vec(context).map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
        Ok([&[FORMAT], self.id.as_slice(), &json].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(value: &str) -> Context {
        Context::from([("title".into(), value.into())])
    }

    #[test]
    fn wraps_and_unwraps_bound_to_context_and_keyring() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("ring");
        let ring = Keyring::create(&path).expect("new");
        let key = Secret::random(24).expect("random");
        let wrapped = ring.wrap_key(&key, &context("a")).expect("wrapped");
        let opened = Keyring::open(&path)
            .expect("open")
            .unwrap_key(&wrapped, &context("a"))
            .expect("same key");
        assert_eq!(opened.expose(), key.expose());
        let other = Keyring::create(&folder.path().join("other")).expect("new");
        let code = |result: Result<Secret>| result.err().map(|fault| fault.code);
        assert_eq!(
            code(ring.unwrap_key(&wrapped, &context("b"))),
            Some(Code::KeyRefused)
        );
        assert_eq!(
            code(other.unwrap_key(&wrapped, &context("a"))),
            Some(Code::KeyRefused)
        );
        for cut in 0..wrapped.len() {
            assert_eq!(
                code(ring.unwrap_key(&wrapped[..cut], &context("a"))),
                Some(Code::KeyRefused)
            );
        }
    }

    #[test]
    fn the_file_is_private_and_never_replaced() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("ring");
        Keyring::create(&path).expect("new");
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).expect("file"));
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            Keyring::create(&path).err().map(|f| f.code),
            Some(Code::FileIo)
        );
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&path, open).expect("chmod");
        assert_eq!(
            Keyring::open(&path).err().map(|f| f.code),
            Some(Code::KeyringBroken)
        );
        assert_eq!(
            Keyring::open(&folder.path().join("none"))
                .err()
                .map(|f| f.code),
            Some(Code::KeyringMissing)
        );
    }
}
