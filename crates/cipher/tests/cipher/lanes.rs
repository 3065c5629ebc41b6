//! Multi-buffer CBC: streams of unequal lengths and key sizes, fewer and more than there are lanes.

use ciphermill_cipher::Block;
use ciphermill_cipher::cpu::{CbcStream, Data, Kernel, Keyed};

use super::{bytes, others, secret};

struct Stream {
    key: Vec<u8>,
    keyed: Box<dyn Keyed>,
    iv: Block,
    plain: Vec<u8>,
    out: Vec<u8>,
}

fn streams(
    kernel: &'static dyn Kernel,
    count: usize,
    blocks: impl Fn(usize) -> usize,
) -> Vec<Stream> {
    let make = |index| {
        let key = bytes([16, 24, 32, 16, 16][index % 5], index as u64);
        let plain = bytes(16 * blocks(index), index as u64 + 1);
        Stream {
            keyed: kernel.key(&secret(&key)).expect("key"),
            key,
            iv: bytes(16, index as u64 + 2).try_into().expect("16"),
            out: plain.clone(),
            plain,
        }
    };
    (0..count).map(make).collect()
}

fn check(kernel: &'static dyn Kernel, mut streams: Vec<Stream>) {
    let count = streams.len();
    let mut together: Vec<_> = streams
        .iter_mut()
        .enumerate()
        .map(|(index, stream)| CbcStream {
            key: stream.keyed.as_ref(),
            chain: stream.iv,
            data: if index % 2 == 0 {
                stream.out.as_mut_slice().into()
            } else {
                Data::new(&stream.plain, &mut stream.out).expect("equal lengths")
            },
        })
        .collect();
    kernel.cbc_encrypt(&mut together);
    let chains: Vec<_> = together.iter().map(|stream| stream.chain).collect();
    drop(together);
    for (index, (stream, chain)) in streams.into_iter().zip(chains).enumerate() {
        let expected = others::cbc(&stream.key, stream.iv, &stream.plain);
        assert_eq!(stream.out, expected, "stream {index} of {count}");
        let last = expected.last_chunk().copied().unwrap_or(stream.iv);
        assert_eq!(chain, last, "chain {index} of {count}");
    }
}

/// Long streams at equal page offsets, in place: the groups of lanes lag behind each other.
pub fn aligned_streams(kernel: &'static dyn Kernel) {
    const STRIDE: usize = 3 * 4096;
    let key = bytes(16, 77);
    let keyed = kernel.key(&secret(&key)).expect("key");
    for count in [16, 31, 32, 33, 64] {
        let mut memory = bytes((count + 1) * STRIDE, 78);
        let start = memory.as_ptr().align_offset(4096);
        let length = |index: usize| 8192 + 16 * (index * 7 % 33);
        let plain: Vec<_> = (0..count)
            .map(|index| memory[start + index * STRIDE..][..length(index)].to_vec())
            .collect();
        let places = memory[start..].chunks_mut(STRIDE).take(count);
        let mut together: Vec<_> = places
            .enumerate()
            .map(|(index, place)| CbcStream {
                key: keyed.as_ref(),
                chain: [index as u8; 16],
                data: (&mut place[..length(index)]).into(),
            })
            .collect();
        kernel.cbc_encrypt(&mut together);
        drop(together);
        for (index, plain) in plain.iter().enumerate() {
            let made = &memory[start + index * STRIDE..][..length(index)];
            let expected = others::cbc(&key, [index as u8; 16], plain);
            assert_eq!(made, expected, "stream {index} of {count}");
        }
    }
}

/// One to seventy streams of unequal lengths: lanes idle, and lanes are filled again.
pub fn many_streams(kernel: &'static dyn Kernel) {
    for count in 0..=70 {
        check(kernel, streams(kernel, count, |index| index * 37 % 83));
    }
}

/// Streams of every length up to a few registers, so that every tail meets every neighbour.
pub fn few_streams(kernel: &'static dyn Kernel) {
    for blocks in 0..=20 {
        check(kernel, streams(kernel, 33, |index| (blocks + index) % 21));
    }
    // Streams of another kernel's keys are done all the same.
    let foreign: &'static dyn Kernel = &ciphermill_cipher::cpu::portable::Portable;
    let mut mixed = streams(kernel, 5, |index| index + 1);
    mixed.extend(streams(foreign, 5, |index| index + 3));
    check(kernel, mixed);
}
