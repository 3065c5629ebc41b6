//! GCM: CTR and GHASH stitched in one pass.
//!
//! While the AES units work on one group of counter blocks, the multipliers hash another group of
//! ciphertext: when encrypting the group before, when decrypting the same one.

use super::aes::{Between, Nothing, OneBlock, WideKeys, encrypt_rounds, wide_keys};
use super::counter::Counter;
use super::ghash::{Hash, MakePowers, Multiply, Powers, Sum, hash_up_to_group};
use super::schedule::Schedule;
use super::{GROUP, Isa, Task, Wide};
use crate::cipher::Block;
use crate::cipher::cpu::{Data, GcmKeyed};
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
        self.isa.run(Stitched::<ROUNDS, true> {
            schedule: &self.schedule,
            powers: &self.powers,
            start,
            state,
            data,
        });
    }

    fn decrypt(&self, start: Block, state: &mut Block, data: Data<'_, '_>) {
        self.isa.run(Stitched::<ROUNDS, false> {
            schedule: &self.schedule,
            powers: &self.powers,
            start,
            state,
            data,
        });
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

struct Stitched<'a, 'i, 'o, const ROUNDS: usize, const ENCRYPT: bool> {
    schedule: &'a Schedule,
    powers: &'a Powers,
    start: Block,
    state: &'a mut Block,
    data: Data<'i, 'o>,
}

impl<I: Isa, const ROUNDS: usize, const ENCRYPT: bool> Task<I>
    for Stitched<'_, '_, '_, ROUNDS, ENCRYPT>
{
    #[inline(always)]
    fn go(self, isa: I) {
        let group = GROUP * I::Wide::BYTES;
        let keys = wide_keys::<I::Wide>(isa, &self.schedule.encrypt);
        let mut counter = Counter::new(isa, u128::from_be_bytes(self.start), true);
        let mut sum = I::Wide::alone(isa, self.state).reversed();
        let mut left = self.data.len();
        let (mut from, mut to) = self.data.into_raw();
        // Encrypting, the hash is one group behind.
        let mut behind: Option<*const u8> = None;
        while left >= group {
            let hashed = if ENCRYPT { behind } else { Some(from) };
            // SAFETY: a group is left at `from` and `to`; the one behind was written whole.
            unsafe {
                let place = (from, to);
                sum = match hashed {
                    Some(hashed) => step::<I, ROUNDS>(
                        isa,
                        &keys,
                        self.powers,
                        &mut counter,
                        place,
                        (hashed, sum),
                    ),
                    None => {
                        first::<I, ROUNDS>(isa, &keys, &mut counter, place);
                        sum
                    }
                };
            }
            behind = Some(to);
            left -= group;
            // SAFETY: a whole group was left.
            (from, to) = unsafe { (from.add(group), to.add(group)) };
        }
        if let (true, Some(behind)) = (ENCRYPT, behind) {
            // SAFETY: the last group was written whole.
            sum = unsafe { hash_up_to_group(isa, self.powers, sum, behind, group) };
        }
        if left > 0 {
            // SAFETY: `left` bytes are left at `from` and `to`.
            unsafe {
                if !ENCRYPT {
                    sum = hash_up_to_group(isa, self.powers, sum, from, left);
                }
                rest::<I, ROUNDS>(isa, &keys, &mut counter, (from, to), left);
                if ENCRYPT {
                    sum = hash_up_to_group(isa, self.powers, sum, to, left);
                }
            }
        }
        *self.state = sum.reversed().first();
    }
}

/// Ciphers one group while it hashes another, and returns the hash.
///
/// # Safety
/// A group is readable at `from` and at `hashed`, and writable at `to`.
#[inline(always)]
unsafe fn step<I: Isa, const ROUNDS: usize>(
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
    let mut blocks = counter.take::<GROUP>();
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

/// Ciphers one group.
///
/// # Safety
/// A group is readable at `from` and writable at `to`.
#[inline(always)]
unsafe fn first<I: Isa, const ROUNDS: usize>(
    isa: I,
    keys: &WideKeys<I::Wide>,
    counter: &mut Counter<I::Wide>,
    place: (*const u8, *mut u8),
) {
    // SAFETY: as promised by the caller.
    unsafe { rest::<I, ROUNDS>(isa, keys, counter, place, GROUP * I::Wide::BYTES) }
}

/// Ciphers `bytes`, at most a group.
///
/// # Safety
/// `bytes` bytes are readable at `from` and writable at `to`.
#[inline(always)]
unsafe fn rest<I: Isa, const ROUNDS: usize>(
    isa: I,
    keys: &WideKeys<I::Wide>,
    counter: &mut Counter<I::Wide>,
    (from, to): (*const u8, *mut u8),
    bytes: usize,
) {
    let step = I::Wide::BYTES;
    let mut blocks = counter.take::<GROUP>();
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
