//! Records in every chunking, and from a helper that has turned.

use proptest::prelude::*;

use super::*;

const CAPS: Caps = Caps {
    width: 100,
    height: 50,
    picture_bytes: 1000,
    pictures: 5,
    total_bytes: 2000,
};

fn made(length: usize) -> Made {
    let bytes = vec![7; length];
    Made {
        width: 64,
        height: 32,
        bytes,
    }
}

/// All records of `bytes` pushed in pieces of these lengths, and how it ended.
fn read(bytes: &[u8], pieces: &[usize]) -> (Vec<Record>, Option<Refused>, bool) {
    let mut records = Records::new(CAPS);
    let (mut all, mut rest) = (Vec::new(), bytes);
    let mut pieces = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(pieces.next().unwrap().clamp(1, rest.len()));
        rest = later;
        records.push(piece);
        loop {
            match records.next() {
                Ok(Some(record)) => all.push(record),
                Ok(None) => break,
                Err(refused) => return (all, Some(refused), records.is_over()),
            }
        }
    }
    (all, None, records.is_over())
}

fn written() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    writer.picture(&made(1)).unwrap();
    writer
        .skipped(2, &Refused::new("the picture is damaged"))
        .unwrap();
    writer.picture(&made(1000)).unwrap();
    writer.end().unwrap();
    bytes
}

fn expected() -> Vec<Record> {
    let why = Refused::new("the picture is damaged");
    vec![
        Record::Picture(made(1)),
        Record::Skipped { number: 2, why },
        Record::Picture(made(1000)),
        Record::End,
    ]
}

#[test]
fn what_is_written_is_read() {
    assert_eq!(read(&written(), &[]), (expected(), None, true));
    let mut bytes = Vec::new();
    let why = Refused::new("the file cannot be read");
    Writer::new(&mut bytes).refused(&why).unwrap();
    assert_eq!(read(&bytes, &[]), (vec![Record::Refused(why)], None, true));
}

#[test]
fn a_helper_that_breaks_off_is_not_over() {
    let bytes = written();
    for length in 0..bytes.len() {
        let (records, refused, over) = read(&bytes[..length], &[]);
        assert_eq!((refused, over), (None, false), "{length}");
        assert_eq!(records, expected()[..records.len()], "{length}");
    }
}

fn head(letter: u8, numbers: &[u32]) -> Vec<u8> {
    let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
    std::iter::once(letter).chain(numbers).collect()
}

#[test]
fn what_no_honest_helper_sends_is_an_error() {
    let picture = |length| [head(b'P', &[64, 32, length as u32]), vec![7; length]].concat();
    let cases: [(&str, Vec<u8>); 17] = [
        ("too wide", head(b'P', &[101, 50, 1])),
        ("too high", head(b'P', &[100, 51, 1])),
        ("no width", head(b'P', &[0, 50, 1])),
        ("no height", head(b'P', &[100, 0, 1])),
        ("too long a picture", head(b'P', &[100, 50, 1001])),
        ("a claim of gigabytes", head(b'P', &[100, 50, u32::MAX])),
        ("an empty picture", head(b'P', &[100, 50, 0])),
        (
            "too many bytes",
            [picture(1000), picture(1000), picture(1)].concat(),
        ),
        ("too many pictures", picture(1).repeat(6)),
        ("a picture passed over", head(b'S', &[2, 1])),
        (
            "no such picture",
            [picture(1).repeat(5), head(b'S', &[6, 1])].concat(),
        ),
        ("too long a text", head(b'R', &[121])),
        ("a text with a bell", [head(b'R', &[1]), vec![7]].concat()),
        (
            "a text with a letter not in ASCII",
            [head(b'R', &[1]), vec![0xe9]].concat(),
        ),
        ("a wrong count", head(b'E', &[1])),
        ("a byte after the end", [head(b'E', &[0]), vec![0]].concat()),
        ("another letter", vec![b'p']),
    ];
    for (name, bytes) in cases {
        let (_, refused, over) = read(&bytes, &[]);
        let refused = refused.unwrap_or_else(|| panic!("{name} is taken"));
        assert!(refused.what.len() <= Refused::LONGEST && over, "{name}");
    }
}

#[test]
fn after_an_error_there_are_only_errors() {
    let mut records = Records::new(CAPS);
    records.push(b"x");
    assert!(records.next().is_err());
    records.push(&written());
    assert!(records.next().is_err());
}

proptest! {
    #[test]
    fn every_chunking_gives_the_same(pieces in prop::collection::vec(1usize..40, 0..100)) {
        prop_assert_eq!(read(&written(), &pieces), (expected(), None, true));
    }

    #[test]
    fn a_changed_byte_gives_the_same_in_every_chunking_and_never_a_panic(
        pieces in prop::collection::vec(1usize..40, 0..100),
        place in 0usize..1000,
        byte: u8,
    ) {
        let mut bytes = written();
        let place = place % bytes.len();
        bytes[place] = byte;
        prop_assert_eq!(read(&bytes, &pieces), read(&bytes, &[]));
    }

    #[test]
    fn garbage_never_panics(letter in "[PSER]", bytes: Vec<u8>) {
        let garbage = [letter.as_bytes(), &bytes].concat();
        let (records, _, _) = read(&garbage, &[]);
        prop_assert!(records.len() <= garbage.len());
    }
}
