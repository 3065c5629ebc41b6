//! CBC of one stream: decryption over eight registers at a time, encryption block by block.

use super::aes::{Nothing, decrypt_rounds, encrypt_rounds, wide_keys};
use super::schedule::Keys;
use super::{GROUP, Isa, Task, Wide};
use crate::Block;
use crate::cpu::Data;

/// Encrypts whole blocks, chained to `chain`.
pub(super) struct Encrypt<'a, 'i, 'o, const ROUNDS: usize> {
    pub(super) keys: &'a Keys,
    pub(super) chain: &'a mut Block,
    pub(super) data: Data<'i, 'o>,
}

impl<I: Isa, const ROUNDS: usize> Task<I> for Encrypt<'_, '_, '_, ROUNDS> {
    #[inline(always)]
    fn go(self, isa: I) {
        let keys = wide_keys::<I::Wide>(isa, self.keys);
        let blocks = self.data.len() / 16;
        let (mut from, mut to) = self.data.into_raw();
        let mut chain = I::Wide::broadcast(isa, self.chain);
        for _ in 0..blocks {
            // SAFETY: a block is left, readable at `from` and writable at `to`.
            unsafe {
                let mut state = [I::Wide::load_part(isa, from, 16).xor(chain)];
                encrypt_rounds::<_, ROUNDS, 1>(&mut state, &keys, &mut Nothing);
                chain = state[0].enc_last(keys[ROUNDS]);
                chain.store_part(to, 16);
                (from, to) = (from.add(16), to.add(16));
            }
        }
        *self.chain = chain.first();
    }
}

/// Decrypts whole blocks in place, the first chained to `previous`.
pub(super) struct Decrypt<'a, const ROUNDS: usize> {
    pub(super) keys: &'a Keys,
    pub(super) previous: &'a Block,
    pub(super) data: &'a mut [u8],
}

impl<I: Isa, const ROUNDS: usize> Task<I> for Decrypt<'_, ROUNDS> {
    #[inline(always)]
    fn go(self, isa: I) {
        let keys = wide_keys::<I::Wide>(isa, self.keys);
        let step = I::Wide::BYTES;
        // Only the last lane counts.
        let mut before = I::Wide::broadcast(isa, self.previous);
        for group in self.data.chunks_mut(GROUP * step) {
            let bytes = group.len();
            let at = group.as_mut_ptr();
            let zero = I::Wide::broadcast(isa, &[0; 16]);
            let mut text = [zero; GROUP];
            for (index, text) in text.iter_mut().enumerate() {
                if index * step < bytes {
                    // SAFETY: `bytes - index * step` bytes are left from here.
                    *text = unsafe {
                        I::Wide::load_up_to(isa, at.add(index * step), bytes - index * step)
                    };
                }
            }
            let mut state = text;
            decrypt_rounds::<_, ROUNDS, GROUP>(&mut state, &keys);
            for (index, state) in state.into_iter().enumerate() {
                let chained = text[index].after(before);
                before = text[index];
                if index * step < bytes {
                    let plain = state.dec_last(keys[ROUNDS].xor(chained));
                    // SAFETY: `bytes - index * step` bytes are left from here.
                    unsafe { plain.store_up_to(at.add(index * step), bytes - index * step) };
                }
            }
        }
    }
}
