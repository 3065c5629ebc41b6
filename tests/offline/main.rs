//! What runs without any server: doubles in memory and files, under paused time where time matters.
//!
//! The rules of a job have a module each, on the doubles of [`bench`].

mod bench;
mod ciphers;
mod companions;
mod doubt;
mod ends;
mod lease;
mod ledger;
mod optional;
mod publication;
mod queues;
mod reaper;
mod recall;
mod remains;
mod report;
mod settlement;
mod sink;
mod source;
mod spans;
mod stores;
mod worker;

#[path = "../support/doubles.rs"]
mod doubles;
#[path = "../support/store_suite.rs"]
mod store_suite;
