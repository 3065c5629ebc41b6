//! The world of one run: a store, a broker, keys, a clock, sources, and the workers in it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use ciphermill::clock::{Clock, VirtualClock};
use ciphermill::inject::Call;
use ciphermill::job::ObjectUrl;
use ciphermill::keys::KeySource;
use ciphermill::keys::faulty::FaultyKeys;
use ciphermill::keys::fixed::FixedKeys;
use ciphermill::pipeline::Pipeline;
use ciphermill::queue::Queue;
use ciphermill::queue::faulty::FaultyQueue;
use ciphermill::queue::memory::{Broker, JOBS, Rules};
use ciphermill::settings::{Flags, Settings};
use ciphermill::store::faulty::FaultyStore;
use ciphermill::store::memory::{Abilities, MemoryStore};
use ciphermill::store::{Store, Stores};
use ciphermill::worker::Worker;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checks::Checks;
use crate::doubles::{self, Doubles};
use crate::jobs::{self, IN, OUT};
use crate::process::Process;
use crate::schedule::{InputFault, JobSpec, PART_BYTES, Schedule, What};

/// Attempts of a job before its failure is final.
const MAX_ATTEMPTS: u32 = 10;

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One version of a source.
#[derive(Clone)]
pub struct SourceVersion {
    pub plain: Vec<u8>,
}

/// Everything of one run.
pub struct World {
    pub schedule: Schedule,
    pub store: Arc<MemoryStore>,
    pub broker: Broker,
    pub keys: Arc<FixedKeys>,
    pub clock: Arc<VirtualClock>,
    pub settings: Settings,
    /// Takes no new jobs once cancelled: for all workers.
    pub stop: CancellationToken,
    begun: Instant,
    checks: OnceLock<Arc<Checks>>,
    sources: Mutex<BTreeMap<usize, Vec<SourceVersion>>>,
    processes: Mutex<Vec<Arc<Process>>>,
    running: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    log: Mutex<Log>,
}

/// What happened.
struct Log {
    calls: u64,
    hash: DefaultHasher,
    /// Lines for people, where they are wanted.
    lines: Option<String>,
    violations: Vec<String>,
}

impl World {
    pub fn new(schedule: &Schedule, traced: bool) -> Arc<World> {
        let base = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let clock = Arc::new(VirtualClock::new(base));
        let abilities = match schedule.garage {
            true => Abilities::garage(),
            false => Abilities::aws(),
        };
        let time: Arc<dyn Clock> = clock.clone();
        let store = Arc::new(MemoryStore::new(abilities, time));
        store.create_bucket(IN);
        store.create_bucket(OUT);
        let keys = jobs::keys(schedule).into_iter();
        let keys = keys.fold(FixedKeys::new(schedule.seed), |keys, (name, bytes)| {
            keys.with(name.as_bytes(), &bytes)
        });
        let text = format!(
            "[worker]\nallow_buckets = [\"{IN}\", \"{OUT}\"]\nmax_attempts = {MAX_ATTEMPTS}"
        );
        let settings = Settings::from_parts(&text, &BTreeMap::new(), &Flags::default());
        Arc::new(World {
            schedule: schedule.clone(),
            store,
            broker: Broker::new(Rules {
                delivery_limit: 200,
                ..Rules::default()
            }),
            keys: Arc::new(keys),
            clock,
            settings: settings.expect("good settings"),
            stop: CancellationToken::new(),
            begun: Instant::now(),
            checks: OnceLock::new(),
            sources: Mutex::default(),
            processes: Mutex::default(),
            running: Mutex::default(),
            log: Mutex::new(Log {
                calls: 0,
                hash: DefaultHasher::new(),
                lines: traced.then(String::new),
                violations: Vec::new(),
            }),
        })
    }

    /// These look at every call from now on.
    pub fn watched_by(&self, checks: &Arc<Checks>) {
        assert!(self.checks.set(checks.clone()).is_ok(), "they are set once");
    }

    /// Counts a call; what the schedule says about it.
    pub fn note_call(&self, process: &str, call: &Call) -> Option<What> {
        let number = {
            let mut log = lock(&self.log);
            log.calls += 1;
            log.calls
        };
        let steps = self.schedule.steps.iter();
        let what = steps
            .filter(|step| step.call == number)
            .map(|step| step.what)
            .next();
        let told = what.map(|what| format!(" <- {what:?}")).unwrap_or_default();
        // The names of probe objects are random.
        let target = call.target.split("probe-").next().unwrap_or_default();
        let operation = call.operation;
        self.note(&format!("#{number} {process}: {operation} {target}{told}"));
        if let Some(checks) = self.checks.get() {
            checks.look_at_parts();
        }
        what
    }

    /// Adds a line to what happened.
    pub fn note(&self, what: &str) {
        let at = self.begun.elapsed();
        let mut log = lock(&self.log);
        (at, what).hash(&mut log.hash);
        if let Some(lines) = &mut log.lines {
            writeln!(lines, "{:>12.3} {what}", at.as_secs_f64()).expect("a string takes it");
        }
    }

    /// Something happened that must not. Its text is not hashed: ETags and IVs in it are random.
    pub fn violation(&self, what: String) {
        let mut log = lock(&self.log);
        if let Some(lines) = &mut log.lines {
            writeln!(lines, "{:12} VIOLATION: {what}", "").expect("a string takes it");
        }
        log.violations.push(what);
    }

    /// Everything that must not have happened, a hash of all that happened, and its lines.
    pub fn result(&self) -> crate::Ran {
        let log = lock(&self.log);
        crate::Ran {
            violations: log.violations.clone(),
            hash: log.hash.finish(),
            calls: log.calls,
            lines: log.lines.clone().unwrap_or_default(),
        }
    }

    /// The versions of a job's source so far.
    pub fn versions(&self, job: usize) -> Vec<SourceVersion> {
        lock(&self.sources).get(&job).cloned().unwrap_or_default()
    }

    /// Writes the next version of a job's source, as another program would. A source that is to be
    /// missing stays so.
    pub fn overwrite(&self, number: usize) {
        let mut jobs = self.schedule.jobs.iter();
        let there = |job: &&JobSpec| job.number == number && job.input.fault != InputFault::Missing;
        let Some(job) = jobs.find(there) else {
            return;
        };
        let version = self.versions(number).len();
        let plain = jobs::plaintext(job, version);
        let mut sources = lock(&self.sources);
        sources
            .entry(number)
            .or_default()
            .push(SourceVersion { plain });
        drop(sources);
        self.note(&format!("source {number} has version {version}"));
        self.put(&jobs::source_url(job), jobs::stored(job, version));
    }

    /// Puts somebody else's objects where the schedule says so.
    pub fn put_strangers(&self) {
        for job in &self.schedule.jobs {
            let strangers = job.outputs.iter().enumerate();
            for (index, _) in strangers.filter(|(_, output)| output.stranger) {
                self.put(&jobs::output_url(job, index), jobs::STRANGER.to_vec());
            }
        }
    }

    /// Puts somebody else's objects where outputs of this job may not replace anything.
    pub fn intrude(&self, number: usize) {
        let mut jobs = self.schedule.jobs.iter();
        let Some(job) = jobs.find(|job| job.number == number) else {
            return;
        };
        let outputs = job.outputs.iter().enumerate();
        for (index, _) in outputs.filter(|(_, output)| output.if_absent) {
            self.put(&jobs::output_url(job, index), jobs::STRANGER.to_vec());
        }
    }

    /// Writes an object as another program would.
    fn put(&self, url: &ObjectUrl, body: Vec<u8>) {
        doubles::put(&self.store, url, body);
    }

    /// A pipeline of its own, over stores and keys as this process reaches them; all of them where
    /// there is no process.
    pub fn pipeline(&self, process: Option<&Arc<Process>>) -> Arc<Pipeline> {
        let (mut store, mut keys): (Arc<dyn Store>, Arc<dyn KeySource>) =
            (self.store.clone(), self.keys.clone());
        if let Some(process) = process {
            store = Arc::new(FaultyStore::new(store, process.clone()));
            keys = Arc::new(FaultyKeys::new(keys, process.clone()));
        }
        Doubles {
            stores: Stores::new(store.clone(), store),
            keys,
            clock: self.clock.clone(),
            settings: &self.settings,
            part_bytes: PART_BYTES as u64,
            slots: self.schedule.slots,
            files: false,
        }
        .pipeline()
    }

    /// Lets go of all processes, which hold this world.
    pub fn end(&self) {
        lock(&self.processes).clear();
    }

    /// The process of this name.
    pub fn process(&self, name: &str) -> Option<Arc<Process>> {
        let processes = lock(&self.processes);
        processes
            .iter()
            .find(|process| process.name == name)
            .cloned()
    }

    /// Starts a worker process.
    pub fn start_worker(self: &Arc<World>) {
        let number = lock(&self.processes).len() + 1;
        let process = Process::new(Arc::clone(self), format!("worker-{number}"));
        self.note(&format!("{} starts", process.name));
        let queue = self.broker.connect(self.schedule.slots);
        let connection = queue.connection();
        let queue: Arc<dyn Queue> = Arc::new(FaultyQueue::new(queue, process.clone()));
        let worker = Worker {
            pipeline: self.pipeline(Some(&process)),
            queue,
            slots: self.schedule.slots,
            max_attempts: MAX_ATTEMPTS,
            max_jobs: None,
            name: process.name.clone(),
            stop: self.stop.clone(),
            abort: CancellationToken::new(),
        };
        let (world, name) = (Arc::clone(self), process.name.clone());
        let tasks = tokio::spawn(async move {
            if let Err(fault) = worker.run().await {
                world.violation(format!("{name} ended: {fault}"));
            }
        });
        process.holds(connection, tasks.abort_handle());
        lock(&self.processes).push(process);
        lock(&self.running).push(tasks);
    }

    /// Waits until every worker has ended.
    pub async fn workers_ended(&self) {
        loop {
            let Some(next) = lock(&self.running).pop() else {
                return;
            };
            let ended = next.await;
            if ended.as_ref().is_err_and(tokio::task::JoinError::is_panic) {
                self.violation(format!("a worker panicked: {ended:?}"));
            }
        }
    }

    /// Submits every job at its times, and waits until nothing is left to do. False: it took too
    /// long.
    pub async fn run_jobs(&self, limit: Duration) -> bool {
        let mut submissions: Vec<_> = self.schedule.jobs.iter().collect();
        let mut times = Vec::new();
        for job in submissions.drain(..) {
            times.extend(job.submitted_ms.iter().map(|ms| (*ms, job)));
        }
        times.sort_by_key(|(ms, job)| (*ms, job.number));
        for (ms, job) in times {
            tokio::time::sleep_until(self.begun + Duration::from_millis(ms)).await;
            self.note(&format!("{} is submitted", jobs::id(job)));
            let body = jobs::message(job).to_string();
            let sent = self.broker.send(JOBS, &jobs::id(job), body.into());
            sent.expect("the queue is there");
        }
        let end = Instant::now() + limit;
        while self.broker.length(JOBS) > 0 {
            if Instant::now() > end {
                return false;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        true
    }
}
