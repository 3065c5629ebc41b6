//! Tiles: how texts lie in a batch, and what the shader is told of them.

use ciphermill_cipher::cpu::CounterWidth;
use ciphermill_cipher::offload::TILE_BYTES;

use super::Item;

/// A run of blocks under one key: the host twin of the shader's struct.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Tile {
    /// The first counter block, most significant word first.
    counter: [u32; 4],
    /// Its first block in source and destination.
    first: u32,
    /// How many, at most those of [`TILE_BYTES`].
    blocks: u32,
    /// The key's index.
    key: u32,
    /// How many low bits of the counter block count.
    width: u32,
}

/// Bytes of a [`Tile`].
pub(super) const ENTRY_BYTES: usize = size_of::<Tile>();
/// Texts start at multiples of this: whole cache lines on either side.
pub(super) const ALIGN_BYTES: usize = 256;
/// How much more fits a batch.
#[derive(Clone, Copy)]
pub struct Room {
    pub(super) bytes: usize,
    pub(super) tiles: usize,
    pub(super) keys: usize,
}

impl Room {
    /// Takes room for a text; `false` where there is none.
    pub fn take(&mut self, text_bytes: usize) -> bool {
        let bytes = text_bytes.next_multiple_of(ALIGN_BYTES);
        let tiles = text_bytes.div_ceil(TILE_BYTES);
        let fits = bytes <= self.bytes && tiles <= self.tiles && self.keys > 0;
        if fits {
            self.bytes -= bytes;
            self.tiles -= tiles;
            self.keys -= 1;
        }
        fits
    }
}

impl Item<'_> {
    /// What the shader is told of one of its tiles, whose text stands at `start`.
    pub(super) fn tile(&self, index: usize, start: usize, key: u32) -> Tile {
        let stream = self
            .offload
            .keystream(self.offset + (index * TILE_BYTES) as u64);
        let counter = u128::from_be_bytes(stream.counter);
        Tile {
            counter: [96, 64, 32, 0].map(|shift| (counter >> shift) as u32),
            first: (start / 16) as u32,
            blocks: self.text.tile(index).len().div_ceil(16) as u32,
            key,
            width: match stream.width {
                CounterWidth::Bits128 => 128,
                CounterWidth::Bits64 => 64,
                CounterWidth::Bits32 => 32,
            },
        }
    }

    /// Bytes that it takes of a batch.
    pub(super) fn room_bytes(&self) -> usize {
        self.text.bytes().next_multiple_of(ALIGN_BYTES)
    }
}
