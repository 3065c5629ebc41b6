//! Writing TTML.
//!
//! A track comes in, a TTML 1 document goes out: media times in milliseconds, one division, a region
//! for each place that is used.

use crate::clock;
use crate::cue::{Align, Cue, Place, Span, Track, Vertical};

const ROOT: &str = "<tt xmlns=\"http://www.w3.org/ns/ttml\" \
    xmlns:tts=\"http://www.w3.org/ns/ttml#styling\" xml:space=\"preserve\"";

/// Writes a TTML document.
pub(crate) fn write(track: &Track) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let language = track
        .language
        .as_ref()
        .map_or("", |language| language.as_str());
    out.push_str(&format!(
        "{ROOT} xml:lang=\"{language}\">\n<head>\n<layout>\n"
    ));
    for place in places() {
        if track.cues.iter().any(|cue| cue.place == place) {
            write_region(place, &mut out);
        }
    }
    out.push_str("</layout>\n</head>\n<body>\n<div>\n");
    for cue in &track.cues {
        write_cue(cue, &mut out);
    }
    out.push_str("</div>\n</body>\n</tt>\n");
    out
}

fn places() -> impl Iterator<Item = Place> {
    let heights = [Vertical::Bottom, Vertical::Middle, Vertical::Top];
    heights.into_iter().flat_map(|vertical| {
        let sides = [Align::Left, Align::Centre, Align::Right];
        sides.map(|align| Place { vertical, align })
    })
}

fn write_region(place: Place, out: &mut String) {
    let (display, align) = (display(place.vertical), side(place.align));
    out.push_str(&format!(
        "<region xml:id=\"{display}-{align}\" tts:origin=\"10% 10%\" tts:extent=\"80% 80%\" \
         tts:displayAlign=\"{display}\" tts:textAlign=\"{align}\"/>\n"
    ));
}

fn display(vertical: Vertical) -> &'static str {
    match vertical {
        Vertical::Bottom => "after",
        Vertical::Middle => "center",
        Vertical::Top => "before",
    }
}

fn side(align: Align) -> &'static str {
    match align {
        Align::Left => "left",
        Align::Centre => "center",
        Align::Right => "right",
    }
}

fn write_cue(cue: &Cue, out: &mut String) {
    let (begin, end) = (
        clock::write(cue.start_ms, '.'),
        clock::write(cue.end_ms, '.'),
    );
    let (display, align) = (display(cue.place.vertical), side(cue.place.align));
    out.push_str(&format!(
        "<p begin=\"{begin}\" end=\"{end}\" region=\"{display}-{align}\">"
    ));
    for (index, line) in cue.lines.iter().enumerate() {
        if index > 0 {
            out.push_str("<br/>");
        }
        line.iter().for_each(|span| write_span(span, out));
    }
    out.push_str("</p>\n");
}

fn write_span(span: &Span, out: &mut String) {
    let mut attributes = String::new();
    for (on, attribute) in [
        (span.style.bold, " tts:fontWeight=\"bold\""),
        (span.style.italic, " tts:fontStyle=\"italic\""),
        (span.style.underline, " tts:textDecoration=\"underline\""),
    ] {
        if on {
            attributes.push_str(attribute);
        }
    }
    if let Some(colour) = span.style.colour {
        attributes.push_str(&format!(" tts:color=\"{}\"", colour.name()));
    }
    if !attributes.is_empty() {
        out.push_str(&format!("<span{attributes}>"));
    }
    for c in span.text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    if !attributes.is_empty() {
        out.push_str("</span>");
    }
}
