//! ciphermill's rooms against real neighbours: Garage and the AWS double as stores, the AWS double as KMS, Python's
//! `cryptography` and openssl as second opinions, and the fault proxy in between.
//!
//! One program, so that the SDK is linked once. `make test` starts the neighbours and sets `CIPHERMILL_TEST_*`; without
//! them every test here fails and says so. Each test has a bucket of its own: they run in parallel, and again.
//! Whatever a run says (result or fault) is searched for the keys that it used, and so is the log (P8).

mod companions;
mod crash;
mod faults;
mod keys;
mod lab;
mod memory;
mod modes;
mod network;
mod oracle;
mod outputs;
mod stores;
mod subject;
mod support;

#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/store_suite.rs"]
mod store_suite;
