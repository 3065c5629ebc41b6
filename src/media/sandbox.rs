//! The sandbox: every parser of foreign media runs in here, ffmpeg's and our own.
//!
//! A parser is a child process: ffmpeg, or this same binary as a helper. It holds no key and can
//! reach nothing (P8, P12): an empty environment, no descriptors but those it is given, no network,
//! no writable file, no other process, no way to start one, and limits on memory, time and output.
//!
//! Who comes in: `media`, with a program, its arguments and the plaintext (a pipe, a sealed
//! [`Memory`], a [`RangeSource`]). What goes out: an [`Outcome`]. This module knows nothing of jobs,
//! keys or stores.
//!
//! The way of a child: [`spawn`] starts bubblewrap, which makes the namespaces and starts a
//! [`launch`]er (this binary again); the launcher reports ready, gets its [`order`], limits itself
//! (rlimits, Landlock, seccomp) and becomes the program; [`child`] attends it to its end. Where
//! bubblewrap does not work the launcher is started directly: that is [`Protection::Partial`].

mod child;
mod command;
mod filter;
mod launch;
mod memory;
mod order;
mod pool;
mod protection;
mod range;
mod raw;
mod spawn;
mod tool;
mod view;

use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::sync::Arc;

pub use child::{Child, KilledBy, Outcome, Status, Stdout, Usage};
pub use command::{Command, Program, Stdin};
pub use launch::launch;
pub use memory::{Memory, Unsealed};
pub use order::Limits;
pub use protection::{Found, Protection};
pub use range::{READ_TOO_MUCH, RangeSource, SharedRange};
pub use tool::{Input, Version, arguments, check_version};

use order::Fences;
use pool::Pool;
use spawn::{Ready, Spawner};

/// The hidden verb that [`launch`] serves. It comes before settings, logs and everything else: what
/// is loaded there is loaded for every child.
pub const LAUNCH_VERB: &str = "sandbox-launch";

/// Where a child finds what its [`RangeSource`] serves; its protocols are `http,tcp` then.
pub const RANGE_URL: &str = "http://127.0.0.1:8080/";

/// The user that children are where the worker is root.
const NOBODY: u32 = 65534;

/// Result of the sandbox's own work; how the program inside fared is in the [`Outcome`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This machine does not allow it: the operator can help.
    Unavailable,
    /// It was asked for something that it does not do.
    Refused,
    /// Something broke: trying again may help.
    Failed,
}

/// The sandbox itself could not do its work.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What kind.
    pub kind: Kind,
    /// What happened, in lower case.
    pub message: String,
}

impl Failure {
    fn unavailable(message: impl Into<String>) -> Self {
        Failure {
            kind: Kind::Unavailable,
            message: message.into(),
        }
    }

    fn refused(message: impl Into<String>) -> Self {
        Failure {
            kind: Kind::Refused,
            message: message.into(),
        }
    }

    fn failed(what: &str, why: impl fmt::Display) -> Self {
        Failure {
            kind: Kind::Failed,
            message: format!("{what}: {why}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// How the sandbox is to be built.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This binary: it must serve [`LAUNCH_VERB`].
    pub launcher: PathBuf,
    /// bubblewrap.
    pub bwrap: PathBuf,
    /// Less protection than this is an error.
    pub least: Protection,
    /// More than this is not even tried.
    pub most: Protection,
    /// Read-only paths that programs need besides the system's libraries.
    pub readable: Vec<PathBuf>,
    /// How many launchers stand ready.
    pub warm: usize,
}

impl Settings {
    /// The best that there is, with `launcher` as this binary's path; nothing less than partial
    /// protection, and nothing standing ready.
    pub fn new(launcher: impl Into<PathBuf>) -> Self {
        Settings {
            launcher: launcher.into(),
            bwrap: "/usr/bin/bwrap".into(),
            least: Protection::Partial,
            most: Protection::Full,
            readable: Vec::new(),
            warm: 0,
        }
    }
}

/// Starts children, each behind the fences that were found to work here.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    launcher: PathBuf,
    bwrap: PathBuf,
    readable: Vec<PathBuf>,
    warm: usize,
    fences: Fences,
    found: Found,
    // Before the spawner, so that the waiting ones can be buried.
    pool: Pool,
    spawner: Arc<Spawner>,
}

impl Sandbox {
    /// Finds out what works on this machine, once, by doing it; an error where that is less than the
    /// settings ask for.
    pub async fn detect(settings: Settings) -> Result<Self> {
        protection::detect(settings).await
    }

    /// Which protection is active, and why not a better one.
    pub fn found(&self) -> &Found {
        &self.0.found
    }

    /// How many launchers stand ready now.
    pub fn warm(&self) -> usize {
        self.0.pool.len()
    }

    /// A child to be started.
    pub fn command(
        &self,
        program: Program,
        args: impl IntoIterator<Item = impl Into<String>>,
    ) -> Command {
        Command::new(&self.0, program, args.into_iter().map(Into::into).collect())
    }
}

impl Inner {
    /// A fresh launcher behind the namespaces, or directly where there are none.
    async fn launcher(&self) -> Result<Ready> {
        let mut command = match self.fences.namespaces {
            true => {
                let mut command = std::process::Command::new(&self.bwrap);
                command.args(view::bwrap_arguments(&self.readable, &self.launcher));
                // The launcher makes its own session; bubblewrap stays out of reach of our Ctrl-C.
                command.arg(&self.launcher).process_group(0);
                if rustix::process::geteuid().is_root() {
                    // The kernel does not count root's threads, in whatever namespace.
                    command.uid(NOBODY).gid(NOBODY);
                }
                command
            }
            false => std::process::Command::new(&self.launcher),
        };
        command.arg(LAUNCH_VERB);
        spawn::launcher(&self.spawner, command).await
    }
}
