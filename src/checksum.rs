//! Checksums that the object store verifies: CRC-64/NVME, which combines over parts, and SHA-256.
//!
//! A cipher thread feeds them while a part is still in its cache; `sink` sends them along and
//! compares what the store answers. This module imports no other module.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use sha2::{Digest as _, Sha256};

/// Which checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-256.
    Sha256,
}

/// A checksum being computed.
pub enum Running {
    /// CRC-64/NVME.
    Crc64Nvme(Box<crc_fast::Digest>),
    /// SHA-256.
    Sha256(Box<Sha256>),
}

/// A finished checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// CRC-64/NVME.
    Crc64Nvme(u64),
    /// SHA-256.
    Sha256([u8; 32]),
}

impl Algorithm {
    /// Its name in results and on the wire (lower case).
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Crc64Nvme => "crc64nvme",
            Algorithm::Sha256 => "sha256",
        }
    }

    /// Starts one.
    pub fn start(self) -> Running {
        match self {
            Algorithm::Crc64Nvme => Running::Crc64Nvme(Box::new(crc_fast::Digest::new(Crc64Nvme))),
            Algorithm::Sha256 => Running::Sha256(Box::default()),
        }
    }

    /// Of these bytes.
    pub fn of(self, bytes: &[u8]) -> Checksum {
        let mut running = self.start();
        running.update(bytes);
        running.finish()
    }
}

impl Running {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Running::Crc64Nvme(digest) => digest.update(bytes),
            Running::Sha256(digest) => digest.update(bytes),
        }
    }

    /// Ends it.
    pub fn finish(self) -> Checksum {
        match self {
            Running::Crc64Nvme(digest) => Checksum::Crc64Nvme(digest.finalize()),
            Running::Sha256(digest) => Checksum::Sha256(digest.finalize().into()),
        }
    }
}

impl Checksum {
    /// Which one it is.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Checksum::Crc64Nvme(_) => Algorithm::Crc64Nvme,
            Checksum::Sha256(_) => Algorithm::Sha256,
        }
    }

    /// As S3 writes it: base64 of the big-endian bytes.
    pub fn to_base64(&self) -> String {
        match self {
            Checksum::Crc64Nvme(value) => STANDARD.encode(value.to_be_bytes()),
            Checksum::Sha256(value) => STANDARD.encode(value),
        }
    }

    /// What [`to_base64`](Checksum::to_base64) wrote; `None` for anything else.
    pub fn from_base64(algorithm: Algorithm, text: &str) -> Option<Checksum> {
        let bytes = STANDARD.decode(text).ok()?;
        match algorithm {
            Algorithm::Crc64Nvme => {
                let bytes = bytes.try_into().ok()?;
                Some(Checksum::Crc64Nvme(u64::from_be_bytes(bytes)))
            }
            Algorithm::Sha256 => Some(Checksum::Sha256(bytes.try_into().ok()?)),
        }
    }

    /// The checksum of a whole object from those of its parts: CRCs combine into the CRC of the
    /// bytes; SHA-256 gives S3's composite, a hash of hashes.
    pub fn combine(parts: &[(Checksum, u64)]) -> Option<Checksum> {
        match parts.first()?.0 {
            Checksum::Crc64Nvme(_) => {
                parts
                    .iter()
                    .try_fold(Checksum::Crc64Nvme(0), |whole, part| {
                        let (Checksum::Crc64Nvme(left), (Checksum::Crc64Nvme(right), bytes)) =
                            (whole, part)
                        else {
                            return None;
                        };
                        Some(Checksum::Crc64Nvme(crc_fast::checksum_combine(
                            Crc64Nvme, left, *right, *bytes,
                        )))
                    })
            }
            Checksum::Sha256(_) => {
                let mut hash = Sha256::new();
                for (part, _) in parts {
                    let Checksum::Sha256(value) = part else {
                        return None;
                    };
                    hash.update(value);
                }
                Some(Checksum::Sha256(hash.finalize().into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_combine_to_the_whole() {
        let data: Vec<u8> = (0..100_000u32).map(|n| (n * 7) as u8).collect();
        let whole = Algorithm::Crc64Nvme.of(&data);
        for cut in [0, 1, 16, 99_999] {
            let (left, right) = data.split_at(cut);
            let parts =
                [left, right].map(|part| (Algorithm::Crc64Nvme.of(part), part.len() as u64));
            assert_eq!(Checksum::combine(&parts), Some(whole.clone()));
        }
    }

    #[test]
    fn base64_goes_both_ways() {
        for algorithm in [Algorithm::Crc64Nvme, Algorithm::Sha256] {
            let sum = algorithm.of(b"bytes");
            assert_eq!(
                Checksum::from_base64(algorithm, &sum.to_base64()),
                Some(sum)
            );
            assert_eq!(Checksum::from_base64(algorithm, "AAAA"), None);
        }
    }

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(
            Algorithm::Crc64Nvme.of(b"123456789"),
            Checksum::Crc64Nvme(0xae8b_1486_0a79_9888)
        );
    }
}
