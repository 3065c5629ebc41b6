//! VAES: the algorithms of the kernels with wide AES registers, written once for every width.
//!
//! [`Wide`] is a register of whole blocks, [`Isa`] an instruction set; `vaes256` and `vaes512`
//! implement the two. Both can only be had where the CPU has the instructions: an [`Isa`] value is
//! the proof, and every register is made from one. The modes are [`Task`]s, inlined into a function
//! compiled for the instruction set. What is not inlined there is slow, a call for every
//! instruction: so everything is `#[inline(always)]`, and no closure touches a register, since
//! nobody can force one inline.
//!
//! Constant time: AES and carry-less multiplication are instructions whose time does not depend on
//! their operands; branches and addresses depend on lengths and key sizes only. Round keys and
//! powers of H are zeroed when dropped; what the compiler spills of them to the stack is not.

mod aes;
mod cbc;
mod counter;
mod gcm;
mod ghash;
mod lanes;
mod messages;
mod schedule;

use super::{CbcStream, CounterWidth, Data, GcmKeyed, Kernel, Keyed, RoundKeys, check_key_length};
use crate::Block;
use crate::error::Result;
use crate::secret::Secret;
use schedule::Schedule;

/// Registers in flight: enough to hide the latency of a round.
const GROUP: usize = 8;

/// An instruction set that this CPU has.
pub(super) trait Isa: Copy + Send + Sync + 'static {
    /// Its register.
    type Wide: Wide<Isa = Self>;
    /// The kernel's name.
    const NAME: &'static str;
    /// Runs a task in code compiled for this instruction set.
    fn run<T: Task<Self>>(self, task: T);
}

/// Something to compute. `go` is inlined into [`Isa::run`], and so is all that it calls.
pub(super) trait Task<I: Isa> {
    /// Computes it.
    fn go(self, isa: I);
}

/// A register of whole AES blocks.
pub(super) trait Wide: Copy {
    /// The proof that the CPU has it.
    type Isa: Isa<Wide = Self>;
    /// Blocks in it.
    const BLOCKS: usize;
    /// Bytes in it.
    const BYTES: usize = 16 * Self::BLOCKS;

    /// The same block in every lane.
    fn broadcast(isa: Self::Isa, block: &Block) -> Self;
    /// Reads a register.
    ///
    /// # Safety
    /// `from` is readable for [`Wide::BYTES`] bytes.
    unsafe fn load(isa: Self::Isa, from: *const u8) -> Self;
    /// Reads `bytes`, fewer than a register, and fills with zero.
    ///
    /// # Safety
    /// `from` is readable for `bytes` bytes.
    unsafe fn load_part(isa: Self::Isa, from: *const u8, bytes: usize) -> Self;
    /// Writes a register.
    ///
    /// # Safety
    /// `to` is writable for [`Wide::BYTES`] bytes.
    unsafe fn store(self, to: *mut u8);
    /// Writes the first `bytes`, fewer than a register.
    ///
    /// # Safety
    /// `to` is writable for `bytes` bytes.
    unsafe fn store_part(self, to: *mut u8, bytes: usize);

    /// XOR.
    fn xor(self, other: Self) -> Self;
    /// One round of AES encryption.
    fn enc(self, key: Self) -> Self;
    /// The last round of AES encryption.
    fn enc_last(self, key: Self) -> Self;
    /// One round of AES decryption (equivalent inverse cipher).
    fn dec(self, key: Self) -> Self;
    /// The last round of AES decryption.
    fn dec_last(self, key: Self) -> Self;
    /// Adds 32-bit numbers.
    fn add32(self, other: Self) -> Self;
    /// Adds 64-bit numbers.
    fn add64(self, other: Self) -> Self;
    /// Each block's bytes in reverse order.
    fn reversed(self) -> Self;
    /// Each block's halves swapped.
    fn swapped(self) -> Self;
    /// Carry-less product of a half of each block: bit 0 of `HALVES` picks that of `self`, bit 4
    /// that of `other`.
    fn clmul<const HALVES: i32>(self, other: Self) -> Self;
    /// The blocks moved up by one lane, the last of `before` moved in.
    fn after(self, before: Self) -> Self;
    /// The XOR of all lanes in the first one, zero in the others.
    fn folded(self) -> Self;
    /// The same register, computed before whatever stands after this call in the source. No
    /// instruction: it only keeps the compiler from doing one register's rounds after another's, and
    /// from copying keys from memory to the stack.
    fn held(self) -> Self;
    /// Asks for a cache line that is needed soon, into the second-level cache; any address will do.
    fn prefetch(isa: Self::Isa, from: *const u8);
    /// Turns [`Wide::BLOCKS`] registers of one stream each into as many of one position each, and
    /// back; what is behind them stays.
    fn transposed(rows: [Self; 4]) -> [Self; 4];
    /// Reads a block from each of [`Wide::BLOCKS`] places, `offset` bytes on.
    ///
    /// # Safety
    /// There are so many places, readable for 16 bytes at `offset`.
    unsafe fn gather(isa: Self::Isa, from: &[*const u8], offset: usize) -> Self;
    /// Writes a block to each of [`Wide::BLOCKS`] places, `offset` bytes on.
    ///
    /// # Safety
    /// There are so many places, writable for 16 bytes at `offset`.
    unsafe fn scatter(self, to: &[*mut u8], offset: usize);

    /// Reads the first blocks, of which there are enough.
    #[inline(always)]
    fn of(isa: Self::Isa, blocks: &[Block]) -> Self {
        assert!(blocks.len() >= Self::BLOCKS);
        // SAFETY: as many blocks as the register has.
        unsafe { Self::load(isa, blocks.as_ptr().cast()) }
    }

    /// Writes the first blocks, of which there are enough.
    #[inline(always)]
    fn put(self, blocks: &mut [Block]) {
        assert!(blocks.len() >= Self::BLOCKS);
        // SAFETY: as many blocks as the register has.
        unsafe { self.store(blocks.as_mut_ptr().cast()) }
    }

    /// The block in the first lane, zero in the others.
    #[inline(always)]
    fn alone(isa: Self::Isa, block: &Block) -> Self {
        // SAFETY: a block is 16 bytes.
        unsafe { Self::load_part(isa, block.as_ptr(), 16) }
    }

    /// The block in the first lane.
    #[inline(always)]
    fn first(self) -> Block {
        let mut block = [0; 16];
        // SAFETY: a block is 16 bytes.
        unsafe { self.store_part(block.as_mut_ptr(), 16) };
        block
    }

    /// Reads what is left, at most a register.
    ///
    /// # Safety
    /// `from` is readable for `bytes` bytes.
    #[inline(always)]
    unsafe fn load_up_to(isa: Self::Isa, from: *const u8, bytes: usize) -> Self {
        if bytes >= Self::BYTES {
            // SAFETY: as promised by the caller.
            unsafe { Self::load(isa, from) }
        } else {
            // SAFETY: as promised by the caller.
            unsafe { Self::load_part(isa, from, bytes) }
        }
    }

    /// Writes what is left, at most a register.
    ///
    /// # Safety
    /// `to` is writable for `bytes` bytes.
    #[inline(always)]
    unsafe fn store_up_to(self, to: *mut u8, bytes: usize) {
        if bytes >= Self::BYTES {
            // SAFETY: as promised by the caller.
            unsafe { self.store(to) }
        } else {
            // SAFETY: as promised by the caller.
            unsafe { self.store_part(to, bytes) }
        }
    }
}

/// The kernel of an instruction set.
pub(super) struct Vaes<I>(pub(super) I);

impl<I: Isa> Kernel for Vaes<I> {
    fn name(&self) -> &'static str {
        I::NAME
    }

    fn key(&self, key: &Secret) -> Result<Box<dyn Keyed>> {
        check_key_length(key.expose().len())?;
        Ok(match key.expose().len() {
            16 => Box::new(Aes::<I, 10>::new(self.0, key)),
            24 => Box::new(Aes::<I, 12>::new(self.0, key)),
            _ => Box::new(Aes::<I, 14>::new(self.0, key)),
        })
    }

    fn gcm(&self, key: &Secret) -> Result<Box<dyn GcmKeyed>> {
        check_key_length(key.expose().len())?;
        Ok(match key.expose().len() {
            16 => Box::new(gcm::Gcm::<I, 10>::new(self.0, key)),
            24 => Box::new(gcm::Gcm::<I, 12>::new(self.0, key)),
            _ => Box::new(gcm::Gcm::<I, 14>::new(self.0, key)),
        })
    }

    fn cbc_encrypt(&self, streams: &mut [CbcStream<'_>]) {
        lanes::encrypt(self.0, streams);
    }
}

/// An expanded key of `ROUNDS` rounds.
struct Aes<I, const ROUNDS: usize> {
    isa: I,
    schedule: Box<Schedule>,
}

impl<I: Isa, const ROUNDS: usize> Aes<I, ROUNDS> {
    fn new(isa: I, key: &Secret) -> Self {
        let schedule = Schedule::expand(isa, key.expose());
        Aes { isa, schedule }
    }
}

impl<I: Isa, const ROUNDS: usize> Keyed for Aes<I, ROUNDS> {
    fn encrypt_block(&self, block: &mut Block) {
        let keys = &self.schedule.encrypt;
        self.isa.run(aes::OneBlock::<ROUNDS> { keys, block });
    }

    fn ctr(&self, start: Block, width: CounterWidth, data: Data<'_, '_>) {
        let keys = &self.schedule.encrypt;
        counter::apply::<I, ROUNDS>(self.isa, keys, start, width, data);
    }

    fn cbc_encrypt(&self, chain: &mut Block, data: Data<'_, '_>) {
        debug_assert_eq!(data.len() % 16, 0);
        let keys = &self.schedule.encrypt;
        self.isa.run(cbc::Encrypt::<ROUNDS> { keys, chain, data });
    }

    fn cbc_decrypt(&self, previous: &Block, data: &mut [u8]) {
        debug_assert_eq!(data.len() % 16, 0);
        self.isa.run(cbc::Decrypt::<ROUNDS> {
            keys: &self.schedule.decrypt,
            previous,
            data,
        });
    }

    fn round_keys(&self) -> Option<RoundKeys<'_>> {
        Some(RoundKeys(&self.schedule.encrypt[..=ROUNDS]))
    }
}
