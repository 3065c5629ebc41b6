//! CTR: eight registers of counter blocks at a time.
//!
//! Counters are kept as little-endian numbers, one in each lane, and turned to big-endian blocks by
//! a byte shuffle. A register adds 64 (or 32) bits without carry into the rest of the block, so a
//! 128-bit counter is cut where its low half wraps.

use super::aes::{Nothing, WideKeys, encrypt_rounds, wide_keys};
use super::schedule::Keys;
use super::{GROUP, Isa, Task, Wide};
use crate::Block;
use crate::cpu::{CounterWidth, Data};

/// XORs the keystream from `start` on.
pub(super) fn apply<I: Isa, const ROUNDS: usize>(
    isa: I,
    keys: &Keys,
    start: Block,
    width: CounterWidth,
    data: Data<'_, '_>,
) {
    let narrow = width == CounterWidth::Bits32;
    let start = u128::from_be_bytes(start);
    let until_wrap = (1u128 << 64) - u128::from(start as u64);
    let blocks = data.len().div_ceil(16) as u128;
    let run = |start, data: Data<'_, '_>| {
        isa.run(Ctr::<ROUNDS> {
            keys,
            start,
            narrow,
            data,
        });
    };
    if width == CounterWidth::Bits128 && blocks > until_wrap {
        let (data, rest) = data.split_at(16 * until_wrap as usize);
        run(start, data);
        run(start.wrapping_add(until_wrap), rest);
    } else {
        run(start, data);
    }
}

/// Counter blocks, as many as a register has lanes.
pub(super) struct Counter<W> {
    next: W,
    /// The lowest byte of the next counter.
    low: u8,
    narrow: bool,
}

impl<W: Wide> Counter<W> {
    /// Starts at `start`; 32 bits count, or 64.
    #[inline(always)]
    pub(super) fn new(isa: W::Isa, start: u128, narrow: bool) -> Self {
        let lanes = W::of(isa, &[0u128, 1, 2, 3].map(u128::to_le_bytes));
        let low = start as u8;
        let start = W::broadcast(isa, &start.to_le_bytes());
        Counter {
            next: add(narrow, start, lanes),
            low,
            narrow,
        }
    }

    /// The next registers of counter blocks. While the lowest byte does not overflow, it is counted
    /// in the big-endian blocks themselves, which spares most of the shuffles.
    #[inline(always)]
    pub(super) fn take<const N: usize>(&mut self, isa: W::Isa) -> [W; N] {
        let taken = N * W::BLOCKS;
        let mut blocks = [self.next.reversed(); N];
        if usize::from(self.low) + taken <= 256 {
            let step = W::broadcast(isa, &(W::BLOCKS as u128).to_be_bytes());
            for index in 1..N {
                blocks[index] = blocks[index - 1].add32(step);
            }
        } else {
            let step = W::broadcast(isa, &(W::BLOCKS as u128).to_le_bytes());
            let mut next = self.next;
            for block in &mut blocks {
                *block = next.reversed();
                next = add(self.narrow, next, step);
            }
        }
        let step = W::broadcast(isa, &(taken as u128).to_le_bytes());
        self.next = add(self.narrow, self.next, step);
        self.low = self.low.wrapping_add(taken as u8);
        blocks
    }
}

#[inline(always)]
fn add<W: Wide>(narrow: bool, a: W, b: W) -> W {
    if narrow { a.add32(b) } else { a.add64(b) }
}

struct Ctr<'a, 'i, 'o, const ROUNDS: usize> {
    keys: &'a Keys,
    start: u128,
    narrow: bool,
    data: Data<'i, 'o>,
}

impl<I: Isa, const ROUNDS: usize> Task<I> for Ctr<'_, '_, '_, ROUNDS> {
    #[inline(always)]
    fn go(self, isa: I) {
        if self.narrow {
            let counter = Counter::new(isa, self.start, true);
            cipher::<I, ROUNDS>(isa, self.keys, counter, self.data);
        } else {
            let counter = Counter::new(isa, self.start, false);
            cipher::<I, ROUNDS>(isa, self.keys, counter, self.data);
        }
    }
}

#[inline(always)]
fn cipher<I: Isa, const ROUNDS: usize>(
    isa: I,
    keys: &Keys,
    mut counter: Counter<I::Wide>,
    data: Data<'_, '_>,
) {
    let keys = wide_keys::<I::Wide>(isa, keys);
    let group = GROUP * I::Wide::BYTES;
    let mut left = data.len();
    let (mut from, mut to) = data.into_raw();
    while left >= group {
        // SAFETY: a whole group is left, readable at `from` and writable at `to`.
        unsafe {
            cipher_up_to_group::<I, ROUNDS>(isa, &keys, &mut counter, (from, to), group);
            (from, to) = (from.add(group), to.add(group));
        }
        left -= group;
    }
    if left > 0 {
        // SAFETY: `left` bytes are left, readable at `from` and writable at `to`.
        unsafe { cipher_up_to_group::<I, ROUNDS>(isa, &keys, &mut counter, (from, to), left) };
    }
}

/// Ciphers `bytes`, at most a group.
///
/// # Safety
/// `bytes` bytes are readable at `from` and writable at `to`.
#[inline(always)]
pub(super) unsafe fn cipher_up_to_group<I: Isa, const ROUNDS: usize>(
    isa: I,
    keys: &WideKeys<I::Wide>,
    counter: &mut Counter<I::Wide>,
    (from, to): (*const u8, *mut u8),
    bytes: usize,
) {
    let step = I::Wide::BYTES;
    let mut blocks = counter.take::<GROUP>(isa);
    encrypt_rounds::<_, ROUNDS, GROUP>(&mut blocks, keys, &mut Nothing);
    for (index, stream) in blocks.into_iter().enumerate() {
        let at = index * step;
        if at < bytes {
            // SAFETY: `bytes - at` bytes are left from here, and no more are touched.
            unsafe {
                let text = I::Wide::load_up_to(isa, from.add(at), bytes - at);
                let done = stream.enc_last(keys[ROUNDS].xor(text));
                done.store_up_to(to.add(at), bytes - at);
            }
        }
    }
}
