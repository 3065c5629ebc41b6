//! `ciphermill run`: does jobs now, without a broker.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{read_input, show, start};
use crate::fault::{Code, Fault, Result};
use crate::job::check::{self, ParsedJob};
use crate::job::event::{CompanionKind, CompanionResult, Event, State};
use crate::job::{JobDigest, limits};
use crate::pipeline::{Attempt, Pipeline, Progress};
use crate::report::{self, Context};
use crate::settings::{Flags, Settings};
use crate::store::files::Access;

const EXAMPLES: &str = "\
Examples:
  ciphermill run job.json                            one job, with a progress bar
  ciphermill run --json a.json b.json > results      many, one event a line
  ciphermill run --keyring team.keyring - < job.json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Job files; - is standard input
    #[arg(required = true, value_name = "JOB.json")]
    jobs: Vec<PathBuf>,
    /// The keyring file; overrides `keyring.file`
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// auto, cpu or gpu; overrides `engine.choice`
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
}

impl Options {
    pub fn flags(&self) -> Flags {
        let keyring = self.keyring.iter();
        let keyring = keyring.map(|file| ("keyring.file", file.display().to_string()));
        let engine = self.engine.clone().map(|name| ("engine.choice", name));
        keyring.chain(engine).collect()
    }
}

pub async fn run(options: Options, settings: Settings, json: bool) -> Result<ExitCode> {
    let pipeline = start::pipeline(&settings, Access::Anywhere)?;
    let cancel = CancellationToken::new();
    let on_signal = cancel.clone();
    tokio::spawn(async move {
        start::interrupted().await;
        on_signal.cancel();
    });
    let mut code = 0;
    for path in &options.jobs {
        let name = path.display().to_string();
        let bytes = read_input(path, limits::MESSAGE_BYTES)?;
        let (event, fault) = one(&pipeline, &bytes, &cancel, &name, json).await;
        if json {
            show::line(&event);
        } else {
            describe(&name, &event);
        }
        if let Some(fault) = fault {
            code = code.max(fault.code.exit_code());
        }
    }
    Ok(ExitCode::from(code))
}

/// Runs one message; the event that a worker would publish, and the fault in it.
async fn one(
    pipeline: &Arc<Pipeline>,
    bytes: &[u8],
    cancel: &CancellationToken,
    name: &str,
    json: bool,
) -> (Event, Option<Fault>) {
    let context = Context {
        worker: "/ciphermill/run".into(),
        attempt: 1,
        clock: Arc::clone(&pipeline.clock),
    };
    let parsed = match check::parse(bytes) {
        Ok(parsed) => parsed,
        Err(rejection) => {
            let digest = JobDigest::of_bytes(bytes);
            let event = report::rejected(
                &context,
                rejection.job_id.as_deref(),
                digest,
                &rejection.faults,
            );
            return (event, rejection.faults.into_iter().next());
        }
    };
    let (state, data, fault) = match attempt(pipeline, &parsed, cancel, name, json).await {
        Ok(data) => (State::Succeeded, data, None),
        Err(fault) => (State::Failed, report::failed(&fault), Some(fault)),
    };
    (
        report::event(&context, &parsed.job, parsed.digest, state, data),
        fault,
    )
}

async fn attempt(
    pipeline: &Arc<Pipeline>,
    parsed: &ParsedJob,
    cancel: &CancellationToken,
    name: &str,
    json: bool,
) -> Result<crate::job::event::EventData> {
    let progress = Arc::new(Progress::default());
    let cancel = cancel.child_token();
    let attempt = Attempt {
        parsed,
        redelivered: false,
        cancel,
        progress: Arc::clone(&progress),
    };
    let span = tracing::error_span!("job", id = parsed.job.id, attempt = 1);
    let bar = show::bar(name, json);
    let watch = async {
        loop {
            let (done, total) = progress.bytes();
            bar.set_length(total);
            bar.set_position(done);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let result = tokio::select! {
        result = pipeline.run(&attempt).instrument(span) => result,
        never = watch => never,
    };
    bar.finish_and_clear();
    match result {
        Ok(outcome) => Ok(outcome.data),
        // Here nothing goes back to a queue.
        Err(fault) if fault.code == Code::Stopping => {
            Err(Fault::new(Code::Interrupted, fault.message))
        }
        Err(fault) => Err(fault),
    }
}

/// A result for people.
fn describe(name: &str, event: &Event) {
    let data = &event.data;
    if let Some(fault) = &data.fault {
        let place = fault
            .pointer
            .as_ref()
            .map(|pointer| format!("{pointer}: "))
            .unwrap_or_default();
        eprintln!("error: {name}: {place}{} [{}]", fault.message, fault.code);
        for other in data.faults.iter().skip(1) {
            let place = other
                .pointer
                .as_ref()
                .map(|pointer| format!("{pointer}: "))
                .unwrap_or_default();
            eprintln!("error: {name}: {place}{} [{}]", other.message, other.code);
        }
        eprintln!("help: {}", fault.help);
        return;
    }
    let bytes = data.input.as_ref().map_or(0, |input| input.bytes);
    let seconds = data.seconds.unwrap_or_default();
    show::text(&format!(
        "{name}: {} in {seconds:.2} s ({})",
        show::size(bytes),
        show::rate(bytes, seconds)
    ));
    for output in &data.outputs {
        match &output.fault {
            Some(fault) => show::text(&format!(
                "  {} FAILED: {} [{}]",
                output.url, fault.message, fault.code
            )),
            None => show::text(&format!(
                "  {} {}",
                output.url,
                show::size(output.bytes.unwrap_or_default())
            )),
        }
        if let Some(encryption) = &output.encryption {
            show::text(&format!("    to decrypt: {encryption}"));
        }
    }
    for companion in &data.companions {
        show::text(&format!("  {}", told(companion)));
    }
}

/// One companion in a line: what it is, where, and how large.
fn told(companion: &CompanionResult) -> String {
    let (about, output) = (&companion.about, &companion.output);
    let kind = match about.kind {
        CompanionKind::Thumbnail => "thumbnail",
        CompanionKind::Caption => "captions",
        CompanionKind::Artwork => "artwork",
    };
    let size = about.width.zip(about.height);
    let facts = [
        size.map(|(width, height)| format!("{width}x{height}")),
        about.at_seconds.map(|seconds| format!("at {seconds} s")),
        about.language.clone(),
        about.cues.map(|cues| format!("{cues} cues")),
        output.bytes.map(show::size),
        output
            .fault
            .as_ref()
            .map(|fault| format!("not made: {} [{}]", fault.message, fault.code)),
    ];
    let facts: Vec<_> = facts.into_iter().flatten().collect();
    format!("{kind} {}: {}", output.url, facts.join(", "))
}
