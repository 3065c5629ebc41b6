//! Meter: what the engine's threads did, for whoever wants to know where the time went.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Running totals of all threads.
#[derive(Default)]
pub struct Meter {
    cipher_bytes: AtomicU64,
    cipher_nanos: AtomicU64,
    hash_nanos: AtomicU64,
    queued_bytes: AtomicUsize,
}

/// What was done so far. Seconds are summed over threads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Bytes that went through a cipher.
    pub cipher_bytes: u64,
    /// Time in ciphers.
    pub cipher_seconds: f64,
    /// Time in checksums and hashes.
    pub hash_seconds: f64,
    /// Bytes that a GPU ciphered.
    pub gpu_bytes: u64,
}

impl Meter {
    /// Work was queued.
    pub(super) fn queued(&self, bytes: usize) {
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Queued work was done.
    pub(super) fn done(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that wait or are under way.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    /// Adds cipher work.
    pub(super) fn ciphered(&self, bytes: usize, time: Duration) {
        self.cipher_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        add(&self.cipher_nanos, time);
    }

    /// Does some hashing, and returns the time it took, which is added.
    pub(super) fn hashing(&self, hash: impl FnOnce()) -> Duration {
        let begun = Instant::now();
        hash();
        let time = begun.elapsed();
        add(&self.hash_nanos, time);
        time
    }

    /// The totals.
    pub fn spent(&self) -> Spent {
        let seconds = |nanos: &AtomicU64| nanos.load(Ordering::Relaxed) as f64 / 1e9;
        Spent {
            cipher_bytes: self.cipher_bytes.load(Ordering::Relaxed),
            cipher_seconds: seconds(&self.cipher_nanos),
            hash_seconds: seconds(&self.hash_nanos),
            gpu_bytes: 0,
        }
    }
}

fn add(total: &AtomicU64, time: Duration) {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    total.fetch_add(nanos, Ordering::Relaxed);
}
