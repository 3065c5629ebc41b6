//! Pairs of every field and channel, and bytes that are nothing.

use super::*;

/// Triples of type `field` with one caption on a channel, pop-on.
fn triples(field: u8, channel: u8) -> Vec<u8> {
    let codes = [
        [0x14, 0x20],
        [0x14, 0x2e],
        [0x14, 0x70],
        [b'h', b'i'],
        [0x14, 0x2f],
    ];
    let odd = |byte: u8| byte | u8::from(byte.count_ones().is_multiple_of(2)) << 7;
    let pairs = codes.into_iter().map(|[first, second]| match first {
        0x14 => [first | channel << 3, second],
        _ => [first, second],
    });
    pairs
        .flat_map(|[first, second]| [0xfc | field, odd(first), odd(second)])
        .collect()
}

fn told(pairs: Pairs) -> Vec<(u64, String)> {
    let (track, _) = pairs.finish().unwrap().finish().unwrap();
    let cues = track.cues.iter();
    cues.map(|cue| (cue.start_ms, cue.lines[0][0].text.clone()))
        .collect()
}

#[test]
fn the_first_channel_with_a_cue_is_read() {
    for (field, channel) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut pairs = Pairs::default();
        pairs.triples(1001, &triples(field, channel)).unwrap();
        pairs.triples(2002, &[0xfc | field, 0x80, 0x80]).unwrap();
        // Pairs of one picture take a frame each.
        assert_eq!(told(pairs), [(1134, "hi".to_owned())], "{field} {channel}");
    }
}

#[test]
fn invalid_pairs_and_cea_708_are_passed_over() {
    let mut pairs = Pairs::default();
    let invalid: Vec<u8> = triples(0, 0)
        .iter()
        .map(|byte| if *byte == 0xfc { 0xf8 } else { *byte })
        .collect();
    pairs.triples(0, &invalid).unwrap();
    pairs.triples(0, &triples(2, 0)).unwrap();
    pairs.triples(0, &[0xfc, 0x94]).unwrap();
    assert!(pairs.0.is_empty());
}

#[test]
fn pictures_out_of_order_are_put_in_order() {
    let mut pairs = Pairs::default();
    let triples = triples(0, 0);
    for place in [0, 3, 1, 2, 4] {
        let mut data = b"\0\0\0\x20\x06\x04GA94\x03\x41\xff".to_vec();
        data.extend(&triples[place * 3..place * 3 + 3]);
        pairs.picture(place as u64 * 1001, &data).unwrap();
    }
    assert_eq!(told(pairs), [(4004, "hi".to_owned())]);
}

#[test]
fn no_bytes_make_it_panic() {
    let mut file = b"\x18\x53\x80\x67\xff\x1f\x43\xb6\x75\xff\xe7\x81\x07".to_vec();
    file.extend(b"\xa3\x9a\x81\0\x01\x80GA94\x03\x45\xff");
    file.extend(triples(0, 0));
    let cues = |bytes: &[u8]| parse(bytes).unwrap().finish().unwrap().0.cues.len();
    assert_eq!(cues(&file), 1);
    for length in 0..file.len() {
        cues(&file[..length]);
    }
    for at in 0..file.len() {
        for byte in 0..=255 {
            let mut bad = file.clone();
            bad[at] = byte;
            let _ = parse(&bad);
        }
    }
}
