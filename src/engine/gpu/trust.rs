//! Trust: what a device has to show before its bytes are taken.
//!
//! Before the first batch, published vectors and a text whose counter carries through all four
//! words. With every batch, one random block of each tile, or all of it. The sample finds what is
//! systematic: a wrong key, a shifted tile, a shader that was compiled wrongly, memory that was not
//! copied. A single flipped bit it finds in one of a thousand blocks only; whoever needs more asks
//! for [`Verify::Full`](super::Verify).

use ciphermill_cipher::cpu::{self, CounterWidth};
use ciphermill_cipher::offload::{DeviceKey, Keystream, Offload, TILE_BYTES, Text};
use ciphermill_cipher::secret::{self, Secret};
use zeroize::Zeroizing;

use super::{Failure, Item, Lane, Verify};

/// Room that [`self_test`] needs.
pub(super) const SELF_TEST_BYTES: usize = 4 * TILE_BYTES;

/// NIST SP 800-38A, F.5: keys and ciphertexts of F.5.1, F.5.3 and F.5.5, the first counter block,
/// and the plaintext.
const VECTORS: [(&str, &str); 3] = [
    (
        "2b7e151628aed2a6abf7158809cf4f3c",
        "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff\
         5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
    ),
    (
        "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
        "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94\
         1e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050",
    ),
    (
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5\
         2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
    ),
];
const COUNTER: u128 = 0xf0f1_f2f3_f4f5_f6f7_f8f9_fafb_fcfd_feff;
const PLAINTEXT: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

/// Proves the device on published vectors, and on three tiles beside the CPU.
pub(super) fn self_test(lane: &mut Lane) -> Result<(), Failure> {
    let wrong = |what: &str| Failure::mismatch(format!("its self-test failed: {what}"));
    let plain = unhex(PLAINTEXT);
    for (key, expected) in VECTORS {
        let key = Secret::new(unhex(key));
        let passed = beside_cpu(lane, &key, COUNTER, &plain, Some(&unhex(expected)))?;
        if !passed {
            return Err(wrong("NIST SP 800-38A, F.5"));
        }
        let long: Vec<u8> = (0..2 * TILE_BYTES as u32 + 4321)
            .map(|n| (n * 31) as u8)
            .collect();
        if !beside_cpu(lane, &key, u128::MAX - 700, &long, None)? {
            return Err(wrong("three tiles of one text"));
        }
    }
    Ok(())
}

/// Whether the device gives what was published, and what the CPU gives.
fn beside_cpu(
    lane: &mut Lane,
    key: &Secret,
    counter: u128,
    text: &[u8],
    expected: Option<&[u8]>,
) -> Result<bool, Failure> {
    let keyed = cpu::best()
        .key(key)
        .map_err(|e| Failure::error(e.to_string()))?;
    let (device_key, start) = (
        DeviceKey::new(key),
        Keystream {
            counter: counter.to_be_bytes(),
            width: CounterWidth::Bits128,
        },
    );
    let item = Item {
        offload: Offload::bare(keyed.as_ref(), &device_key, start),
        text: Text::plain(text),
        offset: 0,
    };
    let mut own = vec![0; text.len()];
    compute(&item, &mut own);
    let mut same = false;
    lane.apply(&[item], |_, given| {
        same = own == given && expected.is_none_or(|expected| expected == given);
    })?;
    Ok(same)
}

/// Checks a batch: each text stands where its item's room begins. Where all of it was computed
/// again, that is returned: it is what may be handed on, since a device can still write to what it
/// shows.
pub(super) fn check(
    items: &[Item<'_>],
    view: &[u8],
    verify: Verify,
) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let (mut dice, mut at) = (Dice::new(), 0);
    let mut proved = match verify {
        Verify::Sample => None,
        Verify::Full => Some(Zeroizing::new(vec![0; view.len()])),
    };
    for item in items {
        let range = at..at + item.text.bytes();
        match &mut proved {
            None => check_some(item, &view[range.clone()], &mut dice)?,
            Some(proved) => compute(item, &mut proved[range.clone()]),
        }
        if let Some(proved) = &proved
            && proved[range.clone()] != view[range]
        {
            return Err(wrong_block(item.offset));
        }
        at += item.room_bytes();
    }
    Ok(proved)
}

/// Computes one random block of each tile again.
fn check_some(item: &Item<'_>, given: &[u8], dice: &mut Dice) -> Result<(), Failure> {
    for (index, given) in given.chunks(TILE_BYTES).enumerate() {
        let text = item.text.tile(index);
        let block = dice.below(text.len().div_ceil(16));
        let offset = item.offset + (index * TILE_BYTES + 16 * block) as u64;
        let stream = item.offload.keystream_block(offset);
        let from = text[16 * block..].iter().zip(stream);
        let expected = from.map(|(byte, stream)| byte ^ stream);
        if !given[16 * block..]
            .iter()
            .copied()
            .take(16)
            .eq(expected.take(16))
        {
            return Err(wrong_block(offset));
        }
    }
    Ok(())
}

/// Computes all of it again.
fn compute(item: &Item<'_>, to: &mut [u8]) {
    for (index, to) in to.chunks_mut(TILE_BYTES).enumerate() {
        to.copy_from_slice(item.text.tile(index));
        item.offload
            .cipher(item.offset + (index * TILE_BYTES) as u64, to);
    }
}

fn wrong_block(offset: u64) -> Failure {
    Failure::mismatch(format!(
        "a block near offset {offset} of an object was wrong"
    ))
}

/// Random enough that a wrong device cannot know which blocks are looked at (splitmix64).
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        Dice(u64::from_le_bytes(
            secret::random_array().unwrap_or([0x5a; 8]),
        ))
    }

    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % count.max(1) as u64) as usize
    }
}

/// Bytes of hex digits.
fn unhex(text: &str) -> Vec<u8> {
    let nibble = |digit: u8| (digit as char).to_digit(16).unwrap_or(0) as u8;
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    pairs
        .iter()
        .map(|[high, low]| nibble(*high) << 4 | nibble(*low))
        .collect()
}
