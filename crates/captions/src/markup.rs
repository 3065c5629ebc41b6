//! Markup: the tags that SRT and WebVTT both took from HTML.
//!
//! A tag's place in the text comes in, the style that holds from there on goes out. Nesting is
//! followed to a fixed depth; what lies deeper keeps the style of that depth. It judges no text:
//! whether something is a tag at all is the parsers' to know.

use super::cue::{Colour, Style};

/// Deepest nesting whose styles are followed.
const DEEPEST: usize = 64;

/// What a tag does to the text in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bold,
    Italic,
    Underline,
    /// `<font>`, `<c>`: a colour, or nothing that is carried.
    Coloured,
    /// Known, and without effect on the text.
    Plain,
}

/// The tags that are open.
#[derive(Debug, Default)]
pub(super) struct Nest {
    open: Vec<(Kind, Option<Colour>)>,
    skipped: usize,
    style: Style,
}

impl Nest {
    /// The style that holds.
    pub(super) fn style(&self) -> Style {
        self.style
    }

    /// A start tag.
    pub(super) fn open(&mut self, kind: Kind, colour: Option<Colour>) {
        if self.open.len() < DEEPEST {
            self.style = styled(self.style, &(kind, colour));
            self.open.push((kind, colour));
        } else {
            self.skipped += 1;
        }
    }

    /// An end tag, as HTML's soup wants it: it closes the nearest tag of its kind, wherever that is.
    pub(super) fn close(&mut self, kind: Kind) {
        if self.skipped > 0 {
            self.skipped -= 1;
        } else if let Some(place) = self.open.iter().rposition(|(open, _)| *open == kind) {
            self.open.remove(place);
            self.restyle();
        }
    }

    /// An end tag, as WebVTT wants it: it closes the innermost tag or nothing.
    pub(super) fn close_innermost(&mut self, kind: Kind) {
        if self.skipped > 0 {
            self.skipped -= 1;
        } else if self.open.last().is_some_and(|(open, _)| *open == kind) {
            self.open.pop();
            self.restyle();
        }
    }

    fn restyle(&mut self) {
        self.style = self.open.iter().fold(Style::default(), styled);
    }

    /// Sets a style for the rest of the cue, as the `{\i1}` of SubStation does.
    pub(super) fn switch(&mut self, kind: Kind, on: bool) {
        if on {
            self.open(kind, None);
        } else {
            self.close(kind);
        }
    }
}

fn styled(mut style: Style, (kind, colour): &(Kind, Option<Colour>)) -> Style {
    match kind {
        Kind::Bold => style.bold = true,
        Kind::Italic => style.italic = true,
        Kind::Underline => style.underline = true,
        Kind::Coloured => style.colour = colour.or(style.colour),
        Kind::Plain => {}
    }
    style
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossed_tags_close_what_they_name_or_only_the_innermost() {
        let mut nest = Nest::default();
        nest.open(Kind::Bold, None);
        nest.open(Kind::Italic, None);
        nest.close_innermost(Kind::Bold);
        assert!(nest.style().bold && nest.style().italic);
        nest.close(Kind::Bold);
        assert!(!nest.style().bold && nest.style().italic);
        nest.close(Kind::Underline);
        nest.close_innermost(Kind::Italic);
        assert_eq!(nest.style(), Style::default());
    }

    #[test]
    fn an_outer_colour_comes_back_and_depth_is_bounded() {
        let mut nest = Nest::default();
        nest.open(Kind::Coloured, Some(Colour::Red));
        nest.open(Kind::Coloured, None);
        nest.open(Kind::Coloured, Some(Colour::Blue));
        assert_eq!(nest.style().colour, Some(Colour::Blue));
        nest.close(Kind::Coloured);
        assert_eq!(nest.style().colour, Some(Colour::Red));
        for _ in 0..1000 {
            nest.open(Kind::Bold, None);
        }
        assert_eq!(nest.open.len(), DEEPEST);
        for _ in 0..1000 {
            nest.close(Kind::Bold);
        }
        assert!(!nest.style().bold);
    }
}
