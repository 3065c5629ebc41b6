//! Kernels that are wrong on purpose: for each of them some check must ring.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ciphermill_cipher::Block;
use ciphermill_cipher::Result;
use ciphermill_cipher::cpu::portable::Portable;
use ciphermill_cipher::cpu::{CbcStream, CounterWidth, Data, GcmKeyed, Kernel, Keyed};
use ciphermill_cipher::secret::Secret;

use super::checks::CHECKS;

/// What is wrong with a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    /// The counter does not carry beyond its low 64 bits.
    NoCarry,
    /// The last byte of an odd length is left as it was.
    LostTail,
    /// A byte behind the data is written.
    Overrun,
    /// The hash forgets its state between calls.
    ForgottenState,
    /// A plaintext of a certain length is hashed wrongly.
    WrongPower,
    /// The hash of what is decrypted is that of the plaintext.
    HashedPlaintext,
    /// Two neighbouring streams are exchanged.
    CrossedLanes,
    /// The chain after a stream is the first block, not the last.
    WrongChain,
    /// Decryption of CBC forgets the block before.
    NoPrevious,
    /// From one buffer into another, the source is changed as well.
    ChangedSource,
}

static RIGHT: Broken = Broken(Flaw::None);

static WRONG: [Broken; 10] = [
    Broken(Flaw::NoCarry),
    Broken(Flaw::LostTail),
    Broken(Flaw::Overrun),
    Broken(Flaw::ForgottenState),
    Broken(Flaw::WrongPower),
    Broken(Flaw::HashedPlaintext),
    Broken(Flaw::CrossedLanes),
    Broken(Flaw::WrongChain),
    Broken(Flaw::NoPrevious),
    Broken(Flaw::ChangedSource),
];

#[test]
fn a_broken_kernel_rings() {
    let rings = |kernel: &'static Broken| {
        let ring = |check: &super::checks::Check| {
            catch_unwind(AssertUnwindSafe(|| check(kernel))).is_err()
        };
        CHECKS.iter().any(|(_, check)| ring(check))
    };
    assert!(!rings(&RIGHT), "the wrapper itself is right");
    for kernel in &WRONG {
        assert!(rings(kernel), "nobody noticed {:?}", kernel.0);
    }
}

/// The portable kernel with a flaw.
struct Broken(Flaw);

struct BrokenKey(Flaw, Box<dyn Keyed>);

struct BrokenGcm(Flaw, Box<dyn GcmKeyed>);

impl Kernel for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn key(&self, key: &Secret) -> Result<Box<dyn Keyed>> {
        Ok(Box::new(BrokenKey(self.0, Portable.key(key)?)))
    }

    fn gcm(&self, key: &Secret) -> Result<Box<dyn GcmKeyed>> {
        Ok(Box::new(BrokenGcm(self.0, Portable.gcm(key)?)))
    }

    fn cbc_encrypt(&self, streams: &mut [CbcStream<'_>]) {
        for stream in streams.iter_mut() {
            stream
                .key
                .cbc_encrypt(&mut stream.chain, stream.data.reborrow());
        }
        if let (Flaw::CrossedLanes, [.., a, b]) = (self.0, streams) {
            std::mem::swap(&mut a.chain, &mut b.chain);
        }
    }
}

impl Keyed for BrokenKey {
    fn encrypt_block(&self, block: &mut Block) {
        self.1.encrypt_block(block);
    }

    fn ctr(&self, start: Block, width: CounterWidth, mut data: Data<'_, '_>) {
        let (flaw, length) = (self.0, data.len());
        let kept = data.get_in().last().copied();
        let source = data.reborrow().into_raw().0.cast_mut();
        let width = match width {
            CounterWidth::Bits128 if flaw == Flaw::NoCarry => CounterWidth::Bits64,
            other => other,
        };
        self.1.ctr(start, width, data.reborrow());
        let (apart, out) = (
            !std::ptr::eq(source, data.get_out().as_ptr()),
            data.get_out(),
        );
        match (flaw, kept) {
            (Flaw::LostTail, Some(kept)) if length % 2 == 1 => out[length - 1] = kept,
            (Flaw::Overrun, Some(_)) => spoil(out.as_mut_ptr().wrapping_add(length)),
            (Flaw::ChangedSource, Some(_)) if apart => spoil(source),
            _ => {}
        }
    }

    fn cbc_encrypt(&self, chain: &mut Block, mut data: Data<'_, '_>) {
        self.1.cbc_encrypt(chain, data.reborrow());
        if let (Flaw::WrongChain, Some(first)) = (self.0, data.get_out().first_chunk()) {
            *chain = *first;
        }
    }

    fn cbc_decrypt(&self, previous: &Block, data: &mut [u8]) {
        let forgotten = [0; 16];
        let previous = if self.0 == Flaw::NoPrevious {
            &forgotten
        } else {
            previous
        };
        self.1.cbc_decrypt(previous, data);
    }
}

/// Changes a byte that is not ours, as a wrong kernel would; the tests' buffers have room for it.
#[allow(unsafe_code, reason = "a deliberately wrong kernel")]
fn spoil(byte: *mut u8) {
    // SAFETY: `checks` keeps guard bytes around every buffer, and nobody looks at them meanwhile.
    unsafe { byte.write(byte.read() ^ 1) };
}

impl GcmKeyed for BrokenGcm {
    fn encrypt_block(&self, block: &mut Block) {
        self.1.encrypt_block(block);
    }

    fn ghash(&self, state: &mut Block, data: &[u8]) {
        self.1.ghash(state, data);
    }

    fn encrypt(&self, start: Block, state: &mut Block, data: Data<'_, '_>) {
        if self.0 == Flaw::ForgottenState {
            *state = [0; 16];
        }
        let length = data.len();
        self.1.encrypt(start, state, data);
        if self.0 == Flaw::WrongPower && length == 1040 {
            state[0] ^= 0x80;
        }
    }

    fn decrypt(&self, start: Block, state: &mut Block, mut data: Data<'_, '_>) {
        if self.0 == Flaw::HashedPlaintext {
            let mut ignored = [0; 16];
            self.1.decrypt(start, &mut ignored, data.reborrow());
            self.1.ghash(state, data.get_out());
        } else {
            self.1.decrypt(start, state, data);
        }
    }

    fn h(&self) -> &Block {
        self.1.h()
    }

    fn multiply(&self, a: &Block, b: &Block) -> Block {
        self.1.multiply(a, b)
    }
}
