//! What this machine allows: found once, by doing it, and said in words.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::order::Fences;
use super::pool::Pool;
use super::spawn::Spawner;
use super::{Failure, Inner, LAUNCH_VERB, Program, Result, Sandbox, Settings, launch, view};

/// How well a child is fenced in. Ordered: more is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protection {
    /// Limits and hygiene only: it can read this machine's files and use its network.
    None,
    /// Landlock and seccomp, put on by the process itself: no files, no network, no processes of its
    /// own; but it shares this machine's namespaces, so a hole in the filter shows more.
    Partial,
    /// The same inside bubblewrap's namespaces (user, net, pid, mount, ipc, uts).
    Full,
}

impl Protection {
    /// As it stands in settings and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protection::None => "none",
            Protection::Partial => "partial",
            Protection::Full => "full",
        }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The protection that every child has.
    pub protection: Protection,
    /// What it is made of, and why it is not better.
    pub words: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.protection.as_str(), self.words)
    }
}

/// Tries from the best to the worst; each is tried by starting a real child.
pub(super) async fn detect(settings: Settings) -> Result<Sandbox> {
    let spawner = Spawner::start().map_err(|e| Failure::failed("cannot start a thread", e))?;
    let version = view::landlock_version();
    let mut reasons = Vec::new();
    for protection in [Protection::Full, Protection::Partial, Protection::None] {
        if protection > settings.most {
            continue;
        }
        if protection < settings.least {
            break;
        }
        let fences = fences(protection, version);
        let Some(fences) = fences else {
            reasons.push(format!(
                "not {}: the kernel has no Landlock",
                protection.as_str()
            ));
            continue;
        };
        let sandbox = build(
            &settings,
            &spawner,
            fences,
            found(protection, fences, version, &reasons),
        );
        match probe(&sandbox).await {
            Ok(()) => {
                Pool::refill(&sandbox.0);
                return Ok(sandbox);
            }
            Err(failure) => reasons.push(format!("not {}: {failure}", protection.as_str())),
        }
    }
    let least = settings.least.as_str();
    let reasons = reasons.join("; ");
    Err(Failure::unavailable(format!(
        "this machine does not allow {least} protection of media parsers ({reasons})"
    )))
}

/// Which fences make up a protection; `None` where this kernel cannot put them up.
fn fences(protection: Protection, landlock: i32) -> Option<Fences> {
    match protection {
        // Landlock is a second fence there: worth having, not missed.
        Protection::Full => Some(Fences {
            namespaces: true,
            landlock: landlock > 0,
            seccomp: true,
        }),
        Protection::Partial => (landlock > 0).then_some(Fences {
            namespaces: false,
            landlock: true,
            seccomp: true,
        }),
        Protection::None => Some(Fences::default()),
    }
}

fn found(protection: Protection, fences: Fences, landlock: i32, reasons: &[String]) -> Found {
    let parts = [
        (
            fences.namespaces,
            "bubblewrap (user, net, pid, mount, ipc and uts namespaces)".to_owned(),
        ),
        (fences.seccomp, "seccomp".to_owned()),
        (fences.landlock, format!("Landlock {landlock}")),
        (true, "limits".to_owned()),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter_map(|(there, words)| there.then_some(words))
        .collect();
    let mut words = parts.join(", ");
    if !reasons.is_empty() {
        words = format!("{words}; {}", reasons.join("; "));
    }
    Found { protection, words }
}

fn build(settings: &Settings, spawner: &Arc<Spawner>, fences: Fences, found: Found) -> Sandbox {
    let settings = settings.clone();
    Sandbox(Arc::new(Inner {
        launcher: settings.launcher,
        bwrap: settings.bwrap,
        readable: settings.readable,
        warm: settings.warm,
        fences,
        found,
        pool: Pool::default(),
        spawner: Arc::clone(spawner),
    }))
}

/// A whole child, from bubblewrap to its end: this binary, trying what it must not be able to do.
async fn probe(sandbox: &Sandbox) -> Result<()> {
    let child = sandbox
        .command(Program::Own, [LAUNCH_VERB, launch::PROBE])
        .start()
        .await?;
    let outcome = child.wait().await?;
    match outcome.success() || sandbox.found().protection == Protection::None {
        true => Ok(()),
        false => Err(Failure::unavailable(format!(
            "{:?}: {}",
            outcome.status,
            outcome.stderr.trim()
        ))),
    }
}
