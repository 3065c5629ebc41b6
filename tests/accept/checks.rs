//! The list of checks as it grows: one line each, a summary at the end.

use std::time::{Duration, Instant};

/// What a step gives, or why it could not.
pub type Outcome<T> = Result<T, String>;

/// Results so far.
pub struct Checks {
    passed: usize,
    failed: usize,
    begun: Instant,
}

impl Checks {
    pub fn new() -> Checks {
        Checks {
            passed: 0,
            failed: 0,
            begun: Instant::now(),
        }
    }

    /// Prints and counts one check: its figures, or what is wrong. Tells whether it passed.
    pub fn note(&mut self, name: &str, result: Outcome<String>) -> bool {
        let seconds = self.begun.elapsed().as_secs();
        let (word, text) = match &result {
            Ok(figures) => ("ok  ", figures),
            Err(reason) => ("FAIL", reason),
        };
        println!("{word} [{seconds:>4} s] {name}: {text}");
        match result {
            Ok(_) => self.passed += 1,
            Err(_) => self.failed += 1,
        }
        result.is_ok()
    }

    /// Prints the last line; the exit code.
    pub fn summary(&self) -> u8 {
        println!(
            "{} passed, {} failed, in {} s",
            self.passed,
            self.failed,
            self.begun.elapsed().as_secs()
        );
        u8::from(self.failed > 0 || self.passed == 0)
    }
}

/// `Ok(figures)` when `holds`, else what is wrong.
pub fn ensure(holds: bool, figures: String) -> Outcome<String> {
    if holds { Ok(figures) } else { Err(figures) }
}

/// An error as text, with what was being done.
pub fn cannot<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> String + '_ {
    move |error| format!("cannot {what}: {error}")
}

/// The first few of a list, and how many more.
pub fn some(list: &[String]) -> String {
    let shown = list.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
    match list.len().saturating_sub(5) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// Time of a step and its rate.
pub fn rate(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    format!("{seconds:.1} s, {:.0} MB/s", bytes as f64 / seconds / 1e6)
}
