//! Memory (P9): the big object under a budget of 128 MiB. The worker reaches the store directly, for an honest rate.

use std::time::{Duration, Instant};

use crate::broker::Ended;
use crate::cases::{self, CIPHERS, Case};
use crate::checks::{Checks, Outcome, ensure, rate};
use crate::load::submit;
use crate::verify;
use crate::worker::Worker;
use crate::world::World;

pub const BUDGET: u64 = 128 << 20;
/// What everything but the parts may take.
const REST: u64 = 64 << 20;
pub const ALLOWED: u64 = BUDGET + REST;

pub async fn run(world: &World, checks: &mut Checks, cipher: usize) {
    let name = format!("memory, {}-{}", CIPHERS[cipher].0, CIPHERS[cipher].1);
    let case = cases::on_big(world.quick, cipher);
    let mut ended = Ended::default();
    let measured = measure(world, &case, &mut ended).await;
    if checks.note(&name, measured) {
        let opened = verify::big_one(world, &case, &ended).await;
        let figures = "the oracle reads the source from it".to_owned();
        checks.note(&format!("{name}, opened"), opened.map(|()| figures));
    }
}

async fn measure(world: &World, case: &Case, ended: &mut Ended) -> Outcome<String> {
    let budget = BUDGET.to_string();
    let settings = [("CIPHERMILL_WORKER__BUDGET_BYTES", budget.as_str())];
    let arguments = ["--max-jobs", "1"];
    let mut worker =
        Worker::start(world, "memory-worker", &world.garage, &settings, &arguments).await?;
    let watch = worker.watch_memory();
    let begun = Instant::now();
    submit(world, std::slice::from_ref(case)).await?;
    worker.ended(Duration::from_secs(600)).await?;
    let time = begun.elapsed();
    let peak = watch.join().map_err(|_| "the memory watch failed")?;
    ended.read(&world.broker).await;
    if let Some(complaint) = ended.complaint(&case.id) {
        return Err(worker.with_tail(&complaint));
    }
    let figures = format!(
        "{} MiB in {}; {}",
        case.size >> 20,
        rate(case.size, time),
        peak.figures(None)
    );
    ensure(peak.measured(None) <= ALLOWED, figures)
}
