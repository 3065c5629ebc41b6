//! CEA-608 captions that travel in a film: byte pairs beside its pictures, or in a track of their
//! own.
//!
//! In come the caption data of each picture, or a Matroska file that carries nothing but them; out
//! goes the track of the first channel that says anything, read by the SCC parser after the pairs
//! were written as SCC. No picture is decoded. CEA-708 services are passed over: who sends them
//! sends the 608 captions beside them.

use std::fmt::Write as _;

use super::collect::Collected;
use super::{Refused, scc};

/// Most pairs of a film: 18 hours of a field without a pause.
const MOST_PAIRS: usize = 2_000_000;
/// What opens the caption data of ATSC A/53, in H.264, HEVC and MPEG-2 alike.
const A53: &[u8] = b"GA94\x03";

/// A byte pair of one field, with the time of its picture.
#[derive(Clone, Copy)]
struct Pair {
    time_ms: u64,
    field: u8,
    bytes: [u8; 2],
}

/// The pairs of a film.
#[derive(Default)]
pub(super) struct Pairs(Vec<Pair>);

impl Pairs {
    /// Triples of one picture or sample: marker, validity and type, then the pair.
    pub(super) fn triples(&mut self, time_ms: u64, data: &[u8]) -> Result<(), Refused> {
        for [head, bytes @ ..] in data.as_chunks::<3>().0 {
            let nothing = bytes.iter().all(|byte| byte & 0x7f == 0);
            // Types 2 and 3 are CEA-708.
            if head & 4 == 0 || head & 2 != 0 || nothing {
                continue;
            }
            if self.0.len() >= MOST_PAIRS {
                return Err(Refused::new("more closed captions than 18 hours hold"));
            }
            self.0.push(Pair {
                time_ms,
                field: head & 1,
                bytes: *bytes,
            });
        }
        Ok(())
    }

    /// The caption data among what else a picture carries. Marker bits keep emulation prevention
    /// bytes out of them, so they stand there as they are.
    fn picture(&mut self, time_ms: u64, mut data: &[u8]) -> Result<(), Refused> {
        while let Some(at) = data.windows(A53.len()).position(|window| window == A53) {
            data = data.get(at + A53.len()..).unwrap_or_default();
            let [flags, _, rest @ ..] = data else {
                break;
            };
            let most = 3 * usize::from(flags & 0x1f);
            if flags & 0x40 != 0 {
                self.triples(time_ms, rest.get(..most).unwrap_or(rest))?;
            }
        }
        Ok(())
    }

    /// The first channel of CC1 to CC4 that has a cue. Pictures come in the order that they are
    /// coded in, captions in the order that they are seen in.
    pub(super) fn finish(mut self) -> Result<Collected, Refused> {
        self.0.sort_by_key(|pair| pair.time_ms);
        let mut first = None;
        for (field, channel) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let read = scc::parse(&self.as_scc(field, channel));
            if read.as_ref().is_ok_and(Collected::has_cues) {
                return read;
            }
            first.get_or_insert(read);
        }
        first.unwrap_or_else(|| Ok(Collected::default()))
    }

    /// The pairs of one channel, with the codes of channel 1.
    fn as_scc(&self, field: u8, channel: u8) -> String {
        let (mut text, mut line) = (String::from("Scenarist_SCC V1.0\n"), None);
        let mut spoken = Some(0);
        for pair in self.0.iter().filter(|pair| pair.field == field) {
            let [mut first, second] = pair.bytes;
            match first & 0x7f {
                code @ 0x10..=0x1f => spoken = Some(code >> 3 & 1),
                // Extended data services: no captions until the next control code.
                0x01..=0x0f => spoken = None,
                _ => {}
            }
            if spoken != Some(channel) {
                continue;
            }
            if channel == 1 && matches!(first & 0x7f, 0x10..=0x1f) {
                // The bit of the channel, and the parity.
                first ^= 0x88;
            }
            if line != Some(pair.time_ms) {
                line = Some(pair.time_ms);
                let frame = (pair.time_ms * 30 + 500) / 1001;
                text.push_str(&time_code(frame));
            }
            let _ = write!(text, " {first:02x}{second:02x}");
        }
        text
    }
}

/// A new line that begins with the frame's time code, not drop-frame.
fn time_code(frame: u64) -> String {
    let (seconds, frames) = (frame / 30, frame % 30);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!("\n{hours:02}:{minutes:02}:{seconds:02}:{frames:02}\t")
}

/// Reads the captions of a film whose pictures were left out: Matroska, as ffmpeg writes it to a
/// pipe, with times in milliseconds and one track.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Collected, Refused> {
    let (mut pairs, mut cluster_ms) = (Pairs::default(), 0_i64);
    while let Some((id, body, after)) = element(bytes) {
        bytes = after;
        match id {
            CLUSTER_TIME => cluster_ms = i64::try_from(number(body)).unwrap_or(0),
            BLOCK | SIMPLE_BLOCK => {
                if let [_track, high, low, _flags, data @ ..] = body {
                    let relative = i16::from_be_bytes([*high, *low]);
                    let time_ms = cluster_ms.saturating_add(relative.into());
                    if let Ok(time_ms) = u64::try_from(time_ms) {
                        pairs.picture(time_ms, data)?;
                    }
                }
            }
            _ => {}
        }
    }
    pairs.finish()
}

const SEGMENT: u64 = 0x1853_8067;
const CLUSTER: u64 = 0x1f43_b675;
const BLOCK_GROUP: u64 = 0xa0;
const CLUSTER_TIME: u64 = 0xe7;
const SIMPLE_BLOCK: u64 = 0xa3;
const BLOCK: u64 = 0xa1;

/// The next element's name and content, and what follows it. Of an element that holds blocks only
/// the head is taken, so that its elements follow; where it ends does not matter.
fn element(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (id, id_length) = variable(bytes, false)?;
    let rest = bytes.get(id_length..)?;
    let (size, size_length) = variable(rest, true)?;
    let rest = rest.get(size_length..)?;
    if matches!(id, SEGMENT | CLUSTER | BLOCK_GROUP) {
        return Some((id, &[], rest));
    }
    let size = usize::try_from(size).ok()?;
    let (body, after) = rest.split_at_checked(size)?;
    Some((id, body, after))
}

/// A number whose first byte tells how many there are, with that mark or without; and how many.
fn variable(bytes: &[u8], without_mark: bool) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = usize::try_from(first.leading_zeros()).ok()? + 1;
    let value = number(bytes.get(..length).filter(|_| length <= 8)?);
    let mark = 1_u64 << (7 * length);
    Some((
        if without_mark {
            value & (mark - 1)
        } else {
            value
        },
        length,
    ))
}

fn number(bytes: &[u8]) -> u64 {
    let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    bytes.iter().take(8).fold(0, add)
}

#[cfg(test)]
mod tests;
