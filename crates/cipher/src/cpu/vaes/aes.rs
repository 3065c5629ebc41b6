//! The rounds of AES over several registers at once, and single blocks.

use super::schedule::Keys;
use super::{Isa, Task, Wide};
use crate::Block;

/// Round keys in registers; those past the last round are never read.
pub(super) type WideKeys<W> = [W; 15];

/// Every round key, in every lane.
#[inline(always)]
pub(super) fn wide_keys<W: Wide>(isa: W::Isa, keys: &Keys) -> WideKeys<W> {
    let mut wide = [W::broadcast(isa, &keys[0]); 15];
    for (wide, key) in wide.iter_mut().zip(keys).skip(1) {
        *wide = W::broadcast(isa, key);
    }
    wide
}

/// Repeats a statement for every round between the first key and the last one. Unrolled by hand:
/// loops of this size, and closures called so often, the compiler leaves as they are, with the keys
/// in memory.
macro_rules! each_round {
    ($rounds:ident, $round:ident => $work:block) => {
        each_round!(@ $round => $work; 1 2 3 4 5 6 7 8 9);
        if $rounds > 10 {
            each_round!(@ $round => $work; 10 11);
        }
        if $rounds > 12 {
            each_round!(@ $round => $work; 12 13);
        }
    };
    (@ $round:ident => $work:block; $($number:literal)+) => {
        $({
            let $round: usize = $number;
            $work
        })+
    };
}

pub(super) use each_round;

/// Something to do between the rounds, which AES leaves room for.
pub(super) trait Between {
    /// After round `round`, counted from 1.
    fn after_round(&mut self, round: usize);
}

/// Nothing.
pub(super) struct Nothing;

impl Between for Nothing {
    #[inline(always)]
    fn after_round(&mut self, _: usize) {}
}

/// Encrypts all but the last round.
#[inline(always)]
pub(super) fn encrypt_rounds<W: Wide, const ROUNDS: usize, const N: usize>(
    blocks: &mut [W; N],
    keys: &WideKeys<W>,
    between: &mut impl Between,
) {
    for block in blocks.iter_mut() {
        *block = block.xor(keys[0]);
    }
    each_round!(ROUNDS, round => {
        for block in blocks.iter_mut() {
            *block = block.enc(keys[round]);
        }
        between.after_round(round);
    });
}

/// Decrypts all but the last round.
#[inline(always)]
pub(super) fn decrypt_rounds<W: Wide, const ROUNDS: usize, const N: usize>(
    blocks: &mut [W; N],
    keys: &WideKeys<W>,
) {
    for block in blocks.iter_mut() {
        *block = block.xor(keys[0]);
    }
    each_round!(ROUNDS, round => {
        for block in blocks.iter_mut() {
            *block = block.dec(keys[round]);
        }
    });
}

/// Encrypts one block.
pub(super) struct OneBlock<'a, const ROUNDS: usize> {
    pub(super) keys: &'a Keys,
    pub(super) block: &'a mut Block,
}

impl<I: Isa, const ROUNDS: usize> Task<I> for OneBlock<'_, ROUNDS> {
    #[inline(always)]
    fn go(self, isa: I) {
        let keys = wide_keys::<I::Wide>(isa, self.keys);
        let mut state = [I::Wide::broadcast(isa, self.block)];
        encrypt_rounds::<_, ROUNDS, 1>(&mut state, &keys, &mut Nothing);
        *self.block = state[0].enc_last(keys[ROUNDS]).first();
    }
}

/// SubWord of the key schedule: S-box of each byte.
pub(super) trait SubWord {
    fn sub_word(self, word: [u8; 4]) -> [u8; 4];
}

impl<I: Isa> SubWord for I {
    #[inline(always)]
    fn sub_word(self, word: [u8; 4]) -> [u8; 4] {
        // The last round without a key is ShiftRows and SubBytes; with four equal columns,
        // ShiftRows changes nothing.
        let mut block = [0; 16];
        for column in block.as_chunks_mut::<4>().0 {
            *column = word;
        }
        let state = I::Wide::broadcast(self, &block);
        let done = state.enc_last(I::Wide::broadcast(self, &[0; 16])).first();
        std::array::from_fn(|index| done[index])
    }
}

/// InvMixColumns of a round key.
pub(super) trait InverseMix {
    fn inverse_mix(self, block: Block) -> Block;
}

impl<I: Isa> InverseMix for I {
    #[inline(always)]
    fn inverse_mix(self, block: Block) -> Block {
        // The last encryption round is ShiftRows and SubBytes, which a decryption round undoes
        // before it mixes.
        let zero = I::Wide::broadcast(self, &[0; 16]);
        I::Wide::broadcast(self, &block)
            .enc_last(zero)
            .dec(zero)
            .first()
    }
}
