//! `ciphermill demo`: everything on this machine. Makes sample media, a keyring and a spool with a
//! handful of jobs, runs the worker on it, and verifies each output: with the openssl program, or
//! by decrypting it and comparing hashes.

mod companions;
mod effort;
mod jobs;
mod samples;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::effort::Effort;
use self::jobs::{Check, DemoJob};
use self::samples::Samples;
use super::{show, start};
use crate::fault::{Code, Fault, Result};
use crate::job::event::Event;
use crate::keys::keyring::Keyring;
use crate::queue::spool::SpoolQueue;
use crate::settings::{Flags, Settings};
use crate::store::files::Access;
use crate::worker::Worker;

/// Marks a folder as ours: only such a folder is emptied when the demo runs again.
const MARKER: &str = ".ciphermill-demo";

#[derive(Debug, Args)]
pub struct Options {
    /// Where everything goes
    #[arg(long, default_value = "demo-out", value_name = "DIR")]
    dir: PathBuf,
    /// Size of the random sample, in MiB
    #[arg(long, default_value_t = 256, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=65536))]
    mib: u64,
}

impl Options {
    pub fn flags(&self) -> Flags {
        let keyring = self.dir.join("demo.keyring");
        vec![
            ("keyring.file", keyring.display().to_string()),
            ("worker.slots", "1".into()),
        ]
    }
}

/// One line of the table.
#[derive(Serialize)]
struct Row {
    job: String,
    what: String,
    bytes: u64,
    seconds: f64,
    gb_per_second: f64,
    verified: String,
    ok: bool,
}

pub async fn run(options: Options, settings: Settings, json: bool) -> Result<ExitCode> {
    let say = |text: &str| {
        if !json {
            show::text(text);
        }
    };
    let dir = prepare(&options.dir)?;
    say("making samples: 30 s of video (ffmpeg), and random bytes");
    let samples = Samples::make(&dir, options.mib)?;
    let ring = Keyring::create(&dir.join("demo.keyring"))?;
    let demo = Demo { dir, ring, samples };
    say(
        "first wave: every mode, a fan-out, thumbnails and captions, and a job that must be refused",
    );
    let mut jobs = demo.encrypt_jobs()?;
    let mut effort = demo.work(&settings, &jobs).await?;
    say("second wave: decrypt what the first wave wrote, and re-encrypt one of it");
    let second = demo.decrypt_jobs()?;
    effort = effort.plus(demo.work(&settings, &second).await?);
    let last = demo.last_jobs()?;
    effort = effort.plus(demo.work(&settings, &last).await?);
    jobs.extend(second.into_iter().chain(last));
    let rows = jobs
        .iter()
        .map(|job| demo.row(job))
        .collect::<Result<Vec<_>>>()?;
    let good = rows.iter().all(|row| row.ok);
    print(&rows, json);
    effort.print(json);
    if !json {
        show::text(&places(&demo.dir));
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A fresh folder; one that an earlier demo made is emptied, any other is left alone.
fn prepare(dir: &Path) -> Result<PathBuf> {
    let io = |e: std::io::Error| Fault::io("prepare", dir, &e).at("--dir");
    if dir.join(MARKER).exists() {
        std::fs::remove_dir_all(dir).map_err(io)?;
    }
    if dir.exists() && std::fs::read_dir(dir).map_err(io)?.next().is_some() {
        let message = format!(
            "{} is not empty, and no earlier demo made it",
            dir.display()
        );
        return Err(Fault::new(Code::Usage, message).at("--dir"));
    }
    std::fs::create_dir_all(dir.join("out")).map_err(io)?;
    std::fs::write(
        dir.join(MARKER),
        "made by `ciphermill demo`; emptied when it runs again\n",
    )
    .map_err(io)?;
    std::fs::canonicalize(dir).map_err(io)
}

struct Demo {
    dir: PathBuf,
    ring: Keyring,
    samples: Samples,
}

impl Demo {
    /// Puts the jobs into the spool and lets a worker empty it.
    async fn work(&self, settings: &Settings, jobs: &[DemoJob]) -> Result<Effort> {
        let spool = self.dir.join("spool");
        let queue = SpoolQueue::open(&spool, true)?;
        for job in jobs {
            let path = spool.join("new").join(format!("{}.json", job.name));
            let text = format!("{:#}\n", job.message);
            std::fs::write(&path, text).map_err(|e| Fault::io("write", &path, &e))?;
        }
        let pipeline = start::pipeline(settings, Access::Anywhere)?;
        let worker = Worker {
            pipeline: Arc::clone(&pipeline),
            queue: Arc::new(queue),
            slots: settings.worker.slots,
            max_attempts: 2,
            max_jobs: None,
            name: "/ciphermill/demo".into(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
        };
        let begun = Instant::now();
        worker.run().await?;
        Ok(Effort::of(&pipeline, begun.elapsed().as_secs_f64()))
    }

    /// The end event that the worker left beside the job.
    fn result(&self, name: &str) -> Result<Event> {
        let folders = ["done", "failed"].map(|folder| self.dir.join("spool").join(folder));
        let read =
            |folder: &PathBuf| std::fs::read(folder.join(format!("{name}.result.json"))).ok();
        let bytes = folders.iter().find_map(read);
        let event = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        event.ok_or_else(|| Fault::new(Code::Internal, format!("the job {name} left no result")))
    }

    fn row(&self, job: &DemoJob) -> Result<Row> {
        let event = self.result(job.name)?;
        let bytes = event.data.input.as_ref().map_or(0, |input| input.bytes);
        let seconds = event.data.seconds.unwrap_or_default();
        let (ok, verified) = self.verify(job, &event)?;
        let gb_per_second = if seconds > 0.0 {
            bytes as f64 / 1e9 / seconds
        } else {
            0.0
        };
        Ok(Row {
            job: job.name.into(),
            what: job.what.clone(),
            bytes,
            seconds,
            gb_per_second,
            verified,
            ok,
        })
    }

    fn verify(&self, job: &DemoJob, event: &Event) -> Result<(bool, String)> {
        let code = event.data.fault.as_ref().map(|fault| fault.code.as_str());
        if let Check::Refused(expected) = job.check {
            return Ok((
                code == Some(expected),
                format!("refused: {}", code.unwrap_or("not refused")),
            ));
        }
        if let Some(code) = code {
            return Ok((false, format!("FAILED: {code}")));
        }
        let output = event.data.outputs.first();
        let Some(path) = output
            .and_then(|output| output.url.strip_prefix("file://"))
            .map(Path::new)
        else {
            return Ok((false, "no output".into()));
        };
        match &job.check {
            Check::OpenSsl {
                cipher,
                key,
                sample,
            } => {
                let iv = output.and_then(|output| {
                    output.encryption.as_ref()?["iv"]
                        .as_str()
                        .map(str::to_owned)
                });
                verify::by_openssl(cipher, key, iv.as_deref().unwrap_or_default(), path, sample)
            }
            Check::SameAs(sample) => {
                let same = verify::sha256(path)? == verify::sha256(sample)?;
                Ok((
                    same,
                    if same {
                        "source's SHA-256".into()
                    } else {
                        "OTHER BYTES".into()
                    },
                ))
            }
            Check::Companions { key } => self.check_companions(key, event),
            Check::Decrypted => Ok((true, "by the decrypt jobs".into())),
            Check::Refused(_) => Ok((true, String::new())),
        }
    }
}

fn print(rows: &[Row], json: bool) {
    if json {
        rows.iter().for_each(show::line);
        return;
    }
    show::text("");
    show::text(&format!(
        "{:<20} {:<20} {:>10} {:>8} {:>7}  {}",
        "job", "what", "bytes", "seconds", "GB/s", "verified by"
    ));
    for row in rows {
        let mark = if row.ok { "" } else { "  <-- wrong" };
        let size = if row.bytes > 0 {
            show::size(row.bytes)
        } else {
            "-".into()
        };
        show::text(&format!(
            "{:<20} {:<20} {:>10} {:>8.2} {:>7.2}  {}{mark}",
            row.job, row.what, size, row.seconds, row.gb_per_second, row.verified
        ));
    }
}

/// Where to look.
fn places(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "\nlook at   {dir}/look          thumbnails and captions, as openssl decrypted them\n          \
         {dir}/out           what was written\n          \
         {dir}/spool/done    jobs and their results, with what opens each output\n          \
         {dir}/spool/failed  the job that was refused, and why"
    )
}
