//! The pure rooms of ciphermill, by links to their sources.

pub mod cipher;
pub mod fault;
pub mod secret;

/// Of this room only the parsers.
pub mod media {
    pub mod captions;
}
