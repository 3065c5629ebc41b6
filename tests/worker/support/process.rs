//! The program under test as a child process: everything it prints is kept, and it never outlives its test.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a child printed so far.
#[derive(Clone, Default)]
pub struct Text(Arc<Mutex<Vec<u8>>>);

impl Text {
    pub fn bytes(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn add(&self, bytes: &[u8]) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend_from_slice(bytes);
    }

    pub fn string(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

/// A running `ciphermill`.
pub struct Program {
    child: Child,
    pub out: Text,
    pub err: Text,
    readers: Vec<std::thread::JoinHandle<()>>,
}

/// A `ciphermill` that has ended.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    /// Standard output as it came.
    pub raw: Vec<u8>,
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {:?}\n{}\n{}", self.code, self.out, self.err)
    }
}

fn reader(mut from: impl Read + Send + 'static, to: Text) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            to.add(&buffer[..read]);
        }
    })
}

impl Program {
    pub fn start(mut command: Command, input: &[u8]) -> Program {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let (out, err) = (Text::default(), Text::default());
        let readers = vec![
            reader(child.stdout.take().unwrap(), out.clone()),
            reader(child.stderr.take().unwrap(), err.clone()),
        ];
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
        // A child that does not read its input closes the pipe: no fault of the test.
        std::thread::spawn(move || stdin.write_all(&input).ok());
        Program {
            child,
            out,
            err,
            readers,
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and the end of it.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    fn wait_until(&mut self, end: Instant) -> Option<ExitStatus> {
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Waits for the end, off the runtime: events go on being read meanwhile.
    pub async fn ended(self, within: Duration) -> Ended {
        let wait = move || self.ended_now(within);
        tokio::task::spawn_blocking(wait).await.unwrap()
    }

    pub fn ended_now(mut self, within: Duration) -> Ended {
        let status = self.wait_until(Instant::now() + within);
        if status.is_none() {
            self.kill();
            panic!(
                "still running after {within:?}; it said:\n{}",
                self.err.string()
            );
        }
        for reader in self.readers.drain(..) {
            reader.join().ok();
        }
        Ended {
            code: status.and_then(|status| status.code()),
            out: self.out.string(),
            err: self.err.string(),
            raw: self.out.bytes(),
        }
    }

    /// The log lines so far (JSON format).
    pub fn log(&self) -> Vec<Value> {
        let text = self.err.string();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    pub fn logged(&self, message: &str) -> Option<Value> {
        let mut lines = self.log().into_iter();
        lines.find(|line| {
            line["message"]
                .as_str()
                .is_some_and(|m| m.contains(message))
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!(
                "--- what a ciphermill of this test said:\n{}",
                self.err.string()
            );
        }
    }
}
