//! The acceptance run: the release binary beside a real broker and a real store, with large objects, kills and outages.
//!
//! Environment of `parts.sh run` comes in (through run.sh), one line per check goes out, and exit code 1 when one failed.
//! Workers reach the store through the fault proxy in this process, which counts what they do and takes the store
//! away; the driver itself looks at store and broker directly.

#[path = "../support/proxy.rs"]
mod proxy;

mod again;
mod broker;
mod cases;
mod cgroup;
mod checks;
mod film;
mod gap;
mod load;
mod memory;
mod oracle;
mod outage;
mod sources;
mod store;
mod tally;
mod verify;
mod worker;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use checks::{Checks, Outcome};
use world::World;

/// The whole run ends by then, whatever hangs.
const LIMIT: Duration = Duration::from_secs(45 * 60);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    if arguments.iter().any(|argument| argument != "--quick") {
        eprintln!("usage: accept [--quick]");
        return ExitCode::from(2);
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut checks = Checks::new();
    let stopped = tokio::select! {
        ended = tokio::time::timeout(LIMIT, run(quick, &mut checks)) => {
            ended.unwrap_or_else(|_| Err(format!("not done after {LIMIT:?}")))
        }
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    if let Err(reason) = stopped {
        checks.note("the run itself", Err(reason));
    }
    let code = checks.summary();
    // A thread may still wait for a pipe's other end; nothing here is worth waiting for.
    std::process::exit(i32::from(code))
}

async fn run(quick: bool, checks: &mut Checks) -> Outcome<()> {
    let mut world = World::new(quick).await?;
    sources::make(&mut world).await?;
    let cases = cases::load(quick);
    if let Some(ended) = load::run(&world, checks, &cases).await {
        verify::all(&world, checks, "opened by the oracle", &cases, &ended).await;
        again::run(&world, checks, &cases, &ended).await;
    }
    gap::run(&world, checks).await;
    world.store.delete("out/").await?;
    outage::run(&world, checks).await;
    world.store.delete("out/").await?;
    for cipher in [cases::COBBLESTONE, cases::GCM] {
        memory::run(&world, checks, cipher).await;
        world.store.delete("out/").await?;
    }
    film::run(&world, checks).await;
    Ok(())
}
