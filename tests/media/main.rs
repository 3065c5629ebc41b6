//! Media: the sandbox, and the parsers in it, with real decoders and real films.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod captioned;
mod captions_ffmpeg;
mod captions_helper;
mod captions_roundtrip;
mod captions_worst;
mod corpus;
mod decoders;
mod embedded;
mod embedded_hostile;
mod fences;
mod film;
mod film_broken;
mod films;
mod job;
mod jobs;
mod lifetimes;
mod mp4;
mod ranges;
mod run;
mod sandbox;
mod ways;
