//! 3GPP timed text (`tx3g`, which ffmpeg calls mov_text): the caption tracks of MP4.
//!
//! Samples come in (ETSI TS 126 245), styled text goes out: bold, italic, underlined and coloured
//! as the sample's own `styl` box says. The track's default style, and where its box stands, are
//! in the sample description and not carried.

use super::cue::{Colour, Style, Text};

/// One record of a `styl` box: which characters, and how they look.
struct Record {
    from: usize,
    to: usize,
    style: Style,
}

/// Reads one sample; `boxes` are the pairs of name and content that follow its text.
pub(super) fn read<'a>(
    data: &'a [u8],
    boxes: impl FnOnce(&'a [u8]) -> Vec<(&'a [u8; 4], &'a [u8])>,
) -> Text {
    let mut text = Text::default();
    let Some((length, rest)) = data.split_first_chunk::<2>() else {
        return text;
    };
    let length = usize::from(u16::from_be_bytes(*length));
    let (written, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
    let found = boxes(after).into_iter().find(|(name, _)| *name == b"styl");
    let records = found.map_or_else(Vec::new, |(_, body)| records(body));
    let mut records = records.iter().peekable();
    let mut last = '\0';
    for (place, c) in decoded(written).chars().enumerate() {
        // In their order and apart from each other, as the standard has them.
        while records.next_if(|record| record.to <= place).is_some() {}
        let styled = records.peek().filter(|record| record.from <= place);
        let style = styled.map_or_else(Style::default, |record| record.style);
        match c {
            '\n' if last == '\r' => {}
            '\r' => text.push_char('\n', style),
            c => text.push_char(c, style),
        }
        last = c;
    }
    text
}

/// UTF-8, or UTF-16 with a mark before it.
fn decoded(written: &[u8]) -> String {
    match written {
        [0xfe, 0xff, rest @ ..] => {
            let units = rest
                .as_chunks::<2>()
                .0
                .iter()
                .map(|unit| u16::from_be_bytes(*unit));
            let chars = char::decode_utf16(units);
            chars
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        written => String::from_utf8_lossy(written).into_owned(),
    }
}

fn records(body: &[u8]) -> Vec<Record> {
    let records = body.get(2..).unwrap_or_default().as_chunks::<12>().0;
    records.iter().map(record).collect()
}

fn record([from, from2, to, to2, _, _, face, _, r, g, b, _]: &[u8; 12]) -> Record {
    let white = [*r, *g, *b].iter().all(|channel| *channel >= 0xe0);
    let hex = format!("#{r:02x}{g:02x}{b:02x}");
    Record {
        from: usize::from(u16::from_be_bytes([*from, *from2])),
        to: usize::from(u16::from_be_bytes([*to, *to2])),
        style: Style {
            bold: face & 1 != 0,
            italic: face & 2 != 0,
            underline: face & 4 != 0,
            // White is what captions are.
            colour: Colour::read(&hex).filter(|_| !white),
        },
    }
}
