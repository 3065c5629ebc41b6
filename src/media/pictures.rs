//! Pictures: thumbnails from film frames, from picture files, and from the covers in audio files.
//!
//! In come an [`Order`] and the bytes it names; out go [`Records`], one for each picture made.
//! All of it but [`Records`] runs inside the sandboxed helper, since it parses what strangers sent.
//! It opens nothing, starts nothing, and never says what is in a file, only why it was refused.

mod artwork;
mod canvas;
mod decode;
mod encode;
mod frames;
mod geometry;
mod records;
mod watermark;
mod webp_chunks;

use std::fmt;
use std::io::{self, Read, Seek, Write};

use image::DynamicImage;
use serde::{Deserialize, Serialize};

use crate::job::{Padding, Picture, PictureFormat, Placement};
use decode::Bounds;
use geometry::{Geometry, Size};
use watermark::Mark;

pub use records::{Caps, Record, Records};

/// Most watermarks on one picture.
pub const MOST_WATERMARKS: usize = 4;
/// Most pictures taken from one audio file.
pub const MOST_COVERS: usize = 20;
/// Largest picture taken from an audio file, in pixels across and down.
pub const LARGEST_COVER: (u32, u32) = (4096, 3072);
/// Longest side that every format written here can have, in pixels.
const LONGEST_SIDE: u32 = 16_383;

/// What the helper is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Where the pictures come from.
    pub source: Source,
    /// How they are to look.
    pub picture: Picture,
    /// Red, green and blue of the bars, and of what is behind a transparent picture.
    pub background: [u8; 3],
    /// Painted in this order; at most [`MOST_WATERMARKS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watermarks: Vec<Watermark>,
    /// What is too much.
    #[serde(default)]
    pub limits: Limits,
}

/// Where the pictures come from. A `file` is an index into the files that [`run`] is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// PPM pictures (P6, maxval 255), one after the other, on the stream.
    Frames,
    /// One picture file.
    Image {
        /// Which file.
        file: usize,
        /// What its first bytes say that it is.
        form: ImageForm,
    },
    /// The pictures inside an audio file: front covers first, then as they stand in it.
    Artwork {
        /// Which file.
        file: usize,
        /// What its first bytes say that it is.
        form: AudioForm,
    },
}

/// A picture format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageForm {
    /// JPEG.
    Jpeg,
    /// PNG; of an animation the first picture.
    Png,
    /// WebP; of an animation the first picture.
    Webp,
    /// GIF; of an animation the first picture.
    Gif,
}

/// An audio format whose covers can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AudioForm {
    /// MP3.
    Mp3,
    /// MP4 and M4A.
    Mp4,
    /// FLAC.
    Flac,
    /// Ogg with Vorbis or Opus.
    Ogg,
}

/// A picture painted over the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    /// Which of the files that [`run`] is given.
    pub file: usize,
    /// What its first bytes say that it is: JPEG or PNG, no other.
    pub form: ImageForm,
    /// Where it stands.
    pub placement: Placement,
}

/// What is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most pixels of a source picture or a watermark. Decoding takes up to 12 bytes for each.
    pub pixels: u64,
    /// Most source pictures; with more the order is refused.
    pub pictures: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            pixels: 64 << 20,
            pictures: 100_000,
        }
    }
}

/// Why something is not done: a short text for whoever sent it, with nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The text: printable ASCII, at most [`Refused::LONGEST`] bytes.
    pub what: String,
}

impl Refused {
    /// Longest text, in bytes.
    pub const LONGEST: usize = 120;

    /// Refuses with this text.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Refused { what: what.into() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Refused {}

/// What one step gives, or why it does not.
pub(crate) type Result<T> = std::result::Result<T, Refused>;

/// A picture as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Carries out an order: reads `stream` (for [`Source::Frames`]) or one of `files`, and writes
/// records to `out`, each as soon as it is ready.
///
/// A source picture that is no good costs only itself. Everything else that is wrong with the order
/// or its files goes out as a record too; an error is only that `out` cannot be written.
pub fn run<F: Read + Seek>(
    order: &Order,
    stream: impl Read,
    files: &mut [F],
    out: impl Write,
) -> io::Result<()> {
    let mut writer = records::Writer::new(out);
    let ready = Painter::new(order, files)
        .and_then(|painter| Ok((painter, sources(order, stream, files)?)));
    let (mut painter, sources) = match ready {
        Ok(ready) => ready,
        Err(refused) => return writer.refused(&refused),
    };
    for (source, number) in sources.zip(1u32..) {
        if number > order.limits.pictures {
            let most = order.limits.pictures;
            return writer.refused(&Refused::new(format!("more than {most} pictures")));
        }
        match source.and_then(|source| painter.paint(source)) {
            Ok(made) => writer.picture(&made)?,
            Err(refused) => writer.skipped(number, &refused)?,
        }
    }
    writer.end()
}

type Sources<'a> = Box<dyn Iterator<Item = Result<DynamicImage>> + 'a>;

/// The source pictures, decoded one at a time as they are asked for.
fn sources<'a, F: Read + Seek>(
    order: &Order,
    stream: impl Read + 'a,
    files: &mut [F],
) -> Result<Sources<'a>> {
    let bounds = Bounds::of(order.limits.pixels);
    Ok(match order.source {
        Source::Frames => Box::new(frames::Frames::new(stream, bounds)),
        Source::Image { file, form } => {
            let bytes = decode::read(pick(files, file)?)?;
            Box::new(std::iter::once_with(move || {
                decode::decode(&bytes, form, bounds)
            }))
        }
        Source::Artwork { file, form } => {
            let covers = artwork::covers(pick(files, file)?, form)?;
            let bounds = bounds.with_largest(LARGEST_COVER);
            Box::new(covers.into_iter().map(move |cover| {
                let form = ImageForm::sniff(&cover)?;
                decode::decode(&cover, form, bounds)
            }))
        }
    })
}

/// The file under this index, from its start.
fn pick<F: Read + Seek>(files: &mut [F], index: usize) -> Result<&mut F> {
    let file = files.get_mut(index);
    let file = file.ok_or_else(|| Refused::new("the order names a file that is not there"))?;
    let start = file.rewind();
    start.map_err(|_| Refused::new("the file cannot be read"))?;
    Ok(file)
}

/// Makes pictures as an order has them look.
struct Painter<'a> {
    order: &'a Order,
    marks: Vec<Mark>,
}

impl<'a> Painter<'a> {
    /// Checks the order, and decodes its watermarks.
    fn new<F: Read + Seek>(order: &'a Order, files: &mut [F]) -> Result<Self> {
        let sides = [order.picture.max_width, order.picture.max_height];
        if sides.iter().any(|side| !(1..=LONGEST_SIDE).contains(side)) {
            return Err(Refused::new("the size asked for is out of range"));
        }
        if order.watermarks.len() > MOST_WATERMARKS {
            return Err(Refused::new(format!(
                "more than {MOST_WATERMARKS} watermarks"
            )));
        }
        let bounds = Bounds::of(order.limits.pixels);
        let mark = |(watermark, number): (&Watermark, u32)| {
            Mark::read(watermark, files, bounds)
                .map_err(|refused| Refused::new(format!("watermark {number}: {refused}")))
        };
        let marks = order
            .watermarks
            .iter()
            .zip(1..)
            .map(mark)
            .collect::<Result<_>>()?;
        Ok(Painter { order, marks })
    }

    /// Scales, cuts, pads, paints the watermarks over it, and encodes.
    ///
    /// What is see-through stays so only in a PNG or WebP without bars; everywhere else the
    /// background is laid behind it.
    fn paint(&mut self, source: DynamicImage) -> Result<Made> {
        let picture = &self.order.picture;
        let geometry = Geometry::new(Size::of(&source), picture);
        let scaled = canvas::scale_and_cut(&source, &geometry)?;
        drop(source);
        let see_through = picture.format != PictureFormat::Jpg && picture.padding == Padding::NoPad;
        let mut canvas = if see_through {
            scaled
        } else {
            canvas::lay_on(scaled, &geometry, self.order.background)
        };
        for mark in &mut self.marks {
            mark.paint(&mut canvas, &geometry)?;
        }
        let bytes = encode::encode(&canvas, picture.format, picture.quality)?;
        let Size { width, height } = geometry.full;
        Ok(Made {
            width,
            height,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests;
