//! GHASH by carry-less multiplication (NIST SP 800-38D, section 6.4).
//!
//! Blocks are byte-reversed and the hash key is multiplied by x, which makes GHASH the same sum as
//! POLYVAL (RFC 8452, appendix A): its products reduce with two multiplications, and many products
//! may be summed before that. A group of registers is multiplied with descending powers of H.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{GROUP, Isa, Task, Wide};
use crate::Block;

/// The most blocks in a group: eight registers of four.
const MOST: usize = 4 * GROUP;

/// Powers of the hash key.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub(super) struct Powers {
    /// H^n down to H, n being the blocks in a group, and zeroes.
    powers: [Block; MOST],
    /// What a register reads past the last power.
    past: [Block; 3],
    /// H itself, as GHASH writes it.
    pub(super) h: Block,
}

impl Powers {
    /// Room for powers; [`MakePowers`] fills it where it stays.
    pub(super) fn empty() -> Powers {
        Powers {
            powers: [[0; 16]; MOST],
            past: [[0; 16]; 3],
            h: [0; 16],
        }
    }

    /// The powers for the last `blocks` blocks of a sum, from H^`blocks` on.
    #[inline(always)]
    pub(super) fn for_last<I: Isa>(&self, blocks: usize) -> *const u8 {
        debug_assert!(blocks <= I::Wide::BLOCKS * GROUP);
        let skipped = I::Wide::BLOCKS * GROUP - blocks;
        (&raw const self.powers)
            .cast::<u8>()
            .wrapping_add(16 * skipped)
    }
}

/// Computes the powers of `h`.
pub(super) struct MakePowers<'a>(pub(super) &'a mut Powers);

impl<I: Isa> Task<I> for MakePowers<'_> {
    #[inline(always)]
    fn go(self, isa: I) {
        let powers = self.0;
        let lanes = I::Wide::BLOCKS;
        let h = I::Wide::broadcast(isa, &times_x(powers.h));
        let mut each = [[0; 16]; 4];
        let mut power = h;
        for index in (0..lanes).rev() {
            each[index] = power.first();
            power = multiply(isa, power, h);
        }
        let highest = I::Wide::broadcast(isa, &each[0]);
        let mut power = I::Wide::of(isa, &each);
        for register in (0..GROUP).rev() {
            power.put(&mut powers.powers[register * lanes..]);
            power = multiply(isa, power, highest);
        }
        each.zeroize();
    }
}

/// A block of GHASH as a byte-reversed number times x, modulo POLYVAL's polynomial. The highest bit
/// decides by a mask, not by a branch.
fn times_x(block: Block) -> Block {
    let number = u128::from_be_bytes(block);
    let mask = (number >> 127).wrapping_neg();
    let polynomial = 0xc200_0000_0000_0000_0000_0000_0000_0001;
    ((number << 1) ^ (mask & polynomial)).to_le_bytes()
}

/// A sum of products, not reduced yet.
#[derive(Clone, Copy)]
pub(super) struct Sum<W> {
    low: W,
    middle: W,
    high: W,
}

impl<W: Wide> Sum<W> {
    /// Nothing yet.
    #[inline(always)]
    pub(super) fn zero(isa: W::Isa) -> Self {
        let zero = W::broadcast(isa, &[0; 16]);
        Sum {
            low: zero,
            middle: zero,
            high: zero,
        }
    }

    /// One product.
    #[inline(always)]
    fn of(a: W, b: W) -> Self {
        Sum {
            low: a.clmul::<0x00>(b),
            middle: a.clmul::<0x01>(b).xor(a.clmul::<0x10>(b)),
            high: a.clmul::<0x11>(b),
        }
    }

    /// One product more.
    #[inline(always)]
    pub(super) fn plus(self, a: W, b: W) -> Self {
        let other = Sum::of(a, b);
        Sum {
            low: self.low.xor(other.low),
            middle: self.middle.xor(other.middle),
            high: self.high.xor(other.high),
        }
    }

    /// Reduces each lane modulo the polynomial.
    #[inline(always)]
    pub(super) fn reduced(self, isa: W::Isa) -> W {
        let polynomial = W::broadcast(isa, &(0xc2u128 << 120).to_le_bytes());
        let fold = polynomial.clmul::<0x01>(self.low);
        let middle = self.middle.xor(self.low.swapped()).xor(fold);
        let fold = polynomial.clmul::<0x01>(middle);
        self.high.xor(middle.swapped()).xor(fold)
    }
}

#[inline(always)]
fn multiply<W: Wide>(isa: W::Isa, a: W, b: W) -> W {
    Sum::of(a, b).reduced(isa)
}

/// Hashes `bytes`, at least one and at most a group, into the state; what is missing of the last block is zero.
///
/// # Safety
/// `from` is readable for `bytes` bytes.
#[inline(always)]
pub(super) unsafe fn hash_up_to_group<I: Isa>(
    isa: I,
    powers: &Powers,
    state: I::Wide,
    from: *const u8,
    bytes: usize,
) -> I::Wide {
    debug_assert!(bytes > 0);
    let factors = powers.for_last::<I>(bytes.div_ceil(16));
    let mut at = 0;
    let mut sum = Sum::zero(isa);
    let mut state = state;
    while at < bytes {
        // SAFETY: `bytes - at` bytes are left; factors past the last power are the zeroes behind.
        let (text, factor) = unsafe {
            let text = I::Wide::load_up_to(isa, from.add(at), bytes - at);
            (text.reversed(), I::Wide::load(isa, factors.add(at)))
        };
        sum = sum.plus(text.xor(state), factor);
        state = I::Wide::broadcast(isa, &[0; 16]);
        at += I::Wide::BYTES;
    }
    sum.reduced(isa).folded()
}

/// GHASH over some bytes.
pub(super) struct Hash<'a> {
    pub(super) powers: &'a Powers,
    pub(super) state: &'a mut Block,
    pub(super) data: &'a [u8],
}

impl<I: Isa> Task<I> for Hash<'_> {
    #[inline(always)]
    fn go(self, isa: I) {
        let mut sum = I::Wide::alone(isa, self.state).reversed();
        for group in self.data.chunks(GROUP * I::Wide::BYTES) {
            // SAFETY: the group is readable, and not longer than one.
            sum = unsafe { hash_up_to_group(isa, self.powers, sum, group.as_ptr(), group.len()) };
        }
        *self.state = sum.reversed().first();
    }
}

/// The product of two blocks, into the first.
pub(super) struct Multiply<'a> {
    pub(super) a: &'a mut Block,
    pub(super) b: &'a Block,
}

impl<I: Isa> Task<I> for Multiply<'_> {
    #[inline(always)]
    fn go(self, isa: I) {
        let factor = I::Wide::broadcast(isa, &times_x(*self.b));
        let number = I::Wide::alone(isa, self.a).reversed();
        let product = multiply(isa, number, factor);
        *self.a = product.reversed().first();
    }
}
