//! SubRip: the loosest of the formats, and the most broken in the wild.
//!
//! Text comes in, cues go out, and a track goes out as text again. Times alone mark where a cue
//! begins: numbers may lack or lie, blank lines may lack or stand inside a cue. Tags of `b i u font`
//! and the overrides `{\an8} {\i1}` are understood, other known tags dropped, the rest is text: SRT
//! has no way to escape, so what would be read as a tag is written with an invisible character in it.

use super::clock;
use super::collect::{At, Collected};
use super::cue::{Align, Colour, Line, Place, Style, TOO_LONG, Text, Track, Vertical};
use super::markup::{Kind, Nest};
use super::{MOST_CUE_BYTES, Refused};

/// Keeps `<` and what follows from being a tag, and is not seen.
const WORD_JOINER: char = '\u{2060}';

/// ffmpeg opens every cue of a CEA-608 track with this and `{\an7}`, wherever the cue stood.
const FROM_608: &str = "<font face=\"Monospace\">";

/// A cue whose end is not reached yet: its times or what is wrong, and its lines.
struct Open<'a> {
    at: At,
    times: Result<(u64, u64), &'static str>,
    lines: Vec<(usize, &'a str)>,
    bytes: usize,
}

/// Most bytes of a cue with its markup: what is longer has too much text or is no cue.
const MOST_RAW_BYTES: usize = 4 * MOST_CUE_BYTES;

impl<'a> Open<'a> {
    fn new(at: At, times: Result<(u64, u64), &'static str>) -> Self {
        Self {
            at,
            times,
            lines: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds a line. Of blank lines one is as good as many.
    fn line(&mut self, number: usize, line: &'a str) {
        let after_blank = self.lines.last().is_some_and(|(_, last)| is_blank(last));
        if after_blank && is_blank(line) {
            return;
        }
        self.bytes = self.bytes.saturating_add(line.len() + 1);
        if self.bytes <= MOST_RAW_BYTES {
            self.lines.push((number, line));
        } else {
            self.times = self.times.and(Err(TOO_LONG));
        }
    }
}

/// Reads an SRT.
pub(super) fn parse(text: &str) -> Result<Collected, Refused> {
    let mut collected = Collected::default();
    let mut open: Option<Open<'_>> = None;
    let (mut number, mut strayed) = (0, false);
    for (index, line) in text.split('\n').enumerate() {
        let line_number = index + 1;
        if let Some(times) = times(line) {
            if let Some(open) = open.take() {
                number += close(open, true, &mut collected)?;
            }
            number += 1;
            let line = line_number;
            open = Some(Open::new(At { number, line }, times));
        } else if let Some(open) = &mut open {
            open.line(line_number, line);
        } else if !strayed && !is_blank(line) && !is_number(line) {
            strayed = true;
            let (number, line) = (1, line_number);
            collected.broken(At { number, line }, "text before the first times")?;
        }
    }
    if let Some(open) = open {
        close(open, false, &mut collected)?;
    }
    Ok(collected)
}

/// A line that begins a cue: the times, or that they are broken.
fn times(line: &str) -> Option<Result<(u64, u64), &'static str>> {
    let line = line.trim_matches([' ', '\t']);
    if !line.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return None;
    }
    if let Some(times) = clock::read_line(line) {
        // Words around an arrow are no broken times.
        let meant = times.is_ok() || line.split("-->").any(clock::is_meant);
        return meant.then(|| times.map(|(start, end, _)| (start, end)));
    }
    // Two times with another arrow between them are times nevertheless.
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let (first, arrow, last) = (words.next(), words.next()?, words.next_back()?);
    let timed = |word: Option<&str>| {
        word.is_some_and(|word| word.contains([',', '.']) && clock::read(word).is_ok())
    };
    let arrow = arrow.bytes().all(|b| matches!(b, b'-' | b'>' | b'='));
    (arrow && timed(first) && timed(Some(last))).then_some(Err(clock::NO_TIME))
}

fn is_blank(line: &str) -> bool {
    line.bytes().all(|b| b == b' ' || b == b'\t')
}

fn is_number(line: &str) -> bool {
    let line = line.trim_matches([' ', '\t']);
    !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit())
}

/// Hands a cue over. Its last line is the number of the next one, if there is a next one. Answers
/// how many cues without times were found in its text.
fn close(mut open: Open<'_>, more: bool, collected: &mut Collected) -> Result<usize, Refused> {
    if more && open.lines.last().is_some_and(|(_, line)| is_number(line)) {
        open.lines.pop();
    }
    let untimed = untimed(&open);
    match open.times {
        Ok(times) => {
            let mut reader = Reader::default();
            let kept = untimed.unwrap_or(usize::MAX);
            for (_, line) in open.lines.iter().take_while(|(number, _)| *number < kept) {
                reader.line(line);
            }
            collected.cue(open.at, times, reader.text, reader.place)?;
        }
        Err(what) => collected.broken(open.at, what)?,
    }
    let Some(line) = untimed else {
        return Ok(0);
    };
    let number = open.at.number + 1;
    collected.broken(At { number, line }, "it has no times")?;
    Ok(1)
}

/// The line, if any, where the next number stands after a blank line, and no times after it.
fn untimed(open: &Open<'_>) -> Option<usize> {
    let next = (open.at.number + 1).to_string();
    let mut pairs = open.lines.iter().zip(open.lines.iter().skip(1));
    let (_, (number, _)) =
        pairs.find(|((_, blank), (_, line))| is_blank(blank) && line.trim() == next)?;
    Some(*number)
}

/// Reads the text of one cue.
#[derive(Default)]
struct Reader {
    text: Text,
    nest: Nest,
    place: Place,
    from_608: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        self.from_608 |= line.starts_with(FROM_608);
        let mut rest = line;
        while let Some(at) = rest.find(['<', '{']) {
            let (before, from) = rest.split_at(at);
            self.text.push(before, self.nest.style());
            rest = self.markup(from);
        }
        self.text.push(rest, self.nest.style());
        self.text.end_line();
    }

    /// What follows a tag or an override; or what follows the bracket, which then is text.
    fn markup<'a>(&mut self, from: &'a str) -> &'a str {
        let taken = if from.starts_with('<') {
            tag(from).map(|(tag, rest)| {
                self.tag(tag);
                rest
            })
        } else {
            overrides(from).map(|(list, rest)| {
                self.overrides(list);
                rest
            })
        };
        taken.unwrap_or_else(|| {
            let (bracket, rest) = from.split_at(1);
            self.text.push(bracket, self.nest.style());
            rest
        })
    }

    fn tag(&mut self, tag: Tag<'_>) {
        if tag.name.eq_ignore_ascii_case("br") {
            self.text.end_line();
        } else if tag.closing {
            self.nest.close(tag.kind);
        } else {
            let colour = attribute(tag.rest, "color").and_then(Colour::read);
            self.nest.open(tag.kind, colour);
        }
    }

    fn overrides(&mut self, list: &str) {
        for code in list.split('\\') {
            match code.trim() {
                "i0" | "i1" => self.nest.switch(Kind::Italic, code.ends_with('1')),
                "b0" | "b1" => self.nest.switch(Kind::Bold, code.ends_with('1')),
                "u0" | "u1" => self.nest.switch(Kind::Underline, code.ends_with('1')),
                code if !self.from_608 => self.place = placed(code).unwrap_or(self.place),
                _ => {}
            }
        }
    }
}

/// `an1` to `an9`: the keys of a number pad, 2 being the usual place.
fn placed(code: &str) -> Option<Place> {
    let key = code.strip_prefix("an")?.parse::<usize>().ok()?;
    let places = (1..=9).contains(&key).then(|| (key - 1) / 3)?;
    Some(Place {
        vertical: [Vertical::Bottom, Vertical::Middle, Vertical::Top]
            .get(places)
            .copied()?,
        align: [Align::Left, Align::Centre, Align::Right]
            .get((key - 1) % 3)
            .copied()?,
    })
}

fn key(place: Place) -> usize {
    let row = match place.vertical {
        Vertical::Bottom => 0,
        Vertical::Middle => 3,
        Vertical::Top => 6,
    };
    let column = match place.align {
        Align::Left => 1,
        Align::Centre => 2,
        Align::Right => 3,
    };
    row + column
}

struct Tag<'a> {
    name: &'a str,
    closing: bool,
    kind: Kind,
    rest: &'a str,
}

/// Longest tag, and longest list of overrides: a bracket without an end is not searched further.
const LONGEST_TAG: usize = 128;

/// What stands between the bracket that `from` opens with and its end, and what follows. Brackets
/// of a kind do not nest.
fn enclosed(from: &str, [start, end]: [u8; 2]) -> Option<(&str, &str)> {
    let inner = from.get(1..)?;
    let mut bytes = inner.bytes().take(LONGEST_TAG);
    let place = bytes.position(|b| b == start || b == end)?;
    let inside = (inner.as_bytes().get(place) == Some(&end)).then(|| inner.get(..place))?;
    Some((inside?, inner.get(place + 1..)?))
}

/// A tag of a name that is known; anything else in angle brackets is text.
fn tag(from: &str) -> Option<(Tag<'_>, &str)> {
    let (inner, after) = enclosed(from, *b"<>")?;
    let closing = inner.starts_with('/');
    let inner = inner.trim_start_matches('/');
    let end = inner
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    if !rest.starts_with([' ', '\t', '/', '.']) && !rest.is_empty() {
        return None;
    }
    let kind = match name.to_ascii_lowercase().as_str() {
        "b" | "strong" => Kind::Bold,
        "i" | "em" => Kind::Italic,
        "u" => Kind::Underline,
        "font" | "c" | "span" => Kind::Coloured,
        "s" | "strike" | "v" | "lang" | "ruby" | "rt" | "br" | "p" => Kind::Plain,
        _ => return None,
    };
    let tag = Tag {
        name,
        closing,
        kind,
        rest,
    };
    Some((tag, after))
}

fn overrides(from: &str) -> Option<(&str, &str)> {
    enclosed(from, *b"{}").filter(|(list, _)| list.starts_with('\\'))
}

/// `name="value"`, with any quotes or none.
fn attribute<'a>(rest: &'a str, name: &str) -> Option<&'a str> {
    let place = rest.to_ascii_lowercase().find(name)?;
    let value = rest.get(place + name.len()..)?.trim_start();
    let value = value.strip_prefix('=')?.trim_start();
    match value.chars().next()? {
        quote @ ('"' | '\'') => value.split(quote).nth(1),
        _ => value.split([' ', '\t', '/']).next(),
    }
}

/// Writes an SRT.
pub(super) fn write(track: &Track) -> String {
    let mut out = String::new();
    for (index, cue) in track.cues.iter().enumerate() {
        let (start, end) = (
            clock::write(cue.start_ms, ','),
            clock::write(cue.end_ms, ','),
        );
        out.push_str(&format!("{}\n{start} --> {end}\n", index + 1));
        if cue.place != Place::default() {
            out.push_str(&format!("{{\\an{}}}", key(cue.place)));
        }
        for line in &cue.lines {
            write_line(line, &mut out);
        }
        out.push('\n');
    }
    out
}

fn write_line(line: &Line, out: &mut String) {
    let start = out.len();
    for span in line {
        let tags = tags(span.style);
        tags.iter().for_each(|(open, _)| out.push_str(open));
        escape(&span.text, out);
        tags.iter().rev().for_each(|(_, close)| out.push_str(close));
    }
    if out.get(start..).is_some_and(|line| times(line).is_some()) {
        out.insert(start, WORD_JOINER);
    }
    out.push('\n');
}

fn tags(style: Style) -> Vec<(String, &'static str)> {
    let mut tags = Vec::new();
    if let Some(colour) = style.colour {
        tags.push((format!("<font color=\"#{}\">", colour.hex()), "</font>"));
    }
    for (on, open, close) in [
        (style.bold, "<b>", "</b>"),
        (style.italic, "<i>", "</i>"),
        (style.underline, "<u>", "</u>"),
    ] {
        if on {
            tags.push((open.to_owned(), close));
        }
    }
    tags
}

/// Text that a reader would take for a tag or an override gets a word joiner into it.
fn escape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(['<', '{']) {
        let (before, from) = rest.split_at(at);
        let (bracket, after) = from.split_at(1);
        out.push_str(before);
        out.push_str(bracket);
        if after.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '\\')) {
            out.push(WORD_JOINER);
        }
        rest = after;
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests;
