//! Samples: the caption tracks of MP4 and QuickTime, as ffprobe prints them.
//!
//! ffprobe takes an MP4 apart, fragmented or not, and prints each sample with its time as JSON: in
//! that form WebVTT (`wvtt`), TTML (`stpp`), timed text (`tx3g`) and CEA-608 (`c608`) come in. Cues
//! go out. What a sample of the first two holds is ISO 14496-30's: boxes of cues, or a whole TTML
//! document.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::cc::Pairs;
use super::collect::{At, Collected};
use super::cue::Place;
use super::{Refused, clock, text, timed_text, ttml, vtt};

/// Most samples of a track.
const MOST_SAMPLES: usize = 400_000;
/// How long the last sample holds where that is not told.
const LAST_MS: u64 = 5_000;
/// Samples that end and begin within this are taken for neighbours.
const SLACK_MS: u64 = 1;

/// ffprobe's answer; everything else in it is passed over.
#[derive(Deserialize)]
struct Answer {
    packets: Vec<Packet>,
    #[serde(default)]
    streams: Vec<Stream>,
    format: Option<Film>,
}

#[derive(Deserialize)]
struct Stream {
    duration: Option<String>,
}

#[derive(Deserialize)]
struct Film {
    start_time: Option<String>,
}

#[derive(Deserialize)]
struct Packet {
    pts_time: Option<String>,
    duration_time: Option<String>,
    data: Option<String>,
}

/// A sample: from when to when it holds, from the film's start, and its bytes.
struct Sample {
    start_ms: u64,
    end_ms: u64,
    data: Vec<u8>,
}

/// Reads the samples; one without a time, or before the film's start, is left out.
fn samples(bytes: &[u8]) -> Result<Vec<Sample>, Refused> {
    Ok(timed_samples(bytes)?.1)
}

/// The same, and when the film starts, in milliseconds.
fn timed_samples(bytes: &[u8]) -> Result<(i64, Vec<Sample>), Refused> {
    // Before they are in memory, where each takes many times as much.
    if bytes.iter().filter(|byte| **byte == b'{').count() > MOST_SAMPLES {
        return Err(Refused::new("more than 400000 samples"));
    }
    let wrong = |_| Refused::new("ffprobe's list of samples cannot be read");
    let answer: Answer = serde_json::from_slice(bytes).map_err(wrong)?;
    let started = answer.format.and_then(|format| format.start_time);
    let started_ms = started.as_deref().and_then(ms).unwrap_or(0);
    let sample = |packet: &Packet| {
        let start = ms(packet.pts_time.as_deref()?)?.checked_sub(started_ms)?;
        let duration = packet.duration_time.as_deref().and_then(ms).unwrap_or(0);
        let start_ms = u64::try_from(start).ok()?;
        Some(Sample {
            start_ms,
            end_ms: start_ms.checked_add_signed(duration)?,
            data: packet.data.as_deref().map(dumped).unwrap_or_default(),
        })
    };
    let mut samples: Vec<Sample> = answer.packets.iter().filter_map(sample).collect();
    samples.sort_by_key(|sample| sample.start_ms);
    let told = answer
        .streams
        .first()
        .and_then(|stream| ms(stream.duration.as_deref()?));
    let whole_ms = told.and_then(|told| u64::try_from(told.checked_sub(started_ms)?).ok());
    fill_ends(&mut samples, whole_ms);
    Ok((started_ms, samples))
}

/// ffmpeg 5.1 does not tell how long a sample of a fragment holds: until the next one, or the
/// track's end.
fn fill_ends(samples: &mut [Sample], whole_ms: Option<u64>) {
    let mut next = whole_ms;
    for sample in samples.iter_mut().rev() {
        if sample.end_ms <= sample.start_ms {
            sample.end_ms = next
                .filter(|next| *next > sample.start_ms)
                .unwrap_or(sample.start_ms.saturating_add(LAST_MS));
        }
        next = Some(sample.start_ms);
    }
}

/// `[-]SSSS.ffffff` in milliseconds, rounded.
fn ms(written: &str) -> Option<i64> {
    let (sign, digits) = match written.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, written),
    };
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let (seconds, micros) = (seconds.parse::<u32>().ok()?, micros.parse::<u32>().ok()?);
    Some(sign * (i64::from(seconds) * 1000 + i64::from(micros + 500) / 1000))
}

/// The bytes of a dump: lines of an offset, a colon, up to 16 bytes in groups of two, and a column
/// of characters, which begins after 41 places.
fn dumped(dump: &str) -> Vec<u8> {
    let lines = dump.lines().filter_map(|line| line.split_once(": "));
    let digits = lines.flat_map(|(_, line)| line.bytes().take(40).filter(|b| *b != b' '));
    let nibbles: Vec<u8> = digits
        .map_while(|b| u8::try_from(char::from(b).to_digit(16)?).ok())
        .collect();
    let (pairs, _) = nibbles.as_chunks::<2>();
    pairs.iter().map(|[high, low]| high << 4 | low).collect()
}

/// A cue of a sample: its settings and its text.
type Told = (String, String);

/// WebVTT: a cue that goes on from sample to sample is one cue.
pub(super) fn parse_webvtt(bytes: &[u8]) -> Result<Collected, Refused> {
    let mut cues: Vec<(u64, u64, Told)> = Vec::new();
    let mut open: HashMap<Told, usize> = HashMap::new();
    let mut last_end = 0;
    for sample in samples(bytes)? {
        let before = std::mem::take(&mut open);
        let near = sample.start_ms.abs_diff(last_end) <= SLACK_MS;
        let told = boxes(&sample.data).filter(|(name, _)| *name == b"vttc");
        for told in told.map(|(_, body)| cue(body)) {
            let going_on = before.get(&told).copied().filter(|_| near);
            let index = going_on.unwrap_or_else(|| {
                cues.push((sample.start_ms, sample.end_ms, told.clone()));
                cues.len() - 1
            });
            if let Some((_, end, _)) = cues.get_mut(index) {
                *end = sample.end_ms;
            }
            open.insert(told, index);
        }
        last_end = sample.end_ms;
    }
    let mut file = String::from("WEBVTT\n");
    for (start, end, (settings, payload)) in cues {
        let (start, end) = (clock::write(start, '.'), clock::write(end, '.'));
        let _ = write!(file, "\n{start} --> {end} {settings}\n{payload}\n");
    }
    vtt::parse(&file)
}

/// The settings and the text of a cue. What would end a cue in a file is not in them.
fn cue(body: &[u8]) -> Told {
    let part = |wanted: &[u8; 4]| {
        let found = boxes(body).find(|(name, _)| *name == wanted);
        String::from_utf8_lossy(found.map_or(&[], |(_, body)| body)).into_owned()
    };
    let text = part(b"payl").replace("\r\n", "\n").replace('\r', "\n");
    let lines = text.lines().filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(|line| line.replace("-->", "--&gt;")).collect();
    (part(b"sttg").replace(['\r', '\n'], " "), lines.join("\n"))
}

/// The boxes of a sample, up to the first that is not whole.
fn boxes(mut data: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (size, rest) = data.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
        let (body, after) = rest.split_at_checked(size.checked_sub(8)?)?;
        data = after;
        Some((name, body))
    })
}

/// Timed text: a sample is a cue, or an empty one.
pub(super) fn parse_timed_text(bytes: &[u8]) -> Result<Collected, Refused> {
    let mut collected = Collected::default();
    for (index, sample) in samples(bytes)?.iter().enumerate() {
        let at = At {
            number: index + 1,
            line: 1,
        };
        let text = timed_text::read(&sample.data, |after| boxes(after).collect());
        collected.cue(at, (sample.start_ms, sample.end_ms), text, Place::default())?;
    }
    Ok(collected)
}

/// TTML: each sample is a document with the track's own times, of which the sample's time holds.
pub(super) fn parse_ttml(bytes: &[u8]) -> Result<Collected, Refused> {
    let mut collected = Collected::default();
    let (started_ms, samples) = timed_samples(bytes)?;
    for (index, sample) in samples.iter().enumerate() {
        let at = At {
            number: index + 1,
            line: 1,
        };
        let document = text::decode(&sample.data).and_then(|(text, _)| ttml::parse(&text));
        match document {
            Ok(mut document) => {
                document.shift(-started_ms);
                collected.append(document, sample.start_ms, sample.end_ms)?;
            }
            Err(_) => collected.broken(at, "a sample is not TTML")?,
        }
    }
    Ok(collected)
}

/// CEA-608: a sample is the pairs that are sent from its time on.
pub(super) fn parse_608(bytes: &[u8]) -> Result<Collected, Refused> {
    let mut pairs = Pairs::default();
    for sample in samples(bytes)? {
        pairs.triples(sample.start_ms, &sample.data)?;
    }
    pairs.finish()
}

#[cfg(test)]
mod tests;
