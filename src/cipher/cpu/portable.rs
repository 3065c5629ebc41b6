//! The portable kernel: the RustCrypto crates, which use AES-NI, VAES or ARMv8 where the CPU has
//! them and constant-time (fixsliced) software where not. It is the reference that other kernels
//! are checked against.

use aes::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt,
    BlockSizeUser, InnerIvInit, KeyInit, StreamCipher, consts::U16,
};
use aes::{Aes128, Aes192, Aes256};
use ctr::{Ctr32BE, Ctr128BE, CtrCore};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;

use super::{CounterWidth, Data, Ghasher, Kernel, Keyed, check_key_length};
use crate::cipher::{BLOCK_BYTES, Block};
use crate::fault::Result;
use crate::secret::Secret;

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

    fn ghash(&self, h: &Block) -> Box<dyn Ghasher> {
        Box::new(Hash(GHash::new(h.into())))
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
        // Neither counter is ever asked to run through its whole period: 2^32 blocks is GCM's own
        // limit.
        match width {
            CounterWidth::Bits128 => {
                Ctr128BE::from_core(CtrCore::inner_iv_init(&self.0, &start.into()))
                    .unchecked_apply_keystream_inout(data);
            }
            CounterWidth::Bits32 => {
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

struct Hash(GHash);

impl Ghasher for Hash {
    fn update(&self, state: &mut Block, data: &[u8]) {
        // The state is XORed into the first block, which is hashed by itself: the crate starts from
        // zero.
        let Some((first, rest)) = data.split_at_checked(data.len().min(BLOCK_BYTES)) else {
            return;
        };
        if first.is_empty() {
            return;
        }
        for (s, d) in state.iter_mut().zip(first) {
            *s ^= d;
        }
        let mut hash = self.0.clone();
        hash.update(&[(*state).into()]);
        hash.update_padded(rest);
        *state = hash.finalize().into();
    }
}
