//! Frames: the facts and the wanted times come in; PPMs go into a writer, in ascending order of
//! time, and which ones they were goes out.
//!
//! Either one child reads the film through, or one short child for each frame seeks to it. A child
//! decodes with one thread: films are worked on side by side, and its memory is then known.

use ciphermill_formats::FileType;

use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;

use super::end;
use super::facts::{Facts, Video};
use super::graph::{self, Begin};
use super::run::{self, Done, Task};
use super::times::{Frame, Plan, Times};
use super::{Failure, Film, Kind, Limits, Plaintext, Result, Tools, sandbox};

/// To seek to a frame costs about as much as to decode so many seconds: a child's start, and half
/// the way between two key frames.
const SEEK_SECONDS: f64 = 20.0;
/// Where a film says it ends and where its last frame ends are often not the same.
const END_SLACK_SECONDS: f64 = 1.0;
/// How far before a frame reading begins, one after the other, until the frame is found. An index
/// of key frames makes the first of them right; a transport stream has none, and a key frame is hit
/// by chance. At last it is read from its start.
const BACK_SECONDS: [f64; 2] = [0.0, 10.0];
const BACK_SECONDS_WITHOUT_INDEX: [f64; 3] = [3.0, 12.0, 60.0];
/// More is not asked of ffmpeg's scaler.
const MOST_SIDE: u64 = 32_768;

/// How a film was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// By one child, up to the last wanted frame.
    #[default]
    Through,
    /// By one child for each frame.
    Seek,
}

/// What was delivered.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    /// Pixels across, of every frame.
    pub width: u32,
    /// Pixels down, of every frame.
    pub height: u32,
    /// The frames that were written whole, in the order they were written.
    pub frames: Vec<Frame>,
    /// Wanted, and not there: after the end, or after the break; empty for [`Times::Every`].
    pub missing: Vec<Frame>,
    /// How the film was read.
    pub reading: Reading,
    /// Processor time of all children.
    pub cpu: Duration,
    /// Why it broke off. What was written may then end within a frame.
    pub failure: Option<Failure>,
}

/// Writes the wanted frames into `out`, one PPM after the other, and leaves it open.
///
/// Nothing here is large but the child at work.
pub async fn frames(
    tools: &Tools,
    film: &Film,
    facts: &Facts,
    times: &Times,
    limits: &Limits,
    out: &mut (impl AsyncWrite + Unpin + Send),
) -> Frames {
    let deadline = Instant::now() + limits.wall;
    let mut frames = Frames::default();
    let (video, plan) = match begin(tools, film, facts, times, limits).await {
        Ok(begun) => begun,
        Err(failure) => {
            frames.failure = Some(failure);
            return frames;
        }
    };
    let (width, height) = video.upright();
    (frames.width, frames.height) = (width as u32, height as u32);
    frames.reading = reading(film, &video, &plan);
    let mut work = Work {
        tools,
        film,
        video: &video,
        limits,
        deadline,
        frames: &mut frames,
    };
    let end = match (work.frames.reading, times) {
        (Reading::Seek, _) => work.seek(&plan, out).await,
        // The film ends where it ends, whatever it says.
        (Reading::Through, Times::Every(_)) => work.till_the_end(&plan, times, out).await,
        (Reading::Through, _) => work.through(&plan, out).await,
    };
    frames.failure = end.err();
    if !matches!(times, Times::Every(_)) {
        let delivered = frames.frames.len();
        frames.missing = plan.wanted.into_iter().skip(delivered).collect();
    }
    frames
}

/// The video and what is wanted of it, if that can be done.
async fn begin(
    tools: &Tools,
    film: &Film,
    facts: &Facts,
    times: &Times,
    limits: &Limits,
) -> Result<(Video, Plan)> {
    let video = facts.video.clone();
    let mut video = video.ok_or_else(|| Failure::new(Kind::NoVideo, "there is no video in it"))?;
    video.check_size(limits.pixels)?;
    if matches!(times, Times::Count(1..)) && video.end_seconds.is_none() {
        video.end_seconds = end::find(tools, film, &video, limits).await?;
    }
    let plan = times.plan(video.end_seconds, limits.frames)?;
    Ok((video, plan))
}

/// Seeking where that costs less than reading through, up to the last wanted frame.
fn reading(film: &Film, video: &Video, plan: &Plan) -> Reading {
    let last = plan.wanted.last().map_or(0.0, |frame| frame.seconds);
    let pipe = matches!(film.plaintext, Plaintext::Pipe(_));
    let less = last > SEEK_SECONDS * plan.wanted.len() as f64;
    match less && !pipe && video.end_seconds.is_some() {
        true => Reading::Seek,
        false => Reading::Through,
    }
}

impl Video {
    fn check_size(&self, most: u64) -> Result<()> {
        let (width, height) = self.upright();
        let coded = u64::from(self.width) * u64::from(self.height);
        let sides = width.max(height) <= MOST_SIDE;
        match sides && coded <= most && width * height <= most {
            true => Ok(()),
            false => {
                let why = format!("frames of {width}x{height} pixels are too large");
                Err(Failure::new(Kind::TooLarge, why))
            }
        }
    }
}

/// Frames in the making.
struct Work<'a> {
    tools: &'a Tools,
    film: &'a Film,
    video: &'a Video,
    limits: &'a Limits,
    deadline: Instant,
    frames: &'a mut Frames,
}

impl Work<'_> {
    async fn through(
        &mut self,
        plan: &Plan,
        out: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<()> {
        if plan.wanted.is_empty() {
            return Ok(());
        }
        let done = self.child(plan, Begin::Start, 0.0, out).await?;
        match plan.wanted.get(self.frames.frames.len()) {
            Some(missing) => {
                run::check(&done.outcome)?;
                self.check_end(missing, &done)
            }
            None => Ok(()),
        }
    }

    async fn till_the_end(
        &mut self,
        known: &Plan,
        times: &Times,
        out: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<()> {
        let most = self.limits.frames;
        let plan = times.plan(None, most)?;
        self.through(&plan, out).await?;
        let all = self.frames.frames.len() < most;
        match all || (self.video.end_seconds.is_some() && known.wanted.len() == most) {
            true => Ok(()),
            false => Err(Failure::new(
                Kind::TooLarge,
                format!("there are more than {most} frames"),
            )),
        }
    }

    async fn seek(
        &mut self,
        plan: &Plan,
        out: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<()> {
        let end = self.video.end_seconds.unwrap_or(f64::MAX);
        for frame in plan.wanted.iter().filter(|frame| frame.seconds < end) {
            let single = Plan {
                wanted: vec![*frame],
                even: None,
            };
            let last = self.seek_one(&single, out).await?;
            if let Some(done) = last {
                return self.check_end(frame, &done);
            }
        }
        Ok(())
    }

    /// One frame; what the last child did, when even that found none.
    async fn seek_one(
        &mut self,
        single: &Plan,
        out: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<Option<Done>> {
        let before = self.frames.frames.len();
        let wanted = single.wanted.first().map_or(0.0, |frame| frame.seconds);
        let back: &[f64] = match self.film.form {
            FileType::MpegTs => &BACK_SECONDS_WITHOUT_INDEX,
            _ => &BACK_SECONDS,
        };
        let places = back
            .iter()
            .map(|back| wanted - back)
            .filter(|place| *place > 0.0);
        for place in places.map(Some).chain([None]) {
            let begin = if place.is_some() {
                Begin::Middle
            } else {
                Begin::Start
            };
            let done = self.child(single, begin, place.unwrap_or(0.0), out).await?;
            if self.frames.frames.len() > before {
                return Ok(None);
            }
            match (run::check(&done.outcome), place) {
                (Err(failure), Some(_)) if failure.kind == Kind::Broken && done.bytes == 0 => {}
                (Err(failure), _) => return Err(failure),
                (Ok(()), None) => return Ok(Some(done)),
                (Ok(()), Some(_)) => {}
            }
        }
        Ok(None)
    }

    /// One child with what is left of the limits; notes the frames that it delivered.
    async fn child(
        &mut self,
        plan: &Plan,
        begin: Begin,
        place: f64,
        out: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<Done> {
        let most = plan.wanted.len();
        let bytes = self.frame_bytes();
        let wall = self.deadline.saturating_duration_since(Instant::now());
        let cpu_seconds = self
            .limits
            .cpu_seconds
            .saturating_sub(self.frames.cpu.as_secs());
        if wall.is_zero() || cpu_seconds == 0 {
            return Err(Failure::new(Kind::TookTooLong, "decoding took too long"));
        }
        let memory = self.limits.memory_bytes;
        let task = Task {
            program: &self.tools.ffmpeg,
            before: self.options(begin, place),
            after: self.output(plan, begin),
            limits: sandbox::Limits {
                memory,
                address_space: (2 << 30) + memory,
                cpu_seconds,
                wall,
                stdout_bytes: bytes * most as u64,
                range_bytes: self.limits.range_bytes,
                ..sandbox::Limits::default()
            },
        };
        let done = run::run(self.tools, self.film, task, out).await?;
        self.frames.cpu += done.outcome.usage.cpu;
        let whole = usize::try_from(done.bytes / bytes).unwrap_or(most);
        self.frames.frames.extend(plan.wanted.iter().take(whole));
        if done.bytes % bytes != 0 {
            run::check(&done.outcome)?;
            return Err(Failure::new(
                Kind::Broken,
                "the decoder stopped within a frame",
            ));
        }
        Ok(done)
    }

    /// A PPM's header and its pixels.
    fn frame_bytes(&self) -> u64 {
        let (width, height) = self.video.upright();
        format!("P6\n{width} {height}\n255\n").len() as u64 + width * height * 3
    }

    fn options(&self, begin: Begin, place: f64) -> Vec<String> {
        let most = self.limits.pixels;
        let mut words = format!("-max_pixels {most} -noautorotate -reinit_filter 0");
        if begin == Begin::Middle {
            // With the film's own times, so that what is before the place can be told.
            words += &format!(" -copyts -start_at_zero -noaccurate_seek -ss {place:.6}");
        }
        words.split(' ').map(str::to_owned).collect()
    }

    fn output(&self, plan: &Plan, begin: Begin) -> Vec<String> {
        // To ffmpeg a transport stream begins with the first frame that it takes from it.
        let shift = match self.film.form {
            FileType::MpegTs => self.video.start_seconds,
            _ => 0.0,
        };
        let graph = graph::describe(self.video, plan, shift, begin);
        let (stream, most) = (self.video.stream, plan.wanted.len());
        let words = format!(
            "-map 0:{stream} -filter_threads 1 -threads 1 -fps_mode passthrough -frames:v {most} \
             -c:v ppm -f image2pipe -vf"
        );
        let words = words.split(' ').map(str::to_owned);
        words.chain([graph, "pipe:1".to_owned()]).collect()
    }

    /// The first wanted frame that did not come: is it after the end, or is the film broken?
    fn check_end(&self, missing: &Frame, done: &Done) -> Result<()> {
        let said = &done.outcome.stderr;
        let end = self.video.end_seconds.unwrap_or(0.0);
        let none = missing.seconds <= self.video.start_seconds.max(0.0);
        let broke_off = !said.is_empty() && missing.seconds < end - END_SLACK_SECONDS;
        match none || broke_off {
            true => Err(Failure::new(Kind::Broken, run::last_words(said))),
            false => Ok(()),
        }
    }
}
