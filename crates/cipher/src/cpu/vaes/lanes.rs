//! Multi-buffer CBC encryption: one stream in each lane of eight registers.
//!
//! Encryption is serial inside a stream, so a round's latency is hidden by other streams: 32 of
//! them with registers of four blocks. Each lane has its own key and length; when its stream ends
//! it takes the next one.

mod registers;

use zeroize::Zeroizing;

use self::registers::Registers;
use super::aes::{Between, Nothing, WideKeys, each_round};
use super::{GROUP, Isa, Task, Wide};
use crate::Block;
use crate::cpu::CbcStream;

/// The most lanes: eight registers of four blocks.
const MOST: usize = 4 * GROUP;

/// Turns between two groups of lanes: far enough that a group's lines leave the set before the next group's come.
const LAG: usize = 2;

/// Encrypts all streams, those of one key size at a time.
pub(super) fn encrypt<I: Isa>(isa: I, streams: &mut [CbcStream<'_>]) {
    let alone = streams.len() == 1;
    for CbcStream { key, chain, data } in streams.iter_mut() {
        // Keys of another kernel have no round keys to offer.
        if alone || key.round_keys().is_none() {
            key.cbc_encrypt(chain, data.reborrow());
        }
    }
    if alone {
        return;
    }
    run::<I, 10>(isa, streams);
    run::<I, 12>(isa, streams);
    run::<I, 14>(isa, streams);
}

/// The streams of one key size.
fn run<I: Isa, const ROUNDS: usize>(isa: I, streams: &mut [CbcStream<'_>]) {
    let mut waiting = streams.iter_mut().filter_map(|stream| {
        let keys = stream.key.round_keys()?.0;
        (keys.len() == ROUNDS + 1 && !stream.data.is_empty()).then_some(Taken {
            keys,
            chain: &mut stream.chain,
            blocks: stream.data.len() / 16,
            place: stream.data.reborrow().into_raw(),
        })
    });
    let mut lanes = Lanes::empty();
    let mut busy: [Option<Taken<'_>>; MOST] = [const { None }; MOST];
    let busy = &mut busy[..I::Wide::BLOCKS * GROUP];
    while let Some(blocks) = refill(busy, &mut lanes, &mut waiting) {
        if lanes.share_a_key(busy.len()) {
            advance::<I, ROUNDS, true>(isa, &mut lanes, blocks);
        } else {
            advance::<I, ROUNDS, false>(isa, &mut lanes, blocks);
        }
        for (lane, taken) in busy.iter_mut().enumerate() {
            if let Some(taken) = taken {
                taken.blocks -= blocks;
                *taken.chain = lanes.chains[lane];
            }
        }
    }
}

/// Encrypts `blocks` blocks in every lane: as many as make whole registers, and the rest.
fn advance<I: Isa, const ROUNDS: usize, const SHARED: bool>(
    isa: I,
    lanes: &mut Lanes,
    blocks: usize,
) {
    let rest = blocks % I::Wide::BLOCKS;
    let registers = blocks / I::Wide::BLOCKS;
    if lanes.should_lag(GROUP * I::Wide::BLOCKS, registers) {
        isa.run(Registers::<ROUNDS, SHARED, LAG> { lanes, registers });
    } else {
        isa.run(Registers::<ROUNDS, SHARED, 0> { lanes, registers });
    }
    isa.run(Blocks::<ROUNDS, SHARED> {
        lanes,
        blocks: rest,
    });
}

/// Gives lanes whose stream has ended the next one, and says for how many blocks all lanes can run;
/// `None` when every stream has ended.
fn refill<'a>(
    busy: &mut [Option<Taken<'a>>],
    lanes: &mut Lanes,
    waiting: &mut impl Iterator<Item = Taken<'a>>,
) -> Option<usize> {
    for (lane, taken) in busy.iter_mut().enumerate() {
        if taken.as_ref().is_none_or(|taken| taken.blocks == 0) {
            *taken = waiting.next();
            if let Some(taken) = taken {
                lanes.load(lane, taken);
            }
        }
    }
    let first = busy.iter().position(Option::is_some)?;
    lanes.busy = busy.iter().flatten().count();
    for (lane, taken) in busy.iter().enumerate() {
        if taken.is_none() {
            lanes.copy(first, lane);
        }
    }
    busy.iter().flatten().map(|taken| taken.blocks).min()
}

/// A stream in a lane.
struct Taken<'a> {
    keys: &'a [Block],
    chain: &'a mut Block,
    blocks: usize,
    place: (*const u8, *mut u8),
}

/// What the lanes work on, by lane. A lane without a stream does the same as another one: all lanes
/// are read before any is written, so the same bytes are written twice.
#[repr(C, align(64))]
struct Lanes {
    /// As numbers, which are zeroed faster than bytes.
    keys: Zeroizing<[[u128; MOST]; 15]>,
    chains: [Block; MOST],
    from: [*const u8; MOST],
    to: [*mut u8; MOST],
    /// Whose key each lane has: equal addresses are equal keys.
    owners: [*const Block; MOST],
    /// Lanes with a stream of their own.
    busy: usize,
}

impl Lanes {
    fn empty() -> Self {
        Lanes {
            keys: Zeroizing::new([[0; MOST]; 15]),
            chains: [[0; 16]; MOST],
            from: [std::ptr::null(); MOST],
            to: [std::ptr::null_mut(); MOST],
            owners: [std::ptr::null(); MOST],
            busy: 0,
        }
    }

    /// Puts a stream into a lane.
    fn load(&mut self, lane: usize, taken: &Taken<'_>) {
        for (row, key) in self.keys.iter_mut().zip(taken.keys) {
            row[lane] = u128::from_ne_bytes(*key);
        }
        self.chains[lane] = *taken.chain;
        (self.from[lane], self.to[lane]) = taken.place;
        self.owners[lane] = taken.keys.as_ptr();
    }

    /// Makes a lane do what another one does.
    fn copy(&mut self, from: usize, lane: usize) {
        for row in self.keys.iter_mut() {
            row[lane] = row[from];
        }
        self.chains[lane] = self.chains[from];
        (self.from[lane], self.to[lane]) = (self.from[from], self.to[from]);
        self.owners[lane] = self.owners[from];
    }

    /// Whether the first `count` lanes have one key, which then stays in registers.
    fn share_a_key(&self, count: usize) -> bool {
        self.owners[..count]
            .iter()
            .all(|owner| *owner == self.owners[0])
    }

    /// Whether each group of lanes should stay behind the one before it. Streams at equal page
    /// offsets meet in one set of the first-level cache; with a lag, only those of one group do. A
    /// lane that repeats another one may not lag behind it.
    fn should_lag(&self, lanes: usize, registers: usize) -> bool {
        let line = |place: &*const u8| place.addr() % 4096 / 64;
        let mut lines = self.from[..self.busy].iter().map(line);
        let first = lines.next().unwrap_or_default();
        let crowd = lines.filter(|line| *line == first).count();
        registers >= 128 && crowd >= 8 && self.busy == lanes
    }

    fn move_on(&mut self, bytes: usize) {
        for (from, to) in self.from.iter_mut().zip(&mut self.to) {
            (*from, *to) = (from.wrapping_add(bytes), to.wrapping_add(bytes));
        }
    }
}

/// Encrypts `blocks` blocks in every lane, one by one.
struct Blocks<'a, const ROUNDS: usize, const SHARED: bool> {
    lanes: &'a mut Lanes,
    blocks: usize,
}

impl<I: Isa, const ROUNDS: usize, const SHARED: bool> Task<I> for Blocks<'_, ROUNDS, SHARED> {
    #[inline(always)]
    fn go(self, isa: I) {
        let Blocks { lanes, blocks } = self;
        let width = I::Wide::BLOCKS;
        let keys = LaneKeys::<I, SHARED>::new(isa, lanes);
        let mut chains = load_chains::<I>(isa, lanes);
        for block in 0..blocks {
            for (from, chain) in lanes.from.chunks_exact(width).zip(chains.iter_mut()) {
                // SAFETY: every lane has so many blocks left.
                *chain = chain.xor(unsafe { I::Wide::gather(isa, from, 16 * block) });
            }
            encrypt_lanes::<I, ROUNDS, SHARED>(&keys, &mut chains, &mut Nothing);
            for (to, chain) in lanes.to.chunks_exact(width).zip(chains.iter()) {
                // SAFETY: every lane has so many blocks left.
                unsafe { chain.scatter(to, 16 * block) };
            }
        }
        store_chains::<I>(lanes, chains);
        lanes.move_on(16 * blocks);
    }
}

#[inline(always)]
fn load_chains<I: Isa>(isa: I, lanes: &Lanes) -> [I::Wide; GROUP] {
    let mut chains = [I::Wide::of(isa, &lanes.chains); GROUP];
    for (chain, blocks) in chains
        .iter_mut()
        .zip(lanes.chains.chunks_exact(I::Wide::BLOCKS))
    {
        *chain = I::Wide::of(isa, blocks);
    }
    chains
}

#[inline(always)]
fn store_chains<I: Isa>(lanes: &mut Lanes, chains: [I::Wide; GROUP]) {
    for (group, chain) in chains.into_iter().enumerate() {
        chain.put(&mut lanes.chains[group * I::Wide::BLOCKS..]);
    }
}

/// Round keys by lane: in registers when all lanes share them, in memory otherwise.
struct LaneKeys<'a, I: Isa, const SHARED: bool> {
    isa: I,
    shared: WideKeys<I::Wide>,
    each: &'a [[u128; MOST]; 15],
}

impl<'a, I: Isa, const SHARED: bool> LaneKeys<'a, I, SHARED> {
    #[inline(always)]
    fn new(isa: I, lanes: &'a Lanes) -> Self {
        let mut shared = [I::Wide::broadcast(isa, &lanes.chains[0]); 15];
        for (wide, row) in shared.iter_mut().zip(lanes.keys.iter()) {
            *wide = I::Wide::broadcast(isa, &row[0].to_ne_bytes());
        }
        LaneKeys {
            isa,
            shared,
            each: &lanes.keys,
        }
    }

    #[inline(always)]
    fn of(&self, round: usize, group: usize) -> I::Wide {
        if SHARED {
            self.shared[round]
        } else {
            let keys = &self.each[round][group * I::Wide::BLOCKS..];
            // SAFETY: as many keys as the register has blocks.
            unsafe { I::Wide::load(self.isa, keys.as_ptr().cast()) }
        }
    }
}

/// One AES encryption in every lane, under its own key.
#[inline(always)]
fn encrypt_lanes<I: Isa, const ROUNDS: usize, const SHARED: bool>(
    keys: &LaneKeys<'_, I, SHARED>,
    state: &mut [I::Wide; GROUP],
    between: &mut impl Between,
) {
    for (group, state) in state.iter_mut().enumerate() {
        *state = state.xor(keys.of(0, group));
    }
    each_round!(ROUNDS, round => {
        for (group, state) in state.iter_mut().enumerate() {
            *state = state.enc(keys.of(round, group)).held();
        }
        between.after_round(round);
    });
    for (group, state) in state.iter_mut().enumerate() {
        *state = state.enc_last(keys.of(ROUNDS, group));
    }
}
