//! Buffers: every byte of every object passes through one of these, under one byte budget (P9).
//!
//! A job reserves what it needs before it starts ([`Pool::reserve`]) and takes buffers within its
//! reservation, so jobs wait for memory in the order they came and never for each other. Buffers
//! are 64-byte aligned, start at staggered page offsets (equal ones alias in the first-level
//! cache), are reused, and are zeroed before they go back. This module imports nothing but `fault`.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fault::{Code, Fault, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const ALIGN_BYTES: usize = 64;
/// Room for alignment and stagger in front of a buffer's bytes.
const SLACK_BYTES: usize = 4096;
/// Distance between the starts of consecutive buffers, modulo a page: an odd number of cache lines.
const STAGGER_BYTES: usize = 5 * ALIGN_BYTES;
/// Budget is counted in these.
const UNIT_BYTES: usize = 4096;
const SMALLEST_BYTES: usize = 16 * 1024;

/// All buffers of the process.
pub struct Pool {
    budget_bytes: usize,
    permits: Arc<Semaphore>,
    shelf: Mutex<Shelf>,
}

/// Buffers at rest, by capacity, and the bytes of all buffers alive.
#[derive(Default)]
struct Shelf {
    free: BTreeMap<usize, Vec<Vec<u8>>>,
    allocated_bytes: usize,
    /// Buffers handed out so far: staggers their starts.
    turn: usize,
}

/// Part of the budget, held by one job.
pub struct Reservation {
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

/// One part's bytes. Zeroed and given back to the pool when dropped.
pub struct PartBuffer {
    pool: Arc<Pool>,
    /// Keeps the budget taken until the last buffer is back.
    _reservation: Arc<Reservation>,
    memory: Vec<u8>,
    start: usize,
    len: usize,
    /// High-water mark of bytes that may hold data.
    touched: usize,
}

impl Pool {
    /// A pool that never holds more than this.
    pub fn new(budget_bytes: usize) -> Arc<Pool> {
        let permits = Arc::new(Semaphore::new(budget_bytes / UNIT_BYTES));
        Arc::new(Pool {
            budget_bytes,
            permits,
            shelf: Mutex::default(),
        })
    }

    /// The whole budget.
    pub fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }

    /// Bytes reserved by running jobs.
    pub fn reserved_bytes(&self) -> usize {
        self.budget_bytes
            .saturating_sub(self.permits.available_permits() * UNIT_BYTES)
    }

    /// What one buffer for `bytes` costs of the budget.
    pub fn cost_bytes(bytes: usize) -> usize {
        capacity(bytes) + SLACK_BYTES
    }

    /// Waits until `bytes` of the budget are free, in turn. More than the whole budget is refused.
    pub async fn reserve(self: &Arc<Self>, bytes: usize) -> Result<Arc<Reservation>> {
        let units = bytes.div_ceil(UNIT_BYTES);
        let refused = || {
            let message = format!(
                "{bytes} bytes of buffers do not fit the budget of {}",
                self.budget_bytes
            );
            Fault::new(Code::PartTooLarge, message)
        };
        if bytes > self.budget_bytes {
            return Err(refused());
        }
        let units = u32::try_from(units).map_err(|_| refused())?;
        let permit = Arc::clone(&self.permits)
            .acquire_many_owned(units)
            .await
            .map_err(|_| refused())?;
        Ok(Arc::new(Reservation {
            pool: Arc::clone(self),
            _permit: permit,
        }))
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A zeroed buffer: one at rest, or a new one after others at rest made room.
    fn take(&self, capacity: usize) -> (Vec<u8>, usize) {
        let mut shelf = self.shelf();
        if let Some(memory) = shelf.free.get_mut(&capacity).and_then(Vec::pop) {
            shelf.turn += 1;
            return (memory, shelf.turn);
        }
        let bytes = capacity + SLACK_BYTES;
        while shelf.allocated_bytes + bytes > self.budget_bytes && shelf.drop_one() {}
        shelf.allocated_bytes += bytes;
        shelf.turn += 1;
        let turn = shelf.turn;
        drop(shelf);
        (vec![0; bytes], turn)
    }

    fn give(&self, memory: Vec<u8>) {
        let capacity = memory.len() - SLACK_BYTES;
        self.shelf().free.entry(capacity).or_default().push(memory);
    }
}

impl Shelf {
    /// Frees one buffer at rest; `false` when there is none.
    fn drop_one(&mut self) -> bool {
        let Some(memory) = self.free.values_mut().rev().find_map(Vec::pop) else {
            return false;
        };
        self.allocated_bytes -= memory.len();
        true
    }
}

impl Reservation {
    /// A buffer that can hold `bytes`; its length is 0. The caller keeps within what it reserved.
    pub fn buffer(self: &Arc<Self>, bytes: usize) -> PartBuffer {
        let (memory, turn) = self.pool.take(capacity(bytes));
        let aligned = memory.as_ptr().align_offset(ALIGN_BYTES);
        let stagger = turn * STAGGER_BYTES % (SLACK_BYTES - 2 * ALIGN_BYTES);
        let start = aligned + stagger - stagger % ALIGN_BYTES;
        PartBuffer {
            pool: Arc::clone(&self.pool),
            _reservation: Arc::clone(self),
            memory,
            start,
            len: 0,
            touched: 0,
        }
    }
}

impl PartBuffer {
    /// Bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.memory.len() - SLACK_BYTES
    }

    /// Sets the length, at most the capacity. New bytes are zero, or left from an earlier, longer
    /// length.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(self.capacity());
        self.touched = self.touched.max(self.len);
    }

    /// Appends as much as fits and says how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let start = self.len;
        self.set_len(start + bytes.len());
        let taken = self.len - start;
        self[start..].copy_from_slice(&bytes[..taken]);
        taken
    }
}

impl Deref for PartBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl DerefMut for PartBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

impl AsRef<[u8]> for PartBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for PartBuffer {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        // The memory lives on in the pool, so this plain fill cannot be optimised away.
        memory[self.start..self.start + self.touched].fill(0);
        self.pool.give(memory);
    }
}

/// Capacities come in steps of an eighth, so that buffers of similar parts are shared and little is
/// wasted.
fn capacity(bytes: usize) -> usize {
    let bytes = bytes.max(SMALLEST_BYTES);
    let step = (bytes.next_power_of_two() / 16).max(1024);
    bytes.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn buffers_are_aligned_zeroed_and_reused() {
        let pool = Pool::new(1 << 20);
        let reservation = pool.reserve(1 << 19).await.expect("fits");
        let mut buffer = reservation.buffer(100_000);
        assert_eq!(buffer.as_ptr() as usize % ALIGN_BYTES, 0);
        assert_eq!(buffer.append(&[7; 1000]), 1000);
        buffer.set_len(10);
        drop(buffer);
        let mut again = reservation.buffer(100_000);
        again.set_len(1000);
        assert!(again.iter().all(|byte| *byte == 0));
        assert_eq!(pool.shelf().allocated_bytes, Pool::cost_bytes(100_000));
    }

    #[tokio::test]
    async fn the_budget_holds_whatever_the_sizes() {
        let pool = Pool::new(1 << 20);
        for bytes in [400_000, 16, 700_000, 90_000] {
            let reservation = pool.reserve(Pool::cost_bytes(bytes)).await.expect("fits");
            drop(reservation.buffer(bytes));
            assert!(pool.shelf().allocated_bytes <= 1 << 20);
        }
        assert_eq!(pool.reserved_bytes(), 0);
        let refused = pool.reserve((1 << 20) + 1).await.err().expect("too much");
        assert_eq!(refused.code, Code::PartTooLarge);
    }

    #[tokio::test]
    async fn the_budget_is_held_until_the_last_buffer_is_back() {
        let pool = Pool::new(1 << 20);
        let reservation = pool.reserve(1 << 20).await.expect("fits");
        let buffer = reservation.buffer(1000);
        drop(reservation);
        assert_eq!(pool.reserved_bytes(), 1 << 20);
        drop(buffer);
        assert_eq!(pool.reserved_bytes(), 0);
    }
}
