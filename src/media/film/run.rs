//! One child over a film: its words and limits come in, its output goes on to a writer, and how it
//! fared goes out, said as the media's fault or the machine's.

use std::io;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Failure, Film, Kind, Plaintext, Result, StreamSource, Tools, sandbox};
use sandbox::{Child, KilledBy, Outcome, Program, READ_TOO_MUCH, Sandbox, Status, Stdin};

const PIECE_BYTES: usize = 64 << 10;
const MOST_WORDS_CHARS: usize = 160;
/// The number under which a child finds a film in memory.
pub(super) const MEMORY_FD: i32 = 3;
const SIGKILL: i32 = 9;

/// What a child is to do.
pub(super) struct Task<'a> {
    pub(super) program: &'a Path,
    /// Options of the input, and what follows it.
    pub(super) before: Vec<String>,
    pub(super) after: Vec<String>,
    pub(super) limits: sandbox::Limits,
}

/// What a child did.
pub(super) struct Done {
    pub(super) outcome: Outcome,
    /// Bytes that were passed on.
    pub(super) bytes: u64,
}

/// Runs one child from start to end and passes its output on. The error is always the machine's.
pub(super) async fn run(
    tools: &Tools,
    film: &Film,
    task: Task<'_>,
    out: &mut (impl AsyncWrite + Unpin + Send),
) -> Result<Done> {
    // ffprobe knows no such option, and ffmpeg's stdin is never a keyboard here.
    let words = sandbox::arguments(film.form, film.input()).into_iter();
    let words = words.filter(|word| word != "-nostdin");
    let words = task.before.into_iter().chain(words).chain(task.after);
    let words = words.collect();
    attend(tools, film, (task.program, words, task.limits), out).await
}

/// All that one child says over a film, given all its words. The film is at fault where it fails.
pub async fn output(
    tools: &Tools,
    film: &Film,
    program: &Path,
    words: Vec<String>,
    limits: sandbox::Limits,
) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    let limits = sandbox::Limits {
        range_bytes: film.range_bytes(),
        ..limits
    };
    let done = attend(tools, film, (program, words, limits), &mut said).await?;
    check(&done.outcome)?;
    Ok(said)
}

/// A program, all its words, and its limits.
type Called<'a> = (&'a Path, Vec<String>, sandbox::Limits);

async fn attend(
    tools: &Tools,
    film: &Film,
    called: Called<'_>,
    out: &mut (impl AsyncWrite + Unpin + Send),
) -> Result<Done> {
    let mut child = start(&tools.sandbox, film, called).await?;
    let (stdin, stdout) = (child.take_stdin(), child.take_stdout());
    let fed = async {
        if let (Plaintext::Pipe(source), Some(stdin)) = (&film.plaintext, stdin) {
            feed(source.as_ref(), stdin).await?;
        }
        // The child's end ends everything.
        std::future::pending().await
    };
    let attended = async {
        match &film.plaintext {
            Plaintext::Range(source) => child.wait_serving(source).await,
            _ => child.wait().await,
        }
        .map_err(Failure::from)
    };
    let passed = async {
        match stdout {
            Some(stdout) => pass_on(stdout, out).await,
            None => Ok(0),
        }
    };
    tokio::select! {
        done = async { tokio::try_join!(attended, passed) } => {
            let (outcome, bytes) = done?;
            Ok(Done { outcome, bytes })
        }
        failed = fed => failed,
    }
}

async fn start(
    sandbox: &Sandbox,
    film: &Film,
    (program, words, limits): Called<'_>,
) -> Result<Child> {
    let command = sandbox
        .command(Program::Path(program.into()), words)
        .limits(limits);
    let command = match &film.plaintext {
        Plaintext::Memory(fd) => {
            let fd = fd.try_clone();
            command.fd(
                MEMORY_FD,
                fd.map_err(|e| Failure::machine("no descriptor", e))?,
            )
        }
        Plaintext::Range(_) => command.range_reader(),
        Plaintext::Pipe(_) => command.stdin(Stdin::Pipe),
    };
    Ok(command.start().await?)
}

/// Pushes the film into a child until it has read enough.
async fn feed(source: &dyn StreamSource, mut stdin: impl AsyncWrite + Unpin) -> Result<()> {
    let wrong = |e: io::Error| Failure::machine("cannot read the media", e);
    let mut reader = source.open().await.map_err(wrong)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = reader.read(&mut piece).await.map_err(wrong)?;
        let bytes = piece.get(..read).unwrap_or_default();
        // A child that is gone reads nothing more; how it ended is told elsewhere.
        if bytes.is_empty() || stdin.write_all(bytes).await.is_err() {
            return Ok(());
        }
    }
}

/// Passes a child's output on and counts it.
async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<u64> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut passed = 0;
    // Reading fails only over the cap, and then the outcome says so.
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        let bytes = piece.get(..read).unwrap_or_default();
        let written = to.write_all(bytes).await;
        written.map_err(|e| Failure::machine("the reader of the output is gone", e))?;
        passed += bytes.len() as u64;
    }
    let flushed = to.flush().await;
    flushed.map_err(|e| Failure::machine("the reader of the output is gone", e))?;
    Ok(passed)
}

/// Whether it ended well, and whose fault it is otherwise.
pub(super) fn check(outcome: &Outcome) -> Result<()> {
    let media = |kind, why: &str| Err(Failure::new(kind, why));
    match &outcome.source {
        Some(why) if why == READ_TOO_MUCH => return media(Kind::Broken, why),
        Some(why) => return Err(Failure::machine("cannot read the media", why)),
        None => {}
    }
    let said = last_words(&outcome.stderr);
    match (outcome.killed_by, outcome.status) {
        (Some(KilledBy::OutputCap), _) => media(Kind::TooLarge, "more came out than it may hold"),
        (Some(KilledBy::Watchdog | KilledBy::CpuLimit), _) => {
            media(Kind::TookTooLong, "decoding took too long")
        }
        (None, Status::Exited(0)) => Ok(()),
        // Nobody here sends it: the kernel does, when the machine is out of memory.
        (None, Status::Signalled(SIGKILL)) => Err(Failure::machine(
            "the decoder was killed",
            "is there too little memory?",
        )),
        (None, Status::Signalled(_)) => media(Kind::Broken, "the decoder crashed over it"),
        (None, Status::Exited(_)) => Err(Failure::new(kind(&outcome.stderr), said)),
    }
}

/// What the errors of a tool that gave up are about.
fn kind(stderr: &str) -> Kind {
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    if says(&[
        "Cannot allocate memory",
        "failed to map segment",
        "max_pixels",
    ]) {
        return Kind::TooLarge;
    }
    match says(&[
        "whitelist",
        "Decoder not found",
        "no decoder found",
        "Unknown decoder",
    ]) {
        true => Kind::Unsupported,
        false => Kind::Broken,
    }
}

/// The last thing that a tool complained of: one short line, without addresses and paths.
pub(super) fn last_words(stderr: &str) -> String {
    let useful = |line: &str| {
        let line = line.trim();
        let line = match line.starts_with('[') {
            true => line.split_once("] ").map_or("", |(_, rest)| rest),
            false => line,
        };
        let part = |part: &&str| !part.contains(['/', '\\']) && *part != "pipe:0";
        let parts: Vec<_> = line.split(": ").filter(part).collect();
        let words: String = parts.join(": ").chars().take(MOST_WORDS_CHARS).collect();
        (!words.is_empty() && words != "Conversion failed!").then_some(words)
    };
    let lines = stderr.lines().rev().filter_map(useful);
    // What follows upon a reason says less.
    let words = lines.min_by_key(|line| line.starts_with("Invalid data found"));
    words.unwrap_or_else(|| "the decoder gave up without a word".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_short_and_name_no_place() {
        let said = "[mov,mp4 @ 0x55d] moov atom not found\n/proc/self/fd/3: Invalid data found\n\n";
        assert_eq!(last_words(said), "moov atom not found");
        assert_eq!(
            last_words("pipe:0: Invalid data found"),
            "Invalid data found"
        );
        assert_eq!(
            last_words("[h264 @ 0x1] no frame!\nConversion failed!\n"),
            "no frame!"
        );
        assert_eq!(last_words("bad\n/etc/passwd\n"), "bad");
        assert_eq!(last_words("pipe:0: Invalid argument"), "Invalid argument");
        assert_eq!(last_words(" \n"), "the decoder gave up without a word");
        assert_eq!(last_words(&"x".repeat(9999)).len(), MOST_WORDS_CHARS);
    }
}
