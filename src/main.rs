//! ciphermill: the boot sequence. Hardening first, then the TLS provider, settings and logs, one
//! verb, its exit code. The sandbox's hidden verbs come before all that: what is loaded there
//! is loaded for every child.

use std::process::ExitCode;

use clap::Parser;

use ciphermill::cli::{self, Cli};
use ciphermill::media::{helper, sandbox};

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(verb) if verb == sandbox::LAUNCH_VERB => return sandbox::launch(),
        Some(verb) if verb == helper::VERB => return helper::run(),
        _ => {}
    }
    cli::harden_process();
    // The process has one TLS provider; a second call would only say that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::run(Cli::parse())
}
