//! `ciphermill work`: the worker, on a broker or on a spool directory.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::start;
use crate::clock::SystemClock;
use crate::fault::{Code, Fault, Result};
use crate::job::JobDigest;
use crate::job::check;
use crate::observe;
use crate::observe::health::Readiness;
use crate::pipeline::Pipeline;
use crate::queue::{Backend, DeadLetters, DeadMessage, Queue, open};
use crate::report::{self, Context};
use crate::settings::{Flags, Settings};
use crate::store::files::Access;
use crate::worker::{Ended, Worker, reaper, tell};

/// Time between two looks at the dead-letter queue.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
#[command(after_help = "\
SIGTERM or Ctrl-C: takes no new job, lets running ones finish within worker.drain_seconds, returns the rest.
A second signal returns them at once. Exit code 0: all finished; 75: some were returned.")]
pub struct Options {
    /// Take jobs from this directory instead of RabbitMQ
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// With --spool: end when no job is left
    #[arg(long, requires = "spool")]
    once: bool,
    /// Create queues and exchanges that are missing
    #[arg(long, conflicts_with = "spool")]
    declare: bool,
    /// Also report messages that the broker itself dead-lettered (crash loops)
    #[arg(long, conflicts_with = "spool")]
    dead_letters: bool,
    /// End after this many jobs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_jobs: Option<u64>,
    /// Jobs at once; overrides `worker.slots`
    #[arg(long, value_name = "N")]
    slots: Option<u64>,
    /// The keyring file; overrides `keyring.file`
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// auto, cpu or gpu; overrides `engine.choice`
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
}

impl Options {
    pub fn flags(&self) -> Flags {
        let keyring = self
            .keyring
            .as_ref()
            .map(|file| ("keyring.file", file.display().to_string()));
        let slots = self.slots.map(|slots| ("worker.slots", slots.to_string()));
        let engine = self.engine.clone().map(|name| ("engine.choice", name));
        keyring.into_iter().chain(slots).chain(engine).collect()
    }
}

pub async fn run(options: Options, settings: Settings) -> Result<ExitCode> {
    let access = match (&options.spool, &settings.worker.file_root) {
        (_, Some(root)) => Access::Below(root.clone()),
        (Some(_), None) => Access::Anywhere,
        (None, None) => Access::Refused,
    };
    let pipeline = start::pipeline(&settings, access)?;
    tokio::spawn(look_for_tools(Arc::clone(&pipeline)));
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    let connected = Arc::new(AtomicBool::new(false));
    watch_signals(stop.clone(), abort.clone(), settings.worker.drain)?;
    let slots = options.max_jobs.map_or(settings.worker.slots, |jobs| {
        settings.worker.slots.min(jobs as usize)
    });
    let spool = options.spool.map(|folder| open::Spool {
        folder,
        once: options.once,
    });
    let backend = open::backend(&settings, spool);
    // The admin endpoints answer while the broker is still being waited for.
    serve_admin(&settings, &pipeline, None, &connected).await?;
    let queue = tokio::select! {
        biased;
        queue = backend.queue(slots, options.declare) => queue?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    serve_admin(&settings, &pipeline, Some(Arc::clone(&queue)), &connected).await?;
    let name = name();
    if options.dead_letters {
        let backend = Arc::clone(&backend);
        let sweep = sweep(backend, settings.clone(), name.clone(), stop.clone());
        tokio::spawn(sweep);
    }
    let (reaping, reaper_stop) = (Arc::clone(&pipeline), stop.clone());
    tokio::spawn(async move { reaper::run(&reaping, &reaper_stop).await });
    let worker = Worker {
        pipeline,
        queue,
        slots,
        max_attempts: settings.worker.max_attempts,
        max_jobs: options.max_jobs,
        name,
        stop,
        abort,
    };
    tracing::info!(
        slots,
        budget_bytes = settings.worker.budget_bytes,
        "worker started"
    );
    let Ended { jobs, returned } = worker.run().await?;
    tracing::info!(jobs, returned, "worker ended");
    Ok(if returned {
        ExitCode::from(Code::Stopping.exit_code())
    } else {
        ExitCode::SUCCESS
    })
}

/// First signal: drain. Drain limit or second signal: stop what still runs.
fn watch_signals(stop: CancellationToken, abort: CancellationToken, drain: Duration) -> Result<()> {
    let fault =
        |e: std::io::Error| Fault::new(Code::Internal, format!("cannot watch signals: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!(
            drain_seconds = drain.as_secs(),
            "stopping: running jobs may finish"
        );
        stop.cancel();
        tokio::select! {
            _ = terminate.recv() => {},
            _ = interrupt.recv() => {},
            () = tokio::time::sleep(drain) => {},
        }
        tracing::warn!("stopping now: running jobs go back to the queue");
        abort.cancel();
    });
    Ok(())
}

type Queues = std::sync::OnceLock<Arc<dyn Queue>>;

/// Serves the admin endpoints, once; a later call only names the queue that readiness asks.
async fn serve_admin(
    settings: &Settings,
    pipeline: &Arc<Pipeline>,
    queue: Option<Arc<dyn Queue>>,
    serving: &Arc<AtomicBool>,
) -> Result<()> {
    static QUEUE: Queues = Queues::new();
    if let Some(queue) = queue {
        let _ = QUEUE.set(queue);
    }
    let Some(listen) = settings.worker.admin_listen else {
        return Ok(());
    };
    if serving.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let pipeline = Arc::clone(pipeline);
    let ready: observe::health::Ready = Arc::new(move || {
        let pool = &pipeline.pool;
        observe::budget(pool.budget_bytes(), pool.reserved_bytes());
        let media = pipeline.media.protection();
        let media = media.unwrap_or_else(|| "not available, or not looked for yet".into());
        Readiness {
            taking: QUEUE.get().is_some_and(|queue| queue.ready()) && observe::is_consuming(),
            words: format!("media: {media}\n"),
        }
    });
    let address = observe::health::serve(listen, ready).await;
    let address = address.map_err(|e| {
        Fault::new(Code::Settings, format!("cannot listen on {listen}: {e}"))
            .at("worker.admin_listen")
    })?;
    tracing::info!(%address, "admin endpoints: /live /ready /metrics");
    Ok(())
}

/// Finds out how media can be parsed here, and says so; a worker without is a worker all the same.
async fn look_for_tools(pipeline: Arc<Pipeline>) {
    if let Err(fault) = pipeline.media.tools().await {
        let (code, help) = (fault.code.as_str(), fault.code.help());
        tracing::warn!(code, detail = %fault.message, help, "no thumbnails, captions and artwork from here");
    }
}

/// Reports messages that crashed every worker that took them.
async fn sweep(
    backend: Arc<dyn Backend>,
    settings: Settings,
    name: String,
    stop: CancellationToken,
) {
    let mut report = |message: &DeadMessage| {
        let context = Context {
            worker: name.clone(),
            attempt: 0,
            clock: Arc::new(SystemClock),
        };
        let text = format!("the broker gave the message up ({})", message.reason);
        let fault = Fault::new(Code::AttemptsExhausted, text);
        let mut reply_to = None;
        let event = match check::parse(&message.body) {
            Ok(parsed) => {
                let allowed = &settings.worker.allow_reply_queues;
                reply_to = parsed
                    .job
                    .reply_to
                    .clone()
                    .filter(|queue| allowed.contains(queue));
                let state = crate::job::event::State::Failed;
                report::event(
                    &context,
                    &parsed.job,
                    parsed.digest,
                    state,
                    report::failed(&fault),
                )
            }
            Err(rejection) => {
                let digest = JobDigest::of_bytes(&message.body);
                report::rejected(&context, rejection.job_id.as_deref(), digest, &[fault])
            }
        };
        tell::outgoing(&event, true, reply_to).ok()
    };
    let mut queue: Option<Box<dyn DeadLetters>> = None;
    while !stop.is_cancelled() {
        let connected = match queue.take() {
            Some(queue) => Ok(queue),
            None => backend.dead_letters().await,
        };
        let swept = match connected {
            Ok(open) => queue.insert(open).sweep(&mut report).await,
            Err(fault) => Err(fault),
        };
        match swept {
            Ok(swept) if swept.reported > 0 => {
                tracing::warn!(reported = swept.reported, "dead letters reported")
            }
            Ok(_) => {}
            Err(fault) => {
                tracing::warn!(code = fault.code.as_str(), detail = %fault.message, "cannot sweep")
            }
        }
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(SWEEP_EVERY) => {} }
    }
}

/// `/ciphermill/HOST/PID`: the source of this worker's events.
fn name() -> String {
    let system = rustix::system::uname();
    format!(
        "/ciphermill/{}/{}",
        system.nodename().to_string_lossy(),
        std::process::id()
    )
}
