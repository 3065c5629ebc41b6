//! Scenarist closed captions: time codes, and CEA-608 byte pairs in hexadecimal.
//!
//! Text comes in, cues go out: [`decoder`] plays the pairs, one a frame at 30000/1001 frames a
//! second, into the two memories of a caption decoder ([`memory`]), and what was shown becomes cues.
//! Channel 1 is read; what belongs to channel 2, or to text mode, is reported and left out. SCC is
//! not written.

mod chars;
mod decoder;
mod memory;

use super::Refused;
use super::collect::{At, Collected};
use decoder::Decoder;

/// How long a caption stays that nothing takes away: decoders clear the screen after 16 seconds.
const TIME_OUT_FRAMES: u64 = 480;

/// A line of pairs.
struct Line<'a> {
    at: At,
    frame: u64,
    words: &'a str,
}

/// Reads an SCC file.
pub(super) fn parse(text: &str) -> Result<Collected, Refused> {
    let mut collected = Collected::default();
    let lines = lines(text, &mut collected)?;
    let checked = has_parity(&lines);
    let mut decoder = Decoder::default();
    for (index, line) in lines.iter().enumerate() {
        // Pairs that run into the next line's time are sent by then.
        let limit = lines.get(index + 1).map_or(u64::MAX, |next| next.frame);
        play(line, limit, checked, &mut decoder, &mut collected)?;
    }
    decoder.finish(TIME_OUT_FRAMES, &mut collected)?;
    Ok(collected)
}

/// The lines that have a time code, in order; the rest of them is reported.
fn lines<'a>(text: &'a str, collected: &mut Collected) -> Result<Vec<Line<'a>>, Refused> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with("Scenarist_SCC") {
            continue;
        }
        let number = index + 1;
        let at = At {
            number,
            line: number,
        };
        let (code, words) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let Some(frame) = time_code(code) else {
            collected.broken(at, "its time code cannot be read")?;
            continue;
        };
        if lines.last().is_some_and(|last| last.frame > frame) {
            collected.broken(at, "its time code is before the line above")?;
            continue;
        }
        lines.push(Line { at, frame, words });
    }
    Ok(lines)
}

/// `HH:MM:SS:FF`; drop-frame with a `;` or `.` before the frames. The frame's number, from 0.
fn time_code(code: &str) -> Option<u64> {
    let (clock, frames) = code.rsplit_once([':', ';', '.'])?;
    let drop = !code.get(clock.len()..)?.starts_with(':');
    let mut parts = clock.split([':', ';']).map(two_digits);
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    let frames = two_digits(frames)?;
    if parts.next().is_some() || minutes > 59 || seconds > 59 || frames > 29 {
        return None;
    }
    let minutes = hours * 60 + minutes;
    let counted = (minutes * 60 + seconds) * 30 + frames;
    // Two numbers a minute are left out, but for every tenth minute.
    let dropped = if drop {
        2 * (minutes - minutes / 10)
    } else {
        0
    };
    Some(counted - dropped.min(counted))
}

fn two_digits(part: &str) -> Option<u64> {
    let good = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    good.then(|| part.parse().ok())?
}

/// Milliseconds of a frame's number.
fn frame_ms(frame: u64) -> u64 {
    (frame * 1001 + 15) / 30
}

/// Some tools leave the parity out altogether; then there is nothing to check.
fn has_parity(lines: &[Line<'_>]) -> bool {
    let mut words = lines
        .iter()
        .flat_map(|line| line.words.split_ascii_whitespace());
    words.any(|word| pair(word).is_some_and(|pair| pair.iter().any(|byte| byte & 0x80 != 0)))
}

fn pair(word: &str) -> Option<[u8; 2]> {
    let good = word.len() == 4 && word.bytes().all(|b| b.is_ascii_hexdigit());
    good.then(|| u16::from_str_radix(word, 16).ok())?
        .map(u16::to_be_bytes)
}

/// A byte without its parity bit, if the parity is odd.
fn stripped(byte: u8, checked: bool) -> Option<u8> {
    (!checked || byte.count_ones() % 2 == 1).then_some(byte & 0x7f)
}

/// Plays one line of pairs.
fn play(
    line: &Line<'_>,
    limit: u64,
    checked: bool,
    decoder: &mut Decoder,
    collected: &mut Collected,
) -> Result<(), Refused> {
    let mut fault = None;
    for (word, frame) in line.words.split_ascii_whitespace().zip(line.frame..) {
        let Some([first, second]) = pair(word) else {
            fault = fault.or(Some("a word is not four hexadecimal digits"));
            continue;
        };
        let (one, two) = (stripped(first, checked), stripped(second, checked));
        if one.is_none() || two.is_none() {
            fault = fault.or(Some("a byte has the wrong parity"));
        }
        // A damaged character is shown as a block, a damaged control code is not obeyed.
        if one.is_none() && matches!(first & 0x7f, 0x10..=0x1f) {
            continue;
        }
        let frame = frame.min(limit);
        if let Some(what) = decoder.pair(frame, [one, two], line.at, collected)? {
            fault = fault.or(Some(what));
        }
    }
    match fault {
        Some(what) => collected.broken(line.at, what),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
