//! The cue model: what every caption format is read into and written from.
//!
//! Parsers hand styled text to a [`Text`], which keeps it in one shape: no empty line or span, no
//! control character, neighbours of one style in one span, no spaces at a line's ends, at most
//! [`MOST_CUE_BYTES`]. So the writers have nothing to repair. Fonts, voices, exact positions and
//! pictures are not carried: only what SRT, WebVTT and TTML can all say.

use super::clock::LATEST_MS;
use super::language::Language;
use super::{MOST_CUE_BYTES, Refused};

/// A caption track in one language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// Its language, where that is known.
    pub language: Option<Language>,
    /// Its name for people.
    pub label: Option<String>,
    /// Its cues, by start time.
    pub cues: Vec<Cue>,
}

/// Text that stands on the screen for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cue {
    /// When it appears, in milliseconds.
    pub start_ms: u64,
    /// When it goes; later than the start.
    pub end_ms: u64,
    /// Its lines, never empty.
    pub lines: Vec<Line>,
    /// Roughly where it stands.
    pub place: Place,
}

impl Cue {
    /// Moves it, within the times that there are; what ends before 0 is left without a length.
    pub(super) fn shift(&mut self, offset_ms: i64) {
        let moved = |ms: u64| ms.saturating_add_signed(offset_ms).min(LATEST_MS);
        self.start_ms = moved(self.start_ms);
        self.end_ms = moved(self.end_ms);
    }
}

/// One line of a cue.
pub type Line = Vec<Span>;

/// Text of one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The text, without markup.
    pub text: String,
    /// How it looks.
    pub style: Style,
}

/// How text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Bold.
    pub bold: bool,
    /// Italic.
    pub italic: bool,
    /// Underlined.
    pub underline: bool,
    /// Coloured.
    pub colour: Option<Colour>,
}

/// The eight colours that CEA-608 has and WebVTT gives a class each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Colour {
    Black,
    Blue,
    Lime,
    Cyan,
    Red,
    Magenta,
    Yellow,
    White,
}

impl Colour {
    /// All of them: each bit of the index is a channel, red the highest.
    pub const ALL: [Self; 8] = [
        Self::Black,
        Self::Blue,
        Self::Lime,
        Self::Cyan,
        Self::Red,
        Self::Magenta,
        Self::Yellow,
        Self::White,
    ];

    /// Its name in WebVTT, CSS and TTML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Black => "black",
            Self::Blue => "blue",
            Self::Lime => "lime",
            Self::Cyan => "cyan",
            Self::Red => "red",
            Self::Magenta => "magenta",
            Self::Yellow => "yellow",
            Self::White => "white",
        }
    }

    /// `rrggbb`.
    pub fn hex(self) -> &'static str {
        match self {
            Self::Black => "000000",
            Self::Blue => "0000ff",
            Self::Lime => "00ff00",
            Self::Cyan => "00ffff",
            Self::Red => "ff0000",
            Self::Magenta => "ff00ff",
            Self::Yellow => "ffff00",
            Self::White => "ffffff",
        }
    }

    /// A name, `#rgb`, `#rrggbb`, `#rrggbbaa` or `rgb(r,g,b)`: the nearest of the eight.
    pub(super) fn read(written: &str) -> Option<Self> {
        let written = written.trim();
        if let Some(hex) = written.strip_prefix('#') {
            return Self::from_hex(hex);
        }
        if let Some(rest) = written.strip_prefix("rgb").filter(|rest| rest.len() < 32) {
            let list = rest.strip_prefix('a').unwrap_or(rest);
            let mut channels = list
                .trim_matches(['(', ')'])
                .split(',')
                .map(|channel| channel.trim().parse::<u8>().ok());
            return Some(Self::nearest(
                channels.next()??,
                channels.next()??,
                channels.next()??,
            ));
        }
        let named = Self::ALL
            .into_iter()
            .find(|colour| written.eq_ignore_ascii_case(colour.name()));
        named.or_else(|| match written.to_ascii_lowercase().as_str() {
            "green" => Some(Self::Lime),
            "aqua" => Some(Self::Cyan),
            "fuchsia" => Some(Self::Magenta),
            _ => Self::from_hex(written),
        })
    }

    fn from_hex(hex: &str) -> Option<Self> {
        let digits: Vec<u8> = hex
            .chars()
            .take(9)
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()?;
        match *digits.as_slice() {
            [r, g, b] => Some(Self::nearest(r * 17, g * 17, b * 17)),
            [r, r2, g, g2, b, b2] | [r, r2, g, g2, b, b2, _, _] => {
                Some(Self::nearest(r * 16 + r2, g * 16 + g2, b * 16 + b2))
            }
            _ => None,
        }
    }

    /// The hue counts, not the brightness: dark red is red, grey is white, only near-black black.
    fn nearest(r: u8, g: u8, b: u8) -> Self {
        let brightest = r.max(g).max(b);
        let bright = |channel: u8| brightest >= 0x40 && channel > brightest / 2;
        match (bright(r), bright(g), bright(b)) {
            (false, false, false) => Self::Black,
            (false, false, true) => Self::Blue,
            (false, true, false) => Self::Lime,
            (false, true, true) => Self::Cyan,
            (true, false, false) => Self::Red,
            (true, false, true) => Self::Magenta,
            (true, true, false) => Self::Yellow,
            (true, true, true) => Self::White,
        }
    }
}

/// Roughly where a cue stands: one of nine fields of the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// How high.
    pub vertical: Vertical,
    /// On which side.
    pub align: Align,
}

/// A third of the picture's height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Vertical {
    #[default]
    Bottom,
    Middle,
    Top,
}

impl Vertical {
    /// The third that a height in percent from the top falls into.
    pub(super) fn at(percent: f64) -> Self {
        if percent < 34.0 {
            Self::Top
        } else if percent < 67.0 {
            Self::Middle
        } else {
            Self::Bottom
        }
    }
}

/// A side of the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Align {
    Left,
    #[default]
    Centre,
    Right,
}

/// Why a cue is left out that is larger than [`MOST_CUE_BYTES`].
pub(super) const TOO_LONG: &str = "more than 64 KiB of text";

/// Collects the text of one cue.
#[derive(Debug, Default)]
pub(super) struct Text {
    lines: Vec<Line>,
    bytes: usize,
    too_long: bool,
    broken_line: bool,
}

impl Text {
    /// Adds text in one style; a line feed in it ends the line.
    pub(super) fn push(&mut self, text: &str, style: Style) {
        for c in text.chars() {
            self.push_char(c, style);
        }
    }

    /// Adds one character. XML cannot carry control characters, and none belongs into a caption.
    pub(super) fn push_char(&mut self, c: char, style: Style) {
        let c = match c {
            '\n' => return self.end_line(),
            '\t' => ' ',
            '\u{feff}' | '\u{fffe}' | '\u{ffff}' => return,
            c if c.is_control() => return,
            c => c,
        };
        if self.bytes + c.len_utf8() > MOST_CUE_BYTES {
            self.too_long = true;
            return;
        }
        self.bytes += c.len_utf8();
        if std::mem::take(&mut self.broken_line) || self.lines.is_empty() {
            self.lines.push(Line::new());
        }
        let Some(line) = self.lines.last_mut() else {
            return;
        };
        match line.last_mut().filter(|span| span.style == style) {
            Some(span) => span.text.push(c),
            None => line.push(Span {
                text: c.into(),
                style,
            }),
        }
    }

    /// Ends the line; no empty one comes of it.
    pub(super) fn end_line(&mut self) {
        self.broken_line = true;
    }

    /// Whether the next character would stand after a space, or first in its line.
    pub(super) fn after_space(&self) -> bool {
        let last = self.lines.last().and_then(|line| line.last());
        self.broken_line || last.is_none_or(|span| span.text.ends_with(' '))
    }

    /// Whether anything but spaces was pushed.
    pub(super) fn has_ink(&self) -> bool {
        let mut spans = self.lines.iter().flatten();
        spans.any(|span| span.text.bytes().any(|b| b != b' '))
    }

    /// The lines, none of them empty; `None` if there is no text. Too long is an error.
    pub(super) fn finish(mut self) -> Result<Option<Vec<Line>>, &'static str> {
        if self.too_long {
            return Err(TOO_LONG);
        }
        self.lines.iter_mut().for_each(trim);
        self.lines.retain(|line| !line.is_empty());
        // Room that was kept for more would be most of what a hostile file takes.
        self.lines.shrink_to_fit();
        for line in &mut self.lines {
            line.shrink_to_fit();
            line.iter_mut().for_each(|span| span.text.shrink_to_fit());
        }
        Ok(Some(self.lines).filter(|lines| !lines.is_empty()))
    }
}

/// Takes the spaces off both ends of a line; a line of spaces is left empty.
fn trim(line: &mut Line) {
    let inked = |span: &Span| span.text.bytes().any(|b| b != b' ');
    let end = line.iter().rposition(inked).map_or(0, |last| last + 1);
    line.truncate(end);
    let start = line.iter().position(inked).unwrap_or(0);
    line.drain(..start);
    if let Some(last) = line.last_mut() {
        let kept = last.text.trim_end_matches(' ').len();
        last.text.truncate(kept);
    }
    if let Some(first) = line.first_mut() {
        let spaces = first.text.len() - first.text.trim_start_matches(' ').len();
        first.text.drain(..spaces);
    }
}

/// A label of 1 to 40 characters, as Elastic Transcoder has it.
pub fn label(written: &str) -> Result<String, Refused> {
    if written.chars().any(char::is_control) || !(1..=40).contains(&written.chars().count()) {
        return Err(Refused::new("a caption label has 1 to 40 characters"));
    }
    Ok(written.to_owned())
}

#[cfg(test)]
mod tests;
