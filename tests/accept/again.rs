//! Redelivery (P3): the same messages once more. Every job is recognised, told of again, and nothing is uploaded.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::broker::Ended;
use crate::cases::Case;
use crate::checks::{Checks, Outcome, ensure, some};
use crate::load::submit;
use crate::tally::Tally;
use crate::worker::Worker;
use crate::world::{DEAD, JOBS, World};

pub async fn run(world: &World, checks: &mut Checks, cases: &[Case], before: &Ended) {
    let result = resubmit(world, cases, before).await;
    checks.note("finished jobs come again", result);
}

async fn resubmit(world: &World, cases: &[Case], before: &Ended) -> Outcome<String> {
    world.proxy.clear();
    let endpoint = world.proxy.endpoint();
    let mut worker = Worker::start(world, "again-worker", &endpoint, &[], &[]).await?;
    submit(world, cases).await?;
    let begun = Instant::now();
    let mut ended = Ended::default();
    while ended.count(cases.iter().map(|case| case.id.as_str())) < cases.len() {
        if begun.elapsed() > Duration::from_secs(120) || !worker.running() {
            return Err(worker.with_tail("not every job was told of again"));
        }
        sleep(Duration::from_millis(150)).await;
        ended.read(&world.broker).await;
    }
    let time = begun.elapsed().as_secs_f64();
    let mut wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| ended.complaint(&case.id))
        .collect();
    let id = |ended: &Ended, case: &Case| ended.of(&case.id).map(|event| event["id"].clone());
    let other = cases
        .iter()
        .filter(|case| id(&ended, case) != id(before, case));
    wrong.extend(other.map(|case| format!("{}: the event has another id", case.id)));
    let stopped = worker.stop().await;
    let tally = Tally::of(&world.proxy.log());
    if tally.writes > 0 {
        wrong.push(format!("{} requests that write objects", tally.writes));
    }
    let waiting = world.broker.depth(JOBS).await? + world.broker.depth(DEAD).await?;
    if waiting > 0 {
        wrong.push(format!("{waiting} messages are left"));
    }
    let figures = format!(
        "{} jobs in {time:.1} s: no UploadPart, no PUT, the same event ids ({} requests)",
        cases.len(),
        tally.requests,
    );
    stopped?;
    ensure(wrong.is_empty(), figures).map_err(|_| worker.with_tail(&some(&wrong)))
}
