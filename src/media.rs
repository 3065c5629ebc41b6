//! Media: what is made of untrusted films, pictures and sound: thumbnails, captions, artwork.
//!
//! Plaintext comes in from `pipeline`, in memory or by ranges, never from a disk; finished
//! companions go out to it. Every parser of foreign media, ffmpeg's and our own, runs in the
//! [`sandbox`]: films are asked by [`film`], tracks are taken out by [`embedded`], and [`pictures`]
//! and captions ([`caption_helper`]) run in this binary's own [`helper`]. This module never sees a key, and writes
//! nothing.

pub mod caption_helper;
mod covers;
pub mod embedded;
pub mod film;
pub mod helper;
mod images;
pub mod pictures;
pub mod sandbox;
mod tracks;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::OnceCell;

pub use self::film::Plaintext;
pub use self::images::{MadePicture, MadePictures};
pub use self::tracks::{MadeCaptions, MadeTrack};

use ciphermill_formats::FileType;

use self::sandbox::{Program, Protection, Sandbox, Version, check_version};
use crate::fault::{Code, Fault, Result};
use crate::settings;

/// First bytes of a plaintext that are looked at to see what it is.
pub const HEAD_BYTES: u64 = 4096;
/// Reading a version takes no longer.
const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// Makes companions.
pub struct Media {
    settings: settings::Media,
    /// This program; where it is not given, the one that runs.
    launcher: Option<PathBuf>,
    tools: OnceCell<Tools>,
}

/// The sandbox and the programs that run in it.
pub struct Tools {
    /// Where everything runs.
    pub sandbox: Sandbox,
    /// The ffmpeg program.
    pub ffmpeg: PathBuf,
    /// The ffprobe program.
    pub ffprobe: PathBuf,
}

impl Media {
    /// Nothing is looked for or started before the first companion is wanted.
    pub fn new(settings: settings::Media) -> Media {
        Media {
            settings,
            launcher: None,
            tools: OnceCell::new(),
        }
    }

    /// The same inside of another program, which does not know the sandbox's verbs.
    #[must_use]
    pub fn launched_by(self, launcher: PathBuf) -> Media {
        Media {
            launcher: Some(launcher),
            ..self
        }
    }

    /// Which protection parsers have, once one has run.
    pub fn protection(&self) -> Option<String> {
        Some(self.tools.get()?.sandbox.found().to_string())
    }

    /// How long all parsers of a job may take together.
    pub fn limit(&self) -> Duration {
        self.settings.limit
    }

    /// Finds out how parsers can be run here, once; a machine that cannot is asked again.
    pub async fn tools(&self) -> Result<&Tools> {
        self.tools.get_or_try_init(|| self.find()).await
    }

    async fn find(&self) -> Result<Tools> {
        let settings = &self.settings;
        let launcher = self.launcher.clone();
        let launcher = launcher
            .map_or_else(std::env::current_exe, Ok)
            .map_err(|e| {
                let message = format!("this program does not know where it is: {e}");
                Fault::new(Code::MediaUnavailable, message)
            })?;
        let least = match settings.full_protection {
            true => Protection::Full,
            false => Protection::Partial,
        };
        let sandbox = Sandbox::detect(sandbox::Settings {
            bwrap: settings.bubblewrap.clone(),
            least,
            warm: settings.warm,
            ..sandbox::Settings::new(launcher)
        });
        let sandbox = sandbox
            .await
            .map_err(|e| Fault::from(e).at("media.protection"))?;
        let protection = sandbox.found().to_string();
        tracing::info!(%protection, "media is parsed in a sandbox");
        let tools = Tools {
            sandbox,
            ffmpeg: settings.ffmpeg.clone(),
            ffprobe: settings.ffprobe.clone(),
        };
        for (program, setting) in [
            (&tools.ffmpeg, "media.ffmpeg"),
            (&tools.ffprobe, "media.ffprobe"),
        ] {
            let checked = self.check_version(&tools, program.clone()).await;
            checked.map_err(|fault| fault.at(setting))?;
        }
        Ok(tools)
    }

    async fn check_version(&self, tools: &Tools, program: PathBuf) -> Result<()> {
        if !program.is_file() {
            let message = format!("{} is not there", program.display());
            return Err(Fault::new(Code::MediaUnavailable, message));
        }
        let (major, minor, patch) = self.settings.oldest_ffmpeg;
        let limits = sandbox::Limits {
            wall: VERSION_LIMIT,
            ..sandbox::Limits::default()
        };
        let command = tools.sandbox.command(Program::Path(program), ["-version"]);
        let outcome = command.limits(limits).start().await?.wait().await?;
        let said = String::from_utf8_lossy(&outcome.stdout);
        check_version(&said, Version(major, minor, patch))?;
        Ok(())
    }
}

impl From<sandbox::Failure> for Fault {
    fn from(failure: sandbox::Failure) -> Fault {
        let code = match failure.kind {
            sandbox::Kind::Unavailable | sandbox::Kind::Failed => Code::MediaUnavailable,
            sandbox::Kind::Refused => Code::Internal,
        };
        Fault::new(code, failure.message)
    }
}

impl From<film::Failure> for Fault {
    fn from(failure: film::Failure) -> Fault {
        let code = match failure.kind {
            film::Kind::Broken | film::Kind::Unsupported | film::Kind::NoVideo => {
                Code::MediaUnreadable
            }
            film::Kind::TooLarge => Code::MediaTooLarge,
            film::Kind::TookTooLong => Code::MediaTimeout,
            film::Kind::Refused => Code::InvalidValue,
            film::Kind::Machine(_) => Code::MediaUnavailable,
        };
        Fault::new(code, failure.message)
    }
}

/// Whether a film that begins with these bytes can be read from start to end, and says in them what
/// is in it.
pub fn streams(head: &[u8]) -> bool {
    let form = FileType::sniff(head).filter(|form| {
        let films = [FileType::Mov, FileType::Matroska, FileType::MpegTs];
        films.contains(form)
    });
    form.is_some_and(|form| ciphermill_formats::streams(head, form))
}

/// What a plaintext is, by its first bytes.
async fn form_of(plaintext: &Plaintext) -> Result<FileType> {
    let form = FileType::sniff(&plaintext.head().await?);
    form.ok_or_else(|| unreadable("this is no film, picture or sound that is read here"))
}

fn unreadable(message: impl Into<String>) -> Fault {
    Fault::new(Code::MediaUnreadable, message)
}
