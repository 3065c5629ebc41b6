//! What runs without any server: no broker, no store, no key service, no network.

mod stores;

#[path = "../support/store_suite.rs"]
mod store_suite;
