//! Engine: where cipher work runs.
//!
//! Parts in pool buffers come in from `pipeline` with the cipher of their object; they go out
//! ciphered, with their mark and checksum. Cipher work never runs on the I/O runtime: it goes over
//! a queue to threads of its own. Memory comes from `buffers`; what a part still allocates is the
//! channel of its answer and the state of its checksum, a few hundred bytes. This module knows modes
//! and buffers, no jobs, keys or stores.

#[cfg(feature = "gpu")]
pub mod both;
#[cfg(feature = "gpu")]
mod calibrate;
pub mod choose;
pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod inline;
mod lanes;
mod meter;
mod start;

use std::sync::Arc;

use ciphermill_cipher::decrypt::Opened;
use ciphermill_cipher::{Decryptor, Encryptor, Mark, PartAt};
use sha2::Sha256;
use tokio::sync::oneshot;

pub use self::meter::Spent;
pub use self::start::{Choice, Setup, start};
use crate::buffers::PartBuffer;
use crate::checksum::{Algorithm, Running};
use crate::fault::{Code, Fault, Result};

/// One thing to do with one part.
pub enum Work {
    /// Decrypt a part in place.
    Decrypt {
        /// The object's cipher.
        cipher: Arc<Decryptor>,
        /// Which part.
        at: PartAt,
        /// Its bytes, as read.
        part: PartBuffer,
        /// Gets the part back.
        done: oneshot::Sender<Result<(PartBuffer, Opened)>>,
    },
    /// Encrypt a part into another buffer.
    Encrypt {
        /// The object's cipher.
        cipher: Arc<Encryptor>,
        /// Which part.
        at: PartAt,
        /// Mark of the part before, where the mode is serial.
        before: Mark,
        /// Its plaintext.
        plain: Plaintext,
        /// Where the ciphertext goes.
        out: PartBuffer,
        /// Checksum to compute over it.
        checksum: Algorithm,
        /// Gets the ciphertext.
        done: oneshot::Sender<Encrypted>,
    },
    /// Hash a part's plaintext.
    Hash {
        /// The hash so far.
        hash: Sha256,
        /// The plaintext.
        plain: Plaintext,
        /// Gets the hash back.
        done: oneshot::Sender<Sha256>,
    },
}

impl Work {
    /// Bytes to work on.
    fn bytes(&self) -> usize {
        match self {
            Work::Decrypt { part, .. } => part.len(),
            Work::Encrypt { plain, .. } | Work::Hash { plain, .. } => plain.bytes().len(),
        }
    }
}

/// A part's plaintext, shared by everything that is made of it.
#[derive(Clone)]
pub struct Plaintext {
    /// The buffer.
    pub part: Arc<PartBuffer>,
    /// Where in it the plaintext lies.
    pub range: (usize, usize),
}

impl Plaintext {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.part[self.range.0..self.range.1]
    }
}

/// A part after encryption.
pub struct Encrypted {
    /// The ciphertext.
    pub out: PartBuffer,
    /// What it leaves for the whole.
    pub mark: Mark,
    /// The running checksum: a GCM tag still has to go through it.
    pub checksum: Running,
    /// Whether a GPU made it.
    pub by_gpu: bool,
}

impl Encrypted {
    /// Writes the tag of an object that has one behind its last part; `whole`: the marks of all its
    /// parts, folded.
    pub fn seal(&mut self, cipher: &Encryptor, whole: Mark) {
        if let Some(tag) = cipher.finish(whole) {
            let end = self.out.len() - tag.len();
            self.out[end..].copy_from_slice(&tag);
            self.checksum.update(&tag);
        }
    }
}

/// A place where [`Work`] gets done.
pub trait Engine: Send + Sync {
    /// Its name in results and metrics.
    fn name(&self) -> &'static str;
    /// What its threads did so far.
    fn spent(&self) -> Spent;
    /// Queues work; what it yields goes through the work's own channel.
    fn submit(&self, work: Work);
}

/// Decrypts a part.
pub async fn decrypt(
    engine: &dyn Engine,
    cipher: Arc<Decryptor>,
    at: PartAt,
    part: PartBuffer,
) -> Result<(PartBuffer, Opened)> {
    let (done, answer) = oneshot::channel();
    engine.submit(Work::Decrypt {
        cipher,
        at,
        part,
        done,
    });
    answer.await.map_err(|_| lost())?
}

/// Encrypts a part.
pub async fn encrypt(
    engine: &dyn Engine,
    cipher: Arc<Encryptor>,
    at: PartAt,
    before: Mark,
    (plain, out): (Plaintext, PartBuffer),
    checksum: Algorithm,
) -> Result<Encrypted> {
    let (done, answer) = oneshot::channel();
    engine.submit(Work::Encrypt {
        cipher,
        at,
        before,
        plain,
        out,
        checksum,
        done,
    });
    answer.await.map_err(|_| lost())
}

/// Hashes a part's plaintext.
pub async fn hash(engine: &dyn Engine, hash: Sha256, plain: Plaintext) -> Result<Sha256> {
    let (done, answer) = oneshot::channel();
    engine.submit(Work::Hash { hash, plain, done });
    answer.await.map_err(|_| lost())
}

fn lost() -> Fault {
    Fault::new(
        Code::Internal,
        "a cipher thread ended before its work was done",
    )
}
