//! Media formats by their bytes, pure: foreign bytes come in, facts about them go out.
//!
//! [`FileType`] says what a file is; [`streams`] whether one can be read from start to end. Nothing here
//! does I/O, sees a key, or panics, whatever it is given; work is linear in the bytes that are
//! looked at.

#![forbid(unsafe_code)]

mod file_type;
mod streaming;

pub use file_type::FileType;
pub use streaming::streams;
