//! Film frames: a stream of PPM pictures (P6, maxval 255), as ffmpeg writes them to a pipe.
//!
//! In comes the stream; out come the frames one at a time, as 8-bit RGB. After the first thing that
//! is wrong in it nothing more is read, since there is no telling where the next frame starts.

use std::io::{BufRead, BufReader, Read};

use image::{DynamicImage, RgbImage};

use super::decode::Bounds;
use super::{Refused, Result};

/// Most bytes of a header field, with the space before and after it.
const LONGEST_FIELD: usize = 16;

/// The frames of a stream.
pub(super) struct Frames<R> {
    stream: BufReader<R>,
    bounds: Bounds,
    over: bool,
}

impl<R: Read> Frames<R> {
    /// Frames of this stream, none larger than `bounds`.
    pub(super) fn new(stream: R, bounds: Bounds) -> Self {
        let stream = BufReader::with_capacity(64 << 10, stream);
        Frames {
            stream,
            bounds,
            over: false,
        }
    }

    /// The next frame; `None` at the end of the stream.
    fn frame(&mut self) -> Result<Option<DynamicImage>> {
        if self.stream.fill_buf().map_err(|_| unreadable())?.is_empty() {
            return Ok(None);
        }
        if (self.byte()?, self.byte()?) != (b'P', b'6') {
            return Err(not_a_frame());
        }
        let (width, height, most) = (self.field()?, self.field()?, self.field()?);
        if most != 255 {
            return Err(not_a_frame());
        }
        self.bounds.check(width, height)?;
        let length = width as usize * height as usize * 3;
        let mut pixels = Vec::new();
        pixels
            .try_reserve_exact(length)
            .map_err(|_| Refused::new("there is no memory left"))?;
        let mut rest = (&mut self.stream).take(length as u64);
        rest.read_to_end(&mut pixels).map_err(|_| unreadable())?;
        let image = RgbImage::from_raw(width, height, pixels);
        image.map(|image| Some(image.into())).ok_or_else(cut_short)
    }

    /// A number, and the one space after it.
    fn field(&mut self) -> Result<u32> {
        let mut value: Option<u64> = None;
        for _ in 0..LONGEST_FIELD {
            match (self.byte()?, value) {
                (digit @ b'0'..=b'9', _) => {
                    value = Some(value.unwrap_or(0) * 10 + u64::from(digit - b'0'));
                }
                (b' ' | b'\t' | b'\r' | b'\n', None) => {}
                (b' ' | b'\t' | b'\r' | b'\n', Some(value)) => {
                    return u32::try_from(value).map_err(|_| not_a_frame());
                }
                _ => break,
            }
        }
        Err(not_a_frame())
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).map_err(|_| cut_short())?;
        Ok(byte[0])
    }
}

impl<R: Read> Iterator for Frames<R> {
    type Item = Result<DynamicImage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let frame = self.frame().transpose();
        self.over = !matches!(frame, Some(Ok(_)));
        frame
    }
}

fn not_a_frame() -> Refused {
    Refused::new("the stream of frames has something else in it")
}

fn cut_short() -> Refused {
    Refused::new("the stream of frames is cut short")
}

fn unreadable() -> Refused {
    Refused::new("the stream of frames cannot be read")
}

#[cfg(test)]
mod tests;
