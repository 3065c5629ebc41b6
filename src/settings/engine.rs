//! `[engine]`: which engine ciphers, and how.

use serde::Deserialize;

use super::raw::{within, wrong};
use super::{Engine, EngineChoice};
use crate::fault::Result;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawEngine {
    choice: Option<String>,
    threads: Option<u64>,
    pin: bool,
    kernel: Option<String>,
    verify: Option<String>,
    gpu_threads: Option<u64>,
    gpu_slot_bytes: Option<u64>,
    gpu_timeout_seconds: Option<u64>,
}

impl RawEngine {
    pub(super) fn validate(self) -> Result<Engine> {
        let choice = match self.choice.as_deref().unwrap_or("auto") {
            "auto" => EngineChoice::Auto,
            "cpu" => EngineChoice::Cpu,
            "gpu" => EngineChoice::Gpu,
            other => return Err(wrong("engine.choice", "auto, cpu or gpu", other)),
        };
        let verify_all = match self.verify.as_deref().unwrap_or("sample") {
            "sample" => false,
            "full" => true,
            other => return Err(wrong("engine.verify", "sample or full", other)),
        };
        let slot = (16 << 20, 1 << 20, 64 << 20);
        let slot = within(
            "engine.gpu_slot_bytes",
            self.gpu_slot_bytes,
            slot.0,
            slot.1,
            slot.2,
        )?;
        let limit = self.gpu_timeout_seconds;
        Ok(Engine {
            choice,
            threads: within("engine.threads", self.threads, 0, 0, 1024)? as usize,
            pin: self.pin,
            kernel: self.kernel.filter(|name| name != "auto"),
            verify_all,
            gpu_threads: within("engine.gpu_threads", self.gpu_threads, 0, 0, 64)? as usize,
            gpu_slot_bytes: slot as usize,
            gpu_timeout_seconds: within("engine.gpu_timeout_seconds", limit, 10, 1, 600)?,
        })
    }
}
