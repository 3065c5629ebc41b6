//! Jobs for the corpus's worker, and what came of them.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use super::trace;

/// How long one parser may take, in seconds.
pub const LIMIT_SECONDS: u64 = 5;

/// Larger files are read in ranges.
const PLAINTEXT_BYTES: u64 = 1 << 20;
/// Room for two jobs at once.
const BUDGET_BYTES: u64 = 4 << 30;

/// Where everything is.
pub struct Place {
    /// Made by ffmpeg.
    pub seeds: PathBuf,
    /// What the jobs read.
    pub inputs: PathBuf,
    /// What they write: a folder for each.
    pub outputs: PathBuf,
    pub traces: PathBuf,
    pub keyring: PathBuf,
    pub driver: PathBuf,
}

/// One file, and what is asked of it.
#[derive(Clone, Default)]
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    /// What the thumbnails' fields are besides their pattern.
    pub thumbnails: Value,
    /// A caption file beside it; `None` for the file itself.
    pub captions: Option<Vec<u8>>,
    /// Drawn on its thumbnails.
    pub watermark: Option<Vec<u8>>,
    /// Its companions must all be there.
    pub required: bool,
    /// The name of its output, if that is not `sealed`.
    pub output: Option<&'static str>,
}

impl Case {
    pub fn of(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Case {
        Case {
            name: name.into(),
            bytes: bytes.into(),
            thumbnails: json!({ "interval_seconds": 0.5, "max_width": 120, "max_height": 90 }),
            ..Case::default()
        }
    }

    pub fn output(&self) -> &'static str {
        self.output.unwrap_or("sealed")
    }

    /// Writes its files, and says its job.
    pub fn message(&self, place: &Place) -> Value {
        let write = |ending: &str, bytes: &[u8]| {
            let path = place.inputs.join(format!("{}{ending}", self.name));
            std::fs::write(&path, bytes).unwrap();
            format!("file://{}", path.display())
        };
        let input = write("", &self.bytes);
        let out = |name: &str| format!("file://{}/{}/{name}", place.outputs.display(), self.name);
        let beside = self.captions.as_ref().map(|bytes| write(".beside", bytes));
        let key = json!({ "generate": { "keyring": { "bits": 256 } } });
        let mut thumbnails = self.thumbnails.clone();
        thumbnails["url_pattern"] = out("thumbnail-{count}").into();
        thumbnails["required"] = self.required.into();
        if let Some(bytes) = &self.watermark {
            thumbnails["watermarks"] =
                json!([{ "url": write(".mark", bytes), "max_width": "50%", "max_height": "50%" }]);
        }
        let captions = |format: &str| {
            json!({ "format": format, "required": self.required,
                "url_pattern": out(&format!("caption-{format}-{{language}}")) })
        };
        json!({ "version": 1, "id": self.name, "input": { "url": input },
            "outputs": [{ "url": out(self.output()), "encryption": { "mode": "cobblestone", "key": key } }],
            "thumbnails": thumbnails,
            "captions": { "sources": [{ "url": beside.unwrap_or(input), "language": "de" }],
                "outputs": [captions("srt"), captions("ttml")] },
            "artwork": { "url_pattern": out("artwork-{count}"), "required": self.required } })
    }
}

/// What the worker held after a batch.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub descriptors: u64,
    pub children: u64,
    pub resident_bytes: u64,
}

/// What came of some batches of jobs: each by its name, and what was held after each batch.
#[derive(Default)]
pub struct Ran {
    pub jobs: HashMap<String, Value>,
    pub held: Vec<Held>,
}

/// Runs batches of messages through a fresh worker, under the trace where one is wanted.
pub fn run(place: &Place, batches: &[Vec<Value>], redelivered: bool, traces: Option<&Path>) -> Ran {
    let job = |message: &Value| json!({ "message": message, "redelivered": redelivered });
    let batches: Vec<Vec<_>> = batches
        .iter()
        .map(|b| b.iter().map(job).collect())
        .collect();
    let settings = format!(
        "[worker]\nbudget_bytes = {BUDGET_BYTES}\n\
         [media]\nseconds = {LIMIT_SECONDS}\nplaintext_bytes = {PLAINTEXT_BYTES}\n"
    );
    let order = json!({ "batches": batches, "keyring": place.keyring, "settings": settings });
    let mut worker = match traces {
        Some(folder) => trace::traced(&place.driver, folder),
        None => std::process::Command::new(&place.driver),
    };
    let worker = worker.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut worker = worker.current_dir(&place.seeds).spawn().unwrap();
    let mut stdin = worker.stdin.take().unwrap();
    stdin.write_all(order.to_string().as_bytes()).unwrap();
    drop(stdin);
    let done = worker.wait_with_output().unwrap();
    assert!(done.status.success(), "{:?}", done.status);
    let mut ran = Ran::default();
    for line in String::from_utf8(done.stdout).unwrap().lines() {
        let said: Value = serde_json::from_str(line).unwrap();
        assert!(said["panic"].is_null(), "{said}");
        match said["id"].as_str() {
            Some(id) => {
                ran.jobs.insert(id.to_owned(), said);
            }
            None => ran.held.push(Held {
                descriptors: said["descriptors"].as_u64().unwrap(),
                children: said["children"].as_u64().unwrap(),
                resident_bytes: said["resident_bytes"].as_u64().unwrap(),
            }),
        }
    }
    ran
}
