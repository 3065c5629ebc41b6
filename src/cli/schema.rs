//! `ciphermill schema`: the contract with producers, as JSON Schema.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::show;
use crate::fault::Result;
use crate::job;

const EXAMPLES: &str = "\
Examples:
  ciphermill schema job > job.schema.json
  ciphermill schema event";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Which schema
    what: What,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// The job message
    Job,
    /// Events about jobs
    Event,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let schema = match options.what {
        What::Job => job::schema::job(),
        What::Event => job::schema::event(),
    };
    show::text(&format!("{schema:#}"));
    Ok(ExitCode::SUCCESS)
}
