//! Helper: this binary as a parser of its own, behind the sandbox's fences.
//!
//! [`Tools::helper`] calls it. Its arguments say what it is to do, as JSON; media comes in through
//! its descriptors, an answer goes out on its standard output. It reads no settings, writes no log
//! and knows no key.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::sandbox::{Command, Program};
use super::{Tools, caption_helper, pictures};
use crate::fault::{Code, Fault, Result};

/// The hidden verb; what follows is the kind of work and its order.
pub const VERB: &str = "media-helper";
/// The first descriptor of a file.
pub const FIRST_FILE: i32 = 3;

/// What a helper is to do.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Make pictures. So many files stand behind the descriptors from [`FIRST_FILE`] on.
    Pictures(pictures::Order, usize),
    /// Read, merge and write captions.
    Captions(caption_helper::Order),
}

impl Tools {
    /// A helper to be started, that gets this work and these files.
    pub(super) fn helper(
        &self,
        work: &Work,
        files: impl IntoIterator<Item = OwnedFd>,
    ) -> Result<Command> {
        let work =
            serde_json::to_string(work).map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
        let command = self.sandbox.command(Program::Own, [VERB.to_owned(), work]);
        let files = (FIRST_FILE..).zip(files);
        Ok(files.fold(command, |command, (number, file)| command.fd(number, file)))
    }
}

/// Does what the third argument says.
pub fn run() -> ExitCode {
    let order = std::env::args().nth(2).unwrap_or_default();
    match serde_json::from_str(&order)
        .map_err(io::Error::from)
        .and_then(work)
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn work(work: Work) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match work {
        Work::Pictures(order, files) => {
            let numbers = (FIRST_FILE..).take(files);
            let files = numbers.map(|number| File::open(format!("/proc/self/fd/{number}")));
            let mut files = files.collect::<io::Result<Vec<_>>>()?;
            pictures::run(&order, io::stdin().lock(), &mut files, &mut out)
        }
        Work::Captions(order) => caption_helper::run(&order, &mut out),
    }
}
