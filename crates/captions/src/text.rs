//! Text: bytes of an unknown encoding in, text with LF line ends out.
//!
//! A byte order mark decides; without one UTF-8 is tried, and what is not UTF-8 is Latin-1 in the
//! form that the web reads it (Windows-1252). Binary data is refused here, before any parser.

use serde::{Deserialize, Serialize};

use super::Refused;

/// How a file was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Encoding {
    Utf8,
    /// UTF-8 with a few bytes at fault, each read as U+FFFD.
    Utf8Damaged,
    Utf16Le,
    Utf16Be,
    /// Latin-1; the codes 0x80 to 0x9F as in Windows-1252.
    Latin1,
}

/// Decodes a file. NUL is read as U+FFFD, as WebVTT asks.
pub(super) fn decode(bytes: &[u8]) -> Result<(String, Encoding), Refused> {
    let (text, encoding) = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        [0xff, 0xfe, rest @ ..] => (utf16(rest, u16::from_le_bytes), Encoding::Utf16Le),
        [0xfe, 0xff, rest @ ..] => (utf16(rest, u16::from_be_bytes), Encoding::Utf16Be),
        _ => utf8(bytes),
    };
    if !is_text(&text) {
        return Err(Refused::new("not a text file"));
    }
    Ok((lines(text), encoding))
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| unit(*pair));
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// A file with more good than bad sequences beyond ASCII is UTF-8 with damage: reading all of it as
/// Latin-1 would spoil every accent for one byte.
fn utf8(bytes: &[u8]) -> (String, Encoding) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (text.to_owned(), Encoding::Utf8);
    }
    let (mut good, mut bad) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        good += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    if good > bad {
        let text = String::from_utf8_lossy(bytes).into_owned();
        return (text, Encoding::Utf8Damaged);
    }
    let text = bytes.iter().map(|byte| latin1(*byte)).collect();
    (text, Encoding::Latin1)
}

/// What Windows-1252 has in place of the C1 control codes; five are not given out.
const CHARS_80_TO_9F: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

fn latin1(byte: u8) -> char {
    let place = byte.checked_sub(0x80).map(usize::from);
    let special = place.and_then(|place| CHARS_80_TO_9F.get(place));
    special.copied().unwrap_or(char::from(byte))
}

/// Text has line ends and tabs, and hardly any other control character.
fn is_text(text: &str) -> bool {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | '\x0c');
    let strange = text
        .chars()
        .filter(|c| c.is_control() && !allowed(*c))
        .count();
    strange <= text.len() / 32
}

/// CRLF and CR become LF, NUL becomes U+FFFD.
fn lines(text: String) -> String {
    if !text.contains(['\r', '\0']) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                chars.next_if_eq(&'\n');
                plain.push('\n');
            }
            '\0' => plain.push(char::REPLACEMENT_CHARACTER),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16_bytes(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn marks_decide() {
        let (text, encoding) = decode(b"\xef\xbb\xbfna\xc3\xafve").unwrap();
        assert_eq!((text.as_str(), encoding), ("naïve", Encoding::Utf8));
        for (bytes, expected) in [
            (
                utf16_bytes("\u{feff}naïve 🙂\r\n", u16::to_le_bytes),
                Encoding::Utf16Le,
            ),
            (
                utf16_bytes("\u{feff}naïve 🙂\r\n", u16::to_be_bytes),
                Encoding::Utf16Be,
            ),
        ] {
            let (text, encoding) = decode(&bytes).unwrap();
            assert_eq!((text.as_str(), encoding), ("naïve 🙂\n", expected));
        }
        let (text, _) = decode(b"\xff\xfe\x00\xd8a").unwrap();
        assert_eq!(text, "\u{fffd}", "a lone surrogate and half a unit");
    }

    #[test]
    fn what_is_not_utf8_is_latin1() {
        let (text, encoding) = decode(b"caf\xe9 \x80 \x93x\x94").unwrap();
        assert_eq!((text.as_str(), encoding), ("café € “x”", Encoding::Latin1));
        let (text, encoding) = decode("ééé\u{e9}".as_bytes().split_last().unwrap().1).unwrap();
        assert_eq!(
            (text.as_str(), encoding),
            ("ééé\u{fffd}", Encoding::Utf8Damaged)
        );
    }

    #[test]
    fn line_ends_become_one_and_binary_is_refused() {
        let (text, _) =
            decode(b"a\r\nb\rc\n\rd and much more text, so that one NUL \0 is little").unwrap();
        assert!(text.starts_with("a\nb\nc\n\nd") && text.contains('\u{fffd}'));
        assert!(decode(&[0; 100]).is_err());
        assert!(decode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0").is_err());
        assert_eq!(decode(b"").unwrap().0, "");
    }
}
