//! The record of a run: machine, commit, settings and every sample.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What `kind` says, by which the plot knows what it draws.
pub const KIND: &str = "pipeline";

/// One turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Turns of one group are compared: a section, and how the store was reached.
    pub group: String,
    pub who: String,
    pub round: usize,
    pub seconds: f64,
    /// Plaintext.
    pub bytes: u64,
    pub jobs: usize,
    /// User and system time of the client's processes.
    pub cpu_seconds: f64,
    /// The client's high-water marks of resident memory.
    pub peak_bytes: u64,
    /// Of the store's process, on the same cores.
    pub store_cpu_seconds: f64,
    /// By the store's own names.
    pub requests: BTreeMap<String, u64>,
    /// What the check looked at: `length`, or `content` as well.
    pub checked: String,
}

/// Everything about a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub format: u32,
    pub kind: String,
    /// When it began, as RFC 3339 has it.
    pub when: String,
    pub version: String,
    /// The commit, with a `+` behind it when files had been changed since.
    pub commit: String,
    pub machine: String,
    pub kernel: String,
    pub memory_bytes: u64,
    /// Load of the machine before the run, over a minute: what else was going on.
    pub load_before: f64,
    pub settings: Value,
    /// Versions of the peers' programs, or why one is missing.
    pub tools: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
    /// Why the run did not reach its end.
    pub failed: Option<String>,
}
