//! The GPU engine: AES-CTR in a compute shader, for whatever is counter mode at its core.
//!
//! Parts come in from [`Both`](super::both::Both) and are gathered into batches of many objects and
//! keys; threads of its own fill slots of a ring, wait for the device, check its work against the
//! CPU, hash and hand on. What a GPU does is never trusted: it passes published vectors before its
//! first batch, and a random block of every tile is computed again. Whatever goes wrong (a wrong
//! block, a lost device, no memory, no answer in time) retires it for good, and the parts it had go
//! to the CPU: no caller notices.

pub mod copies;
pub mod device;
pub mod kernel_time;
mod serve;
mod slot;
mod tile;
mod trust;

use std::borrow::Cow;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use ciphermill_cipher::offload::{Offload, Text};
use crossbeam_channel::{Sender, unbounded};

use self::device::{Adapter, Device, SHADER, Transfer};
use self::slot::Slot;
use super::Work;
use super::cpu::CpuEngine;
use crate::observe;

/// How much of a device's work is computed again on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// A random block of every tile of 16 KiB: finds systematic faults.
    #[default]
    Sample,
    /// Every byte: finds single flipped bits as well, and costs what the CPU would have.
    Full,
}

/// How to run the device.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that fill and drain; 0 is half the cores, 2 to 4.
    pub threads: usize,
    /// Bytes of text in a slot. Each thread has two slots, each with host memory for both ways.
    pub slot_bytes: usize,
    /// How much is computed again.
    pub verify: Verify,
    /// Whether an adapter that is a program on the CPU will do.
    pub software: bool,
    /// How long a batch may take.
    pub limit: Duration,
    /// How bytes get there; by the kind of the adapter when `None`.
    pub transfer: Option<Transfer>,
    /// Whether the API's validation layers watch.
    pub validation: bool,
    /// The shader. Tests give a wrong one.
    pub shader: Cow<'static, str>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            threads: 0,
            slot_bytes: 16 << 20,
            verify: Verify::Sample,
            software: false,
            limit: Duration::from_secs(10),
            transfer: None,
            validation: false,
            shader: Cow::Borrowed(SHADER),
        }
    }
}

impl Options {
    /// How many threads that makes on this machine.
    pub fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match self.threads {
            0 => (cores / 2).clamp(2, 4),
            given => given,
        }
    }
}

/// Why a device is not used (any more).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `mismatch`, `lost`, `timeout` or `error`: as metrics call it.
    pub kind: &'static str,
    /// What happened.
    pub reason: String,
}

impl Failure {
    fn of(kind: &'static str, reason: impl ToString) -> Failure {
        Failure {
            kind,
            reason: reason.to_string(),
        }
    }

    fn mismatch(reason: impl ToString) -> Failure {
        Failure::of("mismatch", reason)
    }

    fn lost(reason: impl ToString) -> Failure {
        Failure::of("lost", reason)
    }

    fn timeout(reason: impl ToString) -> Failure {
        Failure::of("timeout", reason)
    }

    pub(super) fn error(reason: impl ToString) -> Failure {
        Failure::of("error", reason)
    }
}

/// One text of a batch.
pub struct Item<'a> {
    /// Key and keystream.
    pub offload: Offload<'a>,
    /// The bytes.
    pub text: Text<'a>,
    /// Where they stand in the object's plaintext.
    pub offset: u64,
}

impl Item<'_> {
    /// What there is to do for a device; `None` where it cannot help.
    fn of(work: &Work) -> Option<Item<'_>> {
        let item = match work {
            Work::Encrypt {
                cipher, at, plain, ..
            } => Item {
                offload: cipher.offload()?,
                text: Text::plain(plain.bytes()),
                offset: at.offset,
            },
            Work::Decrypt {
                cipher, at, part, ..
            } => Item {
                offload: cipher.offload()?,
                text: cipher.text(*at, part)?,
                offset: at.offset,
            },
            Work::Hash { .. } => return None,
        };
        (item.text.bytes() > 0).then_some(item)
    }
}

/// One slot, used batch by batch: for tests, and to measure.
pub struct Lane {
    device: Arc<Device>,
    slot: Slot,
    limit: Duration,
}

impl Lane {
    /// A slot of this device.
    pub fn new(device: Arc<Device>, options: &Options) -> Lane {
        let slot = Slot::new(&device, options.slot_bytes);
        Lane {
            device,
            slot,
            limit: options.limit,
        }
    }

    /// Ciphers texts that fit the slot and whose keys have one length, and shows the results.
    pub fn apply(
        &mut self,
        items: &[Item<'_>],
        mut show: impl FnMut(usize, &[u8]),
    ) -> Result<(), Failure> {
        self.slot.submit(&self.device, items)?;
        let view = self.slot.wait(&self.device, self.limit)?;
        let mut at = 0;
        for (index, item) in items.iter().enumerate() {
            show(index, &view[at..at + item.text.bytes()]);
            at += item.room_bytes();
        }
        drop(view);
        self.slot.release();
        Ok(())
    }
}

/// What its threads and its users share.
struct State {
    retired: OnceLock<Failure>,
    queued_bytes: AtomicUsize,
    done_bytes: AtomicU64,
}

/// A device at work. Dropping it ends its threads.
pub struct Gpu {
    devices: Vec<Arc<Device>>,
    slot_bytes: usize,
    state: Arc<State>,
    queue: Option<Sender<Work>>,
    threads: Vec<JoinHandle<()>>,
}

impl Gpu {
    /// Opens a device for each thread, tests it, and starts the threads. `cpu` gets what they cannot
    /// finish; `stop` ends this early.
    pub fn start(
        options: &Options,
        cpu: &Arc<CpuEngine>,
        stop: &AtomicBool,
    ) -> Result<Gpu, Failure> {
        let count = options.threads();
        let state = Arc::new(State {
            retired: OnceLock::new(),
            queued_bytes: AtomicUsize::new(0),
            done_bytes: AtomicU64::new(0),
        });
        let (queue, works) = unbounded();
        let mut servers = Vec::with_capacity(count);
        for _ in 0..count {
            // wgpu panics where a driver says that its device is lost.
            let opened = catch_unwind(|| {
                let device = Arc::new(Device::open(options)?);
                trust::self_test(&mut Lane::new(Arc::clone(&device), &short(options)))?;
                Ok(device)
            });
            let device = opened.unwrap_or_else(|_| Err(Failure::error("its driver panicked")))?;
            let ends = (works.clone(), Arc::clone(cpu));
            servers.push(serve::Server::new((&device, options), ends, &state));
            // Memory that could not be had is reported outside of the calls that asked for it.
            device.failure().map_or(Ok(()), Err)?;
            if stop.load(Ordering::Relaxed) {
                return Err(Failure::error("the program ends"));
            }
        }
        let devices = servers.iter().map(serve::Server::device).collect();
        let mut threads = Vec::with_capacity(count);
        for (index, server) in servers.into_iter().enumerate() {
            let thread = std::thread::Builder::new().name(format!("gpu-{index}"));
            let spawned = thread.spawn(move || server.serve());
            threads.push(spawned.map_err(|e| Failure::error(format!("no thread: {e}")))?);
        }
        Ok(Gpu {
            devices,
            slot_bytes: options.slot_bytes,
            state,
            queue: Some(queue),
            threads,
        })
    }

    /// What it is: the same adapter for every thread. There is at least one.
    pub fn adapter(&self) -> &Adapter {
        &self.devices[0].adapter
    }

    /// How bytes get there.
    pub fn transfer(&self) -> Transfer {
        self.devices[0].transfer
    }

    /// Gives its devices up, as a driver that fails would: for tests of what happens then.
    pub fn lose(&self) {
        self.devices.iter().for_each(|device| device.lose());
    }

    /// Why it is not used any more, once that is so.
    pub fn retired(&self) -> Option<&Failure> {
        self.state.retired.get()
    }

    /// Whether it can do this work.
    pub fn takes(&self, work: &Work) -> bool {
        self.retired().is_none()
            && Item::of(work).is_some_and(|item| item.room_bytes() <= self.slot_bytes)
    }

    /// Queues work that it [takes](Gpu::takes).
    pub fn submit(&self, work: Work) {
        let bytes = work.bytes();
        self.state.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(queue) = &self.queue {
            // A closed queue drops the work and with it the answer channel, which its caller sees.
            let _ = queue.send(work);
        }
    }

    /// Bytes that wait for it or are under way.
    pub fn queued_bytes(&self) -> usize {
        self.state.queued_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that it has done.
    pub fn done_bytes(&self) -> u64 {
        self.state.done_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // One that panicked has handed its work on.
            let _ = thread.join();
        }
        if self
            .retired()
            .is_some_and(|failure| failure.kind == "timeout")
        {
            // Closing a device waits for what it has under way, which may never end.
            self.devices.drain(..).for_each(std::mem::forget);
        }
    }
}

impl State {
    /// Retires the device, once.
    fn retire(&self, failure: Failure) {
        if self.retired.set(failure.clone()).is_ok() {
            observe::gpu_retired(failure.kind);
            tracing::error!(
                kind = failure.kind,
                reason = failure.reason,
                "the GPU is retired; the CPU does its work from here on"
            );
        }
    }
}

/// The same with the smallest slot that the self-test needs.
fn short(options: &Options) -> Options {
    Options {
        slot_bytes: trust::SELF_TEST_BYTES,
        ..options.clone()
    }
}
