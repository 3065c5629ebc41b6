//! Plaintext that a child may seek in, without a disk: a sealed file in memory (memfd).
//!
//! The bytes are counted by whoever calls; they live until the last descriptor is closed, ours or the
//! child's. Sealed, nobody can change them or their length any more, the child least of all.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags};

use super::{Failure, Result};

/// A sealed file in memory.
#[derive(Debug)]
pub struct Memory {
    fd: OwnedFd,
    bytes: u64,
}

/// A file in memory that is still being filled.
#[derive(Debug)]
pub struct Unsealed {
    file: File,
    bytes: u64,
}

impl Unsealed {
    /// An empty one.
    pub fn new() -> Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Not to be run, where the kernel knows the flag (6.3).
        let made = rustix::fs::memfd_create("media", flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| rustix::fs::memfd_create("media", flags));
        Ok(Unsealed {
            file: File::from(made.map_err(|e| wrong(e.into()))?),
            bytes: 0,
        })
    }

    /// Appends to it. Memory does not make one wait.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(wrong)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Nobody can change it any more.
    pub fn seal(self) -> Result<Memory> {
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&self.file, seals).map_err(|e| wrong(e.into()))?;
        Ok(Memory {
            fd: self.file.into(),
            bytes: self.bytes,
        })
    }
}

fn wrong(error: std::io::Error) -> Failure {
    Failure::failed("cannot fill a file in memory", error)
}

impl Memory {
    /// A copy of these bytes.
    pub fn of(bytes: &[u8]) -> Result<Self> {
        let mut memory = Unsealed::new()?;
        memory.push(bytes)?;
        memory.seal()
    }

    /// One more descriptor of it. All share one place in it: a child that reads opens
    /// `/proc/self/fd/N` anew.
    pub fn share(&self) -> Result<OwnedFd> {
        self.fd.try_clone().map_err(wrong)
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The descriptor to hand to a child; it opens `/proc/self/fd/N`.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn sealed_for_good_and_counted() {
        let memory = Memory::of(b"hello").unwrap();
        assert_eq!(memory.bytes(), 5);
        let fd = memory.into_fd();
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let mut text = String::new();
        File::open(&path)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "hello");
        let mut again = File::options().write(true).open(&path).unwrap();
        assert!(again.write_all(b"x").is_err());
        assert!(again.set_len(0).is_err() && again.set_len(9).is_err());
    }
}
