//! Tracks: caption files and the tracks of a film, merged and written by the helper.
//!
//! Plaintexts come in, texts go out, and what was found in each source. A source that cannot be
//! read costs nothing but itself.

mod found;

use ciphermill_captions::Output;
use ciphermill_captions::merge::Policy;
use ciphermill_formats::FileType;

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::caption_helper::{Answer, Kind, Order, Source, read_answer};
use super::embedded::{self, Run, Tool};
use super::film::{self, Film, Plaintext, Subtitle};
use super::helper::{FIRST_FILE, Work};
use super::images::broken_off;
use super::sandbox::{self, Unsealed};
use super::{Media, Tools, form_of, unreadable};
use crate::fault::{Code, Fault, Result};
use crate::job::Captions;
use crate::job::companions::{CaptionFormat, MergePolicy};
use crate::job::event::CaptionSourceResult;
use crate::job::offset::offset_ms;

/// What the film's caption tracks may take of a job's decoder memory: one part in four.
const TRACKS_SHARE: u64 = 4;

/// A merged track in one format.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeTrack {
    /// Which of the caption outputs.
    pub output: usize,
    /// Its language, `und` where it is unknown.
    pub language: String,
    /// Its name for people.
    pub label: Option<String>,
    /// How many cues it has.
    pub cues: u64,
    /// The file, UTF-8.
    pub text: String,
}

/// What was made of captions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MadeCaptions {
    /// Every track in every format.
    pub tracks: Vec<MadeTrack>,
    /// What was found in each source: files first, then tracks of the film.
    pub sources: Vec<CaptionSourceResult>,
}

/// Sources on their way to the helper, one after the other in one piece of memory.
struct Sources {
    memory: Unsealed,
    bytes: u64,
    list: Vec<Source>,
    /// What is said of each.
    results: Vec<CaptionSourceResult>,
    /// For each in `list`, its place in `results`.
    places: Vec<usize>,
    /// What all tracks of the film may say, and what they said.
    most_bytes: u64,
    film_bytes: u64,
    /// When all of them must have been taken out of it.
    until: Instant,
}

impl Media {
    /// Reads, merges and writes captions. `files`: the plaintexts of the sources. What of the film
    /// was not read by then is left out.
    pub async fn captions(
        &self,
        film: Option<&Plaintext>,
        asked: &Captions,
        files: Vec<Bytes>,
        until: Instant,
    ) -> Result<MadeCaptions> {
        let tools = self.tools().await?;
        let mut sources = Sources {
            memory: Unsealed::new()?,
            bytes: 0,
            list: Vec::new(),
            results: Vec::new(),
            places: Vec::new(),
            most_bytes: self.settings.decoder_bytes as u64 / TRACKS_SHARE,
            film_bytes: 0,
            until,
        };
        for (index, (source, bytes)) in asked.sources.iter().zip(files).enumerate() {
            let pointer = format!("/captions/sources/{index}");
            let offset = source.time_offset.as_deref().unwrap_or("0");
            let named = Source {
                descriptor: FIRST_FILE,
                piece: None,
                kind: Kind::File,
                language: Some(source.language.clone()),
                label: source.label.clone(),
                offset_ms: offset_ms(offset).unwrap_or_default(),
                embedded: false,
            };
            let result = CaptionSourceResult {
                pointer,
                language: Some(source.language.clone()),
                ..CaptionSourceResult::default()
            };
            sources.add(named, result, &bytes)?;
        }
        if let Some(plaintext) = film {
            self.add_film(tools, plaintext, &mut sources).await?;
        }
        let policy = match asked.merge {
            MergePolicy::Merge => Policy::MergeOverride,
            MergePolicy::Retain => Policy::MergeRetain,
            MergePolicy::Override => Policy::Override,
        };
        let outputs = asked.outputs.iter().map(|output| match output.format {
            CaptionFormat::Srt => Output::Srt,
            CaptionFormat::Webvtt => Output::Vtt,
            CaptionFormat::Ttml => Output::Ttml,
        });
        let order = Order {
            sources: std::mem::take(&mut sources.list),
            policy,
            outputs: outputs.collect(),
        };
        let answer = self.merge(tools, &order, sources.memory).await?;
        found::told(
            answer,
            asked.outputs.len(),
            sources.results,
            &sources.places,
        )
    }

    /// Adds the film's tracks. One that is broken, too large or too slow costs the files nothing.
    async fn add_film(
        &self,
        tools: &Tools,
        plaintext: &Plaintext,
        sources: &mut Sources,
    ) -> Result<()> {
        let Err(fault) = self.add_tracks(tools, plaintext, sources).await else {
            return Ok(());
        };
        if sources.list.is_empty() || !is_the_films(&fault) {
            return Err(fault);
        }
        sources.results.push(CaptionSourceResult {
            pointer: "/input".into(),
            fault: Some((&fault).into()),
            ..CaptionSourceResult::default()
        });
        Ok(())
    }

    /// Adds every track that the film has.
    async fn add_tracks(
        &self,
        tools: &Tools,
        plaintext: &Plaintext,
        sources: &mut Sources,
    ) -> Result<()> {
        let form = match form_of(plaintext).await {
            Ok(form) => form,
            // Nothing known, such as a caption file: it has no tracks.
            Err(fault) if fault.code == Code::MediaUnreadable => return Ok(()),
            Err(fault) => return Err(fault),
        };
        let film = Film {
            form,
            plaintext: plaintext.clone(),
        };
        let facts = film::probe(tools, &film, &self.film_limits()).await?;
        let streams = &facts.subtitles;
        let input = film.input();
        if let Some((small, gathered)) = self.gather(tools, &film, streams, sources).await? {
            for stream in &gathered {
                let run = embedded::take_gathered(small.input(), stream);
                self.add_track(tools, &small, stream, run, sources).await?;
            }
        } else {
            for stream in embedded::readable(streams) {
                let run = embedded::take(form, input, stream);
                self.add_track(tools, &film, stream, run, sources).await?;
            }
        }
        let video = facts.video.as_ref().filter(|video| video.closed_captions);
        if let Some(run) = video.and_then(|video| embedded::in_video(form, input, &video.codec)) {
            let stream = Subtitle {
                index: 0,
                codec: "cea-608".into(),
                language: None,
                title: None,
            };
            self.add_track(tools, &film, &stream, Some(run), sources)
                .await?;
        }
        Ok(())
    }

    /// All text tracks of a Matroska film at once, where that works.
    async fn gather(
        &self,
        tools: &Tools,
        film: &Film,
        streams: &[Subtitle],
        sources: &mut Sources,
    ) -> Result<Option<(Film, Vec<Subtitle>)>> {
        let Some((args, gathered)) = embedded::gather(film.form, film.input(), streams) else {
            return Ok(None);
        };
        let run = Run {
            tool: Tool::Ffmpeg,
            args,
            kind: Kind::File,
        };
        let small = match self.take(tools, film, run, sources).await {
            Ok(small) => small,
            Err(fault) if is_the_films(&fault) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let small = Film {
            form: FileType::Matroska,
            plaintext: sandbox::Memory::of(&small)?.into(),
        };
        Ok(Some((small, gathered)))
    }

    /// Takes one track out. Only what the machine cannot do is an error.
    async fn add_track(
        &self,
        tools: &Tools,
        film: &Film,
        stream: &Subtitle,
        run: Option<Run>,
        sources: &mut Sources,
    ) -> Result<()> {
        let Some(run) = run else {
            return Ok(());
        };
        let mut result = CaptionSourceResult {
            pointer: "/input".into(),
            language: stream.language.clone(),
            format: Some(stream.codec.clone()),
            ..CaptionSourceResult::default()
        };
        let kind = run.kind;
        match self.take(tools, film, run, sources).await {
            Ok(bytes) => {
                let source = Source {
                    descriptor: FIRST_FILE,
                    piece: None,
                    kind,
                    language: stream.language.clone(),
                    label: stream.title.clone(),
                    offset_ms: 0,
                    embedded: true,
                };
                sources.add(source, result, &bytes)
            }
            Err(fault) if is_the_films(&fault) => {
                result.fault = Some((&fault).into());
                sources.results.push(result);
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    /// What one run over the film says, if it says it in time and there is room for it.
    async fn take(
        &self,
        tools: &Tools,
        film: &Film,
        run: Run,
        sources: &mut Sources,
    ) -> Result<Vec<u8>> {
        let wall = sources.until.saturating_duration_since(Instant::now());
        let room = sources.most_bytes.saturating_sub(sources.film_bytes);
        if wall.is_zero() {
            let message = "the film's captions took too long";
            return Err(Fault::new(Code::MediaTimeout, message));
        }
        let program = match run.tool {
            Tool::Ffmpeg => &tools.ffmpeg,
            Tool::Ffprobe => &tools.ffprobe,
        };
        let most = self.ffmpeg_limits();
        let limits = sandbox::Limits {
            // Nothing is decoded here but text, and what is said is kept beside it.
            memory: most.memory - self.settings.decoder_bytes as u64 / 2,
            stdout_bytes: embedded::MOST_OUTPUT_BYTES.min(room),
            wall,
            ..most
        };
        let said = film::output(tools, film, program, run.args, limits).await?;
        sources.film_bytes += said.len() as u64;
        Ok(said)
    }

    async fn merge(&self, tools: &Tools, order: &Order, memory: Unsealed) -> Result<Answer> {
        let limits = sandbox::Limits {
            // What it reads and what it says are kept beside it.
            memory: self.settings.decoder_bytes as u64 / 2,
            wall: self.settings.limit.min(Duration::from_secs(300)),
            stdout_bytes: self.settings.decoder_bytes as u64 / 4,
            ..sandbox::Limits::default()
        };
        let memory = memory.seal()?.into_fd();
        let command = tools.helper(&Work::Captions(order.clone()), [memory])?;
        let command = command.limits(limits);
        let outcome = command.start().await?.wait().await?;
        if !outcome.success() {
            return Err(broken_off(&outcome));
        }
        read_answer(&outcome.stdout, order).map_err(|refused| unreadable(refused.what))
    }
}

/// What costs a film its tracks, and nothing else.
fn is_the_films(fault: &Fault) -> bool {
    matches!(
        fault.code,
        Code::MediaUnreadable | Code::MediaTooLarge | Code::MediaTimeout
    )
}

impl Sources {
    fn add(&mut self, mut source: Source, result: CaptionSourceResult, bytes: &[u8]) -> Result<()> {
        source.piece = Some((self.bytes, bytes.len() as u64));
        self.memory.push(bytes)?;
        self.bytes += bytes.len() as u64;
        self.places.push(self.results.len());
        self.results.push(result);
        self.list.push(source);
        Ok(())
    }
}
