//! Many objects at once: keys, lengths and modes mixed, beside aws-lc-rs and the CPU engine.

use std::sync::Arc;

use ciphermill::checksum::Algorithm;
use ciphermill::engine::cpu::CpuEngine;
use ciphermill::engine::{self, Engine};
use ciphermill::fault::Code;
use ciphermill_cipher::cobblestone::{HEADER_BYTES, Salt};
use ciphermill_cipher::cpu;
use ciphermill_cipher::{Decryptor, Encryptor, Form, Mark, PartAt, TAG_BYTES};
use futures_util::future::join_all;

use super::{WHOLE, bytes, ctr, encrypt, forced, memory, options, others, plaintext, secret};

const MIB: usize = 1 << 20;

/// 200 objects of random lengths under 200 keys, all in the queue together.
#[tokio::test]
async fn two_hundred_objects_with_two_hundred_keys_equal_the_oracle() {
    let engine = forced(options()).expect("software Vulkan");
    let memory = memory(64 * MIB).await;
    for key_bytes in [16, 24, 32] {
        let objects: Vec<_> = (0..200u64)
            .map(|seed| {
                let length = bytes(4, seed * 77 + 5);
                let length = u32::from_le_bytes([length[0], length[1], length[2], 0]) % 70_000;
                // Some counters carry through all of their words.
                let mut start: [u8; 16] = bytes(16, seed).try_into().expect("16");
                if seed % 4 == 0 {
                    start = (u128::MAX - u128::from(seed)).to_be_bytes();
                }
                let key = bytes(key_bytes, seed + 1000);
                (key, start, bytes(length as usize, seed + 2000))
            })
            .collect();
        let sealed = objects.iter().map(|(key, start, plain)| {
            let cipher = ctr(key, *start);
            let (engine, memory) = (&engine, &memory);
            async move { encrypt(engine, memory, &cipher, WHOLE, plain).await }
        });
        for (sealed, (key, start, plain)) in join_all(sealed).await.into_iter().zip(&objects) {
            assert!(sealed.by_gpu || plain.is_empty());
            assert_eq!(&sealed.out[..], others::ctr(key, *start, plain));
        }
    }
    let gpu = engine.gpu().expect("a device");
    assert_eq!(gpu.retired(), None);
    assert!(engine.spent().gpu_bytes > 10 << 20);
}

fn ciphers(mode: &str, key: &[u8]) -> (Encryptor, Encryptor) {
    let make = || match mode {
        "gcm" => Encryptor::gcm(cpu::best(), &secret(key), &[7; 12]),
        "gcm 16" => Encryptor::gcm(cpu::best(), &secret(key), &[9; 16]),
        _ => Encryptor::cobblestone(cpu::best(), &secret(key), Salt::existing([3; 24]), b"c"),
    };
    (make().expect("key"), make().expect("key"))
}

fn opener(mode: &str, key: &[u8], sealed: &[u8]) -> Decryptor {
    let (kernel, key) = (cpu::best(), secret(key));
    match mode {
        "gcm" => Decryptor::gcm(kernel, &key, &[7; 12]),
        "gcm 16" => Decryptor::gcm(kernel, &key, &[9; 16]),
        _ => {
            let header = sealed.first_chunk::<HEADER_BYTES>().expect("a header");
            Decryptor::cobblestone(kernel, &key, header, b"c")
        }
    }
    .expect("key")
}

/// Authenticated modes, parts at their offsets: the device's bytes and marks are the CPU's, and a
/// changed byte is refused.
#[tokio::test]
async fn authenticated_parts_equal_the_cpus_and_open_again() {
    let engine = forced(options()).expect("software Vulkan");
    let memory = memory(64 * MIB).await;
    for mode in ["gcm", "gcm 16", "cobblestone"] {
        for (offset, last, length) in [
            (0, true, 1),
            (0, true, 16_384),
            (0, false, 16_384 * 5),
            (0, true, 300_001),
            (16_384 * 9, false, 16_384 * 40),
            (16_384 * 9, true, 16_384 * 3 + 77),
        ] {
            let key = bytes(32, length as u64);
            let (ours, theirs) = ciphers(mode, &key);
            let (at, plain) = (PartAt { offset, last }, bytes(length, 3));
            let mut expected = vec![0; theirs.form().sealed_part_len(at, length)];
            let mark = theirs.encrypt(at, Mark::None, &plain, &mut expected, |_| {});
            let ours = Arc::new(ours);
            let mut sealed = encrypt(&engine, &memory, &ours, at, &plain).await;
            assert!(sealed.by_gpu, "{mode}, {length} bytes");
            assert_eq!(&sealed.out[..], expected, "{mode}, {length} bytes");
            assert_eq!(sealed.mark, mark);
            if let (true, Some(tag)) = (last && offset == 0, ours.finish(sealed.mark)) {
                let end = sealed.out.len() - TAG_BYTES;
                sealed.out[end..].copy_from_slice(&tag);
            }
            let head = if mode == "cobblestone" && offset == 0 {
                HEADER_BYTES
            } else {
                0
            };
            let (first, _) = ciphers(mode, &key);
            let mut header = vec![0; first.form().sealed_part_len(WHOLE, 0)];
            first.encrypt(WHOLE, Mark::None, &[], &mut header, |_| {});
            let decryptor = Arc::new(opener(mode, &key, &header));
            let body = &sealed.out[head..];
            for flip in [None, Some(length / 2)] {
                let mut part = memory.buffer(Form::buffer_bytes(length as u64));
                part.append(body);
                if let Some(byte) = flip {
                    part[byte] ^= 1;
                }
                let before = engine.spent().gpu_bytes;
                let opened =
                    ciphermill::engine::decrypt(&engine, Arc::clone(&decryptor), at, part).await;
                let by_gpu = engine.spent().gpu_bytes - before;
                assert_eq!(by_gpu, body.len() as u64, "{mode}, {length} bytes");
                match (flip, mode) {
                    (None, _) => {
                        let (part, opened) = opened.expect("it opens");
                        assert_eq!(&part[opened.plain.clone()], plain, "{mode}, {length}");
                        assert_eq!(opened.mark, mark);
                        if last && offset == 0 {
                            decryptor.verify(opened.mark, opened.tag).expect("the tag");
                        }
                    }
                    (Some(_), "cobblestone") => {
                        let fault = opened.map(|_| ()).expect_err("forged");
                        assert_eq!(fault.code, Code::DecryptFailed);
                    }
                    (Some(_), _) => {
                        let (_, opened) = opened.expect("its tag comes at the end");
                        assert_ne!(opened.mark, mark);
                        if last && offset == 0 {
                            decryptor
                                .verify(opened.mark, opened.tag)
                                .expect_err("forged");
                        }
                    }
                }
            }
        }
    }
    assert!(engine.spent().gpu_bytes > MIB as u64);
    assert_eq!(engine.gpu().and_then(|gpu| gpu.retired().cloned()), None);
}

/// What waits for the CPU is what the choice between engines goes by: it has to come back to nothing.
#[tokio::test]
async fn nothing_waits_when_all_is_done() {
    let cpu = CpuEngine::start(2, false).expect("threads");
    let memory = memory(64 * MIB).await;
    let plain = bytes(100_000, 1);
    let work = (0..40u8).map(|index| {
        let cipher = match index % 2 {
            0 => Encryptor::cbc(cpu::best(), &secret(&[index; 16]), [index; 16]),
            _ => Encryptor::gcm(cpu::best(), &secret(&[index; 16]), &[index; 12]),
        };
        let out = memory.buffer(Form::buffer_bytes(plain.len() as u64));
        let plain = plaintext(&memory, &plain);
        let cipher = Arc::new(cipher.expect("key"));
        let sum = Algorithm::Crc64Nvme;
        engine::encrypt(&cpu, cipher, WHOLE, Mark::None, (plain, out), sum)
    });
    for done in join_all(work).await {
        done.expect("an answer");
    }
    assert_eq!(cpu.queued_bytes(), 0);
}

/// Parts that are larger than a slot, empty ones, serial modes and keys that must not leave the CPU
/// are the CPU's.
#[tokio::test]
async fn the_cpu_keeps_what_is_its_own() {
    let engine = forced(options()).expect("software Vulkan");
    let memory = memory(64 * MIB).await;
    let (key, start) = (bytes(16, 1), [5; 16]);
    let large = bytes(3 * MIB, 2);
    let sealed = encrypt(&engine, &memory, &ctr(&key, start), WHOLE, &large).await;
    assert_eq!(&sealed.out[..], others::ctr(&key, start, &large));
    let empty = encrypt(&engine, &memory, &ctr(&key, start), WHOLE, &[]).await;
    assert!(empty.out.is_empty());
    let kernel = cpu::best();
    let own = ciphermill_cipher::ctr::CounterStart::from_block(start);
    let own = Encryptor::ctr(kernel, &secret(&key), own).expect("key");
    let own = Arc::new(own.on_cpu_only(true));
    let kept = encrypt(&engine, &memory, &own, WHOLE, &large[..MIB]).await;
    assert_eq!(&kept.out[..], others::ctr(&key, start, &large[..MIB]));
    let cbc = Arc::new(Encryptor::cbc(kernel, &secret(&key), start).expect("key"));
    let cbc = encrypt(&engine, &memory, &cbc, WHOLE, &large[..1000]).await;
    assert!(
        [&sealed, &empty, &kept, &cbc]
            .iter()
            .all(|part| !part.by_gpu)
    );
    assert_eq!(engine.spent().gpu_bytes, 0);
}
