//! What runs without any server: doubles in memory and files, under paused time where time matters.

mod queues;
mod stores;

#[path = "../support/store_suite.rs"]
mod store_suite;
