//! Second opinions: tests/support/oracle.py (Python `cryptography`) in one process per test, and the openssl program.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::support::variable;

/// A key, and what a mode needs besides.
#[derive(Clone, Default)]
pub struct Recipe {
    pub mode: &'static str,
    pub key: Vec<u8>,
    pub iv: Option<Vec<u8>>,
    pub ctr_start: Option<u32>,
    pub context: Option<Vec<u8>>,
}

/// A running oracle.
pub struct Oracle {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    pub fn start() -> Oracle {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/oracle.py");
        let mut child = Command::new(variable("CIPHERMILL_TEST_PYTHON"))
            .args([script, "batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python");
        let questions = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Oracle {
            child,
            questions,
            answers,
        }
    }

    fn ask(&mut self, op: &str, recipe: &Recipe, mut question: Value) -> Value {
        let hex = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(hex::encode);
        question["op"] = json!(op);
        question["mode"] = json!(recipe.mode);
        question["key_hex"] = json!(hex::encode(&recipe.key));
        question["iv_hex"] = json!(hex(&recipe.iv));
        question["ctr_start"] = json!(recipe.ctr_start);
        question["context_hex"] = json!(hex(&recipe.context));
        writeln!(self.questions, "{question}").expect("the oracle listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).expect("JSON")
    }

    /// SHA-256 of the file's plaintext or ciphertext.
    pub fn sha256(&mut self, op: &str, recipe: &Recipe, file: &Path) -> String {
        let answer = self.ask(op, recipe, json!({"in": file, "sha256_only": true}));
        let said = answer["sha256"].as_str();
        said.unwrap_or_else(|| panic!("{op} {}: {answer}", recipe.mode))
            .into()
    }

    /// The file encrypted.
    pub fn encrypt(&mut self, recipe: &Recipe, file: &Path) -> Vec<u8> {
        let out = file.with_extension("sealed");
        let answer = self.ask("encrypt", recipe, json!({"in": file, "out": out}));
        assert_eq!(answer["ok"], true, "{answer}");
        std::fs::read(out).expect("the oracle's file")
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // Ours, and only waiting for the next question.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// SHA-256 of the plaintext of a CTR or CBC file with a 16-byte IV, by the openssl program.
pub fn openssl_sha256(recipe: &Recipe, file: &Path) -> String {
    let mode = match recipe.mode {
        "aes-ctr" => "ctr",
        "aes-cbc-pkcs7" => "cbc",
        other => panic!("openssl enc has no {other}"),
    };
    let iv = recipe.iv.as_ref().expect("an iv");
    let output = Command::new("openssl")
        .args([
            "enc",
            "-d",
            &format!("-aes-{}-{mode}", recipe.key.len() * 8),
        ])
        .args(["-K", &hex::encode(&recipe.key), "-iv", &hex::encode(iv)])
        .arg("-in")
        .arg(file)
        .output()
        .expect("openssl");
    assert!(output.status.success(), "{output:?}");
    sha256(&output.stdout)
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}
