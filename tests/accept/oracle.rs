//! The oracle: Python's `cryptography`, asked line by line.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::cases::{CIPHERS, Seal};
use crate::checks::{Outcome, cannot};
use crate::world::{DataKey, script, variable};

/// Longest time for one answer: 5 GiB by way of a pipe.
const PATIENCE: Duration = Duration::from_secs(600);

pub struct Oracle {
    _child: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Oracle {
    pub fn start() -> Outcome<Oracle> {
        let mut child = Command::new(variable("CIPHERMILL_TEST_PYTHON")?)
            .arg(script("oracle.py"))
            .arg("batch")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot("start the oracle"))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (questions, answers) = pipes.ok_or("the oracle has no pipes")?;
        Ok(Oracle {
            _child: child,
            questions,
            answers: BufReader::new(answers).lines(),
        })
    }

    /// SHA-256 of what the file becomes.
    pub async fn sha256(&mut self, op: &str, seal: &Sealed<'_>, file: &Path) -> Outcome<String> {
        let mut question = seal.question(op, file);
        question["sha256_only"] = true.into();
        let answer = self.ask(&question).await?;
        let text = answer["sha256"].as_str();
        text.map(Into::into)
            .ok_or("the oracle gave no digest".into())
    }

    /// Encrypts a file.
    pub async fn encrypt(&mut self, seal: &Sealed<'_>, from: &Path, to: &Path) -> Outcome<()> {
        self.write("encrypt", seal, from, to).await
    }

    /// Opens a file.
    pub async fn decrypt(&mut self, seal: &Sealed<'_>, from: &Path, to: &Path) -> Outcome<()> {
        self.write("decrypt", seal, from, to).await
    }

    async fn write(&mut self, op: &str, seal: &Sealed<'_>, from: &Path, to: &Path) -> Outcome<()> {
        let mut question = seal.question(op, from);
        question["out"] = to.display().to_string().into();
        self.ask(&question).await.map(drop)
    }

    async fn ask(&mut self, question: &Value) -> Outcome<Value> {
        let line = format!("{question}\n");
        let exchange = async {
            self.questions.write_all(line.as_bytes()).await?;
            self.answers.next_line().await
        };
        let line = tokio::time::timeout(PATIENCE, exchange).await;
        let line = line
            .map_err(|_| format!("the oracle gave no answer in {PATIENCE:?}"))?
            .map_err(cannot("talk to the oracle"))?
            .ok_or("the oracle has ended")?;
        let answer: Value = serde_json::from_str(&line).map_err(cannot("read the oracle"))?;
        if answer["ok"] == true {
            Ok(answer)
        } else {
            Err(format!(
                "the oracle: {} ({})",
                answer["error"], answer["kind"]
            ))
        }
    }
}

/// A seal with the key, and the IV or salt that was used.
pub struct Sealed<'a> {
    pub seal: &'a Seal,
    pub key: &'a DataKey,
    pub iv: Option<Vec<u8>>,
    pub salt: Option<Vec<u8>>,
}

impl Sealed<'_> {
    fn question(&self, op: &str, file: &Path) -> Value {
        let mut question = json!({
            "op": op, "mode": CIPHERS[self.seal.cipher].0, "key_hex": self.key.hex, "in": file.display().to_string(),
        });
        let mut add = |name: &str, bytes: &Option<Vec<u8>>| {
            if let Some(bytes) = bytes {
                question[name] = hex::encode(bytes).into();
            }
        };
        add("iv_hex", &self.iv);
        add("context_hex", &self.seal.context);
        if op == "encrypt" {
            add("salt_hex", &self.salt);
        }
        if let Some(start) = self.seal.ctr_start {
            question["ctr_start"] = start.into();
        }
        question
    }
}
