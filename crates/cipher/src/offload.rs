//! Offload: what a device that computes nothing but AES-CTR needs to know of an object, and what is
//! left to do when it has done its share.
//!
//! CTR, GCM and cobblestone are counter mode at their core. [`Offload`] says which keystream stands
//! at which offset; [`Encryptor::complete`] and [`Decryptor::complete`] take the text that the
//! device made, hash it, and add or check tags. Which device that is, this room does not know.

use std::sync::OnceLock;

use zeroize::Zeroizing;

use super::cobblestone::{self, CHUNK_BYTES, Cobblestone, HEADER_BYTES, SEALED_CHUNK_BYTES};
use super::cpu::{CounterWidth, Keyed, later};
use super::decrypt::{Decryptor, Opened};
use super::encrypt::{Encryptor, steps};
use super::gcm::Gcm;
use super::mode::Mode;
use super::{BLOCK_BYTES, Block, Mark, PartAt, TAG_BYTES, fixsliced};
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Text is cut into tiles of so many bytes, counted from the part's begin: within one, counter
/// blocks follow each other. A chunk of cobblestone is one.
pub const TILE_BYTES: usize = CHUNK_BYTES;

/// A key that a device may get. Both forms are zeroed when dropped.
pub struct DeviceKey {
    key: Secret,
    words: OnceLock<Zeroizing<Vec<u32>>>,
}

impl DeviceKey {
    /// Of these key bytes.
    pub fn new(key: &Secret) -> DeviceKey {
        DeviceKey {
            key: Secret::new(key.expose().to_vec()),
            words: OnceLock::new(),
        }
    }

    /// Its length in bytes: 16, 24 or 32.
    pub fn bytes(&self) -> usize {
        self.key.expose().len()
    }

    /// Its round keys in the shader's form, expanded when they are first needed.
    pub fn words(&self) -> &[u32] {
        let expanded = || fixsliced::round_keys(self.key.expose()).unwrap_or_default();
        self.words.get_or_init(expanded)
    }
}

/// A counter block, and how many of its low bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keystream {
    /// The counter block.
    pub counter: Block,
    /// What counts.
    pub width: CounterWidth,
}

/// An object whose keystream a device can compute.
#[derive(Clone, Copy)]
pub struct Offload<'a> {
    streams: Streams<'a>,
    key: &'a DeviceKey,
}

/// Where the counter blocks come from.
#[derive(Clone, Copy)]
enum Streams<'a> {
    Ctr(&'a dyn Keyed, Keystream),
    Gcm(&'a Gcm),
    Cobblestone(&'a Cobblestone),
}

impl<'a> Offload<'a> {
    fn of(mode: &'a Mode) -> Option<Offload<'a>> {
        match mode {
            Mode::Ctr(keyed, start, key) => {
                let counter = start.plus(0);
                let width = CounterWidth::Bits128;
                Some(Offload::bare(
                    keyed.as_ref(),
                    key,
                    Keystream { counter, width },
                ))
            }
            Mode::Gcm(gcm) => Some(Offload {
                streams: Streams::Gcm(gcm),
                key: gcm.device_key(),
            }),
            Mode::Cobblestone(object) => Some(Offload {
                streams: Streams::Cobblestone(object),
                key: object.device_key(),
            }),
            Mode::Plain | Mode::Cbc(..) => None,
        }
    }

    /// A keystream that belongs to no mode: one key, in both forms, from a counter block on.
    pub fn bare(keyed: &'a dyn Keyed, key: &'a DeviceKey, start: Keystream) -> Offload<'a> {
        Offload {
            streams: Streams::Ctr(keyed, start),
            key,
        }
    }

    /// Its key.
    pub fn key(&self) -> &'a DeviceKey {
        self.key
    }

    /// The counter block of the plaintext at `offset`, a multiple of 16.
    pub fn keystream(&self, offset: u64) -> Keystream {
        debug_assert_eq!(offset % BLOCK_BYTES as u64, 0);
        let counter = match self.streams {
            Streams::Ctr(_, Keystream { counter, width }) => {
                let counter = width.later(counter, offset / BLOCK_BYTES as u64);
                return Keystream { counter, width };
            }
            Streams::Gcm(gcm) => gcm.counter(offset),
            Streams::Cobblestone(object) => {
                let (chunk, within) = (offset / CHUNK_BYTES as u64, offset % CHUNK_BYTES as u64);
                let blocks = 1 + (within / BLOCK_BYTES as u64) as u32;
                later(object.counter(chunk), blocks)
            }
        };
        Keystream {
            counter,
            width: CounterWidth::Bits32,
        }
    }

    /// The keystream block at `offset`, a multiple of 16: what a device's work is checked against.
    pub fn keystream_block(&self, offset: u64) -> Block {
        let mut block = self.keystream(offset).counter;
        match self.streams {
            Streams::Ctr(keyed, _) => keyed.encrypt_block(&mut block),
            Streams::Gcm(gcm) => gcm.key().encrypt_block(&mut block),
            Streams::Cobblestone(object) => object.key().encrypt_block(&mut block),
        }
        block
    }

    /// What the device does, done here: at most a tile, which starts at `offset`.
    pub fn cipher(&self, offset: u64, data: &mut [u8]) {
        let Keystream { counter, width } = self.keystream(offset);
        let mut unused = [0; BLOCK_BYTES];
        match self.streams {
            Streams::Ctr(keyed, _) => keyed.ctr(counter, width, data.into()),
            Streams::Gcm(gcm) => gcm.key().encrypt(counter, &mut unused, data.into()),
            Streams::Cobblestone(object) => object.key().encrypt(counter, &mut unused, data.into()),
        }
    }
}

/// A part's text, tile by tile, as it lies among tags.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    data: &'a [u8],
    /// From one tile to the next.
    stride: usize,
    bytes: usize,
}

impl<'a> Text<'a> {
    /// Plaintext.
    pub fn plain(data: &'a [u8]) -> Text<'a> {
        Text {
            data,
            stride: TILE_BYTES,
            bytes: data.len(),
        }
    }

    /// Bytes of text.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many tiles.
    pub fn tiles(&self) -> usize {
        self.bytes.div_ceil(TILE_BYTES)
    }

    /// One of them.
    pub fn tile(&self, index: usize) -> &'a [u8] {
        let left = self.bytes.saturating_sub(index * TILE_BYTES);
        let start = (index * self.stride).min(self.data.len());
        let end = (start + left.min(TILE_BYTES)).min(self.data.len());
        &self.data[start..end]
    }
}

impl Encryptor {
    /// What a device can do of it.
    pub fn offload(&self) -> Option<Offload<'_>> {
        Offload::of(&self.mode).filter(|_| !self.cpu_only)
    }

    /// Does the rest of [`Encryptor::encrypt`]: `fill` writes the ciphertext that stands at an
    /// offset of the part's plaintext.
    pub fn complete(
        &self,
        at: PartAt,
        plain_bytes: usize,
        out: &mut [u8],
        mut fill: impl FnMut(usize, &mut [u8]),
        mut ready: impl FnMut(&[u8]),
    ) -> Mark {
        let (mut mark, mut rest) = (Mark::None, out);
        for (at_step, range) in steps(at, plain_bytes) {
            let (out, left) = rest.split_at_mut(self.form().sealed_part_len(at_step, range.len()));
            let tag_bytes = if at_step.last { self.tag_bytes() } else { 0 };
            match &self.mode {
                Mode::Gcm(gcm) => {
                    let body = &mut out[..range.len()];
                    fill(range.start, body);
                    mark = Mark::Ghash(gcm.hash(mark.partial(), body));
                }
                Mode::Cobblestone(object) => {
                    let header = if at_step.offset == 0 { HEADER_BYTES } else { 0 };
                    let (head, body) = out.split_at_mut(header);
                    head.copy_from_slice(&object.header()[..header]);
                    for (index, chunk) in body.chunks_mut(SEALED_CHUNK_BYTES).enumerate() {
                        let (body, tag) = chunk.split_at_mut(chunk.len() - TAG_BYTES);
                        fill(range.start + index * CHUNK_BYTES, body);
                        let number = at_step.offset / CHUNK_BYTES as u64 + index as u64;
                        tag.copy_from_slice(&object.tag(number, body));
                    }
                }
                Mode::Plain | Mode::Ctr(..) | Mode::Cbc(..) => fill(range.start, out),
            }
            ready(&out[..out.len() - tag_bytes]);
            rest = left;
        }
        mark
    }
}

impl Decryptor {
    /// What a device can do of it.
    pub fn offload(&self) -> Option<Offload<'_>> {
        Offload::of(&self.mode).filter(|_| !self.cpu_only)
    }

    /// The ciphertext of a part without its tags; `None` where its length cannot be right.
    pub fn text<'a>(&self, at: PartAt, data: &'a [u8]) -> Option<Text<'a>> {
        let (stride, bytes) = match &self.mode {
            Mode::Gcm(_) if at.last => (TILE_BYTES, data.len().checked_sub(TAG_BYTES)?),
            Mode::Cobblestone(_) => {
                let bytes = cobblestone::plain_len(at.last, data.len())?;
                (SEALED_CHUNK_BYTES, bytes)
            }
            _ => (TILE_BYTES, data.len()),
        };
        Some(Text {
            data,
            stride,
            bytes,
        })
    }

    /// Does the rest of [`Decryptor::decrypt`]: `fill` writes the plaintext that stands at an
    /// offset of the part's plaintext. Ciphertext is hashed before it is overwritten.
    pub fn complete(
        &self,
        at: PartAt,
        data: &mut [u8],
        mut fill: impl FnMut(usize, &mut [u8]),
    ) -> Result<Opened> {
        let bytes = self.text(at, data).ok_or(Error::DecryptFailed)?.bytes();
        let (mut mark, mut tag) = (Mark::None, None);
        match &self.mode {
            Mode::Gcm(gcm) => {
                let (body, rest) = data.split_at_mut(bytes);
                tag = rest.first_chunk().copied();
                for (_, range) in steps(at, bytes) {
                    let step = &mut body[range.clone()];
                    mark = Mark::Ghash(gcm.hash(mark.partial(), step));
                    fill(range.start, step);
                }
            }
            Mode::Cobblestone(object) => {
                let chunks = data.len().div_ceil(SEALED_CHUNK_BYTES);
                for index in 0..chunks {
                    let start = index * SEALED_CHUNK_BYTES;
                    let end = data.len().min(start + SEALED_CHUNK_BYTES);
                    let number = at.offset / CHUNK_BYTES as u64 + index as u64;
                    object.check(number, &data[start..end])?;
                    let plain = index * CHUNK_BYTES;
                    fill(plain, &mut data[plain..plain + end - start - TAG_BYTES]);
                }
            }
            Mode::Plain | Mode::Ctr(..) | Mode::Cbc(..) => fill(0, data),
        }
        Ok(Opened {
            plain: 0..bytes,
            mark,
            tag,
        })
    }
}
