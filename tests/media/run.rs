//! Tools and the helper in the sandbox, and what the tests ask of their answers.

use crate::fences::launcher;
use ciphermill::media::caption_helper::{Answer, Order, Source, read_answer};
use ciphermill::media::embedded::{MOST_OUTPUT_BYTES, Run, Tool, take};
use ciphermill::media::film::Subtitle;
use ciphermill::media::helper::{VERB, Work};
use ciphermill::media::sandbox::{Input, Limits, Memory, Outcome, Program, Sandbox, Settings};
use ciphermill_captions::merge::Policy;
use ciphermill_captions::{Cue, Output, parse};
use ciphermill_formats::FileType;

pub async fn sandbox() -> Sandbox {
    let settings = Settings::new(launcher());
    Sandbox::detect(settings).await.unwrap()
}

pub async fn memory(bytes: &[u8]) -> Memory {
    Memory::of(bytes).unwrap()
}

pub fn program(tool: Tool) -> &'static str {
    match tool {
        Tool::Ffmpeg => "/usr/bin/ffmpeg",
        Tool::Ffprobe => "/usr/bin/ffprobe",
    }
}

/// Runs a tool over a film.
pub async fn tool(sandbox: &Sandbox, tool: Tool, args: &[String], film: &[u8]) -> Outcome {
    let program = program(tool);
    let limits = Limits {
        stdout_bytes: MOST_OUTPUT_BYTES,
        wall: std::time::Duration::from_secs(30),
        ..Limits::default()
    };
    let command = sandbox.command(Program::Path(program.into()), args);
    let command = command.fd(3, memory(film).await.into_fd()).limits(limits);
    command.start().await.unwrap().wait().await.unwrap()
}

/// Hands sources to the helper, all in one piece of memory.
pub async fn helped(sandbox: &Sandbox, order: &Order, files: &[u8]) -> Answer {
    let work = Work::Captions(order.clone());
    let args = [VERB.to_owned(), serde_json::to_string(&work).unwrap()];
    let command = sandbox
        .command(Program::Own, args)
        .fd(3, memory(files).await.into_fd());
    let outcome = command.start().await.unwrap().wait().await.unwrap();
    assert!(outcome.success(), "{outcome:?}");
    read_answer(&outcome.stdout, order).unwrap()
}

/// An order for these sources, behind each other in one file.
pub fn order(sources: Vec<(Source, Vec<u8>)>, policy: Policy) -> (Order, Vec<u8>) {
    let (mut files, mut list) = (Vec::new(), Vec::new());
    for (source, bytes) in sources {
        let piece = Some((files.len() as u64, bytes.len() as u64));
        files.extend(bytes);
        list.push(Source { piece, ..source });
    }
    let outputs = Output::ALL.to_vec();
    (
        Order {
            sources: list,
            policy,
            outputs,
        },
        files,
    )
}

pub fn source(language: Option<&str>) -> Source {
    Source {
        descriptor: 3,
        piece: None,
        kind: Default::default(),
        language: language.map(str::to_owned),
        label: None,
        offset_ms: 0,
        embedded: false,
    }
}

/// Runs over a film, what they print through the helper, as embedded tracks.
pub async fn embedded(sandbox: &Sandbox, film: &[u8], runs: Vec<(Run, Option<String>)>) -> Answer {
    let mut sources = Vec::new();
    for (run, language) in runs {
        let outcome = tool(sandbox, run.tool, &run.args, film).await;
        let source = Source {
            kind: run.kind,
            embedded: true,
            ..source(language.as_deref())
        };
        sources.push((source, outcome.stdout));
    }
    let (order, files) = order(sources, Policy::MergeRetain);
    helped(sandbox, &order, &files).await
}

pub fn stream(index: usize, codec: &str, language: &str) -> Subtitle {
    Subtitle {
        index,
        codec: codec.to_owned(),
        language: Some(language.to_owned()),
        title: None,
    }
}

pub const FD: Input = Input::Memory(3);

pub fn form(film: &[u8]) -> FileType {
    FileType::sniff(film).unwrap()
}

/// Each stream in a run of its own.
pub async fn each(sandbox: &Sandbox, film: &[u8], streams: &[Subtitle]) -> Answer {
    let run = |stream| take(form(film), FD, stream).unwrap();
    let runs = streams
        .iter()
        .map(|stream| (run(stream), stream.language.clone()));
    embedded(sandbox, film, runs.collect()).await
}

/// The cues of an answer in one language, the same in all three formats.
pub fn cues(answer: &Answer, language: &str) -> Vec<Cue> {
    let of = |output| {
        let written = answer.tracks.iter().find(|written| {
            let code = written
                .language
                .as_ref()
                .map_or("und", |language| language.as_str());
            code == language && written.format == output
        });
        let written = written.unwrap_or_else(|| panic!("no {language} in {answer:?}"));
        let track = parse(written.text.as_bytes()).unwrap().track;
        assert_eq!(track.cues.len(), written.cues);
        track.cues
    };
    let [srt, vtt, ttml] = Output::ALL.map(of);
    assert_eq!(srt, vtt);
    assert_eq!(srt, ttml);
    srt
}

/// Start, end, and the text with `|` between its lines.
pub fn told(cues: &[Cue]) -> Vec<(u64, u64, String)> {
    let line = |line: &Vec<_>| {
        line.iter()
            .map(|span: &ciphermill_captions::Span| span.text.as_str())
            .collect::<String>()
    };
    let text = |cue: &Cue| cue.lines.iter().map(line).collect::<Vec<_>>().join("|");
    cues.iter()
        .map(|cue| (cue.start_ms, cue.end_ms, text(cue)))
        .collect()
}

pub fn parsed(file: &str) -> Vec<Cue> {
    parse(file.as_bytes()).unwrap().track.cues
}
