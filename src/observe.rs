//! Observe: what ops see. Every module may call it; it imports none.
//!
//! [`metrics`] holds the one table of metrics, [`logging`] sets up log lines, [`health`] serves the
//! admin endpoints.

pub mod health;
pub mod logging;
pub mod metrics;

pub use metrics::{
    budget, bytes_ciphered, engine_bytes, engine_rates, events_unrouted, gate, gpu_retired,
    is_consuming, job_ended, job_failed, job_recognised, jobs_running, source_resumed,
    upload_aborted,
};
