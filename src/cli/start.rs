//! Starting up: the I/O runtime and the parts that verbs share.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ciphermill_cipher::cpu::{self, Kernel};
use tokio::signal::unix::{SignalKind, signal};

use crate::aws::Aws;
use crate::buffers::Pool;
use crate::clock::SystemClock;
use crate::engine::{self, Choice, Engine, Setup};
use crate::fault::{Code, Fault, Result};
use crate::keys::Keys;
use crate::media::Media;
use crate::pipeline::Pipeline;
use crate::plan::Limits;
use crate::settings::{EngineChoice, Settings};
use crate::sink;
use crate::store::Stores;
use crate::store::files::Access;

/// Runs a verb on the I/O runtime.
pub fn block_on(verb: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime
        .map_err(|e| Fault::new(Code::Internal, format!("cannot start the runtime: {e}")))?;
    let result = runtime.block_on(async {
        let result = verb.await;
        // Aborts of dropped uploads run in the background: they get a moment.
        sink::aborted(Duration::from_secs(5)).await;
        result
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

/// Waits for SIGINT or SIGTERM.
pub async fn interrupted() -> Fault {
    let fault =
        |e: std::io::Error| Fault::new(Code::Internal, format!("cannot watch signals: {e}"));
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => return fault(error),
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Fault::new(Code::Interrupted, "the command was stopped before its end")
}

/// The CPU kernel that these settings name, or the fastest.
pub fn kernel(settings: &Settings) -> Result<&'static dyn Kernel> {
    match &settings.engine.kernel {
        Some(name) => cpu::named(name).map_err(|e| Fault::from(e).at("engine.kernel")),
        None => Ok(cpu::best()),
    }
}

/// The engine that these settings describe.
fn engine(settings: &Settings, kernel: &'static dyn Kernel) -> Result<Arc<dyn Engine>> {
    let engine = &settings.engine;
    let setup = Setup {
        choice: match engine.choice {
            EngineChoice::Auto => Choice::Auto,
            EngineChoice::Cpu => Choice::Cpu,
            EngineChoice::Gpu => Choice::Gpu,
        },
        threads: engine.threads,
        pin: engine.pin,
        kernel: Some(kernel),
        verify_all: engine.verify_all,
        gpu_threads: engine.gpu_threads,
        gpu_slot_bytes: engine.gpu_slot_bytes,
        gpu_limit: Duration::from_secs(engine.gpu_timeout_seconds),
    };
    engine::start(&setup).map_err(|fault| fault.at("engine.choice"))
}

/// The pipeline that these settings describe; files as `access` allows.
pub fn pipeline(settings: &Settings, access: Access) -> Result<Arc<Pipeline>> {
    let aws = Aws::default();
    let files = !matches!(access, Access::Refused);
    let kernel = kernel(settings)?;
    Ok(Arc::new(Pipeline {
        stores: Stores::open(aws.clone(), settings.s3, access),
        keys: Arc::new(Keys::new(
            aws,
            settings.worker.allow_kms_keys.clone(),
            settings.keyring.file.clone(),
        )),
        engine: engine(settings, kernel)?,
        kernel,
        media: Media::new(settings.media.clone()),
        clock: Arc::new(SystemClock),
        pool: Pool::new(settings.worker.budget_bytes),
        limits: Limits::from_settings(settings),
        worker: settings.worker.clone(),
        files,
    }))
}

/// Keeps key bytes out of core dumps and other processes' reach (P8); best effort outside Linux.
pub fn harden_process() {
    let no_core = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, no_core);
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
