//! ciphermill: bulk encryption of media. The map of the house, in the order the data walks.
//!
//! A job message comes in from [`queue`], is checked by [`job`] and run by [`worker`] through
//! [`pipeline`]; each room says in its first lines what comes in, what goes out and what it never
//! does. A room may import those it is made of, never those that use it: `tests/tidy.rs` has the
//! table.
//!
//! ```text
//! job -> plan -> keys -> source -> engine(cipher) / media -> sink -> report
//! ```

// The data's way.
pub mod cipher;
pub mod engine;
pub mod job;
pub mod keys;
pub mod media;
pub mod plan;
pub mod report;
pub mod sink;
pub mod source;

// Who walks it with the data.
pub mod ledger;
pub mod pipeline;
pub mod queue;
pub mod worker;

// What it stands on.
pub mod aws;
pub mod buffers;
pub mod checksum;
pub mod clock;
pub mod fault;
pub mod inject;
pub mod measure;
pub mod observe;
pub mod secret;
pub mod settings;
pub mod store;

// Who asks for it.
pub mod cli;
