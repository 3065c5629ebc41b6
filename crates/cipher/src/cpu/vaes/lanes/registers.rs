//! Lanes, a register at a time: each stream is read and written by whole registers.

use super::{LaneKeys, Lanes, encrypt_lanes, load_chains, store_chains};
use crate::cpu::vaes::aes::Between;
use crate::cpu::vaes::{GROUP, Isa, Task, Wide};

/// How far ahead each stream is asked for: there are more of them than a prefetcher follows. Into the
/// second-level cache, since the first one has too few lines to wait with.
const AHEAD_BYTES: usize = 1024;

/// Encrypts `registers` registers' worth of blocks in every lane. Each lane's stream is read and
/// written by whole registers, so that every cache line is touched once, and turned over in between:
/// the text after and before the one at work, while the rounds of that one go on.
pub(super) struct Registers<'a, const ROUNDS: usize, const SHARED: bool, const LAG: usize> {
    pub(super) lanes: &'a mut Lanes,
    pub(super) registers: usize,
}

/// A register's worth of every lane: by position, then by group of lanes.
type Texts<W> = [[W; GROUP]; 4];

impl<I: Isa, const ROUNDS: usize, const SHARED: bool, const LAG: usize> Task<I>
    for Registers<'_, ROUNDS, SHARED, LAG>
{
    #[inline(always)]
    fn go(self, isa: I) {
        let Registers { lanes, registers } = self;
        if registers == 0 {
            return;
        }
        let width = I::Wide::BLOCKS;
        let span = Span {
            registers,
            lag: LAG,
        };
        let keys = LaneKeys::<I, SHARED>::new(isa, lanes);
        let begun = load_chains::<I>(isa, lanes);
        let (mut chains, mut done) = (begun, begun);
        let zero: Texts<I::Wide> = [[I::Wide::broadcast(isa, &[0; 16]); GROUP]; 4];
        let mut texts = [zero, zero];
        for group in 0..GROUP {
            if span.register(0, group).is_some() {
                // SAFETY: there is at least one register's worth in every lane.
                unsafe { turn_in(isa, lanes, &mut texts[0], group, 0) };
            }
        }
        for turn in 0..span.turns() {
            for group in 0..GROUP {
                if LAG > 0 && span.register(turn, group) == Some(0) {
                    chains[group] = begun[group];
                }
            }
            let (even, odd) = texts.split_at_mut(1);
            let (at_work, other) = if turn % 2 == 0 {
                (&mut even[0], &mut odd[0])
            } else {
                (&mut odd[0], &mut even[0])
            };
            for (position, texts) in at_work.iter_mut().take(width).enumerate() {
                for (chain, text) in chains.iter_mut().zip(texts.iter()) {
                    *chain = chain.xor(*text);
                }
                let mut turning = Turning {
                    isa,
                    lanes,
                    texts: &mut *other,
                    position,
                    turn,
                    span,
                };
                encrypt_lanes::<I, ROUNDS, SHARED>(&keys, &mut chains, &mut turning);
                *texts = chains;
            }
            for group in 0..GROUP {
                if LAG > 0 && span.register(turn, group) == Some(registers - 1) {
                    done[group] = chains[group];
                }
            }
        }
        let last = span.turns() - 1;
        for group in 0..GROUP {
            if let Some(register) = span.register(last, group) {
                // SAFETY: the last register's worth is there in every lane.
                unsafe { turn_out(lanes, &texts[last % 2], group, register * I::Wide::BYTES) };
            }
        }
        store_chains::<I>(lanes, if LAG > 0 { done } else { chains });
        lanes.move_on(registers * I::Wide::BYTES);
    }
}

/// How the groups of lanes go through their registers' worths.
#[derive(Clone, Copy)]
struct Span {
    registers: usize,
    /// Turns that each group is behind the one before it.
    lag: usize,
}

impl Span {
    #[inline(always)]
    fn turns(self) -> usize {
        self.registers + (GROUP - 1) * self.lag
    }

    /// Which register's worth a group works on in a turn, if any.
    #[inline(always)]
    fn register(self, turn: usize, group: usize) -> Option<usize> {
        let register = turn.wrapping_sub(group * self.lag);
        if register < self.registers {
            Some(register)
        } else {
            None
        }
    }
}

/// Writes the text before the one at work and reads the one after it, some groups of lanes between
/// the rounds of each position.
struct Turning<'a, I: Isa> {
    isa: I,
    lanes: &'a Lanes,
    texts: &'a mut Texts<I::Wide>,
    position: usize,
    turn: usize,
    span: Span,
}

impl<I: Isa> Between for Turning<'_, I> {
    #[inline(always)]
    fn after_round(&mut self, round: usize) {
        // Eight groups are out and in again after `width` positions.
        let pieces = 2 * GROUP / I::Wide::BLOCKS;
        let piece = (round - 1) * pieces / 8;
        if round > 8 || !((round - 1) * pieces).is_multiple_of(8) {
            return;
        }
        let group = self.position * GROUP / I::Wide::BLOCKS + piece / 2;
        if piece.is_multiple_of(2) {
            if let Some(before) = self.span.register(self.turn.wrapping_sub(1), group) {
                // SAFETY: the register's worth before this one is there in every lane.
                unsafe { turn_out(self.lanes, self.texts, group, before * I::Wide::BYTES) };
            }
        } else if let Some(after) = self.span.register(self.turn + 1, group) {
            // SAFETY: another register's worth is left in every lane.
            unsafe {
                turn_in(
                    self.isa,
                    self.lanes,
                    self.texts,
                    group,
                    after * I::Wide::BYTES,
                )
            };
        }
    }
}

/// Reads a register's worth of each lane of a group.
///
/// # Safety
/// The lanes' places are readable for a register at `offset`.
#[inline(always)]
unsafe fn turn_in<I: Isa>(
    isa: I,
    lanes: &Lanes,
    texts: &mut Texts<I::Wide>,
    group: usize,
    offset: usize,
) {
    let width = I::Wide::BLOCKS;
    let from = &lanes.from[group * width..(group + 1) * width];
    let mut rows = [I::Wide::broadcast(isa, &[0; 16]); 4];
    for (row, from) in rows.iter_mut().zip(from) {
        // SAFETY: as promised by the caller.
        *row = unsafe { I::Wide::load(isa, from.add(offset)) };
        I::Wide::prefetch(isa, from.wrapping_add(offset + AHEAD_BYTES));
    }
    let turned = I::Wide::transposed(rows);
    for (text, turned) in texts[..width].iter_mut().zip(turned) {
        text[group] = turned;
    }
}

/// Writes a register's worth of each lane of a group.
///
/// # Safety
/// The lanes' places are writable for a register at `offset`.
#[inline(always)]
unsafe fn turn_out<W: Wide>(lanes: &Lanes, texts: &Texts<W>, group: usize, offset: usize) {
    let to = &lanes.to[group * W::BLOCKS..(group + 1) * W::BLOCKS];
    let rows = [
        texts[0][group],
        texts[1][group],
        texts[2][group],
        texts[3][group],
    ];
    let turned = W::transposed(rows);
    for (row, to) in turned.into_iter().zip(to) {
        // SAFETY: as promised by the caller.
        unsafe { row.store(to.add(offset)) };
    }
}
