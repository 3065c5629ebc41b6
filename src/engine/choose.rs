//! Choosing: which engine a piece of work goes to, from measured rates and what already waits.
//!
//! Pure. The CPU is the default. The GPU gets work when it would finish clearly sooner, which on a
//! machine whose CPU has AES instructions means: when the CPU's cores have a backlog, and the batch
//! is worth the trip.

/// How much sooner the GPU has to finish: copying in and out costs the CPU as well.
pub const MARGIN: f64 = 1.3;

/// What was measured on this machine, host memory to host memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Bytes per second of one core.
    pub core: f64,
    /// Cipher threads.
    pub cores: usize,
    /// Bytes per second of the GPU, with its copies.
    pub gpu: f64,
    /// Seconds that the smallest batch takes.
    pub gpu_seconds: f64,
}

/// Bytes that wait or are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// For the CPU.
    pub cpu_bytes: usize,
    /// For the GPU.
    pub gpu_bytes: usize,
}

impl Rates {
    /// Whether the GPU would be done with `bytes` more clearly before the CPU.
    pub fn gpu_pays(&self, backlog: Backlog, bytes: usize) -> bool {
        self.cpu_finish(backlog, bytes) > MARGIN * self.gpu_finish(backlog, bytes)
    }

    /// Seconds until the CPU would be done: behind what waits, and never faster than one core does
    /// one part.
    fn cpu_finish(&self, backlog: Backlog, bytes: usize) -> f64 {
        let together = (backlog.cpu_bytes + bytes) as f64 / (self.core * self.cores as f64);
        together.max(bytes as f64 / self.core)
    }

    fn gpu_finish(&self, backlog: Backlog, bytes: usize) -> f64 {
        self.gpu_seconds + (backlog.gpu_bytes + bytes) as f64 / self.gpu
    }

    /// The smallest work for which the GPU pays when the CPU has so much to do already; `None` when
    /// it never does.
    pub fn crossover_bytes(&self, backlog: Backlog) -> Option<usize> {
        let sizes = (12..=30).map(|shift| 1usize << shift);
        sizes
            .into_iter()
            .find(|bytes| self.gpu_pays(backlog, *bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn backlog(cpu_mib: usize, gpu_mib: usize) -> Backlog {
        Backlog {
            cpu_bytes: cpu_mib * MIB,
            gpu_bytes: gpu_mib * MIB,
        }
    }

    /// A server: 16 cores with AES instructions, a discrete GPU.
    const SERVER: Rates = Rates {
        core: 10e9,
        cores: 16,
        gpu: 20e9,
        gpu_seconds: 300e-6,
    };

    #[test]
    fn an_idle_cpu_keeps_what_is_small() {
        assert!(!SERVER.gpu_pays(backlog(0, 0), MIB));
        assert!(!SERVER.gpu_pays(backlog(32, 0), 16 * 1024));
    }

    #[test]
    fn a_backlog_sends_work_to_the_gpu_until_it_has_one_too() {
        assert!(SERVER.gpu_pays(backlog(512, 0), 8 * MIB));
        assert!(!SERVER.gpu_pays(backlog(512, 128), 8 * MIB));
    }

    #[test]
    fn a_slow_gpu_is_never_taken() {
        let software = Rates {
            core: 10e9,
            cores: 2,
            gpu: 0.3e9,
            gpu_seconds: 1e-3,
        };
        assert!(!software.gpu_pays(backlog(64, 0), 8 * MIB));
        assert_eq!(software.crossover_bytes(backlog(0, 0)), None);
    }

    #[test]
    fn a_cpu_without_aes_hands_over_early() {
        let soft = Rates {
            core: 0.2e9,
            cores: 4,
            gpu: 5e9,
            gpu_seconds: 200e-6,
        };
        assert_eq!(soft.crossover_bytes(backlog(0, 0)), Some(64 * 1024));
    }
}
