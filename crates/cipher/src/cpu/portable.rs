//! The portable kernel: the RustCrypto crates, which use AES-NI, VAES or ARMv8 where the CPU has
//! them and constant-time (fixsliced) software where not. It is the reference that other kernels
//! are checked against.

use aes::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt,
    BlockSizeUser, InnerIvInit, KeyInit, StreamCipher, consts::U16,
};
use aes::{Aes128, Aes192, Aes256};
use ctr::{Ctr32BE, Ctr64BE, Ctr128BE, CtrCore};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use zeroize::Zeroizing;

use super::{CounterWidth, Data, GcmKeyed, Kernel, Keyed, check_key_length, later};
use crate::error::Result;
use crate::secret::Secret;
use crate::{BLOCK_BYTES, Block};

/// The RustCrypto crates.
pub struct Portable;

impl Kernel for Portable {
    fn name(&self) -> &'static str {
        "portable"
    }

    fn key(&self, key: &Secret) -> Result<Box<dyn Keyed>> {
        let bytes = key.expose();
        check_key_length(bytes.len())?;
        Ok(match bytes.len() {
            16 => Box::new(Aes(expand::<Aes128>(bytes))),
            24 => Box::new(Aes(expand::<Aes192>(bytes))),
            _ => Box::new(Aes(expand::<Aes256>(bytes))),
        })
    }

    fn gcm(&self, key: &Secret) -> Result<Box<dyn GcmKeyed>> {
        let bytes = key.expose();
        check_key_length(bytes.len())?;
        Ok(match bytes.len() {
            16 => Box::new(Gcm::new(Aes(expand::<Aes128>(bytes)))),
            24 => Box::new(Gcm::new(Aes(expand::<Aes192>(bytes)))),
            _ => Box::new(Gcm::new(Aes(expand::<Aes256>(bytes)))),
        })
    }
}

struct Aes<C>(C);

fn expand<C: KeyInit>(bytes: &[u8]) -> C {
    let key = Array::try_from(bytes);
    C::new(&key.unwrap_or_else(|_| unreachable!("the length was matched")))
}

impl<C> Keyed for Aes<C>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + Send + Sync,
{
    fn encrypt_block(&self, block: &mut Block) {
        self.0.encrypt_block(block.into());
    }

    fn ctr(&self, start: Block, width: CounterWidth, data: Data<'_, '_>) {
        // No counter is ever asked to run through its whole period: 2^32 blocks is GCM's own
        // limit.
        let low = u32::from_be_bytes([start[12], start[13], start[14], start[15]]);
        let carries = data.len().div_ceil(BLOCK_BYTES) as u64 + u64::from(low) > 1 << 32;
        match width {
            CounterWidth::Bits128 if carries => {
                Ctr128BE::from_core(CtrCore::inner_iv_init(&self.0, &start.into()))
                    .unchecked_apply_keystream_inout(data);
            }
            CounterWidth::Bits64 if carries => {
                Ctr64BE::from_core(CtrCore::inner_iv_init(&self.0, &start.into()))
                    .unchecked_apply_keystream_inout(data);
            }
            // Without a carry out of the low 32 bits all widths are one, and the crate's narrowest is
            // its fastest.
            _ => {
                Ctr32BE::from_core(CtrCore::inner_iv_init(&self.0, &start.into()))
                    .unchecked_apply_keystream_inout(data);
            }
        }
    }

    fn cbc_encrypt(&self, chain: &mut Block, data: Data<'_, '_>) {
        let (mut blocks, tail) = data.into_chunks::<U16>();
        debug_assert!(tail.is_empty());
        cbc::Encryptor::inner_iv_init(&self.0, &(*chain).into())
            .encrypt_blocks_inout(blocks.reborrow());
        if let Some(last) = blocks.get_out().last() {
            *chain = (*last).into();
        }
    }

    fn cbc_decrypt(&self, previous: &Block, data: &mut [u8]) {
        let (blocks, tail) = Array::slice_as_chunks_mut(data);
        debug_assert!(tail.is_empty());
        cbc::Decryptor::inner_iv_init(&self.0, &(*previous).into()).decrypt_blocks(blocks);
    }
}

/// Ciphered and hashed at once: a step stays in the second-level cache between the two.
const STEP_BYTES: usize = 128 * 1024;

struct Gcm<C> {
    aes: C,
    hash: GHash,
    h: Zeroizing<Block>,
}

impl<C: Keyed> Gcm<C> {
    fn new(aes: C) -> Self {
        let mut h = Zeroizing::new([0; BLOCK_BYTES]);
        aes.encrypt_block(&mut h);
        Gcm {
            aes,
            hash: GHash::new((&*h).into()),
            h,
        }
    }
}

impl<C: Keyed> GcmKeyed for Gcm<C> {
    fn encrypt_block(&self, block: &mut Block) {
        self.aes.encrypt_block(block);
    }

    fn ghash(&self, state: &mut Block, data: &[u8]) {
        update(&self.hash, state, data);
    }

    fn encrypt(&self, start: Block, state: &mut Block, data: Data<'_, '_>) {
        for (start, mut step) in steps(start, data) {
            self.aes.ctr(start, CounterWidth::Bits32, step.reborrow());
            update(&self.hash, state, step.get_out());
        }
    }

    fn decrypt(&self, start: Block, state: &mut Block, data: Data<'_, '_>) {
        for (start, step) in steps(start, data) {
            update(&self.hash, state, step.get_in());
            self.aes.ctr(start, CounterWidth::Bits32, step);
        }
    }

    fn h(&self) -> &Block {
        &self.h
    }

    fn multiply(&self, a: &Block, b: &Block) -> Block {
        // Hashing one block under the key X multiplies it by X.
        let mut product = [0; BLOCK_BYTES];
        update(&GHash::new(b.into()), &mut product, a);
        product
    }
}

/// Cuts the data into steps, each with its counter block.
fn steps<'i, 'o>(start: Block, data: Data<'i, 'o>) -> impl Iterator<Item = (Block, Data<'i, 'o>)> {
    let mut rest = Some(data);
    let mut start = start;
    std::iter::from_fn(move || {
        let data = rest.take().filter(|data| !data.is_empty())?;
        let bytes = data.len().min(STEP_BYTES);
        let (step, left) = data.split_at(bytes);
        rest = Some(left);
        let here = start;
        start = later(here, (STEP_BYTES / BLOCK_BYTES) as u32);
        Some((here, step))
    })
}

/// GHASH, continuing from `state`. On x86 compiled for the instructions that the crate finds at run
/// time, or it depends on the mood of the compiler whether blocks are turned around bytewise.
fn update(hash: &GHash, state: &mut Block, data: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("pclmulqdq") {
        // SAFETY: the CPU has both.
        return unsafe { update_avx2(hash, state, data) };
    }
    update_any(hash, state, data);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,pclmulqdq")]
fn update_avx2(hash: &GHash, state: &mut Block, data: &[u8]) {
    update_any(hash, state, data);
}

/// The state is XORed into the first block, which is hashed by itself: the crate starts from zero.
#[inline(always)]
fn update_any(hash: &GHash, state: &mut Block, data: &[u8]) {
    let (first, rest) = data.split_at(data.len().min(BLOCK_BYTES));
    if first.is_empty() {
        return;
    }
    for (s, d) in state.iter_mut().zip(first) {
        *s ^= d;
    }
    let mut hash = hash.clone();
    hash.update(&[(*state).into()]);
    hash.update_padded(rest);
    *state = hash.finalize().into();
}
