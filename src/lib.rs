//! ciphermill: bulk encryption of media.

pub mod aws;
pub mod buffers;
pub mod checksum;
pub mod cipher;
pub mod engine;
pub mod fault;
pub mod job;
pub mod keys;
pub mod secret;
pub mod settings;
pub mod store;
