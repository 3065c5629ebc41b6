//! Attributes of a TTML element, by local name.
//!
//! A start tag comes in, the attributes that we read go out; the others are not even decoded. They
//! are not compared with each other, which would take quadratic time: of two with one name the
//! later counts.

use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;

use super::look::{Look, Units};

/// What an element says.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    pub(super) id: Option<String>,
    pub(super) begin: Option<String>,
    pub(super) end: Option<String>,
    pub(super) duration: Option<String>,
    pub(super) styles: Option<String>,
    pub(super) region: Option<String>,
    pub(super) preserve: Option<bool>,
    /// What it holds comes one after the other, and does not count from its begin.
    pub(super) sequence: bool,
    pub(super) language: Option<String>,
    pub(super) look: Look,
}

impl Attributes {
    /// Reads a start tag.
    pub(super) fn read(tag: &BytesStart<'_>, units: &Units) -> Self {
        let mut read = Self::default();
        each(tag, |name, value| match name {
            "id" => read.id = Some(value.to_owned()),
            "begin" => read.begin = Some(value.to_owned()),
            "end" => read.end = Some(value.to_owned()),
            "dur" => read.duration = Some(value.to_owned()),
            "style" => read.styles = Some(value.to_owned()),
            "region" => read.region = Some(value.to_owned()),
            "space" => read.preserve = Some(value == "preserve"),
            "timeContainer" => read.sequence = value == "seq",
            "lang" => read.language = Some(value.to_owned()),
            name => read.look.set(name, value, units),
        });
        read
    }
}

/// Hands every attribute's local name and value over. One that is not well-formed ends them.
pub(super) fn each(tag: &BytesStart<'_>, mut take: impl FnMut(&str, &str)) {
    for attribute in tag.attributes().with_checks(false).map_while(Result::ok) {
        let name = attribute.key.local_name();
        if let Ok(value) = attribute.normalized_value(XmlVersion::Implicit1_0) {
            take(name.as_ref(), value.trim());
        }
    }
}
