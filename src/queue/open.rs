//! Which queue to use.
//!
//! Settings and the options of `work` come in, a [`Backend`] goes out; nothing is connected here.
//! Nothing outside of `queue` names a broker.
//!
//! Another broker is one folder next to [`amqp`](super::amqp) and one arm in [`backend`]. It must
//! implement:
//!
//! - [`Backend`]: connects workers, producers and the sweeper of dead letters.
//! - [`Queue`](super::Queue): slots that hold one job each. A slow job holds up no other one, and
//!   a lost connection is made again without the caller's help.
//! - [`Handle`](super::Handle): end events with a confirm, the four settlements, and notice of a
//!   delivery that has ended by itself. A handle that is dropped hands its job back. `settle`
//!   answers false, not an error, when the job comes again.
//! - [`Producer`](super::Producer) and [`Events`](super::Events): jobs with a confirm, and the
//!   events of some of them.
//! - [`DeadLetters`](super::DeadLetters): failure events for jobs that the broker gave up on.
//!
//! It must count attempts from 1, deliver a job again until it was settled, and dead-letter a job
//! that was delivered too often. `tests/support/queue_suite.rs` is what a new broker has to pass.

use std::path::PathBuf;
use std::sync::Arc;

use super::Backend;
use super::amqp::AmqpBackend;
use super::spool::SpoolBackend;
use crate::settings::Settings;

/// A directory to take jobs from instead of a broker.
#[derive(Clone, Debug)]
pub struct Spool {
    /// The directory; its folders are created.
    pub folder: PathBuf,
    /// Ends when no job is left to take.
    pub once: bool,
}

/// The queue that the settings name, or the spool where one is given.
pub fn backend(settings: &Settings, spool: Option<Spool>) -> Arc<dyn Backend> {
    match spool {
        Some(spool) => Arc::new(SpoolBackend::new(spool.folder, spool.once)),
        None => Arc::new(AmqpBackend::new(settings.amqp.clone())),
    }
}
