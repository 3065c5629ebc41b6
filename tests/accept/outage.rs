//! Outages under load: the broker restarts, then the store is away for a minute. One worker lives through both.

use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::time::sleep;

use crate::broker::Ended;
use crate::cases::{self, Case};
use crate::checks::{Checks, Outcome, ensure, some};
use crate::load::submit;
use crate::proxy::Fault;
use crate::verify;
use crate::worker::Worker;
use crate::world::{DEAD, JOBS, World, finished, script, variable};

pub async fn run(world: &World, checks: &mut Checks) {
    let cases = cases::outage(world.quick);
    let mut ended = Ended::default();
    let settings = [("CIPHERMILL_WORKER__SLOTS", "3")];
    let endpoint = world.proxy.endpoint();
    world.proxy.clear();
    // A store that takes its time: small jobs would be over before the outage begins.
    world.proxy.set_fault(|head, _| match head.method.as_str() {
        "PUT" => Fault::Delay(Duration::from_millis(250)),
        _ => Fault::Pass,
    });
    let worker = Worker::start(world, "outage-worker", &endpoint, &settings, &[]).await;
    let mut worker = match worker {
        Ok(worker) => worker,
        Err(reason) => {
            checks.note("outages", Err(reason));
            return;
        }
    };
    let driven = drive(world, checks, &cases, &mut worker, &mut ended).await;
    world.proxy.set_down(false);
    world.proxy.no_fault();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| ended.complaint(&case.id))
        .collect();
    let result = driven.and_then(|seconds| {
        let figures = format!(
            "{} jobs succeeded in {seconds} s by the same worker",
            cases.len()
        );
        ensure(wrong.is_empty(), figures).map_err(|_| some(&wrong))
    });
    let went_well = checks.note(
        "after the outages",
        result.map_err(|reason| worker.with_tail(&reason)),
    );
    let stopped = worker.stop().await;
    checks.note(
        "the worker drains after outages",
        stopped.map(|()| "exit code 0".into()),
    );
    checks.note("what outages left", clean(world, &ended).await);
    if went_well {
        verify::all(
            world,
            checks,
            "opened by the oracle after outages",
            &cases,
            &ended,
        )
        .await;
    }
}

/// Submits, restarts the broker, takes the store away and waits for the end of all; the seconds it took.
async fn drive(
    world: &World,
    checks: &mut Checks,
    cases: &[Case],
    worker: &mut Worker,
    ended: &mut Ended,
) -> Outcome<u64> {
    let begun = Instant::now();
    let (first, second) = cases.split_at(cases.len() / 2);
    submit(world, first).await?;
    until(world, cases, worker, ended, first.len() / 6).await?;
    let restart = Instant::now();
    let mut broker = Command::new(script("parts.sh"));
    broker
        .arg("restart-rabbit")
        .arg(variable("CIPHERMILL_TEST_PARTS")?);
    finished("restart-rabbit", broker, Duration::from_secs(180)).await?;
    let away = restart.elapsed();
    let back = Instant::now();
    ended.read(&world.broker).await;
    let before = ended.count(names(first));
    until(world, cases, worker, ended, before + 1).await?;
    let figures = format!(
        "with {} of {} jobs to go, stopped and started in {:.1} s; the next job ended {:.1} s later",
        first.len() - before,
        first.len(),
        away.as_secs_f64(),
        back.elapsed().as_secs_f64()
    );
    let under_load = ensure(before < first.len(), figures);
    checks.note("the broker restarts under load", under_load);

    until(world, cases, worker, ended, first.len()).await?;
    submit(world, second).await?;
    until(world, cases, worker, ended, first.len() + second.len() / 6).await?;
    let minute = Duration::from_secs(if world.quick { 10 } else { 60 });
    world.proxy.set_down(true);
    sleep(minute).await;
    ended.read(&world.broker).await;
    let before = ended.count(names(cases));
    world.proxy.set_down(false);
    let back = Instant::now();
    until(world, cases, worker, ended, before + 1).await?;
    let figures = format!(
        "with {} of {} jobs to go, away for {} s; the next job ended {:.1} s later",
        cases.len() - before,
        cases.len(),
        minute.as_secs(),
        back.elapsed().as_secs_f64()
    );
    let under_load = ensure(before < cases.len(), figures);
    checks.note("the store goes down under load", under_load);
    until(world, cases, worker, ended, cases.len()).await?;
    Ok(begun.elapsed().as_secs())
}

/// Until so many jobs have ended.
async fn until(
    world: &World,
    cases: &[Case],
    worker: &mut Worker,
    ended: &mut Ended,
    count: usize,
) -> Outcome<()> {
    let limit = Instant::now() + Duration::from_secs(180);
    let count = count.min(cases.len());
    loop {
        ended.read(&world.broker).await;
        let done = ended.count(names(cases));
        if done >= count {
            return Ok(());
        }
        if !worker.running() {
            return Err("the worker ended by itself".into());
        }
        if Instant::now() > limit {
            return Err(format!("{done} of {} jobs ended in time", cases.len()));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn names(cases: &[Case]) -> impl Iterator<Item = &str> {
    cases.iter().map(|case| case.id.as_str())
}

async fn clean(world: &World, ended: &Ended) -> Outcome<String> {
    let dead = world.broker.take(DEAD).await?.len();
    let waiting = world.broker.depth(JOBS).await?;
    let uploads = world.store.uploads().await?;
    let figures = format!(
        "no job dead-lettered, the queue is empty, no upload left; {} end events were repeated",
        ended.repeated()
    );
    ensure(dead == 0 && waiting == 0 && uploads.is_empty(), figures).map_err(|_| {
        format!(
            "{dead} dead letters, {waiting} messages wait, {} uploads",
            uploads.len()
        )
    })
}
