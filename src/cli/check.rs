//! `ciphermill check`: validates messages and shows every fault at once. Touches nothing but the
//! files named.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{read_input, show};
use crate::fault::{Code, Result};
use crate::job::event::FaultReport;
use crate::job::{check, limits};

const EXAMPLES: &str = "\
Examples:
  ciphermill check job.json
  ciphermill check --json jobs/*.json
  jq .job message.json | ciphermill check -";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Job files; - is standard input
    #[arg(required = true, value_name = "JOB.json")]
    jobs: Vec<PathBuf>,
}

pub fn run(options: &Options, json: bool) -> Result<ExitCode> {
    let mut good = true;
    for path in &options.jobs {
        let name = path.display().to_string();
        let bytes = read_input(path, limits::MESSAGE_BYTES)?;
        match check::parse(&bytes) {
            Ok(parsed) if json => show::line(&json!({
                "file": name, "ok": true, "job_id": parsed.job.id, "digest": parsed.digest.to_string()
            })),
            Ok(parsed) => show::text(&format!(
                "{name}: ok, job {} ({})",
                parsed.job.id,
                parsed.digest.short()
            )),
            Err(rejection) => {
                good = false;
                let faults: Vec<FaultReport> =
                    rejection.faults.iter().map(FaultReport::from).collect();
                if json {
                    show::line(
                        &json!({ "file": name, "ok": false, "job_id": rejection.job_id, "faults": faults }),
                    );
                    continue;
                }
                show::text(&format!("{name}: {} fault(s)", faults.len()));
                for fault in &rejection.faults {
                    show::text(&format!("  {}", show::describe(fault)));
                    show::text(&format!("    help: {}", fault.code.help()));
                }
            }
        }
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Code::InvalidValue.exit_code())
    })
}
