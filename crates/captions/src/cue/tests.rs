//! The one shape that text is kept in.

use super::*;

fn finished(pieces: &[(&str, Style)]) -> Vec<Line> {
    let mut text = Text::default();
    for (piece, style) in pieces {
        text.push(piece, *style);
    }
    text.finish().unwrap().unwrap_or_default()
}

const PLAIN: Style = Style {
    bold: false,
    italic: false,
    underline: false,
    colour: None,
};
const BOLD: Style = Style {
    bold: true,
    ..PLAIN
};

fn span(text: &str, style: Style) -> Span {
    let text = text.to_owned();
    Span { text, style }
}

#[test]
fn neighbours_join_and_empty_lines_go() {
    let lines = finished(&[
        ("\n\n a", PLAIN),
        ("b", PLAIN),
        (" ", BOLD),
        ("\n \t\n\0c\u{feff}", BOLD),
    ]);
    assert_eq!(lines, [vec![span("ab", PLAIN)], vec![span("c", BOLD)]]);
    assert!(finished(&[(" \n\t", PLAIN), ("  ", BOLD)]).is_empty());
}

#[test]
fn only_the_ends_of_a_line_are_trimmed() {
    let lines = finished(&[("  a ", PLAIN), ("b  ", BOLD), ("  ", PLAIN)]);
    assert_eq!(lines, [vec![span("a ", PLAIN), span("b", BOLD)]]);
    assert_eq!(
        finished(&[("\u{a0}", PLAIN)]),
        [vec![span("\u{a0}", PLAIN)]]
    );
}

#[test]
fn long_text_is_an_error_and_takes_no_memory() {
    let mut text = Text::default();
    for _ in 0..100 {
        text.push(&"x".repeat(1000), PLAIN);
    }
    assert!(text.bytes <= MOST_CUE_BYTES);
    assert!(text.finish().is_err());
    let mut text = Text::default();
    for index in 0..MOST_CUE_BYTES {
        text.push_char(' ', if index % 2 == 0 { PLAIN } else { BOLD });
    }
    assert_eq!(text.finish(), Ok(None));
}

#[test]
fn colours_are_the_nearest_of_eight() {
    for (written, colour) in [
        ("red", Some(Colour::Red)),
        ("GREEN", Some(Colour::Lime)),
        ("#800000", Some(Colour::Red)),
        ("#fff", Some(Colour::White)),
        ("#808080ff", Some(Colour::White)),
        ("#101010", Some(Colour::Black)),
        ("ffff00", Some(Colour::Yellow)),
        ("rgb(0, 250, 255)", Some(Colour::Cyan)),
        ("rgba(255,0,255,128)", Some(Colour::Magenta)),
        ("#12345", None),
        ("#ffffffffffff", None),
        ("rgb(0,0)", None),
        ("rgb(300,0,0)", None),
        ("", None),
        ("é", None),
    ] {
        assert_eq!(Colour::read(written), colour, "{written}");
    }
    for colour in Colour::ALL {
        assert_eq!(Colour::read(colour.name()), Some(colour));
        assert_eq!(Colour::read(colour.hex()), Some(colour));
    }
}

#[test]
fn labels_have_their_limits() {
    assert_eq!(label("Français"), Ok("Français".to_owned()));
    for wrong in ["", "a\nb", &"x".repeat(41)] {
        assert!(label(wrong).is_err());
    }
}
