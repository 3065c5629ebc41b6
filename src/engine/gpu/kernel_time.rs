//! How fast the shader is by itself: text that stays on the device, timed by the device's own clock.

use std::time::Duration;

use super::device::Device;
use super::slot::Slot;
use super::{Failure, Item};

/// What a device needs for this.
pub(super) const FEATURES: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY;

/// Bytes of a timestamp.
const STAMP_BYTES: usize = 8;

/// Seconds that each of `rounds` runs of the shader over a batch takes on the device; none where it
/// has no clock.
pub fn seconds(
    device: &Device,
    items: &[Item<'_>],
    (slot_bytes, rounds): (usize, usize),
    limit: Duration,
) -> Result<Vec<f64>, Failure> {
    if !device.device.features().contains(FEATURES) {
        return Ok(Vec::new());
    }
    let mut slot = Slot::new(device, slot_bytes);
    let clock = device.device.create_query_set(&wgpu::QuerySetDescriptor {
        label: Some("kernel time"),
        ty: wgpu::QueryType::Timestamp,
        count: 2 * rounds as u32,
    });
    let key_bytes = items.first().map_or(16, |item| item.offload.key().bytes());
    let mut encoder = device.device.create_command_encoder(&Default::default());
    let filled = slot.upload(&mut encoder, items)?;
    for round in 0..rounds as u32 {
        let writes = wgpu::ComputePassTimestampWrites {
            query_set: &clock,
            beginning_of_pass_write_index: Some(2 * round),
            end_of_pass_write_index: Some(2 * round + 1),
        };
        slot.dispatch(device, &mut encoder, (key_bytes, &filled), Some(writes));
    }
    slot.clear(&mut encoder, &filled);
    let stamps = read(device, encoder, (&clock, 2 * rounds), limit)?;
    let period = f64::from(device.queue.get_timestamp_period()) / 1e9;
    let (pairs, _) = stamps.as_chunks::<2>();
    let elapsed = pairs.iter().map(|[begin, end]| end.saturating_sub(*begin));
    Ok(elapsed.map(|ticks| ticks as f64 * period).collect())
}

/// Runs what was recorded, and reads the clock's marks.
fn read(
    device: &Device,
    mut encoder: wgpu::CommandEncoder,
    (clock, count): (&wgpu::QuerySet, usize),
    limit: Duration,
) -> Result<Vec<u64>, Failure> {
    let [resolved, down] = [
        wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
        wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
    ]
    .map(|usage| {
        device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("kernel time"),
            size: (STAMP_BYTES * count) as u64,
            usage,
            mapped_at_creation: false,
        })
    });
    encoder.resolve_query_set(clock, 0..count as u32, &resolved, 0);
    encoder.copy_buffer_to_buffer(&resolved, 0, &down, 0, None);
    encoder.map_buffer_on_submit(&down, wgpu::MapMode::Read, .., |_| {});
    let submission = device.queue.submit([encoder.finish()]);
    let poll = wgpu::PollType::Wait {
        submission_index: Some(submission),
        timeout: Some(limit),
    };
    device
        .device
        .poll(poll)
        .map_err(|e| Failure::timeout(format!("the device did not finish: {e}")))?;
    let view = down
        .get_mapped_range(..)
        .map_err(|e| Failure::lost(format!("its clock cannot be read: {e}")))?;
    let (stamps, _) = view.as_chunks::<STAMP_BYTES>();
    Ok(stamps
        .iter()
        .map(|stamp| u64::from_le_bytes(*stamp))
        .collect())
}
