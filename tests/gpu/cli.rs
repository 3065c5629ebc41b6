//! The command line: `--engine gpu` makes the bytes that `--engine cpu` makes.

use std::path::Path;
use std::process::{Command, Output};

use super::bytes;

fn ciphermill(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ciphermill"))
        .args(arguments)
        .current_dir(dir)
        .output()
        .expect("the program starts")
}

#[test]
fn the_engines_make_the_same_bytes() {
    let dir = tempfile::tempdir().expect("a folder");
    let lengths = [
        0,
        1,
        16,
        4095,
        65_537,
        (4 << 20) - 1,
        (4 << 20) + 17,
        9_000_001,
    ];
    // Counters that carry out of 32, 64 and 128 bits on the way.
    let ivs = [
        "000102030405060708090a0bfffffff0",
        "0001020304050607fffffffffffffff0",
        "fffffffffffffffffffffffffffffff0",
    ];
    for (index, length) in lengths.into_iter().enumerate() {
        std::fs::write(dir.path().join("in"), bytes(length, index as u64)).expect("IN");
        let key_bytes = [16, 24, 32][index % 3];
        std::fs::write(dir.path().join("key"), bytes(key_bytes, 9)).expect("a key");
        for mode in ["aes-ctr", "aes-gcm"] {
            let made = ["gpu", "cpu"].map(|engine| {
                let out = format!("out-{engine}");
                let arguments = ["encrypt", "--mode", mode, "--key-file", "key", "--iv"];
                let rest = [ivs[index % 3], "--engine", engine, "in", &out];
                let done = ciphermill(&[&arguments[..], &rest[..]].concat(), dir.path());
                assert!(done.status.success(), "{done:?}");
                std::fs::read(dir.path().join(out)).expect("OUT")
            });
            assert!(made[0] == made[1], "{mode}, {length} bytes");
            let back = [
                "decrypt",
                "--mode",
                mode,
                "--key-file",
                "key",
                "--iv",
                ivs[index % 3],
            ];
            let rest = ["--engine", "gpu", "out-cpu", "back"];
            let done = ciphermill(&[&back[..], &rest[..]].concat(), dir.path());
            assert!(done.status.success(), "{done:?}");
            let back = std::fs::read(dir.path().join("back")).expect("OUT");
            assert!(
                back == bytes(length, index as u64),
                "{mode}, {length} bytes back"
            );
        }
    }
}

/// A result appears by rename, which must not put a file in the place of a device.
#[test]
fn a_device_is_not_replaced() {
    use std::os::unix::fs::FileTypeExt;
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("key"), [1; 32]).expect("a key");
    std::fs::write(dir.path().join("in"), [2; 100]).expect("IN");
    let fifo = dir.path().join("out");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success());
    let arguments = "encrypt --mode cobblestone --key-file key in out";
    let done = ciphermill(&arguments.split(' ').collect::<Vec<_>>(), dir.path());
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{said}");
    let kind = std::fs::symlink_metadata(&fifo)
        .expect("it is there")
        .file_type();
    assert!(kind.is_fifo(), "{said}");
}

#[test]
fn a_machine_without_an_adapter_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("key"), [1; 32]).expect("a key");
    std::fs::write(dir.path().join("in"), [2; 100]).expect("IN");
    let done = Command::new(env!("CARGO_BIN_EXE_ciphermill"))
        .args("encrypt --mode cobblestone --key-file key --engine gpu in out".split(' '))
        .current_dir(dir.path())
        .env("VK_DRIVER_FILES", "/nonexistent")
        .env("VK_ICD_FILENAMES", "/nonexistent")
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(69), "{said}");
    assert!(said.contains("no GPU") && said.contains("help: "), "{said}");
    assert!(!dir.path().join("out").exists());
}
