//! The gaps: kills at the moments that kills at random seldom meet. The proxy holds one request back, the worker is
//! killed while it waits for the answer, and comes again.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::broker::Ended;
use crate::cases::{self, Case};
use crate::checks::{Checks, Outcome, ensure, some};
use crate::load::submit;
use crate::proxy::{Fault, RequestHead};
use crate::store::BUCKET;
use crate::tally::Tally;
use crate::worker::Worker;
use crate::world::World;

pub async fn run(world: &World, checks: &mut Checks) {
    let result = before_the_ledger(world).await;
    checks.note("killed before the ledger knew the upload", result);
    let result = between_outputs(world).await;
    checks.note("killed twice between two outputs", result);
    world.proxy.no_fault();
    world.proxy.cut();
}

/// CreateMultipartUpload was answered, and the upload does not stand in the ledger yet (P6).
async fn before_the_ledger(world: &World) -> Outcome<String> {
    let case = cases::in_parts(world.quick);
    world.proxy.clear();
    submit(world, std::slice::from_ref(&case)).await?;
    let ledger = format!("/{BUCKET}/.ciphermill/");
    // The first entry is written before the uploads begin, the second one names them.
    kill_at(world, 1, move |head| {
        head.method == "PUT" && head.path().starts_with(&ledger)
    })
    .await?;
    let open = world.store.uploads().await?;
    come_back(world, &case).await?;
    let left = world.store.uploads().await?.len();
    let forgotten = Tally::of(&world.proxy.log()).forgotten(&open).len();
    let figures = "1 upload open after the kill, aborted once the job had come back".to_owned();
    ensure(open.len() == 1 && left == 0 && forgotten == 0, figures).map_err(|_| {
        format!(
            "{} open after the kill, {left} in the end, {forgotten} never aborted",
            open.len()
        )
    })
}

/// Two of three outputs are published. The attempt after the next must still know them.
async fn between_outputs(world: &World) -> Outcome<String> {
    let case = cases::fanned();
    world.proxy.clear();
    submit(world, std::slice::from_ref(&case)).await?;
    for _ in 0..2 {
        let last = format!("/{BUCKET}/{}", case.output_key(2));
        kill_at(world, 0, move |head| {
            head.method == "PUT" && head.path() == last
        })
        .await?;
    }
    let before = Tally::of(&world.proxy.log()).objects();
    come_back(world, &case).await?;
    let tally = Tally::of(&world.proxy.log());
    let keys = (0..case.outputs.len()).map(|index| case.output_key(index));
    let wrong: Vec<String> = keys.filter_map(|key| tally.complaint(&key)).collect();
    let figures =
        format!("{before} outputs were published before, each once, and the last one after");
    ensure(wrong.is_empty() && before == 2, figures)
        .map_err(|_| format!("{before} published before; {}", some(&wrong)))
}

/// A worker that is killed as soon as it sends a request like this, after so many that pass; the store never
/// sees the last one.
async fn kill_at(
    world: &World,
    passing: usize,
    matches: impl Fn(&RequestHead) -> bool + Clone + Send + Sync + 'static,
) -> Outcome<()> {
    let held = matches.clone();
    world.proxy.set_fault(
        move |head, earlier| match held(head) && earlier >= passing {
            true => Fault::Delay(Duration::from_secs(3600)),
            false => Fault::Pass,
        },
    );
    let count = || {
        let log = world.proxy.log();
        log.iter()
            .filter(|exchange| matches(&exchange.request))
            .count()
    };
    let before = count();
    let endpoint = world.proxy.endpoint();
    let mut worker = Worker::start(world, "gap-worker", &endpoint, &[], &[]).await?;
    let begun = Instant::now();
    while count() <= before + passing {
        if begun.elapsed() > Duration::from_secs(30) {
            return Err(worker.with_tail("the request to be held back never came"));
        }
        sleep(Duration::from_millis(20)).await;
    }
    // What goes on beside it may come to its end.
    sleep(Duration::from_millis(500)).await;
    worker.kill().await?;
    // The request that is held back dies with its connection.
    world.proxy.no_fault();
    world.proxy.cut();
    Ok(())
}

/// A worker that finishes the job.
async fn come_back(world: &World, case: &Case) -> Outcome<()> {
    let endpoint = world.proxy.endpoint();
    let mut worker = Worker::start(world, "back-worker", &endpoint, &[], &[]).await?;
    let mut ended = Ended::default();
    let begun = Instant::now();
    while ended.of(&case.id).is_none() && begun.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(100)).await;
        ended.read(&world.broker).await;
    }
    let stopped = worker.stop().await;
    match ended.complaint(&case.id) {
        Some(complaint) => Err(worker.with_tail(&complaint)),
        None => stopped,
    }
}
