//! Starting the engine that the settings ask for.

use std::sync::Arc;
use std::time::Duration;

use ciphermill_cipher::cpu::Kernel;

use super::Engine;
use super::cpu::CpuEngine;
use crate::fault::Result;

/// Which engine ciphers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The CPU, and a GPU where it was measured to pay.
    #[default]
    Auto,
    /// The CPU only.
    Cpu,
    /// The GPU, whatever it is, for all that it can do.
    Gpu,
}

/// What an engine can be told.
#[derive(Clone, Copy, Default)]
pub struct Setup {
    /// Which engine.
    pub choice: Choice,
    /// Cipher threads; one per core when 0.
    pub threads: usize,
    /// Whether each of them stays on a core of its own.
    pub pin: bool,
    /// The CPU's kernel, which a GPU is measured beside; the fastest when `None`.
    pub kernel: Option<&'static dyn Kernel>,
    /// Whether every byte that a GPU made is computed again.
    pub verify_all: bool,
    /// Threads that serve a GPU; half the cores, 2 to 4, when 0.
    pub gpu_threads: usize,
    /// Bytes of text in each slot of a GPU's ring; 16 MiB when 0.
    pub gpu_slot_bytes: usize,
    /// How long a batch may take on a GPU; 10 s when zero.
    pub gpu_limit: Duration,
}

/// Starts it.
pub fn start(setup: &Setup) -> Result<Arc<dyn Engine>> {
    let cpu = CpuEngine::start(setup.threads, setup.pin)?;
    with_gpu(cpu, setup)
}

#[cfg(feature = "gpu")]
fn with_gpu(cpu: CpuEngine, setup: &Setup) -> Result<Arc<dyn Engine>> {
    use super::both::Both;
    use super::gpu::{Options, Verify};
    use ciphermill_cipher::cpu::best;
    let defaults = Options::default();
    let options = Options {
        threads: setup.gpu_threads,
        slot_bytes: if setup.gpu_slot_bytes == 0 {
            defaults.slot_bytes
        } else {
            setup.gpu_slot_bytes
        },
        limit: if setup.gpu_limit.is_zero() {
            defaults.limit
        } else {
            setup.gpu_limit
        },
        verify: if setup.verify_all {
            Verify::Full
        } else {
            Verify::Sample
        },
        ..defaults
    };
    Ok(match setup.choice {
        Choice::Cpu => Arc::new(cpu),
        Choice::Auto => {
            let kernel = setup.kernel.unwrap_or_else(best);
            Arc::new(Both::auto(cpu, options).beside(kernel))
        }
        Choice::Gpu => Arc::new(Both::forced(cpu, options)?),
    })
}

#[cfg(not(feature = "gpu"))]
fn with_gpu(cpu: CpuEngine, setup: &Setup) -> Result<Arc<dyn Engine>> {
    use crate::fault::{Code, Fault};
    if setup.choice == Choice::Gpu {
        let message = "this program was built without its GPU engine";
        return Err(Fault::new(Code::GpuUnavailable, message));
    }
    Ok(Arc::new(cpu))
}
