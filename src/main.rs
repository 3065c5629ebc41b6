//! ciphermill: the boot sequence. Hardening first, then the TLS provider, settings and logs, one
//! verb, its exit code.

use std::process::ExitCode;

use clap::Parser;

use ciphermill::cli::{self, Cli};
use ciphermill::secret;

fn main() -> ExitCode {
    secret::harden_process();
    // The process has one TLS provider; a second call would only say that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::run(Cli::parse())
}
