//! A thread of the GPU engine: it fills one slot while the device works on the other.
//!
//! Work comes from a queue that all these threads share, and is gathered into batches; it leaves
//! through its own answer channel. On any failure everything that has no answer yet goes to the CPU
//! engine, and so does all that still comes.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::device::Device;
use super::slot::Slot;
use super::tile::Room;
use super::{Failure, Item, Options, State, Verify, trust};
use crate::engine::cpu::{Answer, CpuEngine};
use crate::engine::{Encrypted, Engine, Work};
use crate::fault::Fault;

/// How long an idle device waits for more before it takes a small batch.
const GATHER: Duration = Duration::from_micros(100);
/// After so long without work, slots are wiped.
const IDLE: Duration = Duration::from_millis(50);

/// The thread's state.
pub(super) struct Server {
    device: Arc<Device>,
    works: Receiver<Work>,
    cpu: Arc<CpuEngine>,
    state: Arc<State>,
    verify: Verify,
    limit: Duration,
    /// Slots at rest.
    free: Vec<Slot>,
    /// Batches under way, the oldest first.
    flying: VecDeque<(Slot, Vec<Work>)>,
    /// What is being gathered.
    batch: Vec<Work>,
    /// Work that did not fit the batch before.
    held: Option<Work>,
    closed: bool,
}

impl Server {
    pub(super) fn new(
        (device, options): (&Arc<Device>, &Options),
        (works, cpu): (Receiver<Work>, Arc<CpuEngine>),
        state: &Arc<State>,
    ) -> Server {
        let slots = [0; 2].map(|_| Slot::new(device, options.slot_bytes));
        Server {
            device: Arc::clone(device),
            works,
            cpu,
            state: Arc::clone(state),
            verify: options.verify,
            limit: options.limit,
            free: slots.into(),
            flying: VecDeque::new(),
            batch: Vec::new(),
            held: None,
            closed: false,
        }
    }

    pub(super) fn device(&self) -> Arc<Device> {
        Arc::clone(&self.device)
    }

    /// Works until the queue is closed and empty.
    pub(super) fn serve(mut self) {
        while self.state.retired.get().is_none() {
            match catch_unwind(AssertUnwindSafe(|| self.turn())) {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return self.wipe(),
                Ok(Err(failure)) => self.state.retire(failure),
                // wgpu panics where a driver says that its device is lost.
                Err(_) => {
                    let unsaid = || Failure::error("its driver panicked");
                    self.state
                        .retire(self.device.failure().unwrap_or_else(unsaid));
                }
            }
        }
        self.hand_over();
    }

    /// Gathers and sends off a batch if there is work and a slot; finishes one otherwise. `false`
    /// when all is done.
    fn turn(&mut self) -> Result<bool, Failure> {
        if let Some(room) = self.free.last().map(Slot::room) {
            self.gather(room);
        }
        if !self.batch.is_empty()
            && let Some(slot) = self.free.pop()
        {
            self.send(slot)?;
            return Ok(true);
        }
        if self.flying.is_empty() {
            return Ok(!self.closed);
        }
        self.finish()?;
        Ok(true)
    }

    /// Takes work that fits one batch. Only an idle device waits for it.
    fn gather(&mut self, mut room: Room) {
        let mut deadline = None;
        while let Some(work) = self.next(deadline) {
            let (text_bytes, key_bytes) = needs(&work);
            let same = self
                .batch
                .first()
                .is_none_or(|first| needs(first).1 == key_bytes);
            if !same || !room.take(text_bytes) {
                self.held = Some(work);
                return;
            }
            self.batch.push(work);
            deadline = deadline.or_else(|| Some(Instant::now() + GATHER));
        }
    }

    /// The next work. Waits until the deadline, or for the first one a while.
    fn next(&mut self, deadline: Option<Instant>) -> Option<Work> {
        if let Some(work) = self.held.take() {
            return Some(work);
        }
        if !self.flying.is_empty() {
            return self.works.try_recv().ok();
        }
        let received = match deadline {
            Some(deadline) => self.works.recv_deadline(deadline),
            None => self.works.recv_timeout(IDLE),
        };
        self.closed = matches!(received, Err(RecvTimeoutError::Disconnected));
        if received.is_err() && deadline.is_none() {
            self.wipe();
        }
        received.ok()
    }

    fn send(&mut self, mut slot: Slot) -> Result<(), Failure> {
        let items: Vec<_> = self.batch.iter().filter_map(Item::of).collect();
        slot.submit(&self.device, &items)?;
        drop(items);
        self.flying
            .push_back((slot, std::mem::take(&mut self.batch)));
        Ok(())
    }

    /// Waits for the oldest batch, checks it, and answers. Work leaves `flying` piece by piece, so
    /// that whatever happens, what has no answer is still there.
    fn finish(&mut self) -> Result<(), Failure> {
        let Some((slot, works)) = self.flying.front_mut() else {
            return Ok(());
        };
        let view = slot.wait(&self.device, self.limit)?;
        let items: Vec<_> = works.iter().filter_map(Item::of).collect();
        let proved = trust::check(&items, &view, self.verify)?;
        let text: &[u8] = proved.as_deref().map_or(&view, |proved| proved);
        let mut rooms: Vec<_> = items.iter().map(Item::room_bytes).collect();
        drop(items);
        // Popped from the end.
        let mut end: usize = rooms.iter().sum();
        while let (Some(room), Some(work)) = (rooms.pop(), works.pop()) {
            let (bytes, start) = (work.bytes(), end - room);
            let answer = answer(work, &text[start..end]);
            end = start;
            self.state.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.state
                .done_bytes
                .fetch_add(bytes as u64, Ordering::Relaxed);
            answer.send();
        }
        drop(view);
        if let Some((mut slot, _)) = self.flying.pop_front() {
            slot.release();
            self.free.push(slot);
        }
        Ok(())
    }

    /// Overwrites what batches left in the slots at rest.
    fn wipe(&mut self) {
        for slot in &mut self.free {
            slot.wipe(&self.device);
        }
    }

    /// Gives everything without an answer to the CPU, now and from now on.
    fn hand_over(mut self) {
        // A driver that has failed may panic here as well.
        let _ = catch_unwind(AssertUnwindSafe(|| self.wipe()));
        self.free.clear();
        let flying = self.flying.into_iter().flat_map(|(_, works)| works);
        let left = self.held.into_iter().chain(self.batch).chain(flying);
        for work in left.chain(self.works.iter()) {
            self.cpu.submit(work);
        }
    }
}

/// Bytes of text, and of the key.
fn needs(work: &Work) -> (usize, usize) {
    Item::of(work).map_or((0, 0), |item| {
        (item.text.bytes(), item.offload.key().bytes())
    })
}

/// Does what is left when the device has done its share.
fn answer(work: Work, text: &[u8]) -> Answer {
    let fill = |at: usize, to: &mut [u8]| to.copy_from_slice(&text[at..at + to.len()]);
    match work {
        Work::Encrypt {
            cipher,
            at,
            plain,
            mut out,
            checksum,
            done,
            ..
        } => {
            let bytes = plain.bytes().len();
            out.set_len(cipher.form().sealed_part_len(at, bytes));
            let mut checksum = checksum.start();
            let ready = |bytes: &[u8]| checksum.update(bytes);
            let mark = cipher.complete(at, bytes, &mut out, fill, ready);
            let sealed = Encrypted {
                out,
                mark,
                checksum,
                by_gpu: true,
            };
            Answer::Sealed(done, sealed)
        }
        Work::Decrypt {
            cipher,
            at,
            mut part,
            done,
        } => {
            let opened = cipher.complete(at, &mut part, fill);
            let opened = opened.map(|opened| (part, opened));
            Answer::Opened(done, opened.map_err(Fault::from))
        }
        // Never taken in the first place.
        Work::Hash { hash, done, .. } => Answer::Hashed(done, hash),
    }
}
