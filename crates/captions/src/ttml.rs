//! TTML: what of TTML 1, DFXP, SMPTE-TT and EBU-TT subtitles carry.
//!
//! XML text comes in, event by event from `quick-xml`, which builds no tree and expands no entity
//! but XML's own five; cues go out. A document type, and nesting deeper than [`DEEPEST`], are
//! refused. Elements and attributes are known by their local names, because the namespaces of the
//! drafts are still in use. Pictures, animation and sequential timing are not read.

mod attributes;
mod clock;
mod look;
mod paragraph;
mod write;

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::collect::{At, Collected};
use super::{Language, Refused};
use attributes::Attributes;
use clock::Rates;
use look::{Look, Units};
use paragraph::{Paragraph, Scope};
pub(super) use write::write;

/// Deepest nesting of elements.
const DEEPEST: usize = 64;

/// Most named styles, and most regions.
const MOST_STYLES: usize = 10_000;

/// What an element is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Root,
    Head,
    Region,
    Body,
    Paragraph,
    Span,
    /// Passed over with all that is in it.
    Foreign,
}

struct Frame {
    role: Role,
    scope: Scope,
    language: Option<Language>,
}

#[derive(Default)]
struct Parser {
    collected: Collected,
    open: Vec<Frame>,
    rates: Rates,
    units: Units,
    styles: BTreeMap<String, Look>,
    regions: BTreeMap<String, Look>,
    region: Option<String>,
    paragraph: Option<Paragraph>,
    number: usize,
    line: usize,
}

/// Reads a TTML document.
pub(super) fn parse(text: &str) -> Result<Collected, Refused> {
    let mut parser = Parser {
        line: 1,
        ..Parser::default()
    };
    let mut reader = Reader::from_str(text);
    reader.config_mut().allow_dangling_amp = true;
    let mut counted = 0;
    loop {
        let event = reader.read_event();
        let place = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let passed = text.as_bytes().get(counted..place).unwrap_or_default();
        let breaks = passed.iter().filter(|byte| **byte == b'\n').count();
        counted = counted.max(place);
        match event {
            Ok(Event::Eof) => break parser.end_of_file()?,
            Ok(event) => parser.event(&event)?,
            Err(_) => break parser.fault("from here on it is not well-formed XML")?,
        }
        parser.line += breaks;
    }
    Ok(parser.collected)
}

impl Parser {
    fn event(&mut self, event: &Event<'_>) -> Result<(), Refused> {
        match event {
            Event::Start(tag) => self.start(tag)?,
            Event::Empty(tag) => {
                self.start(tag)?;
                self.end()?;
            }
            Event::End(_) => self.end()?,
            Event::Text(text) => self.text(text),
            Event::CData(text) => self.text(text),
            Event::GeneralRef(reference) => self.reference(reference),
            Event::DocType(_) => {
                return Err(Refused::new("TTML with a document type is not read"));
            }
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, tag: &BytesStart<'_>) -> Result<(), Refused> {
        if self.open.len() >= DEEPEST {
            return Err(Refused::new(
                "XML nested deeper than 64 elements is not read",
            ));
        }
        let outer = self.open.last().map(|frame| frame.role);
        let name = tag.local_name();
        let role = role(outer, name.as_ref());
        if role == Role::Foreign {
            return self.foreign(outer, tag);
        }
        if role == Role::Root {
            self.units = Units::read(tag);
            self.rates = Rates::read(tag);
        }
        let attributes = Attributes::read(tag, &self.units);
        self.enter(role, name.as_ref(), &attributes)
    }

    /// An element without times or text: a style of the head, a line break, or none of our business.
    fn foreign(&mut self, outer: Option<Role>, tag: &BytesStart<'_>) -> Result<(), Refused> {
        match (outer, tag.local_name().as_ref()) {
            (Some(Role::Head | Role::Region), "style") => {
                let attributes = Attributes::read(tag, &self.units);
                self.define(outer == Some(Role::Region), &attributes)?;
            }
            (Some(Role::Paragraph | Role::Span), "br") => {
                self.paragraph.iter_mut().for_each(Paragraph::end_line);
            }
            _ => {}
        }
        self.open.push(Frame {
            role: Role::Foreign,
            scope: Scope::default(),
            language: None,
        });
        Ok(())
    }

    /// An element that we know: its times, style and language go down to what it holds.
    fn enter(&mut self, role: Role, name: &str, attributes: &Attributes) -> Result<(), Refused> {
        let outer = self.open.last();
        let outer_scope = outer.map(|frame| frame.scope).unwrap_or_default();
        let mut scope = outer_scope.inner(attributes, &self.rates);
        scope.look = self.look(outer_scope.look, attributes);
        let outer_language = outer.and_then(|frame| frame.language.clone());
        let tag = attributes.language.as_deref();
        let language = tag.and_then(Language::of_tag).or(outer_language);
        let mut role = role;
        match role {
            Role::Region => {
                self.region = attributes.id.clone();
                self.define(true, attributes)?;
            }
            Role::Body if name == "div" && self.is_other_language(language.as_ref()) => {
                self.number += 1;
                self.fault("this division is in another language than the first")?;
                role = Role::Foreign;
            }
            Role::Paragraph => {
                self.number += 1;
                self.paragraph = Some(Paragraph::new(At {
                    number: self.number,
                    line: self.line,
                }));
                if self.collected.language.is_none() {
                    self.collected.language.clone_from(&language);
                }
            }
            _ => {}
        }
        if let (Some(what), Some(paragraph)) = (scope.fault, &mut self.paragraph) {
            paragraph.fault(what);
        }
        self.open.push(Frame {
            role,
            scope,
            language,
        });
        Ok(())
    }

    /// What a region, the named styles and the element's own attributes make of the outer look.
    fn look(&self, outer: Look, attributes: &Attributes) -> Look {
        let region = attributes.region.as_ref();
        let region = region.and_then(|id| self.regions.get(id)).copied();
        let base = region.map_or(outer, |region| region.under(outer).placed_by(region));
        self.referred(attributes).under_all(base, attributes.look)
    }

    /// The named styles of an element, the later ones above.
    fn referred(&self, attributes: &Attributes) -> Look {
        let named = attributes
            .styles
            .iter()
            .flat_map(|ids| ids.split_ascii_whitespace());
        named
            .filter_map(|id| self.styles.get(id))
            .fold(Look::default(), |look, style| look.under(*style))
    }

    /// A named style, or more about a region.
    fn define(&mut self, region: bool, attributes: &Attributes) -> Result<(), Refused> {
        let look = self.referred(attributes).under(attributes.look);
        let id = if region { &self.region } else { &attributes.id };
        let Some(id) = id.clone() else {
            return Ok(());
        };
        let table = if region {
            &mut self.regions
        } else {
            &mut self.styles
        };
        if table.len() >= MOST_STYLES {
            return Err(Refused::new(
                "TTML with more than 10000 styles or regions is not read",
            ));
        }
        let known = table.entry(id).or_default();
        *known = known.under(look);
        Ok(())
    }

    fn is_other_language(&self, language: Option<&Language>) -> bool {
        let first = self.collected.language.as_ref();
        matches!((first, language), (Some(first), Some(this)) if first.key() != this.key())
    }

    fn end(&mut self) -> Result<(), Refused> {
        match self.open.pop().map(|frame| frame.role) {
            Some(Role::Paragraph) => {
                if let Some(paragraph) = self.paragraph.take() {
                    paragraph.finish(&mut self.collected)?;
                }
            }
            Some(Role::Region) => self.region = None,
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let Some(frame) = self.open.last() else {
            return;
        };
        if let (Role::Paragraph | Role::Span, Some(paragraph)) = (frame.role, &mut self.paragraph) {
            paragraph.push(text, &frame.scope);
        }
    }

    fn reference(&mut self, reference: &BytesRef<'_>) {
        let character = match reference.resolve_char_ref() {
            Ok(Some(character)) => Some(character),
            Ok(None) => entity(reference),
            Err(_) => None,
        };
        match (character, &mut self.paragraph) {
            (Some(character), _) => self.text(character.encode_utf8(&mut [0; 4])),
            (None, Some(paragraph)) => paragraph.fault("an entity in it is not defined"),
            (None, None) => {}
        }
    }

    fn end_of_file(&mut self) -> Result<(), Refused> {
        if self.open.is_empty() {
            return Ok(());
        }
        self.fault("the XML ends before its last element does")
    }

    fn fault(&mut self, what: &'static str) -> Result<(), Refused> {
        let at = At {
            number: self.number.max(1),
            line: self.line,
        };
        self.collected.broken(at, what)
    }
}

/// The role of an element by its name and by what it stands in.
fn role(outer: Option<Role>, name: &str) -> Role {
    match (outer, name) {
        (None, "tt") => Role::Root,
        (Some(Role::Root), "head") | (Some(Role::Head), "styling" | "layout") => Role::Head,
        (Some(Role::Head), "region") => Role::Region,
        (Some(Role::Root), "body") | (Some(Role::Body), "div") => Role::Body,
        (Some(Role::Body), "p") => Role::Paragraph,
        (Some(Role::Paragraph | Role::Span), "span" | "p") => Role::Span,
        _ => Role::Foreign,
    }
}

/// XML's own five, and the one that people write without defining it.
fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
