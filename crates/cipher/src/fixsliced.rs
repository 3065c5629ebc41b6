//! Fixsliced: AES round keys in the form that the shader `shaders/aes_ctr.wgsl` reads, that of
//! Adomnicai and Peyrin (ePrint 2020/1123).
//!
//! It is the form of the `aes` crate's 32-bit software backend (RustCrypto, MIT or Apache-2.0). The
//! key expansion has no table and no branch on key bits, as its S-box is that crate's too.

use aes::{Block, hazmat};
use zeroize::{Zeroize, Zeroizing};

/// A block's columns, each little-endian.
type Columns = [u32; 4];

/// Two blocks, one bit of each byte in a word.
type State = [u32; 8];

const STATE_WORDS: usize = 8;

/// Added to the first word of each group of key words. AES-128 alone needs all ten.
const ROUND_CONSTANTS: [u32; 10] = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36];

/// The rounds of AES under a key of this length: what the shader's `ROUNDS` is set to.
pub const fn rounds(key_bytes: usize) -> usize {
    key_bytes / 4 + 6
}

/// The words that [`round_keys`] gives for a key of this length.
pub const fn round_key_words(key_bytes: usize) -> usize {
    STATE_WORDS * (rounds(key_bytes) + 1)
}

/// The round keys in the shader's form; `None` if no AES key has this length.
pub fn round_keys(key: &[u8]) -> Option<Zeroizing<Vec<u32>>> {
    if !matches!(key.len(), 16 | 24 | 32) {
        return None;
    }
    let expanded = expand(key);
    let last = rounds(key.len());
    let mut out = Zeroizing::new(vec![0; round_key_words(key.len())]);
    let states = out.as_chunks_mut().0;
    for (round, (state, words)) in states.iter_mut().zip(expanded.as_chunks().0).enumerate() {
        bitslice(words, state);
        if round < last {
            // Where the state lags by so many ShiftRows, the key has to as well.
            inv_shift_rows(state, round % 4);
        }
        if round > 0 {
            // The S-box's NOTs.
            for word in [0, 1, 5, 6] {
                state[word] = !state[word];
            }
        }
    }
    Some(out)
}

/// The key expansion of FIPS 197, 5.2, with little-endian words.
fn expand(key: &[u8]) -> Zeroizing<Vec<u32>> {
    let words = 4 * (rounds(key.len()) + 1);
    let step = key.len() / 4;
    // The whole room at once: growing would leave a copy behind.
    let mut out = Zeroizing::new(Vec::with_capacity(words));
    out.extend(key.as_chunks().0.iter().map(|c| u32::from_le_bytes(*c)));
    for i in step..words {
        let mut word = out[i - 1];
        if i % step == 0 {
            word = sub_word(word.rotate_right(8)) ^ ROUND_CONSTANTS[i / step - 1];
        } else if step > 6 && i % step == 4 {
            word = sub_word(word);
        }
        let word = word ^ out[i - step];
        out.push(word);
    }
    out
}

/// The S-box on each byte. A round of AES on four equal columns does just that once MixColumns is
/// undone: ShiftRows has nothing to move.
fn sub_word(word: u32) -> u32 {
    let mut block = Block::default();
    for column in block.as_chunks_mut().0 {
        *column = word.to_le_bytes();
    }
    hazmat::cipher_round(&mut block, &Block::default());
    hazmat::inv_mix_columns(&mut block);
    let result = u32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    block.zeroize();
    result
}

/// Makes the state in which both blocks are this one.
fn bitslice(block: &Columns, s: &mut State) {
    for (i, word) in s.iter_mut().enumerate() {
        *word = block[i / 2];
    }
    for (distance, mask) in [(1, 0x5555_5555), (2, 0x3333_3333), (4, 0x0f0f_0f0f)] {
        for a in (0..STATE_WORDS).filter(|i| i & distance == 0) {
            let b = a + distance;
            let t = ((s[a] >> distance) ^ s[b]) & mask;
            s[b] ^= t;
            s[a] ^= t << distance;
        }
    }
}

/// ShiftRows undone `times` times.
fn inv_shift_rows(state: &mut State, times: usize) {
    let (by_two, by_one) = match times {
        1 => (0x030f_0c00, 0x3300_3300),
        2 => (0x0f00_0f00, 0),
        3 => (0x0c0f_0300, 0x3300_3300),
        _ => return,
    };
    for word in state {
        for (shift, mask) in [(4, by_two), (2, by_one)] {
            let t = (*word ^ (*word >> shift)) & mask;
            *word ^= t ^ (t << shift);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last words of FIPS 197, A.1 to A.3.
    #[test]
    fn expands_as_the_standard() {
        for (key, last) in [
            ("2b7e151628aed2a6abf7158809cf4f3c", 0xb663_0ca6_u32),
            (
                "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
                0x0100_2202,
            ),
            (
                "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
                0x706c_631e,
            ),
        ] {
            let key: Vec<u8> = (0..key.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(&key[i..i + 2], 16).expect("hex"))
                .collect();
            assert_eq!(expand(&key).last(), Some(&last.swap_bytes()));
            assert_eq!(
                round_keys(&key).expect("hex").len(),
                round_key_words(key.len())
            );
        }
    }

    #[test]
    fn refuses_other_lengths() {
        for bytes in [0, 1, 15, 17, 31, 33, 64] {
            assert!(round_keys(&vec![0; bytes]).is_none());
        }
    }
}
