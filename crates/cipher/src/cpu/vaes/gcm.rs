//! GCM: CTR and GHASH stitched in one pass.
//!
//! While the AES units work on one group of counter blocks, the multipliers hash another group of
//! ciphertext: when encrypting the group before, when decrypting the same one.

use super::aes::{Between, OneBlock, WideKeys, encrypt_rounds, wide_keys};
use super::counter::{Counter, cipher_up_to_group};
use super::ghash::{Hash, MakePowers, Multiply, Powers, Sum, hash_up_to_group};
use super::messages::{End, Seal};
use super::schedule::Schedule;
use super::{GROUP, Isa, Task, Wide};
use crate::Block;
use crate::cpu::{Data, GcmKeyed, Message, later};
use crate::secret::Secret;

/// A key of `ROUNDS` rounds with its powers of H.
pub(super) struct Gcm<I, const ROUNDS: usize> {
    isa: I,
    schedule: Box<Schedule>,
    powers: Box<Powers>,
}

impl<I: Isa, const ROUNDS: usize> Gcm<I, ROUNDS> {
    pub(super) fn new(isa: I, key: &Secret) -> Self {
        let mut gcm = Gcm {
            isa,
            schedule: Schedule::expand(isa, key.expose()),
            powers: Box::new(Powers::empty()),
        };
        isa.run(OneBlock::<ROUNDS> {
            keys: &gcm.schedule.encrypt,
            block: &mut gcm.powers.h,
        });
        isa.run(MakePowers(&mut gcm.powers));
        gcm
    }
}

impl<I: Isa, const ROUNDS: usize> GcmKeyed for Gcm<I, ROUNDS> {
    fn encrypt_block(&self, block: &mut Block) {
        let keys = &self.schedule.encrypt;
        self.isa.run(OneBlock::<ROUNDS> { keys, block });
    }

    fn ghash(&self, state: &mut Block, data: &[u8]) {
        let powers = &*self.powers;
        self.isa.run(Hash {
            powers,
            state,
            data,
        });
    }

    fn encrypt(&self, start: Block, state: &mut Block, data: Data<'_, '_>) {
        self.isa.run(Part {
            stretch: self.stretch::<true>(start, data),
            state,
        });
    }

    fn decrypt(&self, start: Block, state: &mut Block, data: Data<'_, '_>) {
        self.isa.run(Part {
            stretch: self.stretch::<false>(start, data),
            state,
        });
    }

    fn encrypt_messages<'m>(&self, messages: &mut dyn Iterator<Item = Message<'m>>) {
        self.isa.run(Seal::<ROUNDS> {
            schedule: &self.schedule,
            powers: &self.powers,
            messages,
        });
    }

    fn decrypt_whole(&self, j0: Block, data: Data<'_, '_>) -> Block {
        let mut tag = [0; 16];
        self.isa.run(Whole {
            stretch: self.stretch::<false>(later(j0, 1), data),
            j0,
            tag: &mut tag,
        });
        tag
    }

    fn h(&self) -> &Block {
        &self.powers.h
    }

    fn multiply(&self, a: &Block, b: &Block) -> Block {
        let mut product = *a;
        self.isa.run(Multiply { a: &mut product, b });
        product
    }
}

/// What is to be ciphered and hashed.
struct Stretch<'a, 'i, 'o, const ROUNDS: usize, const ENCRYPT: bool> {
    schedule: &'a Schedule,
    powers: &'a Powers,
    /// Its first counter block.
    start: Block,
    data: Data<'i, 'o>,
}

impl<I: Isa, const ROUNDS: usize> Gcm<I, ROUNDS> {
    fn stretch<'i, 'o, const ENCRYPT: bool>(
        &self,
        start: Block,
        data: Data<'i, 'o>,
    ) -> Stretch<'_, 'i, 'o, ROUNDS, ENCRYPT> {
        Stretch {
            schedule: &self.schedule,
            powers: &self.powers,
            start,
            data,
        }
    }
}

/// A part of a message, hashed on from a state.
struct Part<'a, 'i, 'o, const ROUNDS: usize, const ENCRYPT: bool> {
    stretch: Stretch<'a, 'i, 'o, ROUNDS, ENCRYPT>,
    state: &'a mut Block,
}

impl<I: Isa, const ROUNDS: usize, const ENCRYPT: bool> Task<I>
    for Part<'_, '_, '_, ROUNDS, ENCRYPT>
{
    #[inline(always)]
    fn go(self, isa: I) {
        let keys = wide_keys::<I::Wide>(isa, &self.stretch.schedule.encrypt);
        let state = I::Wide::alone(isa, self.state).reversed();
        let state = self.stretch.cipher(isa, &keys, state);
        *self.state = state.reversed().first();
    }
}

/// A whole message to be opened, with the tag that it should have. What follows the last ciphertext
/// block costs no call of its own, which counts in messages as short as cobblestone's chunks.
struct Whole<'a, 'i, 'o, const ROUNDS: usize> {
    stretch: Stretch<'a, 'i, 'o, ROUNDS, false>,
    j0: Block,
    tag: &'a mut Block,
}

impl<I: Isa, const ROUNDS: usize> Task<I> for Whole<'_, '_, '_, ROUNDS> {
    #[inline(always)]
    fn go(self, isa: I) {
        let keys = wide_keys::<I::Wide>(isa, &self.stretch.schedule.encrypt);
        let bytes = self.stretch.data.len();
        let end = End::new::<ROUNDS>(isa, &keys, (&self.j0, bytes, self.tag));
        let powers = self.stretch.powers;
        let zero = I::Wide::broadcast(isa, &[0; 16]);
        let sum = self.stretch.cipher(isa, &keys, zero);
        end.finish(isa, powers, sum);
    }
}

impl<const ROUNDS: usize, const ENCRYPT: bool> Stretch<'_, '_, '_, ROUNDS, ENCRYPT> {
    /// Ciphers everything, and hashes the ciphertext on from `state`.
    #[inline(always)]
    fn cipher<I: Isa>(self, isa: I, keys: &WideKeys<I::Wide>, state: I::Wide) -> I::Wide {
        let group = GROUP * I::Wide::BYTES;
        let mut counter = Counter::new(isa, u128::from_be_bytes(self.start), true);
        let mut sum = state;
        let mut left = self.data.len();
        let (mut from, mut to) = self.data.into_raw();
        // Encrypting, the hash is one group behind.
        let mut behind: Option<*const u8> = None;
        while left >= group {
            let hashed = if ENCRYPT { behind } else { Some(from) };
            let place = (from, to);
            // SAFETY: a group is left at `from` and `to`; the one behind was written whole.
            unsafe {
                match hashed {
                    Some(hashed) => {
                        let hashed = (hashed, sum);
                        sum =
                            step::<I, ROUNDS>(isa, keys, self.powers, &mut counter, place, hashed);
                    }
                    None => cipher_up_to_group::<I, ROUNDS>(isa, keys, &mut counter, place, group),
                }
            }
            behind = Some(to);
            left -= group;
            // SAFETY: a whole group was left.
            (from, to) = unsafe { (from.add(group), to.add(group)) };
        }
        // SAFETY: the last group was written whole; `left` bytes are left at `from` and `to`.
        unsafe {
            if let (true, Some(behind)) = (ENCRYPT, behind) {
                sum = hash_up_to_group(isa, self.powers, sum, behind, group);
            }
            if left > 0 {
                if !ENCRYPT {
                    sum = hash_up_to_group(isa, self.powers, sum, from, left);
                }
                cipher_up_to_group::<I, ROUNDS>(isa, keys, &mut counter, (from, to), left);
                if ENCRYPT {
                    sum = hash_up_to_group(isa, self.powers, sum, to, left);
                }
            }
        }
        sum
    }
}

/// Ciphers one group while it hashes another, and returns the hash.
///
/// # Safety
/// A group is readable at `from` and at `hashed`, and writable at `to`.
#[inline(always)]
pub(super) unsafe fn step<I: Isa, const ROUNDS: usize>(
    isa: I,
    keys: &WideKeys<I::Wide>,
    powers: &Powers,
    counter: &mut Counter<I::Wide>,
    (from, to): (*const u8, *mut u8),
    (hashed, state): (*const u8, I::Wide),
) -> I::Wide {
    let step = I::Wide::BYTES;
    let mut hashing = Hashing {
        isa,
        from: hashed,
        factors: powers.for_last::<I>(GROUP * I::Wide::BLOCKS),
        state,
        sum: Sum::zero(isa),
    };
    let mut blocks = counter.take::<GROUP>(isa);
    encrypt_rounds::<_, ROUNDS, GROUP>(&mut blocks, keys, &mut hashing);
    for (index, stream) in blocks.into_iter().enumerate() {
        // SAFETY: a group is readable at `from` and writable at `to`.
        unsafe {
            let text = I::Wide::load(isa, from.add(index * step));
            let done = stream.enc_last(keys[ROUNDS].xor(text));
            done.store(to.add(index * step));
        }
    }
    hashing.sum.reduced(isa).folded()
}

/// Hashes a group between the rounds of another: one register after each of the first rounds.
struct Hashing<I: Isa> {
    isa: I,
    /// A group of ciphertext.
    from: *const u8,
    /// As many powers of H.
    factors: *const u8,
    state: I::Wide,
    sum: Sum<I::Wide>,
}

impl<I: Isa> Between for Hashing<I> {
    #[inline(always)]
    fn after_round(&mut self, round: usize) {
        if round > GROUP {
            return;
        }
        let at = (round - 1) * I::Wide::BYTES;
        // SAFETY: `step` promises a group at `from`, and there are as many factors.
        let (mut text, factor) = unsafe {
            let text = I::Wide::load(self.isa, self.from.add(at)).reversed();
            (text, I::Wide::load(self.isa, self.factors.add(at)))
        };
        if round == 1 {
            text = text.xor(self.state);
        }
        self.sum = self.sum.plus(text, factor);
    }
}
