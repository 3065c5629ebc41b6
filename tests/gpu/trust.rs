//! Devices that are wrong, lost or too slow: each is found out, and every byte is right all the same.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ciphermill::engine::both::Both;
use ciphermill::engine::cpu::CpuEngine;
use ciphermill::engine::gpu::device::SHADER;
use ciphermill::engine::gpu::{Gpu, Options, Verify};
use ciphermill::fault::Code;
use futures_util::future::join_all;

use super::{WHOLE, bytes, ctr, encrypt, forced, memory, options, others};

const MIB: usize = 1 << 20;

/// The shader with something exchanged.
fn shader(from: &str, to: &str) -> Cow<'static, str> {
    assert_eq!(
        SHADER.matches(from).count(),
        1,
        "the shader has changed: {from}"
    );
    Cow::Owned(SHADER.replace(from, to))
}

/// What it writes, with one bit changed in the blocks that `which` names.
fn flipped(which: &str) -> Cow<'static, str> {
    let right = "source[tile.first + block] ^ stream.a;";
    let wrong = format!(
        "source[tile.first + block] ^ stream.a ^ vec4(select(0u, 1u, {which}), 0u, 0u, 0u);"
    );
    shader(right, &wrong)
}

/// 100 objects, ten at a time, all of which come out right.
async fn hundred(engine: &Both) {
    let memory = memory(64 * MIB).await;
    for round in 0..10u64 {
        let objects: Vec<_> = (0..10)
            .map(|index| bytes(100_000 + 977 * index, round * 10 + index as u64))
            .collect();
        let sealed = objects.iter().map(|plain| async {
            let cipher = ctr(&plain[..32], [round as u8; 16]);
            encrypt(engine, &memory, &cipher, WHOLE, plain).await
        });
        for (sealed, plain) in join_all(sealed).await.into_iter().zip(&objects) {
            assert_eq!(
                &sealed.out[..],
                others::ctr(&plain[..32], [round as u8; 16], plain)
            );
        }
    }
}

#[tokio::test]
async fn a_shader_that_is_wrong_does_not_pass_its_self_test() {
    for (from, to) in [
        ("0x3f3f3f3fu", "0x3f3f3f3eu"),
        ("(w < add) & (width > 32u)", "false"),
        (
            "let key = tile.key * (2u * (ROUNDS + 1u));",
            "let key = 2u;",
        ),
    ] {
        let wrong = Options {
            shader: shader(from, to),
            ..options()
        };
        let fault = forced(wrong).map(|_| ()).expect_err("a wrong shader");
        assert_eq!(fault.code, Code::GpuUnavailable, "{from}");
        assert!(fault.message.contains("self-test"), "{fault}");
    }
    let broken = Options {
        shader: shader("fn encrypt(", "fn encrypt!("),
        ..options()
    };
    let fault = forced(broken).map(|_| ()).expect_err("no shader at all");
    assert_eq!(fault.code, Code::GpuUnavailable);
}

/// A device with these options passes its self-test, and is found out in the middle of 100 objects.
async fn is_found_out(options: Options, kind: &str) {
    let engine = forced(options).expect("it passes the self-test");
    hundred(&engine).await;
    let gpu = engine.gpu().expect("it was there");
    assert_eq!(gpu.retired().expect("it was found out").kind, kind);
}

/// Right in the tiles of the self-test, and wrong in all others.
#[tokio::test]
async fn a_device_that_goes_wrong_is_retired_by_the_sample() {
    let wrong = Options {
        shader: shader(
            "let key = tile.key * (2u * (ROUNDS + 1u));",
            "let key = select(0u, 2u, index > 4u);",
        ),
        ..options()
    };
    is_found_out(wrong, "mismatch").await;
}

/// Wrong in a single block of a tile, which a sample finds once in a thousand.
#[tokio::test]
async fn a_single_wrong_block_is_found_where_everything_is_verified() {
    let wrong = Options {
        shader: flipped("(index == 5u) & (block == 135u)"),
        verify: Verify::Full,
        ..options()
    };
    is_found_out(wrong, "mismatch").await;
}

#[tokio::test]
async fn a_device_that_is_lost_costs_nobody_anything() {
    for round in 0..5 {
        let engine = Arc::new(forced(options()).expect("software Vulkan"));
        let user = Arc::clone(&engine);
        let killer = std::thread::spawn(move || {
            let gpu = user.gpu().expect("a device");
            // In the middle of its work.
            while gpu.done_bytes() < round * 1_000_000 || gpu.queued_bytes() == 0 {
                std::thread::yield_now();
            }
            gpu.lose();
        });
        hundred(&engine).await;
        killer.join().expect("it was lost");
        let gpu = engine.gpu().expect("it was there");
        let failure = gpu.retired().expect("it was lost");
        assert!(gpu.done_bytes() < 10_000_000, "{}", gpu.done_bytes());
        assert_eq!(failure.kind, "lost", "{}", failure.reason);
    }
}

#[tokio::test]
async fn a_device_that_takes_too_long_is_retired() {
    // Later tiles are encrypted over and over. (lavapipe leaves a shader's loops after 65,536 rounds.)
    let again = shader("let stream = encrypt(key,", "let stream = slow(index, key,");
    let slow = "
fn slow(index: u32, key: u32, blocks: Blocks) -> Blocks {
    let right = encrypt(key, blocks);
    var other = right;
    if index > 4u {
        for (var i = 0u; i < 1500u; i++) {
            other = encrypt(key, other);
        }
    }
    if all(other.a == vec4(77u)) {
        return blocks;
    }
    return right;
}
";
    let slow = Options {
        limit: Duration::from_secs(1),
        shader: Cow::Owned(format!("{again}{slow}")),
        ..options()
    };
    is_found_out(slow, "timeout").await;
}

/// `auto` leaves a software adapter alone, however much there is to do.
#[tokio::test]
async fn a_software_adapter_is_never_chosen_by_itself() {
    let options = Options {
        software: false,
        ..options()
    };
    let engine = Both::auto(CpuEngine::start(2, false).expect("threads"), options);
    let memory = memory(32 * MIB).await;
    let plain = bytes(4 * MIB, 9);
    let cipher = ctr(&[1; 16], [2; 16]);
    for _ in 0..270 {
        encrypt(&engine, &memory, &cipher, WHOLE, &plain).await;
    }
    for _ in 0..200 {
        if engine.has_looked() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(engine.has_looked(), "a GiB is enough to look for a GPU");
    let software = |gpu: &Gpu| gpu.adapter().is_software();
    assert!(!engine.gpu().is_some_and(software));
}
