//! GCM over whole messages under one key: the chunks of cobblestone.
//!
//! Hashing is one group behind encrypting. Between two messages that holds as well: the last group
//! of one is hashed while the first of the next is encrypted, so that only the last message of a
//! run waits for its tag.

use super::aes::{Nothing, WideKeys, encrypt_rounds, wide_keys};
use super::counter::{Counter, cipher_up_to_group};
use super::gcm::step;
use super::ghash::{Powers, Sum, hash_up_to_group};
use super::schedule::Schedule;
use super::{GROUP, Isa, Task, Wide};
use crate::Block;
use crate::cpu::{Message, later, length_block};

/// Encrypts messages and writes their tags.
pub(super) struct Seal<'a, 'm, const ROUNDS: usize> {
    pub(super) schedule: &'a Schedule,
    pub(super) powers: &'a Powers,
    pub(super) messages: &'a mut dyn Iterator<Item = Message<'m>>,
}

/// A message that is encrypted, but whose last group is not hashed yet.
struct Owed<'m, W> {
    behind: *const u8,
    sum: W,
    end: End<'m, W>,
}

impl<I: Isa, const ROUNDS: usize> Task<I> for Seal<'_, '_, ROUNDS> {
    #[inline(always)]
    fn go(self, isa: I) {
        let keys = wide_keys::<I::Wide>(isa, &self.schedule.encrypt);
        let mut owed = None;
        for message in self.messages {
            owed = seal::<I, ROUNDS>(isa, &keys, self.powers, message, owed);
        }
        if let Some(owed) = owed {
            owed.settle(isa, self.powers);
        }
    }
}

/// Encrypts a message and settles what the one before it owes.
#[inline(always)]
fn seal<'m, I: Isa, const ROUNDS: usize>(
    isa: I,
    keys: &WideKeys<I::Wide>,
    powers: &Powers,
    message: Message<'m>,
    owed: Option<Owed<'m, I::Wide>>,
) -> Option<Owed<'m, I::Wide>> {
    let Message { j0, data, tag } = message;
    let group = GROUP * I::Wide::BYTES;
    let mut left = data.len();
    let end = End::<I::Wide>::new::<ROUNDS>(isa, keys, (&j0, left, tag));
    let mut counter = Counter::new(isa, u128::from_be_bytes(later(j0, 1)), true);
    let mut sum = I::Wide::broadcast(isa, &[0; 16]);
    let (mut from, mut to) = data.into_raw();
    if left < group {
        if let Some(owed) = owed {
            owed.settle(isa, powers);
        }
    } else {
        let mut behind = to.cast_const();
        // SAFETY: whole groups are left at `from` and `to`; those behind were written whole.
        unsafe {
            if let Some(Owed { behind, sum, end }) = owed {
                let hashed = (behind, sum);
                let place = (from, to);
                end.finish(
                    isa,
                    powers,
                    step::<I, ROUNDS>(isa, keys, powers, &mut counter, place, hashed),
                );
            } else {
                cipher_up_to_group::<I, ROUNDS>(isa, keys, &mut counter, (from, to), group);
            }
            (from, to, left) = (from.add(group), to.add(group), left - group);
            while left >= group {
                let hashed = (behind, sum);
                sum = step::<I, ROUNDS>(isa, keys, powers, &mut counter, (from, to), hashed);
                behind = to;
                (from, to, left) = (from.add(group), to.add(group), left - group);
            }
        }
        if left == 0 {
            return Some(Owed { behind, sum, end });
        }
        // SAFETY: the group behind was written whole.
        sum = unsafe { hash_up_to_group(isa, powers, sum, behind, group) };
    }
    if left > 0 {
        // SAFETY: `left` bytes are left at `from` and `to`.
        unsafe {
            cipher_up_to_group::<I, ROUNDS>(isa, keys, &mut counter, (from, to), left);
            sum = hash_up_to_group(isa, powers, sum, to, left);
        }
    }
    end.finish(isa, powers, sum);
    None
}

impl<W: Wide> Owed<'_, W> {
    /// Hashes what is behind, and finishes the tag.
    #[inline(always)]
    fn settle(self, isa: W::Isa, powers: &Powers) {
        let group = GROUP * W::BYTES;
        // SAFETY: a group was written there.
        let sum = unsafe { hash_up_to_group::<W::Isa>(isa, powers, self.sum, self.behind, group) };
        self.end.finish(isa, powers, sum);
    }
}

/// What makes a message's tag of its hash.
pub(super) struct End<'m, W> {
    /// The encrypted J0.
    mask: W,
    bytes: u64,
    tag: &'m mut Block,
}

impl<'m, W: Wide> End<'m, W> {
    /// Of a message with this J0, its length in bytes, and the place for its tag.
    #[inline(always)]
    pub(super) fn new<const ROUNDS: usize>(
        isa: W::Isa,
        keys: &WideKeys<W>,
        (j0, bytes, tag): (&Block, usize, &'m mut Block),
    ) -> Self {
        let mut mask = [W::broadcast(isa, j0)];
        encrypt_rounds::<_, ROUNDS, 1>(&mut mask, keys, &mut Nothing);
        End {
            mask: mask[0].enc_last(keys[ROUNDS]),
            bytes: bytes as u64,
            tag,
        }
    }

    /// Writes the tag.
    #[inline(always)]
    pub(super) fn finish(self, isa: W::Isa, powers: &Powers, sum: W) {
        let lengths = W::alone(isa, &length_block(0, self.bytes)).reversed();
        // SAFETY: behind the last power stand zeroes, a register's worth in all.
        let h = unsafe { W::load(isa, powers.for_last::<W::Isa>(1)) };
        let sum = Sum::zero(isa).plus(sum.xor(lengths), h).reduced(isa);
        *self.tag = sum.reversed().xor(self.mask).first();
    }
}
