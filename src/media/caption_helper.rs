//! The helper: caption files are parsed, merged and written in a child that can reach nothing.
//!
//! The worker hands the child an [`Order`] as its argument and the files behind descriptors; the
//! child runs [`run`] and prints an [`Answer`]; [`read_answer`] takes it back, trusting none of it.
//! A file that cannot be read is reported in its place and costs the others nothing.

mod answer;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

pub use answer::{Answer, Fault, MOST_ANSWER_BYTES, Report, Written, read_answer};
pub use ciphermill_captions::Kind;

use ciphermill_captions::cue::label;
use ciphermill_captions::merge::{self, MOST_EMBEDDED, MOST_SIDECARS, Policy};
use ciphermill_captions::{Language, MOST_FILE_BYTES, Output, Parsed, Refused, Track};
use ciphermill_captions::{parse_as, write};

/// Largest list of samples that is read; they take four times as much printed as in the film.
pub const MOST_SAMPLES_BYTES: u64 = 64 << 20;
/// Largest film without pictures that is read.
pub const MOST_CLOSED_BYTES: u64 = 128 << 20;
/// Most bytes of all sources together.
pub const MOST_SOURCE_BYTES: u64 = 256 << 20;
/// Most pieces of one style, in all sources together: what a child with 512 MiB holds.
pub const MOST_SPANS: usize = 2_000_000;
/// Most bytes of all texts that are written.
pub const MOST_TEXT_BYTES: usize = 48 << 20;
/// Most faults that are listed for one source; all are counted.
pub const MOST_FAULTS: usize = 100;

/// Where a source is read, and what is to be done with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The descriptor: 0 is stdin, read to its end; any other is a file in memory.
    pub descriptor: i32,
    /// The piece of the file in memory, first byte and length; all of it otherwise. So any number
    /// of sources fit into one descriptor.
    #[serde(default)]
    pub piece: Option<(u64, u64)>,
    /// What its bytes are.
    #[serde(default)]
    pub kind: Kind,
    /// Its language; what an embedded track says is read as a tag, and may be nonsense.
    #[serde(default)]
    pub language: Option<String>,
    /// Its name; what an embedded track says is cut to what a name may be.
    #[serde(default)]
    pub label: Option<String>,
    /// How much later its cues come, in milliseconds.
    #[serde(default)]
    pub offset_ms: i64,
    /// It comes out of the film, and is no sidecar.
    #[serde(default)]
    pub embedded: bool,
}

/// What the helper is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The sources, each side in its order.
    pub sources: Vec<Source>,
    /// Who wins.
    pub policy: Policy,
    /// The formats to write.
    pub outputs: Vec<Output>,
}

/// The child's whole work: an answer in JSON goes to `out`.
pub fn run(order: &Order, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &answer(order, &mut bytes))?;
    out.flush()
}

/// Reads every source with `read`, merges and writes.
fn answer(
    order: &Order,
    read: &mut impl FnMut(&Source, u64) -> Result<Vec<u8>, Refused>,
) -> Answer {
    let (mut sidecars, mut embedded) = (Vec::new(), Vec::new());
    let mut left = Left {
        bytes: MOST_SOURCE_BYTES,
        spans: MOST_SPANS,
    };
    let mut reports = Vec::new();
    for source in order.sources.iter().take(MOST_SIDECARS + MOST_EMBEDDED) {
        let done = one(source, &mut left, read);
        reports.push(done.map_or_else(
            |refused| Report::refused(&refused),
            |(track, report)| {
                match source.embedded {
                    // A film may have tracks without a word, which must not take a language's place.
                    true if track.cues.is_empty() => {}
                    true => embedded.push(track),
                    false => sidecars.push(track),
                }
                report
            },
        ));
    }
    let tracks = merge::merge(order.policy, sidecars, embedded)
        .and_then(|tracks| written(&tracks, &order.outputs));
    let (tracks, refused) = match tracks {
        Ok(tracks) => (tracks, None),
        Err(refused) => (Vec::new(), Some(refused.what)),
    };
    Answer {
        tracks,
        sources: reports,
        refused,
    }
}

/// What the sources together may still take.
struct Left {
    bytes: u64,
    spans: usize,
}

/// Reads one source.
fn one(
    source: &Source,
    left: &mut Left,
    read: &mut impl FnMut(&Source, u64) -> Result<Vec<u8>, Refused>,
) -> Result<(Track, Report), Refused> {
    let (language, label) = names(source)?;
    let most = match source.kind {
        Kind::File => MOST_FILE_BYTES as u64,
        Kind::ClosedCaptions => MOST_CLOSED_BYTES,
        _ => MOST_SAMPLES_BYTES,
    };
    let bytes = read(source, most.min(left.bytes))?;
    left.bytes = left.bytes.saturating_sub(bytes.len() as u64);
    let Parsed {
        mut track,
        broken,
        format,
        encoding,
    } = parse_as(source.kind, &bytes)?;
    drop(bytes);
    let spans = track.cues.iter().flat_map(|cue| &cue.lines).map(Vec::len);
    let remaining = left.spans.checked_sub(spans.sum());
    left.spans =
        remaining.ok_or_else(|| Refused::new("too much text in all caption tracks together"))?;
    track.language = language.or(track.language);
    track.label = label;
    let dropped = merge::shift(&mut track, source.offset_ms);
    let report = Report::Read {
        format,
        encoding,
        cues: track.cues.len(),
        dropped,
        faults: broken.iter().take(MOST_FAULTS).map(Fault::from).collect(),
        all_faults: broken.len(),
    };
    Ok((track, report))
}

/// The language and the name of a source: the customer's must be right, the film's may be anything.
fn names(source: &Source) -> Result<(Option<Language>, Option<String>), Refused> {
    let (language, name) = (source.language.as_deref(), source.label.as_deref());
    if !source.embedded {
        let language = language.map(Language::parse).transpose()?;
        return Ok((language, name.map(label).transpose()?));
    }
    let clean = |name: &str| {
        let clean: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
        clean.trim().to_owned()
    };
    let name = name.map(clean).filter(|name| !name.is_empty());
    Ok((language.and_then(Language::of_tag), name))
}

fn written(tracks: &[Track], outputs: &[Output]) -> Result<Vec<Written>, Refused> {
    let (mut files, mut bytes) = (Vec::new(), 0_usize);
    for track in tracks {
        for output in outputs {
            let text = write(track, *output);
            bytes = bytes.saturating_add(text.len());
            if bytes > MOST_TEXT_BYTES {
                return Err(Refused::new("more than 48 MiB of captions to write"));
            }
            files.push(Written {
                language: track.language.clone(),
                label: track.label.clone(),
                cues: track.cues.len(),
                format: *output,
                text,
            });
        }
    }
    Ok(files)
}

/// The bytes of a source, at most so many.
fn bytes(source: &Source, most: u64) -> Result<Vec<u8>, Refused> {
    let read = match source.descriptor {
        0 => whole(io::stdin().lock(), most),
        number => {
            let file = File::open(format!("/proc/self/fd/{number}"));
            file.and_then(|file| match source.piece {
                Some((_, length)) if length > most => Ok(None),
                Some((first, length)) => piece(&file, first, length).map(Some),
                None => whole(file, most),
            })
        }
    };
    read.map_err(|e| Refused::new(format!("it cannot be read: {}", e.kind())))?
        .ok_or_else(|| Refused::new(format!("more than {} MiB", most >> 20)))
}

/// Everything, unless it is more than that.
fn whole(mut from: impl Read, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.by_ref().take(most + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= most))
}

fn piece(file: &File, first: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, first)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
