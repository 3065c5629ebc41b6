//! The whole program against its real neighbours: `ciphermill` as child processes, RabbitMQ, Garage and
//! the AWS double. Promises P1, P2, P3, P6, P7, P8 and P10 are watched from outside, where producers and
//! operators stand.
//!
//! `make test` starts the neighbours and sets `CIPHERMILL_TEST_*`; without them these tests fail. Every
//! test has queues, buckets and a folder of its own, so they run side by side.

#![allow(clippy::unwrap_used)]

mod cli;
mod drain;
mod jobs;
mod outage;
#[path = "../support/proxy.rs"]
mod proxy;
mod redelivery;
mod refusals;
mod support;
