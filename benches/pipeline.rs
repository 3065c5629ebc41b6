//! The whole way, S3 to S3, beside peers: wall time, requests, client CPU and memory.
//!
//! `make bench-e2e` runs it inside `tests/support/parts.sh run`: RabbitMQ and Garage on loopback come in by the
//! environment, one JSON file in `benches/record/` goes out. Two or more ways are measured in turns; each turn begins
//! with an empty store and a source of fresh random bytes, and ends with a check of what was written.

#[path = "../tests/support/proxy.rs"]
mod proxy;

#[path = "pipeline/alone.rs"]
mod alone;
#[path = "pipeline/bare.rs"]
mod bare;
#[path = "pipeline/broker.rs"]
mod broker;
#[path = "pipeline/check.rs"]
mod check;
#[path = "pipeline/front.rs"]
mod front;
#[path = "pipeline/jobs.rs"]
mod jobs;
#[path = "pipeline/keep.rs"]
mod keep;
#[path = "pipeline/large.rs"]
mod large;
#[path = "pipeline/process.rs"]
mod process;
#[path = "pipeline/record.rs"]
mod record;
#[path = "pipeline/settings.rs"]
mod settings;
#[path = "pipeline/small.rs"]
mod small;
#[path = "pipeline/store.rs"]
mod store;
#[path = "pipeline/summary.rs"]
mod summary;
#[path = "pipeline/tools.rs"]
mod tools;
#[path = "pipeline/turn.rs"]
mod turn;
#[path = "pipeline/worker.rs"]
mod worker;
#[path = "pipeline/world.rs"]
mod world;

use std::pin::pin;

use record::Run;
use settings::{Section, Settings};
use world::World;

/// What a step gives, or why it could not.
type Outcome<T> = Result<T, String>;

/// An error as text, with what was being done.
fn cannot<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> String + '_ {
    move |error| format!("cannot {what}: {error}")
}

#[tokio::main]
async fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = std::env::args().skip(1);
    // cargo's own.
    let arguments: Vec<String> = arguments.filter(|argument| argument != "--bench").collect();
    let ended = match arguments.split_first() {
        None => run().await,
        Some((first, rest)) if first == bare::NAME => bare::run(rest).await,
        Some(_) => Err("usage: make bench-e2e; BENCH_* variables are in docs/benchmarks.md".into()),
    };
    if let Err(reason) = &ended {
        eprintln!("error: {reason}");
    }
    // A thread may still wait for a program that was being measured when the run was interrupted.
    std::process::exit(i32::from(ended.is_err()))
}

/// Measures, and keeps the record also of a run that failed.
async fn run() -> Outcome<()> {
    let settings = Settings::from_environment()?;
    let mut run = Run::begin(&settings)?;
    println!("{}", run.machine);
    let measured = tokio::select! {
        measured = measure(&settings, &mut run) => measured,
        () = interrupted() => Err("interrupted".into()),
    };
    run.failed = measured.clone().err();
    let path = run.keep(&settings)?;
    print!("\n{}", keep::text(&run));
    println!("record: {}", path.display());
    measured
}

/// SIGINT or SIGTERM.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
    match kinds.map(signal) {
        [Ok(mut interrupt), Ok(mut terminate)] => {
            futures_util::future::select(pin!(interrupt.recv()), pin!(terminate.recv())).await;
        }
        _ => std::future::pending().await,
    }
}

async fn measure(settings: &Settings, run: &mut Run) -> Outcome<()> {
    let world = World::new(settings).await?;
    run.tools = world.tools.versions();
    for section in &settings.sections {
        match section {
            Section::Large => large::run(&world, settings, run).await?,
            Section::Small => small::run(&world, settings, run).await?,
            Section::Alone => alone::run(&world, settings, run).await?,
        }
    }
    Ok(())
}
