//! A slot of the ring: buffers on both sides of the bus, allocated once, and one batch at a time.
//!
//! Texts are written into mapped memory, each in whole blocks; the tile table and the keys follow
//! them; one submission copies them over, runs the shader and copies the result back. Keys and
//! text on the device are cleared by the same submission. Host memory that held either is
//! overwritten by the next batch, or by [`Slot::wipe`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ciphermill_cipher::offload::TILE_BYTES;
use crossbeam_channel::{Receiver, Sender, bounded};
use wgpu::{BufferUsages as Usage, MapMode};

use super::device::{Device, Transfer};
use super::tile::{ALIGN_BYTES, ENTRY_BYTES, Room};
use super::{Failure, Item};

/// Most keys of a batch, and the bytes of the longest one.
const KEYS: usize = 1024;
const KEY_BYTES: usize = 480;
/// Most tiles of a batch: the workgroups of one dimension that every device has.
const MOST_TILES: usize = 65_535;

/// Buffers for one batch.
pub struct Slot {
    text_bytes: usize,
    tiles: usize,
    up: wgpu::Buffer,
    down: wgpu::Buffer,
    /// Tiles, keys, source and destination on the device; none where the shader uses `up` and
    /// `down` itself.
    own: Option<[wgpu::Buffer; 4]>,
    group: wgpu::BindGroup,
    mapped: (Sender<bool>, Receiver<bool>),
    /// The batch under way: how far `down` will be filled.
    flying: Option<(wgpu::SubmissionIndex, u64)>,
    /// Bytes of text and of keys in host memory that earlier batches may have left.
    dirty_bytes: (usize, usize),
}

impl Slot {
    /// Allocates the buffers for so many bytes of text.
    pub fn new(device: &Device, text_bytes: usize) -> Slot {
        let text_bytes = text_bytes.next_multiple_of(TILE_BYTES);
        let tiles = (text_bytes / 4096).clamp(16, MOST_TILES);
        let sizes = [
            tiles * ENTRY_BYTES,
            KEYS * KEY_BYTES,
            text_bytes,
            text_bytes,
        ];
        let buffer = |bytes: usize, usage, mapped_at_creation| {
            device.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("ciphermill ring"),
                size: bytes as u64,
                usage,
                mapped_at_creation,
            })
        };
        let staged = device.transfer == Transfer::Staged;
        let (up_use, down_use) = if staged {
            (Usage::COPY_SRC, Usage::COPY_DST)
        } else {
            (Usage::STORAGE, Usage::STORAGE | Usage::COPY_DST)
        };
        let up_bytes = text_bytes + sizes[0].next_multiple_of(ALIGN_BYTES) + sizes[1];
        let up = buffer(up_bytes, Usage::MAP_WRITE | up_use, true);
        let down = buffer(text_bytes, Usage::MAP_READ | down_use, false);
        let own = staged.then(|| {
            let usage = Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC;
            sizes.map(|bytes| buffer(bytes, usage, false))
        });
        let group = bind(device, (&up, &down, own.as_ref()), sizes);
        Slot {
            text_bytes,
            tiles,
            up,
            down,
            own,
            group,
            mapped: bounded(4),
            flying: None,
            dirty_bytes: (0, 0),
        }
    }

    /// What an empty slot takes.
    pub fn room(&self) -> Room {
        Room {
            bytes: self.text_bytes,
            tiles: self.tiles,
            keys: KEYS,
        }
    }

    /// Sends a batch off. Items that do not fit [`Slot::room`], or whose keys differ in length, are
    /// refused.
    pub fn submit(&mut self, device: &Device, items: &[Item<'_>]) -> Result<(), Failure> {
        let key_bytes = items.first().map_or(16, |item| item.offload.key().bytes());
        let mut room = self.room();
        let fits = |item: &Item<'_>| {
            room.take(item.text.bytes()) && item.offload.key().bytes() == key_bytes
        };
        if items.is_empty() || !items.iter().all(fits) {
            return Err(Failure::error("a batch does not fit its slot"));
        }
        let mut encoder = device.device.create_command_encoder(&Default::default());
        let filled = self.upload(&mut encoder, items)?;
        self.dispatch(device, &mut encoder, (key_bytes, &filled), None);
        self.send_off(device, encoder, (&filled, filled.text_bytes))
    }

    /// Has so much of the result copied back, and submits all that was recorded.
    pub(super) fn send_off(
        &mut self,
        device: &Device,
        mut encoder: wgpu::CommandEncoder,
        (filled, down_bytes): (&Filled, usize),
    ) -> Result<(), Failure> {
        let text_bytes = down_bytes as u64;
        if let Some([_, _, _, destination]) = &self.own {
            encoder.copy_buffer_to_buffer(destination, 0, &self.down, 0, text_bytes);
        }
        self.clear(&mut encoder, filled);
        let (on_down, on_up) = (self.mapped.0.clone(), self.mapped.0.clone());
        encoder.map_buffer_on_submit(&self.down, MapMode::Read, ..text_bytes, move |done| {
            let _ = on_down.send(done.is_ok());
        });
        encoder.map_buffer_on_submit(&self.up, MapMode::Write, .., move |done| {
            let _ = on_up.send(done.is_ok());
        });
        let submission = device.queue.submit([encoder.finish()]);
        self.flying = Some((submission, text_bytes));
        device.failure().map_or(Ok(()), Err)
    }

    /// Waits for the batch and shows its texts, each at a multiple of 256 bytes, in order.
    pub fn wait(&mut self, device: &Device, limit: Duration) -> Result<wgpu::BufferView, Failure> {
        let (submission, bytes) = self
            .flying
            .take()
            .ok_or_else(|| Failure::error("nothing was submitted"))?;
        let deadline = Instant::now() + limit;
        let poll = wgpu::PollType::Wait {
            submission_index: Some(submission),
            timeout: Some(limit),
        };
        let polled = device.device.poll(poll);
        if let Some(failure) = device.failure() {
            return Err(failure);
        }
        polled.map_err(|error| match error {
            wgpu::PollError::Timeout => Failure::timeout("a batch was not done in time"),
            wgpu::PollError::WrongSubmissionIndex(..) => Failure::lost(error),
        })?;
        for _ in 0..2 {
            match self.mapped.1.recv_deadline(deadline) {
                Ok(true) => {}
                Ok(false) => return Err(Failure::lost("its memory could not be mapped")),
                Err(_) => return Err(Failure::timeout("its memory was not mapped in time")),
            }
        }
        self.down
            .get_mapped_range(..bytes)
            .map_err(|e| Failure::lost(format!("its memory cannot be read: {e}")))
    }

    /// Gives the device its memory back; the view is gone by now.
    pub fn release(&mut self) {
        self.down.unmap();
    }

    /// Overwrites what earlier batches left in host memory. Nothing is under way.
    pub fn wipe(&mut self, device: &Device) {
        let (text_bytes, key_bytes) = self.dirty_bytes;
        if text_bytes == 0 || self.flying.is_some() {
            return;
        }
        if let Ok(mut view) = self.up.get_mapped_range_mut(..) {
            let keys_at = keys_at(self.text_bytes, self.tiles);
            view.slice(..text_bytes).fill(0);
            view.slice(keys_at..keys_at + key_bytes).fill(0);
            self.dirty_bytes = (0, 0);
        }
        let mut encoder = device.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&self.down, 0, Some(text_bytes as u64));
        device.queue.submit([encoder.finish()]);
    }

    /// Writes a batch into mapped memory and has it copied over.
    pub(super) fn upload(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        items: &[Item<'_>],
    ) -> Result<Filled, Failure> {
        let filled = self.fill(items)?;
        self.up.unmap();
        if let Some([tiles, keys, source, _]) = &self.own {
            let copies = [
                (0, source, filled.text_bytes),
                (tiles_at(self.text_bytes), tiles, filled.tiles * ENTRY_BYTES),
                (keys_at(self.text_bytes, self.tiles), keys, filled.key_bytes),
            ];
            for (from, to, bytes) in copies {
                encoder.copy_buffer_to_buffer(&self.up, from as u64, to, 0, bytes as u64);
            }
        }
        Ok(filled)
    }

    /// Runs the shader over what was uploaded.
    pub(super) fn dispatch(
        &self,
        device: &Device,
        encoder: &mut wgpu::CommandEncoder,
        (key_bytes, filled): (usize, &Filled),
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("aes_ctr"),
            timestamp_writes,
        });
        pass.set_pipeline(device.pipeline(key_bytes));
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(filled.tiles as u32, 1, 1);
    }

    /// Clears keys and text on the device.
    pub(super) fn clear(&self, encoder: &mut wgpu::CommandEncoder, filled: &Filled) {
        if let Some([_, keys, source, destination]) = &self.own {
            let text_bytes = Some(filled.text_bytes as u64);
            encoder.clear_buffer(keys, 0, Some(filled.key_bytes as u64));
            encoder.clear_buffer(source, 0, text_bytes);
            encoder.clear_buffer(destination, 0, text_bytes);
        }
    }

    /// Writes texts, tiles and keys into mapped memory.
    fn fill(&mut self, items: &[Item<'_>]) -> Result<Filled, Failure> {
        let mut view = self
            .up
            .get_mapped_range_mut(..)
            .map_err(|e| Failure::lost(format!("its memory cannot be written: {e}")))?;
        let mut filled = Filled::default();
        let mut keys: HashMap<*const u32, u32> = HashMap::new();
        let (tiles_at, keys_at) = (
            tiles_at(self.text_bytes),
            keys_at(self.text_bytes, self.tiles),
        );
        for item in items {
            let words = item.offload.key().words();
            let next = keys.len() as u32;
            let key = *keys.entry(words.as_ptr()).or_insert(next);
            if key == next {
                let bytes: &[u8] = bytemuck::cast_slice(words);
                let at = keys_at + filled.key_bytes;
                view.slice(at..at + bytes.len()).copy_from_slice(bytes);
                filled.key_bytes += bytes.len();
            }
            for index in 0..item.text.tiles() {
                let text = item.text.tile(index);
                let start = filled.text_bytes + index * TILE_BYTES;
                view.slice(start..start + text.len()).copy_from_slice(text);
                let tile = item.tile(index, start, key);
                let at = tiles_at + filled.tiles * ENTRY_BYTES;
                view.slice(at..at + ENTRY_BYTES)
                    .copy_from_slice(bytemuck::bytes_of(&tile));
                filled.tiles += 1;
            }
            filled.text_bytes += item.text.bytes().next_multiple_of(ALIGN_BYTES);
        }
        // What a longer batch before this one left behind.
        let (text_bytes, key_bytes) = self.dirty_bytes;
        if text_bytes > filled.text_bytes {
            view.slice(filled.text_bytes..text_bytes).fill(0);
        }
        if key_bytes > filled.key_bytes {
            view.slice(keys_at + filled.key_bytes..keys_at + key_bytes)
                .fill(0);
        }
        self.dirty_bytes = (filled.text_bytes, filled.key_bytes);
        Ok(filled)
    }
}

/// What a batch came to.
#[derive(Default)]
pub(super) struct Filled {
    text_bytes: usize,
    tiles: usize,
    key_bytes: usize,
}

/// Where in `up` the tiles stand.
fn tiles_at(text_bytes: usize) -> usize {
    text_bytes
}

/// Where in `up` the keys stand.
fn keys_at(text_bytes: usize, tiles: usize) -> usize {
    text_bytes + (tiles * ENTRY_BYTES).next_multiple_of(ALIGN_BYTES)
}

fn bind(
    device: &Device,
    (up, down, own): (&wgpu::Buffer, &wgpu::Buffer, Option<&[wgpu::Buffer; 4]>),
    sizes: [usize; 4],
) -> wgpu::BindGroup {
    let tiles = sizes[0] / ENTRY_BYTES;
    let places = match own {
        Some([a, b, c, d]) => [(a, 0), (b, 0), (c, 0), (d, 0)],
        None => [
            (up, tiles_at(sizes[2])),
            (up, keys_at(sizes[2], tiles)),
            (up, 0),
            (down, 0),
        ],
    };
    let mut entries = Vec::with_capacity(places.len());
    for (binding, ((buffer, offset), bytes)) in (0..).zip(places.into_iter().zip(sizes)) {
        let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset: offset as u64,
            size: std::num::NonZeroU64::new(bytes as u64),
        });
        entries.push(wgpu::BindGroupEntry { binding, resource });
    }
    device.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("aes_ctr"),
        layout: &device.bindings,
        entries: &entries,
    })
}
