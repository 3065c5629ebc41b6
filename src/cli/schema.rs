//! `ciphermill schema`: the contract with producers, as JSON Schema.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::show;
use crate::fault::Result;
use crate::job;

#[derive(Debug, Args)]
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
