//! The characters of CEA-608: ASCII with ten changes, 16 special ones, 64 extended ones.
//!
//! Codes without their parity come in, characters go out.

/// What stands in ASCII's places 0x27, 0x2A, 0x5C, 0x5E to 0x60 and 0x7B to 0x7F.
pub(super) fn basic(code: u8) -> char {
    match code {
        0x27 => '’',
        0x2a => 'á',
        0x5c => 'é',
        0x5e => 'í',
        0x5f => 'ó',
        0x60 => 'ú',
        0x7b => 'ç',
        0x7c => '÷',
        0x7d => 'Ñ',
        0x7e => 'ñ',
        0x7f => '█',
        code => char::from(code),
    }
}

/// 0x11 0x30 to 0x3F. The tenth is the transparent space.
const SPECIAL: &str = "®°½¿™¢£♪à\u{a0}èâêîôû";

/// 0x12 0x20 to 0x3F: Spanish, miscellaneous, French.
const SPANISH_FRENCH: &str = "ÁÉÓÚÜü´¡*‘-©℠·“”ÀÂÇÈÊËëÎÏïÔÙùÛ«»";

/// 0x13 0x20 to 0x3F: Portuguese, German, Danish.
const PORTUGUESE_GERMAN: &str = "ÃãÍÌìÒòÕõ{}\\^_|~ÄäÖöß¥¤¦ÅåØø┌┐└┘";

/// A special character.
pub(super) fn special(code: u8) -> Option<char> {
    SPECIAL.chars().nth(usize::from(code.checked_sub(0x30)?))
}

/// An extended character: it takes the place of the one before it.
pub(super) fn extended(set: u8, code: u8) -> Option<char> {
    let table = match set {
        0x12 => SPANISH_FRENCH,
        0x13 => PORTUGUESE_GERMAN,
        _ => return None,
    };
    table.chars().nth(usize::from(code.checked_sub(0x20)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_whole() {
        assert_eq!(SPECIAL.chars().count(), 16);
        assert_eq!(SPANISH_FRENCH.chars().count(), 32);
        assert_eq!(PORTUGUESE_GERMAN.chars().count(), 32);
        assert_eq!(special(0x37), Some('♪'));
        assert_eq!(special(0x3f), Some('û'));
        assert_eq!(special(0x20), None);
        assert_eq!(extended(0x12, 0x3f), Some('»'));
        assert_eq!(extended(0x13, 0x34), Some('ß'));
        assert_eq!(extended(0x13, 0x40), None);
        assert_eq!(basic(b'A'), 'A');
    }
}
