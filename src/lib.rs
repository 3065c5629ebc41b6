//! ciphermill: bulk encryption of media. Its modules, in the order the data goes.
//!
//! A job message comes in from [`queue`], is checked by [`job`] and run by [`worker`] through
//! [`pipeline`]; each module says in its first lines what comes in, what goes out and what it never
//! does. A module may import those it is made of, never those that use it: `tests/tidy/` has the
//! table. What is pure and useful alone is a crate: `ciphermill-cipher`, `ciphermill-captions`,
//! `ciphermill-formats`.
//!
//! ```text
//! job -> plan -> keys -> source -> engine / media -> sink -> report
//! ```

// The way of the data.
pub mod engine;
pub mod job;
pub mod keys;
pub mod media;
pub mod plan;
pub mod report;
pub mod sink;
pub mod source;

// What takes the data along it.
pub mod ledger;
pub mod pipeline;
pub mod queue;
pub mod worker;

// What these use.
pub mod aws;
pub mod buffers;
pub mod checksum;
pub mod clock;
pub mod fault;
pub mod inject;
pub mod measure;
pub mod observe;
pub mod settings;
pub mod store;

// The command line.
pub mod cli;
