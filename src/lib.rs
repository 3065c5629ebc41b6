//! ciphermill: bulk encryption of media.

pub mod cipher;
pub mod fault;
//pub mod job;
pub mod secret;
pub mod settings;
