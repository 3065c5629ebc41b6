//! The check of a turn: every output has its length and takes its room in the store, and one is opened and compared
//! with its source: by `openssl enc` and `ciphermill decrypt` for our modes, by the peer's own program for a peer's.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::process::finished;
use crate::store::Source;
use crate::tools::OneKey;
use crate::world::World;
use crate::{Outcome, cannot};

/// How an output is opened.
pub enum Opener {
    /// It is the source.
    Plain,
    /// It is the source, but for its first byte, which is inverted.
    FirstByteInverted,
    /// By `openssl enc`.
    Openssl { cipher: &'static str, key: OneKey },
    /// By `ciphermill decrypt`.
    Ciphermill {
        mode: &'static str,
        iv: Option<String>,
    },
    /// By `rclone cat` of this name on the crypt remote.
    Rclone { name: String },
}

impl Opener {
    /// For an output of ours, by the IV that the worker chose, in hex.
    pub fn ours(world: &World, mode: Option<&'static str>, iv: Option<String>) -> Outcome<Opener> {
        let Some(mode) = mode else {
            return Ok(Opener::Plain);
        };
        let cipher = match mode {
            "aes-ctr" => "aes-256-ctr",
            "aes-cbc-pkcs7" => "aes-256-cbc",
            _ => return Ok(Opener::Ciphermill { mode, iv }),
        };
        let key = world.keys.get(mode).map(|key| key.hex.clone());
        let (Some(key), Some(iv)) = (key, iv) else {
            return Err(format!("the result of an {mode} job names no iv"));
        };
        let key = OneKey { key, iv };
        Ok(Opener::Openssl { cipher, key })
    }
}

/// There are as many outputs as jobs, each of this length.
pub async fn lengths(world: &World, who: &str, count: usize, bytes: u64) -> Outcome<()> {
    let found = world.store.list("out/").await?;
    if found.len() != count {
        return Err(format!("{who}: {} outputs, not {count}", found.len()));
    }
    match found.iter().find(|object| object.bytes != bytes) {
        Some(object) => Err(format!(
            "{who}: {} has {} bytes, not {bytes}",
            object.key, object.bytes
        )),
        None => Ok(()),
    }
}

/// The store holds every byte of sources and outputs: it found no block that it had already, which would have made
/// this turn cheaper than others.
pub fn stored(world: &World, who: &str, bytes: u64) -> Outcome<()> {
    match world.stored_bytes() {
        stored if stored >= bytes => Ok(()),
        stored => Err(format!(
            "{who}: the store holds {stored} bytes where {bytes} were written"
        )),
    }
}

/// The output holds its source.
pub async fn content(
    world: &World,
    who: &str,
    key: &str,
    source: &Source,
    opener: &Opener,
) -> Outcome<()> {
    let opened = open(world, key, opener).await?;
    let found = sha256(&opened, matches!(opener, Opener::FirstByteInverted)).await;
    let found = found.map_err(cannot("read an opened output"))?;
    let _ = std::fs::remove_file(&opened);
    match found == source.sha256 {
        true => Ok(()),
        false => Err(format!("{who}: {key} does not open to its source")),
    }
}

/// The file with the opened output.
async fn open(world: &World, key: &str, opener: &Opener) -> Outcome<PathBuf> {
    let [sealed, opened] = ["sealed", "opened"].map(|name| world.path(name));
    if let Opener::Rclone { name } = opener {
        let copy = ["copyto", name, &opened.to_string_lossy()];
        let copy = world.tools.rclone(&world.http, &copy)?;
        finished("rclone copyto", copy).await?;
        return Ok(opened);
    }
    world.store.fetch(key, &sealed).await?;
    match opener {
        Opener::Openssl { cipher, key } => {
            let mut open = world.tools.openssl(key, cipher);
            open.arg("-d")
                .arg("-in")
                .arg(&sealed)
                .arg("-out")
                .arg(&opened);
            finished("openssl enc -d", open).await?;
        }
        Opener::Ciphermill { mode, iv } => {
            let mut open = world.ciphermill_with(&["decrypt", "--mode", mode]);
            let key = world.keys.get(mode).map(|key| key.file.clone());
            open.arg("--key-file").arg(key.unwrap_or_default());
            if let Some(iv) = iv {
                open.args(["--iv", iv]);
            }
            open.arg(&sealed).arg(&opened);
            finished("ciphermill decrypt", open).await?;
        }
        Opener::Plain | Opener::FirstByteInverted | Opener::Rclone { .. } => return Ok(sealed),
    }
    let _ = std::fs::remove_file(&sealed);
    Ok(opened)
}

async fn sha256(path: &PathBuf, first_byte_inverted: bool) -> std::io::Result<String> {
    let mut file = tokio::fs::File::open(path).await?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut invert = first_byte_inverted;
    loop {
        let read = file.read(&mut buffer).await?;
        let Some(piece) = buffer.get_mut(..read).filter(|piece| !piece.is_empty()) else {
            return Ok(hex::encode(digest.finalize()));
        };
        if std::mem::take(&mut invert) {
            piece[0] = !piece[0];
        }
        digest.update(piece);
    }
}
