//! The key schedule (FIPS 197, section 5.2), for both directions.
//!
//! The S-box comes from the AES instruction, so no index depends on the key.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::aes::{InverseMix, SubWord};
use super::{Isa, Task};
use crate::Block;

/// Round keys: at most fifteen.
pub(super) type Keys = [Block; 15];

/// Both directions of a key. Made where it stays, on the heap.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Schedule {
    pub(super) encrypt: Keys,
    /// In the order of use, for the equivalent inverse cipher (FIPS 197, section 5.3.5).
    pub(super) decrypt: Keys,
}

impl Schedule {
    /// Expands a key of 16, 24 or 32 bytes.
    pub(super) fn expand<I: Isa>(isa: I, key: &[u8]) -> Box<Schedule> {
        let mut schedule = Box::new(Schedule {
            encrypt: [[0; 16]; 15],
            decrypt: [[0; 16]; 15],
        });
        isa.run(Expand {
            key,
            schedule: &mut schedule,
        });
        schedule
    }
}

struct Expand<'a> {
    key: &'a [u8],
    schedule: &'a mut Schedule,
}

impl<I: Isa> Task<I> for Expand<'_> {
    #[inline(always)]
    fn go(self, isa: I) {
        let Expand { key, schedule } = self;
        let key_words = key.len() / 4;
        let rounds = key_words + 6;
        let words = schedule.encrypt.as_flattened_mut().as_chunks_mut::<4>().0;
        words.as_flattened_mut()[..key.len()].copy_from_slice(key);
        let mut constant = 1u8;
        for index in key_words..4 * (rounds + 1) {
            let mut word = words[index - 1];
            if index % key_words == 0 {
                word.rotate_left(1);
                word = isa.sub_word(word);
                word[0] ^= constant;
                constant = (constant << 1) ^ ((constant >> 7) * 0x1b);
            } else if key_words == 8 && index % 8 == 4 {
                word = isa.sub_word(word);
            }
            for (byte, before) in word.iter_mut().zip(words[index - key_words]) {
                *byte ^= before;
            }
            words[index] = word;
        }
        for index in 0..=rounds {
            let inner = index > 0 && index < rounds;
            let from = schedule.encrypt[rounds - index];
            schedule.decrypt[index] = if inner { isa.inverse_mix(from) } else { from };
        }
    }
}
