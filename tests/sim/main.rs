//! Whole workers in simulation: the worker and its pipeline as they are, the reaper at the end, on a store, a
//! broker and keys in memory, under paused time, by seed.
//!
//! A seed decides jobs, faults and when they happen ([`schedule`]): at a call of a store, key source
//! or queue a worker dies, before the work or after it, is paused, is cut off, gets no answer.
//! [`checks`] look at every change of the store, every part and every settled delivery (P1, P2, P4,
//! P5, P6, P7, P13, and that results tell the truth). A failure prints its seed,
//! the smallest part of its schedule that still fails, and what happened; the same seed gives the
//! same run again:
//!
//! ```text
//! CIPHERMILL_SIM_SEED=17 cargo test --test sim              one seed, with all that happens
//! CIPHERMILL_SIM_SEED=17 CIPHERMILL_SIM_KEEP=0,3 ...        only these pieces of its schedule
//! CIPHERMILL_SIM_BRIEF=1 ...                                only the seed and what was wrong
//! CIPHERMILL_SIM_FROM=5000 CIPHERMILL_SIM_COUNT=100000 ...  other seeds, more of them
//! ```

mod checks;
#[path = "../support/doubles.rs"]
mod doubles;
mod events;
mod jobs;
mod oracle;
mod process;
mod schedule;
#[path = "../../crates/cipher/tests/cipher/whole.rs"]
#[allow(dead_code, reason = "the suite of the ciphers opens objects too")]
mod whole;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use checks::Checks;
use schedule::Schedule;
use world::{World, lock};

/// Schedules that a plain `cargo test` runs.
const COUNT: u64 = 5_000;
/// Every so many schedules one is run twice, and must go the same way.
const TWICE: u64 = 25;
/// Simulated time after which a job that is not settled is stuck.
const STUCK: Duration = Duration::from_secs(6 * 3600);
/// Simulated time for what still runs once everything is settled.
const AFTERWARDS: Duration = Duration::from_secs(120);

/// How a run went.
struct Ran {
    /// What happened that must not.
    violations: Vec<String>,
    /// A hash of all that happened.
    hash: u64,
    /// Calls of stores, key sources and queues.
    calls: u64,
    /// What happened, where it was asked for.
    lines: String,
}

/// Runs one schedule. A panic of the worker or of a check is a violation too.
fn run(schedule: &Schedule, traced: bool) -> Ran {
    let ran = std::panic::catch_unwind(|| run_once(schedule, traced));
    ran.unwrap_or_else(|_| Ran {
        violations: vec!["something panicked: see above".into()],
        hash: 0,
        calls: 0,
        lines: String::new(),
    })
}

fn run_once(schedule: &Schedule, traced: bool) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(async {
        let world = World::new(schedule, traced);
        for job in &schedule.jobs {
            world.overwrite(job.number);
        }
        world.put_strangers();
        let checks = Checks::watch(&world);
        world.watched_by(&checks);
        for _ in 0..schedule.workers {
            world.start_worker();
        }
        if !world.run_jobs(STUCK).await {
            world.violation("a job was never settled".into());
        }
        // Processes that are paused or start again come back meanwhile.
        tokio::time::sleep(AFTERWARDS).await;
        world.stop.cancel();
        if tokio::time::timeout(STUCK, world.workers_ended())
            .await
            .is_err()
        {
            world.violation("a worker did not end".into());
        }
        tokio::time::sleep(AFTERWARDS).await;
        checks.at_the_end().await;
        world.end();
        world.result()
    })
}

/// The smallest part of a schedule that still fails: pieces are taken away one by one.
fn shrink(schedule: &Schedule) -> (Vec<usize>, Schedule) {
    let mut kept: Vec<usize> = (0..schedule.pieces()).collect();
    loop {
        let smaller = (0..kept.len()).find_map(|without| {
            let mut pieces = kept.clone();
            pieces.remove(without);
            let less = schedule.keep(|piece| pieces.contains(&piece));
            let fails = !less.jobs.is_empty() && !run(&less, false).violations.is_empty();
            fails.then_some(pieces)
        });
        match smaller {
            Some(pieces) => kept = pieces,
            None => return (kept.clone(), schedule.keep(|piece| kept.contains(&piece))),
        }
    }
}

/// The report of a failure: its seed, its smallest schedule, and what happened.
fn describe(seed: u64) -> String {
    let (kept, schedule) = shrink(&Schedule::of(seed));
    let ran = run(&schedule, true);
    let kept: Vec<_> = kept.iter().map(ToString::to_string).collect();
    format!(
        "{}\nseed {seed}: {:#?}\n{schedule:#?}\nagain: CIPHERMILL_SIM_SEED={seed} CIPHERMILL_SIM_KEEP={} \
         cargo test --test sim\n",
        ran.lines,
        ran.violations,
        kept.join(",")
    )
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|e| panic!("{name}={text}: {e}")),
    )
}

/// One seed, as the environment says.
fn replay(seed: u64) {
    let mut schedule = Schedule::of(seed);
    if let Ok(kept) = std::env::var("CIPHERMILL_SIM_KEEP") {
        let kept: Vec<usize> = kept
            .split(',')
            .map(|piece| piece.parse().expect("numbers of pieces"))
            .collect();
        schedule = schedule.keep(|piece| kept.contains(&piece));
    }
    let ran = run(&schedule, true);
    println!("{schedule:#?}\n{}", ran.lines);
    assert!(ran.violations.is_empty(), "{:#?}", ran.violations);
}

#[test]
fn promises_hold_in_every_schedule() {
    if let Some(seed) = number("CIPHERMILL_SIM_SEED") {
        return replay(seed);
    }
    let from = number("CIPHERMILL_SIM_FROM").unwrap_or(0);
    let end = from + number("CIPHERMILL_SIM_COUNT").unwrap_or(COUNT);
    let (next, failed) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    let calls = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || !lock(&failed).is_empty() {
                        return;
                    }
                    let schedule = Schedule::of(seed);
                    let ran = run(&schedule, false);
                    calls.fetch_add(ran.calls, Ordering::Relaxed);
                    let fails = !ran.violations.is_empty();
                    if fails || seed % TWICE == 0 {
                        let again = run(&schedule, false);
                        assert_eq!(ran.hash, again.hash, "seed {seed} went another way");
                    }
                    if fails {
                        lock(&failed).push(seed);
                    }
                }
            });
        }
    });
    let calls = calls.into_inner();
    println!("{} schedules, {calls} calls", end - from);
    let failed = failed.into_inner().expect("no thread panicked");
    if let Some(seed) = failed.iter().min() {
        match std::env::var_os("CIPHERMILL_SIM_BRIEF") {
            None => panic!("{}", describe(*seed)),
            Some(_) => panic!(
                "\nseed {seed}: {:?}",
                run(&Schedule::of(*seed), false).violations
            ),
        }
    }
    assert!(calls > (end - from) * 10, "the workers did next to nothing");
}
