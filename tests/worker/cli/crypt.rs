//! `encrypt` and `decrypt`: files and pipes, what is printed, and what is left when it fails.

use std::process::Command;

use super::mode as permissions;
use crate::support::process::Ended;
use crate::support::{Bench, SOON, noise};

const MODES: [&str; 4] = ["aes-ctr", "aes-cbc-pkcs7", "aes-gcm", "cobblestone"];

/// A bench with a key file of 32 bytes, and a film.
async fn desk(name: &str, bytes: usize) -> (Bench, Vec<u8>) {
    let bench = Bench::new(name).await;
    let (key, _) = bench.key(32);
    std::fs::write(bench.path("key"), &key).unwrap();
    let film = noise(bytes, 60);
    std::fs::write(bench.path("film"), &film).unwrap();
    (bench, film)
}

fn crypt(bench: &Bench, verb: &str, mode: &str, more: &[&str]) -> Ended {
    bench.run(&[&[verb, "--mode", mode, "--key-file", "key"], more].concat())
}

fn listing(bench: &Bench) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(bench.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    names
}

fn printed_iv(ended: &Ended) -> Option<String> {
    ended
        .out
        .lines()
        .find_map(|line| line.strip_prefix("iv ").map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_there_and_back() {
    let (bench, film) = desk("crypt", 9_000_001).await;
    for mode in MODES {
        let ended = crypt(&bench, "encrypt", mode, &["film", "sealed"]);
        assert_eq!(ended.code, Some(0), "{mode}: {ended:?}");
        assert_eq!(permissions(&bench.path("sealed")), 0o600);
        let iv = printed_iv(&ended);
        assert_eq!(iv.is_some(), mode != "cobblestone", "{ended:?}");
        let sealed = std::fs::read(bench.path("sealed")).unwrap();
        assert!(
            !sealed.windows(32).any(|window| window == &film[..32]),
            "{mode} did not encrypt"
        );
        let mut back = vec!["sealed", "opened"];
        if let Some(iv) = &iv {
            assert_eq!(iv.len(), if mode == "aes-gcm" { 24 } else { 32 });
            back.extend(["--iv", iv]);
        }
        let ended = crypt(&bench, "decrypt", mode, &back);
        assert_eq!(ended.code, Some(0), "{mode}: {ended:?}");
        assert!(
            std::fs::read(bench.path("opened")).unwrap() == film,
            "{mode}"
        );
        assert_eq!(permissions(&bench.path("opened")), 0o600);
        if let (Some(iv), Some(name)) = (
            &iv,
            [
                ("aes-ctr", "-aes-256-ctr"),
                ("aes-cbc-pkcs7", "-aes-256-cbc"),
            ]
            .iter()
            .find(|(m, _)| *m == mode),
        ) {
            let key = hex::encode(std::fs::read(bench.path("key")).unwrap());
            let openssl = Command::new("openssl")
                .args(["enc", "-d", name.1, "-K", &key, "-iv", iv, "-in"])
                .arg(bench.path("sealed"))
                .output()
                .unwrap();
            assert!(openssl.stdout == film, "openssl opens {mode}");
        }
    }
    let twice = [
        crypt(&bench, "encrypt", "aes-ctr", &["film", "a"]),
        crypt(&bench, "encrypt", "aes-ctr", &["film", "b"]),
    ];
    assert_ne!(
        printed_iv(&twice[0]),
        printed_iv(&twice[1]),
        "a fresh iv each time"
    );
    let json = crypt(&bench, "encrypt", "aes-gcm", &["--json", "film", "a"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert!(json["bytes"] == film.len() && json["iv"].as_str().unwrap().len() == 24);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipes_there_and_back() {
    let (bench, film) = desk("pipes", 5_000_003).await;
    let iv = hex::encode([9; 16]);
    for mode in MODES {
        let mut arguments = vec!["encrypt", "--mode", mode, "--key-file", "key"];
        if mode != "cobblestone" {
            arguments.extend(["--iv", &iv]);
        }
        arguments.extend(["-", "-"]);
        let ended = bench.start(&arguments, &film).ended(SOON).await;
        assert_eq!(ended.code, Some(0), "{mode}: {}", ended.err);
        assert!(ended.raw.len() >= film.len() && ended.raw != film);
        arguments[0] = "decrypt";
        let opened = bench.start(&arguments, &ended.raw).ended(SOON).await;
        if mode == "aes-gcm" {
            assert_eq!(opened.code, Some(2), "{}", opened.err);
            assert!(
                opened.raw.is_empty() && opened.err.contains("help: "),
                "nothing is released unverified"
            );
            continue;
        }
        assert!(
            opened.code == Some(0) && opened.raw == film,
            "{mode}: {}",
            opened.err
        );
        // P7: of a stream that was changed, nothing behind the change comes out.
        if mode == "cobblestone" {
            let mut forged = ended.raw.clone();
            forged[3_000_000] ^= 1;
            let forged = bench.start(&arguments, &forged).ended(SOON).await;
            assert_eq!(forged.code, Some(65), "{}", forged.err);
            assert!(forged.raw.len() < 3_000_000 && film.starts_with(&forged.raw));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_a_failed_decrypt_leaves_nothing() {
    let (bench, _) = desk("failed", 9_000_001).await;
    for mode in ["aes-gcm", "cobblestone", "aes-cbc-pkcs7"] {
        let iv = hex::encode(if mode == "aes-gcm" {
            vec![8; 12]
        } else {
            vec![8; 16]
        });
        let with_iv: &[&str] = if mode == "cobblestone" {
            &[]
        } else {
            &["--iv", &iv]
        };
        assert_eq!(
            crypt(
                &bench,
                "encrypt",
                mode,
                &[with_iv, &["film", "sealed"]].concat()
            )
            .code,
            Some(0)
        );
        let mut sealed = std::fs::read(bench.path("sealed")).unwrap();
        let at = if mode == "aes-cbc-pkcs7" {
            sealed.len() - 17
        } else {
            sealed.len() - 1
        };
        sealed[at] ^= 0x20;
        std::fs::write(bench.path("sealed"), &sealed).unwrap();
        let before = listing(&bench);
        let ended = crypt(
            &bench,
            "decrypt",
            mode,
            &[with_iv, &["sealed", "opened"]].concat(),
        );
        assert_eq!(ended.code, Some(65), "{mode}: {ended:?}");
        assert!(
            ended.err.contains("[decrypt_failed]") && ended.err.contains("help: "),
            "{ended:?}"
        );
        assert_eq!(listing(&bench), before, "{mode} left something");
        // What was there stays what it was.
        std::fs::write(bench.path("kept"), b"precious").unwrap();
        let ended = crypt(
            &bench,
            "decrypt",
            mode,
            &[with_iv, &["sealed", "kept"]].concat(),
        );
        assert_eq!(ended.code, Some(65));
        assert_eq!(std::fs::read(bench.path("kept")).unwrap(), b"precious");
        std::fs::remove_file(bench.path("kept")).unwrap();
        std::fs::remove_file(bench.path("sealed")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_arguments_are_told() {
    let (bench, _) = desk("wrong", 70_000).await;
    let before = listing(&bench);
    std::fs::write(bench.path("hexkey"), hex::encode(noise(32, 61))).unwrap();
    std::fs::write(bench.path("short"), [1; 15]).unwrap();
    for key in ["hexkey", "short"] {
        let ended = bench.run(&[
            "encrypt",
            "--mode",
            "aes-ctr",
            "--key-file",
            key,
            "film",
            "out",
        ]);
        assert!(
            ended.code == Some(65) && ended.err.contains("16, 24 or 32"),
            "{ended:?}"
        );
    }
    std::fs::write(bench.path("middle"), noise(24, 62)).unwrap();
    let ended = bench.run(&[
        "encrypt",
        "--mode",
        "cobblestone",
        "--key-file",
        "middle",
        "film",
        "out",
    ]);
    assert_eq!(ended.code, Some(65), "{ended:?}");
    for (mode, iv, code) in [
        ("aes-ctr", "zz", 2),
        ("aes-ctr", "00", 65),
        ("aes-cbc-pkcs7", "000102030405060708090a0b", 65),
        ("cobblestone", "000102030405060708090a0b", 65),
        ("aes-ecb", "00", 2),
    ] {
        let ended = crypt(&bench, "encrypt", mode, &["--iv", iv, "film", "out"]);
        assert_eq!(ended.code, Some(code), "{mode} {iv}: {ended:?}");
    }
    assert_eq!(
        crypt(&bench, "decrypt", "aes-ctr", &["film", "out"]).code,
        Some(2),
        "it needs the iv"
    );
    assert_ne!(
        crypt(&bench, "encrypt", "aes-ctr", &["none", "out"]).code,
        Some(0)
    );
    for name in ["hexkey", "short", "middle"] {
        std::fs::remove_file(bench.path(name)).unwrap();
    }
    assert_eq!(listing(&bench), before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_context_belongs_to_the_key() {
    let (bench, film) = desk("context", 70_000).await;
    let sealed = crypt(
        &bench,
        "encrypt",
        "cobblestone",
        &["--context", "c0ffee", "film", "sealed"],
    );
    assert_eq!(sealed.code, Some(0), "{sealed:?}");
    assert_eq!(
        crypt(&bench, "decrypt", "cobblestone", &["sealed", "opened"]).code,
        Some(65)
    );
    assert_eq!(
        crypt(
            &bench,
            "decrypt",
            "cobblestone",
            &["--context", "c0ffef", "sealed", "opened"]
        )
        .code,
        Some(65)
    );
    assert!(!bench.path("opened").exists());
    assert_eq!(
        crypt(
            &bench,
            "decrypt",
            "cobblestone",
            &["--context", "c0ffee", "sealed", "opened"]
        )
        .code,
        Some(0)
    );
    assert!(std::fs::read(bench.path("opened")).unwrap() == film);
}
