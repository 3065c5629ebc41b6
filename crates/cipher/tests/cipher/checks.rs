//! What a kernel must do, against other libraries: every length, alignment and carry, in place and
//! not. A check panics when the kernel is wrong.

use ciphermill_cipher::Block;
use ciphermill_cipher::cpu::{CounterWidth, Data, Kernel};
use ciphermill_cipher::gcm::{Gcm, Partial};

use super::{bytes, lanes, others, secret};

/// A check of one kernel.
pub type Check = fn(&'static dyn Kernel);

/// Every check, by name.
pub const CHECKS: &[(&str, Check)] = &[
    ("one block", one_block),
    ("ctr lengths", ctr_lengths),
    ("ctr alignments", ctr_alignments),
    ("ctr carries", ctr_carries),
    ("gcm lengths", gcm_lengths),
    ("gcm splits", gcm_splits),
    ("gcm alignments", gcm_alignments),
    ("cbc lengths", cbc_lengths),
    ("cbc lanes", lanes::many_streams),
    ("cbc few lanes", lanes::few_streams),
    ("cbc at equal page offsets", lanes::aligned_streams),
];

const KEY_BYTES: [usize; 3] = [16, 24, 32];
const WIDTHS: [CounterWidth; 3] = [
    CounterWidth::Bits128,
    CounterWidth::Bits64,
    CounterWidth::Bits32,
];
/// Around registers, groups of registers and steps, for every width.
const EDGES: [usize; 22] = [
    1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 257, 511, 512, 513, 1023, 1040,
    2049, 4099,
];

/// A 64-byte aligned place for `length` bytes at this alignment, with guards around it.
struct Place {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

const GUARD: u8 = 0xa5;

impl Place {
    fn new(alignment: usize, content: &[u8]) -> Place {
        let mut memory = vec![GUARD; content.len() + 256];
        let start = memory.as_ptr().align_offset(64) + 64 + alignment % 64;
        memory[start..start + content.len()].copy_from_slice(content);
        Place {
            memory,
            start,
            length: content.len(),
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }

    /// The bytes, if nothing around them was touched.
    fn checked(mut self) -> Vec<u8> {
        let bytes = self.bytes().to_vec();
        self.bytes().fill(GUARD);
        assert!(
            self.memory.iter().all(|byte| *byte == GUARD),
            "wrote outside of the buffer"
        );
        bytes
    }
}

/// Runs `cipher` in place and from one buffer into another; both must give the same.
fn both_ways(plain: &[u8], (from, to): (usize, usize), cipher: impl Fn(Data<'_, '_>)) -> Vec<u8> {
    let mut place = Place::new(from, plain);
    cipher(place.bytes().into());
    let in_place = place.checked();
    let (mut source, mut target) = (
        Place::new(from, plain),
        Place::new(to, &vec![0x11; plain.len()]),
    );
    cipher(Data::new(source.bytes(), target.bytes()).expect("equal lengths"));
    assert_eq!(source.checked(), plain, "the source was changed");
    assert_eq!(target.checked(), in_place, "in place and not differ");
    in_place
}

fn start(seed: u64) -> Block {
    bytes(16, seed).try_into().expect("16")
}

fn one_block(kernel: &'static dyn Kernel) {
    for key_bytes in KEY_BYTES {
        let key = bytes(key_bytes, 1);
        let mut block = start(2);
        let expected = others::ctr(&key, block, &[0; 16]);
        kernel
            .key(&secret(&key))
            .expect("key")
            .encrypt_block(&mut block);
        assert_eq!(block.as_slice(), expected);
        let mut again = start(2);
        let gcm = kernel.gcm(&secret(&key)).expect("key");
        gcm.encrypt_block(&mut again);
        assert_eq!(again, block);
    }
}

fn ctr_lengths(kernel: &'static dyn Kernel) {
    for key_bytes in KEY_BYTES {
        let key = bytes(key_bytes, 3);
        let cipher = kernel.key(&secret(&key)).expect("key");
        for length in 0..=4096 {
            let (plain, start) = (bytes(length, 5), start(length as u64));
            let made = both_ways(&plain, (length * 7, length * 3), |data| {
                cipher.ctr(start, CounterWidth::Bits128, data);
            });
            assert_eq!(made, others::ctr(&key, start, &plain), "{length} bytes");
        }
    }
}

fn ctr_alignments(kernel: &'static dyn Kernel) {
    let key = bytes(32, 4);
    let cipher = kernel.key(&secret(&key)).expect("key");
    for length in EDGES {
        let (plain, start) = (bytes(length, 6), start(length as u64));
        let expected = others::ctr(&key, start, &plain);
        for alignment in 0..64 {
            let made = both_ways(&plain, (alignment, 63 - alignment), |data| {
                cipher.ctr(start, CounterWidth::Bits128, data);
            });
            assert_eq!(made, expected, "{length} bytes at {alignment}");
        }
    }
}

/// Counters that run over 2^32, 2^64 and 2^128 at every place inside a group of registers.
fn ctr_carries(kernel: &'static dyn Kernel) {
    let key = bytes(16, 7);
    let cipher = kernel.key(&secret(&key)).expect("key");
    let plain = bytes(80 * 16 + 5, 8);
    for width in WIDTHS {
        for bits in [8, 32, 40, 64, 72, 128] {
            for before in 0..72 {
                let ones = u128::MAX >> (128 - bits);
                let high = u128::from_be_bytes(start(9)) & !ones;
                let start = (high | (ones - before)).to_be_bytes();
                let made = both_ways(&plain, (0, 0), |data| cipher.ctr(start, width, data));
                let expected = others::ctr_of(width, &key, start, &plain);
                assert_eq!(made, expected, "{width:?}, {before} before 2^{bits}");
            }
        }
    }
}

fn gcm_lengths(kernel: &'static dyn Kernel) {
    for key_bytes in KEY_BYTES {
        let key = bytes(key_bytes, 11);
        for length in 0..=4096 {
            let iv: [u8; 12] = bytes(12, length as u64).try_into().expect("12");
            let gcm = Gcm::new(kernel, &secret(&key), &iv).expect("key");
            let plain = bytes(length, 12);
            let mut sealed = vec![0; length];
            let partial = gcm.encrypt(0, Partial::default(), &plain, &mut sealed);
            sealed.extend_from_slice(&gcm.tag(partial));
            assert_eq!(sealed, others::gcm(&key, iv, &plain), "{length} bytes");
            let opened = gcm.decrypt(0, &mut sealed[..length]);
            assert_eq!(opened, partial, "hashed differently when opened");
            assert_eq!(&sealed[..length], plain);
        }
    }
}

/// Cut in two at every block, in order and folded; and hashed on from every byte count.
fn gcm_splits(kernel: &'static dyn Kernel) {
    let (key, iv) = (bytes(32, 13), [5; 12]);
    let gcm = Gcm::new(kernel, &secret(&key), &iv).expect("key");
    for length in [16, 640, 1117, 2 * 512 + 1] {
        let plain = bytes(length, 14);
        let expected = others::gcm(&key, iv, &plain);
        for cut in (0..length).step_by(16) {
            let mut sealed = vec![0; length];
            let (left, right) = sealed.split_at_mut(cut);
            let first = gcm.encrypt(0, Partial::default(), &plain[..cut], left);
            let on = gcm.encrypt(cut as u64, first, &plain[cut..], right);
            let apart = gcm.encrypt(cut as u64, Partial::default(), &plain[cut..], right);
            let tag = gcm.tag(on);
            assert_eq!(
                gcm.tag(gcm.fold(first, apart)),
                tag,
                "{length} cut at {cut}"
            );
            assert_eq!(
                [sealed, tag.to_vec()].concat(),
                expected,
                "{length} at {cut}"
            );
        }
    }
}

fn gcm_alignments(kernel: &'static dyn Kernel) {
    let key = kernel.gcm(&secret(&bytes(16, 15))).expect("key");
    for length in EDGES {
        let plain = bytes(length, 16);
        let mut expected = None;
        for alignment in 0..64 {
            let sum = std::cell::Cell::new([0; 16]);
            let sealed = both_ways(&plain, (alignment, 63 - alignment), |data| {
                let mut state = [9; 16];
                key.encrypt(start(17), &mut state, data);
                sum.set(state);
            });
            let mut hashed = [9; 16];
            key.ghash(&mut hashed, &sealed);
            assert_eq!(hashed, sum.get(), "{length} at {alignment}");
            let opened = both_ways(&sealed, (alignment, 63 - alignment), |data| {
                let mut state = [9; 16];
                key.decrypt(start(17), &mut state, data);
                assert_eq!(state, hashed);
            });
            assert_eq!(opened, plain);
            assert_eq!(
                *expected.get_or_insert((sealed.clone(), hashed)),
                (sealed, hashed)
            );
        }
    }
}

fn cbc_lengths(kernel: &'static dyn Kernel) {
    for key_bytes in KEY_BYTES {
        let key = bytes(key_bytes, 18);
        let cipher = kernel.key(&secret(&key)).expect("key");
        for blocks in 0..=160 {
            let (plain, iv) = (bytes(16 * blocks, 19), start(blocks as u64));
            let expected = others::cbc(&key, iv, &plain);
            let sealed = both_ways(&plain, (blocks, 3 * blocks), |data| {
                let mut chain = iv;
                cipher.cbc_encrypt(&mut chain, data);
                let last = expected.last_chunk().copied().unwrap_or(iv);
                assert_eq!(chain, last);
            });
            assert_eq!(sealed, expected, "{blocks} blocks");
            for alignment in [blocks, blocks + 31] {
                let mut place = Place::new(alignment, &sealed);
                cipher.cbc_decrypt(&iv, place.bytes());
                assert_eq!(place.checked(), plain, "{blocks} blocks");
            }
        }
    }
}
