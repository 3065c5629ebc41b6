//! The command line: one file per verb.
//!
//! Arguments come in, an exit code goes out. Results go to standard output, as text or (`--json`)
//! as JSON; news and errors go to standard error, errors as `error: what` and `help: what to do`.

mod bench;
mod check;
mod crypt;
mod demo;
mod keys;
mod run;
mod schema;
mod show;
mod start;
mod submit;
mod work;

pub use self::start::harden_process;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::fault::{Code, Fault, Result};
use crate::observe;
use crate::settings::{Flags, Settings};

/// Bulk encryption for media: jobs in from RabbitMQ or a spool, encrypted objects out.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  ciphermill demo                                    see it work, on this machine alone
  ciphermill check job.json                          every fault of a message at once
  ciphermill run job.json                            do a job now, without a broker
  ciphermill work --declare                          a worker on RabbitMQ and S3
  ciphermill submit job.json --wait                  publish a job and follow it
  ciphermill encrypt --mode cobblestone --key-file k film.mp4 film.mp4.cob
  ciphermill bench --report out                      CPU and GPU side by side, as a page with plots

Exit codes: 0 done, 1 job failed, 2 usage, 65 bad data, 69 a dependency is down, 70 a bug,
75 try again, 78 bad settings.";

/// Verbs for people show results, not log lines, unless the settings say otherwise.
const QUIET: &str = "error";

#[derive(Debug, Args)]
struct Common {
    /// Settings file; ./ciphermill.toml is read if it is there
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print results as JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// See everything work on this machine: makes sample media, encrypts, decrypts, verifies
    Demo(demo::Options),
    /// Take jobs from RabbitMQ, or from a spool directory, until stopped
    Work(work::Options),
    /// Do jobs now, without a broker
    Run(run::Options),
    /// Publish jobs to RabbitMQ
    Submit(submit::Options),
    /// Validate job messages; touches nothing
    Check(check::Options),
    /// Print a JSON Schema
    Schema(schema::Options),
    /// Make and wrap data keys
    Keys(keys::Options),
    /// Encrypt one file
    Encrypt(crypt::Options),
    /// Decrypt one file
    Decrypt(crypt::Options),
    /// Measure this machine: every engine side by side, and when a GPU pays
    Bench(bench::Options),
}

/// Runs the verb.
pub fn run(cli: Cli) -> ExitCode {
    let json = cli.common.json;
    match dispatch(cli) {
        Ok(code) => code,
        Err(fault) => show::fault(&fault, json),
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    let Cli { common, verb } = cli;
    let json = common.json;
    let load = |flags: Flags, level: &str| {
        let settings = Settings::load(common.config.as_deref(), &flags)?;
        let level = settings.log.level.as_deref().unwrap_or(level);
        observe::logging::start(settings.log.json, level);
        Ok::<_, Fault>(settings)
    };
    match verb {
        Verb::Check(options) => check::run(&options, json),
        Verb::Schema(options) => schema::run(&options),
        Verb::Bench(options) => bench::run(&options, json),
        Verb::Keys(options) => {
            let settings = load(options.flags(), QUIET)?;
            start::block_on(keys::run(options, settings, json))
        }
        Verb::Encrypt(options) => {
            start::block_on(crypt::run(options, crypt::Direction::Encrypt, json))
        }
        Verb::Decrypt(options) => {
            start::block_on(crypt::run(options, crypt::Direction::Decrypt, json))
        }
        Verb::Run(options) => {
            let settings = load(options.flags(), QUIET)?;
            start::block_on(run::run(options, settings, json))
        }
        Verb::Demo(options) => {
            let settings = load(options.flags(), QUIET)?;
            start::block_on(demo::run(options, settings, json))
        }
        Verb::Submit(options) => {
            let settings = load(Flags::new(), QUIET)?;
            start::block_on(submit::run(options, settings, json))
        }
        Verb::Work(options) => {
            let mut flags = options.flags();
            if json {
                flags.push(("log.format", "json".into()));
            }
            let settings = load(flags, "info")?;
            start::block_on(work::run(options, settings))
        }
    }
}

/// A file named on the command line, or standard input for `-`.
fn read_input(path: &std::path::Path, limit: usize) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let limit = limit as u64 + 1;
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|e| Fault::new(Code::Usage, format!("cannot read {}: {e}", path.display())))?;
    Ok(bytes)
}
