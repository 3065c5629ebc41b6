//! How fast bytes get to the device and back when nothing is done to them there.
//!
//! The same slots, the same submissions and as many threads as the engine has, without the shader:
//! what a way through the device can be measured against.

use std::time::Duration;

use super::device::{Device, Transfer};
use super::slot::Slot;
use super::tile::ALIGN_BYTES;
use super::{Failure, Item, Options};

/// Which way bytes go. Each begins and ends in ordinary memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the device.
    Up,
    /// From the device.
    Down,
    /// There and back.
    Both,
}

/// Threads' worth of slots, each on a device of its own, as the engine has them.
pub struct Copies {
    lanes: Vec<Lane>,
    limit: Duration,
}

/// What one thread uses.
struct Lane {
    device: Device,
    slots: [Slot; 2],
}

/// Texts, and where they are to stand afterwards.
struct Batch<'a> {
    items: &'a [Item<'a>],
    outs: Vec<&'a mut [u8]>,
}

impl Copies {
    /// Slots for as many threads as the engine would have; `None` where the shader works in host
    /// memory and nothing is copied.
    pub fn new(options: &Options) -> Result<Option<Copies>, Failure> {
        let mut lanes = Vec::with_capacity(options.threads());
        for _ in 0..options.threads() {
            let device = Device::open(options)?;
            if device.transfer == Transfer::Mapped {
                return Ok(None);
            }
            let slots = [0; 2].map(|_| Slot::new(&device, options.slot_bytes));
            lanes.push(Lane { device, slots });
        }
        let limit = options.limit;
        Ok(Some(Copies { lanes, limit }))
    }

    /// Copies texts, each of which fits a slot, and as many outs. Going up nothing comes back, and
    /// going down what comes is what the device happens to hold.
    pub fn run(
        &mut self,
        way: Way,
        items: &[Item<'_>],
        outs: Vec<&mut [u8]>,
    ) -> Result<(), Failure> {
        let batches = self.batches(items, outs);
        let lanes = self.lanes.len().min(batches.len());
        let (queue, ends) = crossbeam_channel::unbounded();
        for batch in batches {
            let _ = queue.send(batch);
        }
        drop(queue);
        let limit = self.limit;
        let lane =
            |lane: &mut Lane| carry(&lane.device, (way, limit), &mut lane.slots, ends.iter());
        let (first, others) = self.lanes.split_at_mut(1);
        let lane = &lane;
        std::thread::scope(|scope| {
            let others: Vec<_> = others[..lanes.saturating_sub(1)]
                .iter_mut()
                .map(|other| scope.spawn(move || lane(other)))
                .collect();
            let mut done = first.iter_mut().try_for_each(lane);
            for other in others {
                let panicked = |_| Err(Failure::error("its driver panicked"));
                done = done.and(other.join().unwrap_or_else(panicked));
            }
            done
        })
    }

    /// As many texts together as a slot takes.
    fn batches<'a>(&self, items: &'a [Item<'a>], outs: Vec<&'a mut [u8]>) -> Vec<Batch<'a>> {
        let mut outs = outs.into_iter();
        let mut batches = Vec::new();
        let mut left = items;
        while let (Some(lane), false) = (self.lanes.first(), left.is_empty()) {
            let mut room = lane.slots[0].room();
            let fitting = left.iter().take_while(|item| room.take(item.text.bytes()));
            let count = fitting.count().max(1);
            let (items, rest) = left.split_at(count);
            let outs = outs.by_ref().take(count).collect();
            batches.push(Batch { items, outs });
            left = rest;
        }
        batches
    }
}

/// One thread: it fills one slot while the device copies the other.
fn carry<'a>(
    device: &Device,
    (way, limit): (Way, Duration),
    slots: &mut [Slot; 2],
    batches: impl Iterator<Item = Batch<'a>>,
) -> Result<(), Failure> {
    let mut flying: Option<Batch<'a>> = None;
    for batch in batches {
        send(device, way, &mut slots[0], batch.items)?;
        if let Some(before) = flying.replace(batch) {
            receive(device, (way, limit), &mut slots[1], before)?;
        }
        slots.swap(0, 1);
    }
    flying.map_or(Ok(()), |last| {
        receive(device, (way, limit), &mut slots[1], last)
    })
}

/// Submits the copies of a batch, those of the key and the clearing included.
fn send(device: &Device, way: Way, slot: &mut Slot, items: &[Item<'_>]) -> Result<(), Failure> {
    let mut encoder = device.device.create_command_encoder(&Default::default());
    let (up, down_bytes) = match way {
        Way::Up => (items, ALIGN_BYTES),
        Way::Down => (&items[..0], bytes(items)),
        Way::Both => (items, bytes(items)),
    };
    let filled = slot.upload(&mut encoder, up)?;
    slot.send_off(device, encoder, (&filled, down_bytes))
}

fn bytes(items: &[Item<'_>]) -> usize {
    items.iter().map(Item::room_bytes).sum()
}

/// Waits for a batch and reads it.
fn receive(
    device: &Device,
    (way, limit): (Way, Duration),
    slot: &mut Slot,
    batch: Batch<'_>,
) -> Result<(), Failure> {
    let view = slot.wait(device, limit)?;
    let mut at = 0;
    let down = if way == Way::Up { 0 } else { batch.items.len() };
    for (item, out) in batch.items.iter().zip(batch.outs).take(down) {
        out.copy_from_slice(&view[at..at + out.len()]);
        at += item.room_bytes();
    }
    drop(view);
    slot.release();
    Ok(())
}
