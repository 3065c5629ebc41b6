//! ciphermill: bulk encryption of media.

pub mod aws;
pub mod buffers;
pub mod checksum;
pub mod cipher;
pub mod cli;
pub mod engine;
pub mod fault;
pub mod job;
pub mod keys;
pub mod ledger;
pub mod observe;
pub mod pipeline;
pub mod plan;
pub mod queue;
pub mod report;
pub mod secret;
pub mod settings;
pub mod sink;
pub mod source;
pub mod store;
pub mod worker;
