//! The corpus's worker: a program of its own, so that what it opens, starts and keeps is its own.
//!
//! Comes in on stdin: settings, a keyring and batches of job messages, as JSON. Each job goes through
//! one real pipeline, two at once; a JSON line goes out for each, and one after each batch that says
//! what the process then holds. It is its own sandbox launcher, as the real program is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

#[path = "../../support/pipeline.rs"]
mod pipeline;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ciphermill::engine::cpu::CpuEngine;
use ciphermill::job::check::parse;
use ciphermill::media::{helper, sandbox};
use ciphermill::pipeline::{Attempt, Pipeline};
use ciphermill::settings::{Flags, Settings};
use futures_util::StreamExt;
use serde_json::{Value, json};

/// How long a finished batch may take until nothing is left of it.
const SETTLING: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(verb) if verb == sandbox::LAUNCH_VERB => return sandbox::launch(),
        Some(verb) if verb == helper::VERB => return helper::run(),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let order = serde_json::from_reader(std::io::stdin().lock()).unwrap();
    runtime.unwrap().block_on(work(order));
    ExitCode::SUCCESS
}

async fn work(order: Value) {
    let pipeline = Arc::new(ordered(&order));
    let mut first = None;
    for batch in order["batches"].as_array().unwrap() {
        let jobs = batch.as_array().unwrap().iter().cloned();
        let done = jobs.map(|job| tokio::spawn(run(Arc::clone(&pipeline), job)));
        let mut done = futures_util::stream::iter(done).buffer_unordered(2);
        while let Some(said) = done.next().await {
            println!(
                "{}",
                said.unwrap_or_else(|e| json!({ "panic": e.to_string() }))
            );
        }
        println!("{}", settled(&mut first).await);
    }
}

fn ordered(order: &Value) -> Pipeline {
    let text = order["settings"].as_str().unwrap();
    let settings = Settings::from_parts(text, &Default::default(), &Flags::default()).unwrap();
    let engine = Arc::new(CpuEngine::start(2, false).unwrap());
    let keyring = order["keyring"].as_str().unwrap().into();
    pipeline::pipeline(settings, engine, keyring)
}

async fn run(pipeline: Arc<Pipeline>, job: Value) -> Value {
    let parsed = parse(job["message"].to_string().as_bytes()).unwrap();
    let attempt = Attempt {
        parsed: &parsed,
        redelivered: job["redelivered"] == true,
        cancel: Default::default(),
        progress: Default::default(),
    };
    let since = Instant::now();
    let outcome = pipeline.run(&attempt).await;
    let (id, seconds) = (&parsed.job.id, since.elapsed().as_secs_f64());
    match outcome {
        Ok(outcome) => {
            let (data, recognised) = (outcome.data, outcome.recognised);
            json!({ "id": id, "seconds": seconds, "recognised": recognised, "data": data })
        }
        Err(fault) => {
            let class = format!("{:?}", fault.class());
            json!({ "id": id, "seconds": seconds, "code": fault.code.as_str(), "class": class,
                "message": fault.message })
        }
    }
}

/// What this process holds, once nothing is left of a batch but what stood after the first.
async fn settled(first: &mut Option<(usize, usize)>) -> Value {
    let since = Instant::now();
    let (mut now, mut same) = (held(), 0);
    while same < 10 || first.is_some_and(|first| first != now) {
        if since.elapsed() > SETTLING {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let next = held();
        same = if next == now { same + 1 } else { 0 };
        now = next;
    }
    first.get_or_insert(now);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    let resident = kib.unwrap().parse::<u64>().unwrap() << 10;
    json!({ "descriptors": now.0, "children": now.1, "resident_bytes": resident })
}

/// Descriptors, and children of all threads; dead ones count until they are waited for.
fn held() -> (usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let lists =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    let children = lists.map(|list| list.split_whitespace().count()).sum();
    (descriptors, children)
}
