//! Both engines: the CPU, and a GPU that is opened and measured beside the first work.
//!
//! Work goes to the CPU until a GPU is ready, and afterwards to whichever would be done sooner
//! ([`Rates`]). A machine without a GPU pays for finding that out once, on a thread of its own, and
//! only after it has had enough to do for a GPU to matter.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use ciphermill_cipher::cpu::{Kernel, best};

use super::calibrate;
use super::choose::{Backlog, Rates};
use super::cpu::CpuEngine;
use super::gpu::{Failure, Gpu, Options};
use super::{Engine, Spent, Work};
use crate::fault::{Code, Fault, Result};
use crate::observe;

/// Looking for a GPU begins when so much was ciphered: what is done before it is found needs none.
const WORTH_BYTES: u64 = 1 << 30;

/// More than this hardly ever waits for a CPU.
const BUSY_BYTES: usize = 1 << 30;

/// The CPU engine and, once it is ready, a GPU.
pub struct Both {
    cpu: Arc<CpuEngine>,
    found: Arc<OnceLock<Option<Ready>>>,
    options: Options,
    kernel: &'static dyn Kernel,
    /// Everything that a GPU can do goes to it.
    forced: bool,
    seen_bytes: AtomicU64,
    stop: Arc<AtomicBool>,
    starter: Mutex<Option<JoinHandle<()>>>,
}

/// A GPU that passed its tests, and what was measured.
struct Ready {
    gpu: Gpu,
    rates: Option<Rates>,
}

impl Both {
    /// A GPU is looked for beside the first work, and used where it pays.
    pub fn auto(cpu: CpuEngine, options: Options) -> Both {
        Both {
            cpu: Arc::new(cpu),
            found: Arc::default(),
            options,
            kernel: best(),
            forced: false,
            seen_bytes: AtomicU64::new(0),
            stop: Arc::default(),
            starter: Mutex::default(),
        }
    }

    /// Measures the CPU by this kernel, which is not the fastest when the settings name another.
    #[must_use]
    pub fn beside(self: Both, kernel: &'static dyn Kernel) -> Both {
        let mut both = self;
        both.kernel = kernel;
        both
    }

    /// The GPU does all that it can, whatever it is. Without one this fails.
    pub fn forced(cpu: CpuEngine, options: Options) -> Result<Both> {
        let options = Options {
            software: true,
            ..options
        };
        let mut both = Both::auto(cpu, options);
        both.forced = true;
        let gpu = Gpu::start(&both.options, &both.cpu, &both.stop)
            .map_err(|failure| Fault::new(Code::GpuUnavailable, failure.reason))?;
        tell(&gpu, None);
        let _ = both.found.set(Some(Ready { gpu, rates: None }));
        Ok(both)
    }

    /// Whether it is known by now if there is a GPU.
    pub fn has_looked(&self) -> bool {
        self.found.get().is_some()
    }

    /// The GPU, once it is ready.
    pub fn gpu(&self) -> Option<&Gpu> {
        Some(&self.found.get()?.as_ref()?.gpu)
    }

    /// Starts looking, once, when there was enough to do.
    fn look(&self, bytes: usize) {
        let before = self.seen_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if !(before..before + bytes as u64).contains(&WORTH_BYTES) {
            return;
        }
        let (cpu, found, stop) = (
            Arc::clone(&self.cpu),
            Arc::clone(&self.found),
            Arc::clone(&self.stop),
        );
        let (options, kernel) = (self.options.clone(), self.kernel);
        let thread = std::thread::Builder::new().name("gpu-start".to_owned());
        let spawned = thread.spawn(move || {
            let ready = prepare(&options, kernel, &cpu, &stop)
                .inspect_err(|failure| tracing::info!(reason = failure.reason, "no GPU is used"));
            let _ = found.set(ready.ok());
        });
        let mut starter = self.starter.lock().unwrap_or_else(PoisonError::into_inner);
        *starter = spawned.ok();
    }
}

impl Engine for Both {
    fn name(&self) -> &'static str {
        self.cpu.name()
    }

    fn spent(&self) -> Spent {
        Spent {
            gpu_bytes: self.gpu().map_or(0, Gpu::done_bytes),
            ..self.cpu.spent()
        }
    }

    fn submit(&self, work: Work) {
        let bytes = work.bytes();
        match self.found.get() {
            Some(Some(Ready { gpu, rates })) if gpu.takes(&work) => {
                let backlog = Backlog {
                    cpu_bytes: self.cpu.queued_bytes(),
                    gpu_bytes: gpu.queued_bytes(),
                };
                let pays = |rates: &Rates| rates.gpu_pays(backlog, bytes);
                if self.forced || rates.as_ref().is_some_and(pays) {
                    observe::engine_bytes("gpu", bytes as u64);
                    return gpu.submit(work);
                }
            }
            Some(_) => {}
            None => self.look(bytes),
        }
        observe::engine_bytes("cpu", bytes as u64);
        self.cpu.submit(work);
    }
}

impl Drop for Both {
    /// A driver must not be in the middle of something when the process ends.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let mut starter = self.starter.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = starter.take() {
            let _ = thread.join();
        }
    }
}

/// Opens, tests and measures.
fn prepare(
    options: &Options,
    kernel: &'static dyn Kernel,
    cpu: &Arc<CpuEngine>,
    stop: &AtomicBool,
) -> Result<Ready, Failure> {
    let gpu = Gpu::start(options, cpu, stop)?;
    let rates = calibrate::rates(&gpu, (kernel, cpu.threads()), stop)?;
    tell(&gpu, Some(&rates));
    let busy = Backlog {
        cpu_bytes: BUSY_BYTES,
        gpu_bytes: 0,
    };
    if rates.crossover_bytes(busy).is_none() {
        return Err(Failure::error("it pays for nothing on this machine"));
    }
    Ok(Ready {
        gpu,
        rates: Some(rates),
    })
}

/// Says what was found, and what it means.
fn tell(gpu: &Gpu, rates: Option<&Rates>) {
    let adapter = gpu.adapter();
    let Some(rates) = rates else {
        tracing::info!(
            adapter = adapter.name,
            driver = adapter.driver,
            "the GPU does all it can"
        );
        return;
    };
    observe::engine_rates(rates.core * rates.cores as f64, rates.gpu);
    tracing::info!(
        adapter = adapter.name,
        driver = adapter.driver,
        gpu_gb_per_second = rates.gpu / 1e9,
        gpu_batch_microseconds = rates.gpu_seconds * 1e6,
        core_gb_per_second = rates.core / 1e9,
        cores = rates.cores,
        pays_when_idle_from_bytes = rates.crossover_bytes(Backlog::default()),
        "a GPU was measured"
    );
}
