//! ciphermill: bulk encryption of media.

pub mod fault;
pub mod job;
pub mod secret;
pub mod settings;
