//! Cue text of WebVTT: tags and character references.
//!
//! The lines of a cue come in, a [`Text`] goes out. Annotations of ruby text stand in parentheses
//! behind it; voices and timestamps are dropped. Tags may cross lines.

use std::borrow::Cow;

use quick_xml::escape::resolve_html5_entity;

use crate::cue::{Colour, Text};
use crate::markup::{Kind, Nest};

/// Longest reference: `&` + name + `;`.
const LONGEST_REFERENCE: usize = 40;

/// Reads the text of one cue.
#[derive(Default)]
pub(super) struct Reader {
    text: Text,
    nest: Nest,
    /// Within a tag that goes on in the next line.
    tag: Option<String>,
    /// How many `rt` are open.
    ruby: usize,
}

impl Reader {
    /// The next line.
    pub(super) fn line(&mut self, line: &str) {
        let mut rest = line;
        if let Some(mut started) = self.tag.take() {
            started.push(' ');
            rest = self.tag_until_end(started, rest);
        }
        while let Some(at) = rest.find(['<', '&']) {
            let (before, from) = rest.split_at(at);
            self.text.push(before, self.nest.style());
            rest = match from.strip_prefix('<') {
                Some(after) if may_be_tag(after) => self.tag_until_end(String::new(), after),
                Some(after) => {
                    self.text.push_char('<', self.nest.style());
                    after
                }
                None => self.reference(from),
            };
        }
        self.text.push(rest, self.nest.style());
        if self.tag.is_none() {
            self.text.end_line();
        }
    }

    /// The text; an unfinished tag at the end counts as finished.
    pub(super) fn finish(mut self) -> Text {
        if let Some(tag) = self.tag.take() {
            self.tag(&tag);
        }
        self.text
    }

    /// Reads on to the end of a tag, and hands back what follows it.
    fn tag_until_end<'a>(&mut self, mut started: String, rest: &'a str) -> &'a str {
        let (inner, after) = match rest.split_once('>') {
            Some((inner, after)) => (inner, Some(after)),
            None => (rest, None),
        };
        // Of long annotations only the beginning matters: the tag's name and classes.
        started.extend(inner.chars().take(1024_usize.saturating_sub(started.len())));
        match after {
            Some(after) => {
                self.tag(&started);
                after
            }
            None => {
                self.tag = Some(started);
                ""
            }
        }
    }

    fn tag(&mut self, tag: &str) {
        let (closing, tag) = match tag.strip_prefix('/') {
            Some(tag) => (true, tag),
            None => (false, tag),
        };
        let head = tag.split([' ', '\t']).next().unwrap_or("");
        let mut classes = head.split('.');
        let name = classes.next().unwrap_or("");
        let kind = match name {
            "b" => Kind::Bold,
            "i" => Kind::Italic,
            "u" => Kind::Underline,
            "c" => Kind::Coloured,
            "rt" => return self.annotation(closing),
            // Voices, languages, ruby, timestamps and what is unknown change nothing.
            _ => return,
        };
        if closing {
            return self.nest.close_innermost(kind);
        }
        let colour = classes.find_map(|class| {
            Colour::ALL
                .into_iter()
                .find(|colour| colour.name() == class)
        });
        self.nest.open(kind, colour);
    }

    fn annotation(&mut self, closing: bool) {
        match (closing, self.ruby) {
            (true, 0) => {}
            (true, _) => {
                self.ruby -= 1;
                self.text.push_char(')', self.nest.style());
            }
            (false, _) => {
                self.ruby += 1;
                self.text.push_char('(', self.nest.style());
            }
        }
    }

    /// A character reference; an unknown one is text.
    fn reference<'a>(&mut self, from: &'a str) -> &'a str {
        let end = from.bytes().take(LONGEST_REFERENCE).position(|b| b == b';');
        let name = end.and_then(|end| from.get(1..end));
        let (read, used) = match (name.and_then(characters), end) {
            (Some(read), Some(end)) => (read, end + 1),
            _ => (Cow::Borrowed("&"), 1),
        };
        for read in read.chars() {
            self.text.push_char(read, self.nest.style());
        }
        from.get(used..).unwrap_or("")
    }
}

/// Browsers begin a tag at every `<`. ffmpeg writes the `1 < 2` of other formats as it is, and
/// there the text is wanted.
fn may_be_tag(after: &str) -> bool {
    after.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '>'))
}

/// The references of WebVTT, which are those of HTML, and numbers.
fn characters(name: &str) -> Option<Cow<'static, str>> {
    let Some(number) = name.strip_prefix('#') else {
        return resolve_html5_entity(name).map(Cow::Borrowed);
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    let read = code.ok().and_then(char::from_u32);
    read.map(|read| Cow::Owned(read.to_string()))
}
