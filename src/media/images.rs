//! Images: thumbnails, asked of the helper.
//!
//! A plaintext and what is wanted of it come in, finished pictures go out. Films go through ffmpeg
//! first, whose frames are passed on to the helper without being looked at.

use ciphermill_formats::FileType;

use std::os::fd::OwnedFd;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::film::{self, Facts, Film, Plaintext, Times};
use super::helper::Work;
use super::pictures::{Caps, ImageForm, Limits, Made, Order, Record, Records, Source, Watermark};
use super::sandbox::{self, Child, Memory, Stdin};
use super::{Media, Tools, unreadable};
use crate::fault::{Code, Fault, Result};
use crate::job::picture::{Picture, Placement};
use crate::job::{Thumbnails, companions, limits};

/// Bars, and what shows through, on thumbnails (Elastic Transcoder).
const BLACK: [u8; 3] = [0; 3];
/// Unless the job says otherwise, one thumbnail a minute.
const INTERVAL_SECONDS: f64 = 60.0;
/// Memory of a helper besides that of its pictures, in bytes.
const HELPER_BYTES: u64 = 8 << 20;
/// What ffmpeg maps for itself and never touches (the data of a hundred libraries), in bytes: its
/// limit counts that, the budget does not.
const UNTOUCHED_BYTES: u64 = 48 << 20;
/// Memory that a helper takes for each pixel of a picture that it decodes, in bytes: a PNG of 16
/// bits and its copy with 8.
const BYTES_PER_PIXEL: u64 = 12;
/// Memory that it takes for each pixel of a film's frame.
const BYTES_PER_FRAME_PIXEL: u64 = 8;

/// A finished picture.
#[derive(Clone, Debug, PartialEq)]
pub struct MadePicture {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Its time in the film.
    pub at_seconds: Option<f64>,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Pictures, and the times that the film does not reach.
#[derive(Clone, Debug, Default)]
pub struct MadePictures {
    /// In the order that was asked for.
    pub pictures: Vec<MadePicture>,
    /// In seconds.
    pub missing_seconds: Vec<f64>,
}

impl Media {
    /// Makes thumbnails of a film or a picture; at most so many bytes of them. With a plaintext that
    /// passes by come its first bytes.
    pub async fn thumbnails(
        &self,
        (plaintext, head): (Plaintext, Option<Plaintext>),
        asked: &Thumbnails,
        watermarks: Vec<(Bytes, Placement)>,
        most_bytes: u64,
    ) -> Result<MadePictures> {
        let tools = self.tools().await?;
        let form = super::form_of(head.as_ref().unwrap_or(&plaintext)).await?;
        let mut files = Files::default();
        let source = match image_form(form) {
            Some(form) => Source::Image {
                file: files.add_plaintext(&plaintext)?,
                form,
            },
            None => Source::Frames,
        };
        let mut marks = Vec::with_capacity(watermarks.len());
        for (index, (bytes, placement)) in watermarks.into_iter().enumerate() {
            let pointer = format!("/thumbnails/watermarks/{index}");
            marks.push(
                files
                    .add_watermark(&bytes, placement)
                    .map_err(|f| f.at(pointer))?,
            );
        }
        let order = self.order(source, &asked.picture, BLACK, marks);
        let caps = Caps::of(&order, most_bytes);
        if source != Source::Frames {
            let mut made = self.paint(tools, order, files, caps).await?;
            made.truncate(1);
            return Ok(MadePictures {
                pictures: made.into_iter().map(|made| picture(made, None)).collect(),
                missing_seconds: Vec::new(),
            });
        }
        let head = head.map(|plaintext| Film { form, plaintext });
        let film = Film { form, plaintext };
        let facts = self.facts(tools, &film, head.as_ref()).await?;
        let work = (order, files, caps);
        self.film_thumbnails(tools, (&film, facts), &times(&asked.times), work)
            .await
    }

    /// What a film says of itself. One that passes by cannot be asked; its first bytes can, but not
    /// when a transport stream ends.
    async fn facts(&self, tools: &Tools, film: &Film, head: Option<&Film>) -> Result<Facts> {
        let asked = head.unwrap_or(film);
        let mut facts = film::probe(tools, asked, &self.film_limits()).await?;
        if head.is_some()
            && film.form == FileType::MpegTs
            && let Some(video) = &mut facts.video
        {
            video.end_seconds = None;
        }
        Ok(facts)
    }

    async fn film_thumbnails(
        &self,
        tools: &Tools,
        (film, facts): (&Film, Facts),
        times: &Times,
        (order, files, caps): (Order, Files, Caps),
    ) -> Result<MadePictures> {
        let mut limits = self.film_limits();
        let helper_bytes = HELPER_BYTES + BYTES_PER_FRAME_PIXEL * facts.pixels();
        limits = film::Limits {
            pixels: order.limits.pixels,
            frames: limits::THUMBNAILS,
            range_bytes: film.range_bytes(),
            memory_bytes: limits.memory_bytes.saturating_sub(helper_bytes),
            ..limits
        };
        let mut child = self.start(tools, order, files, Stdin::Pipe).await?;
        let (stdin, stdout) = (child.take_stdin(), child.take_stdout());
        let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(Fault::new(Code::Internal, "a helper without pipes"));
        };
        let filled =
            async move { film::frames(tools, film, &facts, times, &limits, &mut stdin).await };
        let (frames, records, outcome) = tokio::join!(filled, collect(stdout, caps), child.wait());
        let outcome = outcome?;
        // A helper that refuses its order reads no frames: that ffmpeg could not write them then is
        // not the machine's fault.
        let refused = records
            .as_ref()
            .is_ok_and(|records| matches!(records.last(), Some(Record::Refused(_))));
        if let Some(failure) = frames.failure
            && (failure.is_media() || outcome.success() && !refused)
        {
            return Err(failure.into());
        }
        let made = records.and_then(|records| finished(records, &outcome, true))?;
        let times = frames.frames.iter().map(|frame| Some(frame.seconds));
        let pictures = made.into_iter().zip(times);
        Ok(MadePictures {
            pictures: pictures.map(|(made, at)| picture(made, at)).collect(),
            missing_seconds: frames.missing.iter().map(|frame| frame.seconds).collect(),
        })
    }

    /// Limits of whatever is asked of a film.
    pub(super) fn film_limits(&self) -> film::Limits {
        film::Limits {
            memory_bytes: self.settings.decoder_bytes as u64 + UNTOUCHED_BYTES,
            wall: self.settings.limit,
            cpu_seconds: self.settings.limit.as_secs(),
            ..film::Limits::default()
        }
    }

    /// Limits of a run of ffmpeg whose output is kept.
    pub(super) fn ffmpeg_limits(&self) -> sandbox::Limits {
        sandbox::Limits {
            memory: self.settings.decoder_bytes as u64 + UNTOUCHED_BYTES,
            cpu_seconds: self.settings.limit.as_secs(),
            wall: self.settings.limit,
            stdout_bytes: self.settings.decoder_bytes as u64 / 4,
            ..sandbox::Limits::default()
        }
    }

    pub(super) fn order(
        &self,
        source: Source,
        picture: &Picture,
        background: [u8; 3],
        watermarks: Vec<Watermark>,
    ) -> Order {
        let room = (self.settings.decoder_bytes as u64).saturating_sub(HELPER_BYTES);
        Order {
            source,
            picture: picture.clone(),
            background,
            watermarks,
            limits: Limits {
                pixels: (room / BYTES_PER_PIXEL).min(Limits::default().pixels),
                pictures: limits::THUMBNAILS as u32,
            },
        }
    }

    pub(super) async fn paint(
        &self,
        tools: &Tools,
        order: Order,
        files: Files,
        caps: Caps,
    ) -> Result<Vec<Made>> {
        let mut child = self.start(tools, order, files, Stdin::Null).await?;
        let Some(stdout) = child.take_stdout() else {
            return Err(Fault::new(Code::Internal, "a helper without pipes"));
        };
        let (records, outcome) = tokio::join!(collect(stdout, caps), child.wait());
        let outcome = outcome?;
        records.and_then(|records| finished(records, &outcome, false))
    }

    async fn start(
        &self,
        tools: &Tools,
        order: Order,
        files: Files,
        stdin: Stdin,
    ) -> Result<Child> {
        let limits = sandbox::Limits {
            memory: self.settings.decoder_bytes as u64,
            cpu_seconds: self.settings.limit.as_secs(),
            wall: self.settings.limit,
            stdout_bytes: 1 << 40,
            ..sandbox::Limits::default()
        };
        let work = Work::Pictures(order, files.0.len());
        let command = tools.helper(&work, files.0)?.stdin(stdin).limits(limits);
        Ok(command.start().await?)
    }
}

/// The files of an order, in the order of their numbers.
#[derive(Default)]
pub(super) struct Files(Vec<OwnedFd>);

impl Files {
    /// A plaintext that is in memory.
    pub(super) fn add_plaintext(&mut self, plaintext: &Plaintext) -> Result<usize> {
        let Plaintext::Memory(fd) = plaintext else {
            let message =
                "pictures are read whole, and this one is larger than `media.plaintext_bytes`";
            return Err(Fault::new(Code::MediaTooLarge, message));
        };
        let fd = fd.try_clone();
        let fd = fd.map_err(|e| Fault::new(Code::Internal, format!("no descriptor: {e}")))?;
        Ok(self.add(fd))
    }

    fn add_watermark(&mut self, bytes: &[u8], placement: Placement) -> Result<Watermark> {
        let form = FileType::sniff(bytes).and_then(image_form);
        let form = form.filter(|form| matches!(form, ImageForm::Jpeg | ImageForm::Png));
        let form = form.ok_or_else(|| unreadable("a watermark must be a JPEG or a PNG"))?;
        Ok(Watermark {
            file: self.add(Memory::of(bytes)?.into_fd()),
            form,
            placement,
        })
    }

    /// One more; its number.
    pub(super) fn add(&mut self, fd: OwnedFd) -> usize {
        self.0.push(fd);
        self.0.len() - 1
    }
}

/// Everything that the helper says, to its end.
async fn collect(mut stdout: impl AsyncRead + Unpin, caps: Caps) -> Result<Vec<Record>> {
    let strange = |refused| unreadable(format!("the helper said something strange: {refused}"));
    let mut records = Records::new(caps);
    let mut found = Vec::new();
    let mut piece = vec![0; 64 << 10];
    while let Ok(read @ 1..) = stdout.read(&mut piece).await {
        records.push(piece.get(..read).unwrap_or_default());
        while let Some(record) = records.next().map_err(strange)? {
            found.push(record);
        }
    }
    Ok(found)
}

/// The pictures of a helper that came to its end. A source picture that none could be made of is
/// left out where there is another, unless they all are to be there.
fn finished(records: Vec<Record>, outcome: &sandbox::Outcome, all: bool) -> Result<Vec<Made>> {
    let (mut made, mut why, mut ended) = (Vec::new(), None, false);
    for record in records {
        match record {
            Record::Picture(picture) => made.push(picture),
            Record::Skipped { why: refused, .. } => {
                why.get_or_insert(refused.what);
            }
            Record::Refused(refused) => return Err(unreadable(refused.what)),
            Record::End => ended = true,
        }
    }
    if !ended || !outcome.success() {
        return Err(broken_off(outcome));
    }
    match why {
        Some(why) if all || made.is_empty() => Err(unreadable(why)),
        _ => Ok(made),
    }
}

/// A helper that did not come to its end: over its limits, or crashed over the media.
pub(super) fn broken_off(outcome: &sandbox::Outcome) -> Fault {
    match outcome.killed_by {
        Some(sandbox::KilledBy::OutputCap) => {
            Fault::new(Code::MediaTooLarge, "more came out than it may hold")
        }
        Some(_) => Fault::new(Code::MediaTimeout, "the helper took too long over it"),
        None => {
            let message = "the helper gave up over it, for want of memory or because it is broken";
            unreadable(message)
        }
    }
}

pub(super) fn picture(made: Made, at_seconds: Option<f64>) -> MadePicture {
    MadePicture {
        width: made.width,
        height: made.height,
        at_seconds,
        bytes: made.bytes,
    }
}

fn times(asked: &companions::Times) -> Times {
    match (asked.count, asked.at_seconds.as_slice()) {
        (Some(count), _) => Times::Count(count as usize),
        (None, []) => Times::Every(asked.interval_seconds.unwrap_or(INTERVAL_SECONDS)),
        (None, times) => Times::At(times.to_vec()),
    }
}

pub(super) fn image_form(form: FileType) -> Option<ImageForm> {
    match form {
        FileType::Jpeg => Some(ImageForm::Jpeg),
        FileType::Png => Some(ImageForm::Png),
        FileType::Webp => Some(ImageForm::Webp),
        FileType::Gif => Some(ImageForm::Gif),
        _ => None,
    }
}
