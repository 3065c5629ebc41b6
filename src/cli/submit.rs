//! `ciphermill submit`: publishes jobs with confirms, and follows them if asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;

use super::{read_input, show};
use crate::fault::{Code, Fault, Result};
use crate::job::check;
use crate::job::event::{Event, State};
use crate::job::limits;
use crate::queue::{Events, Producer, open};
use crate::settings::Settings;

/// Jobs published at once before the first confirm is waited for.
const IN_FLIGHT: usize = 64;

const EXAMPLES: &str = "\
Examples:
  ciphermill submit job.json                         published and confirmed by the broker
  ciphermill submit --wait --timeout 600 jobs/*.json followed; the exit code is the worst outcome
  ciphermill submit --json --wait job.json           one event a line";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Job files; - is standard input
    #[arg(required = true, value_name = "JOB.json")]
    jobs: Vec<PathBuf>,
    /// Follow the jobs and exit with their outcome
    #[arg(long)]
    wait: bool,
    /// With --wait: give up after this many seconds
    #[arg(long, requires = "wait", value_name = "SECONDS")]
    timeout: Option<u64>,
}

pub async fn run(options: Options, settings: Settings, json: bool) -> Result<ExitCode> {
    // All are read and checked before the first is published.
    let mut jobs = BTreeMap::new();
    for path in &options.jobs {
        let bytes = read_input(path, limits::MESSAGE_BYTES)?;
        let parsed = check::parse(&bytes).map_err(|rejection| refused(path, &rejection))?;
        if jobs
            .insert(parsed.job.id.clone(), Bytes::from(bytes))
            .is_some()
        {
            let message = format!(
                "{}: the job id {} is there twice",
                path.display(),
                parsed.job.id
            );
            return Err(Fault::new(Code::Usage, message).at("/id"));
        }
    }
    let producer = open::backend(&settings, None).producer().await?;
    let ids: Vec<String> = jobs.keys().cloned().collect();
    let events = if options.wait {
        Some(producer.watch(&ids).await?)
    } else {
        None
    };
    let publish = jobs
        .into_iter()
        .map(|(id, body)| publish(&*producer, id, body, json));
    stream::iter(publish)
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<()>()
        .await?;
    let code = match events {
        None => Ok(0),
        Some(events) => {
            let limit = options.timeout.map_or(Duration::MAX, Duration::from_secs);
            let late = || {
                Fault::new(Code::DeadlineExceeded, "the jobs did not end in time").at("--timeout")
            };
            match tokio::time::timeout(limit, follow(events, ids, json)).await {
                Ok(code) => code,
                Err(_) => Err(late()),
            }
        }
    };
    producer.close().await;
    code.map(ExitCode::from)
}

async fn publish(producer: &dyn Producer, id: String, body: Bytes, json: bool) -> Result<()> {
    producer.submit(&id, body).await?;
    if json {
        show::line(&json!({ "submitted": id }));
    } else {
        show::text(&format!("submitted {id}"));
    }
    Ok(())
}

/// Reads events until every job has ended; the exit code is the worst outcome's.
async fn follow(mut events: Box<dyn Events>, ids: Vec<String>, json: bool) -> Result<u8> {
    let mut waiting: std::collections::BTreeSet<String> = ids.into_iter().collect();
    let bar = show::bar("jobs", json);
    let mut bytes: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut code = 0;
    while !waiting.is_empty() {
        let body = events.next().await?;
        let Ok(event) = serde_json::from_slice::<Event>(&body) else {
            continue;
        };
        let (Some(state), Some(id)) = (event.state(), event.data.job_id.clone()) else {
            continue;
        };
        if !waiting.contains(&id) {
            continue;
        }
        if let (Some(done), Some(total)) = (event.data.bytes_done, event.data.bytes_total) {
            bytes.insert(id.clone(), (done, total));
        }
        bar.set_position(bytes.values().map(|(done, _)| done).sum());
        bar.set_length(bytes.values().map(|(_, total)| total).sum());
        if json {
            show::line(&event);
        }
        if state.is_terminal() {
            waiting.remove(&id);
            if let Some(fault) = &event.data.fault {
                code = code.max(exit_code(&fault.code));
            }
            if !json {
                bar.suspend(|| ended(&id, state, &event));
            }
        }
    }
    bar.finish_and_clear();
    Ok(code)
}

fn ended(id: &str, state: State, event: &Event) {
    match &event.data.fault {
        None => {
            let bytes = event.data.input.as_ref().map_or(0, |input| input.bytes);
            let seconds = event.data.seconds.unwrap_or_default();
            show::text(&format!(
                "{id} {}: {} in {seconds:.2} s",
                state.as_str(),
                show::size(bytes)
            ));
        }
        Some(fault) => {
            let place = fault
                .pointer
                .as_ref()
                .map(|pointer| format!("{pointer}: "))
                .unwrap_or_default();
            eprintln!("error: {id}: {place}{} [{}]", fault.message, fault.code);
            eprintln!("help: {}", fault.help);
        }
    }
}

/// The exit code of a job that failed with this code, as an event names it.
fn exit_code(code: &str) -> u8 {
    Code::ALL
        .iter()
        .find(|known| known.as_str() == code)
        .map_or(1, |known| known.exit_code())
}

fn refused(path: &std::path::Path, rejection: &check::Rejection) -> Fault {
    let first = rejection.faults.first().cloned();
    let mut fault = first.unwrap_or_else(|| Fault::new(Code::InvalidJson, "the message is no job"));
    let more = rejection.faults.len().saturating_sub(1);
    let hint = if more > 0 {
        format!(" (and {more} more: see `ciphermill check`)")
    } else {
        String::new()
    };
    fault.message = format!("{}: {}{hint}", path.display(), fault.message);
    fault
}
