//! WebVTT: its blocks, after the parser that the specification describes.
//!
//! Text comes in, cues go out; [`payload`] reads the text of a cue, [`settings`] its place. Style
//! sheets, regions, notes, voices and the timestamps within a cue are passed over: the model does
//! not carry them. Nothing here asks for more of a file than browsers do.

mod payload;
mod settings;

use super::clock;
use super::collect::{At, Collected};
use super::cue::{Place, Style, Track};
use super::{Language, Refused};

/// The block that is being read.
enum Block<'a> {
    Between,
    /// It began in this line, and has shown no times so far: its line is a cue's name.
    Named(usize),
    /// A cue: where, its times, its settings, its lines.
    Cue(At, (u64, u64), &'a str, payload::Reader),
    /// The header, a comment, a style sheet, a region, or the rest of a cue that was broken.
    Skipped,
}

/// Reads a WebVTT file.
pub(super) fn parse(text: &str) -> Result<Collected, Refused> {
    let mut collected = Collected::default();
    let mut block = Block::Skipped;
    let mut number = 0;
    for (index, line) in text.split('\n').enumerate().skip(1) {
        if number == 0 && collected.language.is_none() {
            collected.language = language(line);
        }
        let at = |number| At {
            number,
            line: index + 1,
        };
        if line.is_empty() {
            number += close(block, number, &mut collected)?;
            block = Block::Between;
        } else if let Some(times) = clock::read_line(line) {
            if !matches!(block, Block::Named(_)) {
                number += close(block, number, &mut collected)?;
            }
            number += 1;
            block = timed(times, at(number), &mut collected)?;
        } else if let Block::Cue(_, _, _, reader) = &mut block {
            reader.line(line);
        } else if matches!(block, Block::Between) {
            block = begun(line, index + 1);
        }
    }
    close(block, number, &mut collected)?;
    Ok(collected)
}

/// A block whose times were just read.
fn timed<'a>(
    times: Result<(u64, u64, &'a str), &'static str>,
    at: At,
    collected: &mut Collected,
) -> Result<Block<'a>, Refused> {
    match times {
        Ok((start, end, settings)) => {
            let reader = payload::Reader::default();
            Ok(Block::Cue(at, (start, end), settings, reader))
        }
        Err(what) => collected.broken(at, what).map(|()| Block::Skipped),
    }
}

/// A block that begins with a line without times. An arrow in it ends it, as in browsers.
fn begun<'a>(line: &str, number: usize) -> Block<'a> {
    match line.split([' ', '\t']).next() {
        Some("NOTE" | "STYLE" | "REGION") => Block::Skipped,
        _ => Block::Named(number),
    }
}

/// `Language: en` in the header, which ffmpeg and older files write.
fn language(line: &str) -> Option<Language> {
    let tag = line.strip_prefix("Language:")?;
    Language::of_tag(tag.trim())
}

/// Hands a cue over. Answers how many cues without times it was.
fn close(block: Block<'_>, before: usize, collected: &mut Collected) -> Result<usize, Refused> {
    match block {
        Block::Cue(at, times, settings, reader) => {
            collected.cue(at, times, reader.finish(), settings::read(settings))?;
            Ok(0)
        }
        Block::Named(line) => {
            let number = before + 1;
            collected.broken(At { number, line }, "it has no times")?;
            Ok(1)
        }
        Block::Between | Block::Skipped => Ok(0),
    }
}

/// Writes a WebVTT file.
pub(super) fn write(track: &Track) -> String {
    let mut out = String::from("WEBVTT\n");
    for cue in &track.cues {
        let (start, end) = (
            clock::write(cue.start_ms, '.'),
            clock::write(cue.end_ms, '.'),
        );
        out.push_str(&format!(
            "\n{start} --> {end}{}\n",
            settings::write(cue.place)
        ));
        for line in &cue.lines {
            for span in line {
                write_span(&span.text, span.style, &mut out);
            }
            out.push('\n');
        }
    }
    out
}

fn write_span(text: &str, style: Style, out: &mut String) {
    let mut ends = Vec::new();
    if let Some(colour) = style.colour {
        out.push_str(&format!("<c.{}>", colour.name()));
        ends.push("</c>");
    }
    for (on, start, end) in [
        (style.bold, "<b>", "</b>"),
        (style.italic, "<i>", "</i>"),
        (style.underline, "<u>", "</u>"),
    ] {
        if on {
            out.push_str(start);
            ends.push(end);
        }
    }
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    ends.iter().rev().for_each(|end| out.push_str(end));
}

/// What the file's place stands for when nothing is said.
const USUAL: Place = Place {
    vertical: super::Vertical::Bottom,
    align: super::Align::Centre,
};

#[cfg(test)]
mod tests;
