//! The pure rooms of ciphermill, by links to their sources.

pub mod cipher;
pub mod fault;
pub mod secret;
