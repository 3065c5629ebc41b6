//! Effort: where the demo's time went, the engine's own rate beside the whole.

use serde::Serialize;

use crate::cli::show;
use crate::pipeline::Pipeline;

/// What the waves of jobs took together.
#[derive(Serialize)]
pub struct Effort {
    /// Engine and kernel.
    engine: String,
    /// From the first job taken to the last one settled.
    seconds: f64,
    /// Cores that the engine could use.
    cores: usize,
    /// Bytes that went through a cipher.
    cipher_bytes: u64,
    /// Core time in ciphers.
    cipher_seconds: f64,
    /// Core time in checksums and hashes.
    hash_seconds: f64,
}

impl Effort {
    /// Of one wave, which this pipeline ran.
    pub fn of(pipeline: &Pipeline, seconds: f64) -> Effort {
        let spent = pipeline.engine.spent();
        Effort {
            engine: format!("{}/{}", pipeline.engine.name(), pipeline.kernel.name()),
            seconds,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cipher_bytes: spent.cipher_bytes,
            cipher_seconds: spent.cipher_seconds,
            hash_seconds: spent.hash_seconds,
        }
    }

    /// Both.
    pub fn plus(self, other: Effort) -> Effort {
        Effort {
            seconds: self.seconds + other.seconds,
            cipher_bytes: self.cipher_bytes + other.cipher_bytes,
            cipher_seconds: self.cipher_seconds + other.cipher_seconds,
            hash_seconds: self.hash_seconds + other.hash_seconds,
            ..self
        }
    }

    /// Shows it.
    pub fn print(&self, json: bool) {
        if json {
            show::line(self);
            return;
        }
        let rate = |seconds: f64| {
            if seconds > 0.0 {
                self.cipher_bytes as f64 / 1e9 / seconds
            } else {
                0.0
            }
        };
        let core_seconds = self.seconds * self.cores as f64;
        let share = |seconds: f64| 100.0 * seconds / core_seconds.max(f64::MIN_POSITIVE);
        let (ciphers, hashes) = (share(self.cipher_seconds), share(self.hash_seconds));
        show::text(&format!(
            "\nengine      {:.2} GB/s a core ({}), end to end {:.2} GB/s: {} ciphered in {:.2} s on {} cores",
            rate(self.cipher_seconds),
            self.engine,
            rate(self.seconds),
            show::size(self.cipher_bytes),
            self.seconds,
            self.cores,
        ));
        show::text(&format!(
            "core time   ciphers {ciphers:.0} %, checksums and SHA-256 {hashes:.0} %, the rest {:.0} %: files, their \
             flushing to disk, and waiting",
            100.0 - ciphers - hashes,
        ));
    }
}
