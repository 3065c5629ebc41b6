//! Records: how pictures get from the helper to the worker, through a pipe.
//!
//! Each record starts with one letter; numbers are big-endian u32:
//! - `P` width height length, then the file: a picture;
//! - `S` number length, then a text: that source picture, counted from 1, gave none, and why;
//! - `E` count: all went through, and this many pictures came; nothing follows;
//! - `R` length, then a text: the order is refused, and why; nothing follows.
//!
//! [`Writer`] runs in the helper. [`Records`] runs in the worker and takes the helper for an enemy:
//! it holds one record at most, and never allocates for a length that is only claimed.

use std::io::{self, Write};

use super::{Made, Order, Refused, Result};

/// Writes records, each flushed.
pub(super) struct Writer<W> {
    out: W,
    pictures: u32,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`.
    pub(super) fn new(out: W) -> Self {
        Writer { out, pictures: 0 }
    }

    /// A picture.
    pub(super) fn picture(&mut self, made: &Made) -> io::Result<()> {
        self.pictures += 1;
        let length = u32::try_from(made.bytes.len()).map_err(io::Error::other)?;
        self.record(b'P', &[made.width, made.height, length], &made.bytes)
    }

    /// A source picture that gave none.
    pub(super) fn skipped(&mut self, number: u32, why: &Refused) -> io::Result<()> {
        self.record(b'S', &[number, why.what.len() as u32], why.what.as_bytes())
    }

    /// The whole order refused; the last record.
    pub(super) fn refused(&mut self, why: &Refused) -> io::Result<()> {
        self.record(b'R', &[why.what.len() as u32], why.what.as_bytes())
    }

    /// The end; the last record.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.record(b'E', &[self.pictures], &[])
    }

    fn record(&mut self, letter: u8, numbers: &[u32], body: &[u8]) -> io::Result<()> {
        let mut head = vec![letter];
        head.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        self.out.write_all(&head)?;
        self.out.write_all(body)?;
        self.out.flush()
    }
}

/// What the worker takes from a helper at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Bytes of one picture.
    pub picture_bytes: u32,
    /// Source pictures, used or not.
    pub pictures: u32,
    /// Bytes of all pictures.
    pub total_bytes: u64,
}

impl Caps {
    /// What an order can give, and no more bytes than this in all.
    pub fn of(order: &Order, total_bytes: u64) -> Self {
        let (width, height) = (order.picture.max_width, order.picture.max_height);
        // Noise at the best quality takes close to five bytes a pixel.
        let pixels = u64::from(width) * u64::from(height);
        let picture_bytes =
            u32::try_from(pixels.saturating_mul(6).saturating_add(64 << 10)).unwrap_or(u32::MAX);
        let pictures = order.limits.pictures;
        Caps {
            width,
            height,
            picture_bytes,
            pictures,
            total_bytes,
        }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A picture.
    Picture(Made),
    /// A source picture that gave none.
    Skipped {
        /// Which, counted from 1.
        number: u32,
        /// Why.
        why: Refused,
    },
    /// All went through; nothing follows.
    End,
    /// The order is refused; nothing follows.
    Refused(Refused),
}

/// Reads records: [`Records::push`] what came, then [`Records::next`] until it gives `None`.
#[derive(Debug)]
pub struct Records {
    caps: Caps,
    pushed: Vec<u8>,
    read: usize,
    pictures: u32,
    sources: u32,
    total_bytes: u64,
    over: bool,
}

impl Records {
    /// Takes no more than this.
    pub fn new(caps: Caps) -> Self {
        let (pushed, read) = (Vec::new(), 0);
        Records {
            caps,
            pushed,
            read,
            pictures: 0,
            sources: 0,
            total_bytes: 0,
            over: false,
        }
    }

    /// Takes bytes in, in pieces of any size. Call [`Records::next`] until `None` before the next
    /// piece, so that no more than one record is held.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pushed.drain(..self.read);
        self.read = 0;
        self.pushed.extend_from_slice(bytes);
    }

    /// The next record, or `None` while it is not all there. After an error there are only errors.
    #[expect(clippy::should_implement_trait, reason = "more can come after `None`")]
    pub fn next(&mut self) -> Result<Option<Record>> {
        let bytes = self.pushed.get(self.read..).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(None);
        }
        if self.over {
            return Err(broken("bytes after its end"));
        }
        let mut rest = Rest(bytes);
        let record = match self.parse(&mut rest) {
            None => return Ok(None),
            Some(record) => record.inspect_err(|_| self.over = true)?,
        };
        self.read = self.pushed.len() - rest.0.len();
        match &record {
            Record::Picture(made) => {
                self.sources += 1;
                self.pictures += 1;
                self.total_bytes += made.bytes.len() as u64;
            }
            Record::Skipped { .. } => self.sources += 1,
            Record::End | Record::Refused(_) => self.over = true,
        }
        Ok(Some(record))
    }

    /// Whether nothing more is to come: a last record came, or something wrong. If the pipe ends
    /// before this, the helper broke off.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Reads one record; `None` if it is not all there.
    fn parse(&self, rest: &mut Rest) -> Option<Result<Record>> {
        let [letter] = rest.bytes()?;
        Some(match letter {
            b'P' => {
                let [width, height, length] = rest.numbers()?;
                if let Err(refused) = self.check(width, height, length) {
                    return Some(Err(refused));
                }
                let bytes = rest.take(length)?.to_vec();
                Ok(Record::Picture(Made {
                    width,
                    height,
                    bytes,
                }))
            }
            b'S' => {
                let [number] = rest.numbers()?;
                if number != self.sources.saturating_add(1) || number > self.caps.pictures {
                    return Some(Err(broken("a wrong number")));
                }
                text(rest)?.map(|why| Record::Skipped { number, why })
            }
            b'R' => text(rest)?.map(Record::Refused),
            b'E' => match rest.numbers()? {
                [count] if count == self.pictures => Ok(Record::End),
                _ => Err(broken("a wrong count")),
            },
            _ => Err(broken("no record")),
        })
    }

    /// Refuses a picture by what is said of it.
    fn check(&self, width: u32, height: u32, length: u32) -> Result<()> {
        let Caps {
            width: widest,
            height: highest,
            picture_bytes,
            pictures,
            total_bytes,
        } = self.caps;
        if !(1..=widest).contains(&width) || !(1..=highest).contains(&height) {
            return Err(broken("a picture of a wrong size"));
        }
        if !(1..=picture_bytes).contains(&length) || self.sources >= pictures {
            return Err(broken("too large a picture, or too many"));
        }
        if self.total_bytes + u64::from(length) > total_bytes {
            return Err(broken("too many bytes"));
        }
        Ok(())
    }
}

/// A text that is safe to show.
fn text(rest: &mut Rest) -> Option<Result<Refused>> {
    let [length] = rest.numbers()?;
    if length as usize > Refused::LONGEST {
        return Some(Err(broken("too long a text")));
    }
    let bytes = rest.take(length)?;
    if !bytes.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return Some(Err(broken("a text that is none")));
    }
    Some(Ok(Refused::new(String::from_utf8_lossy(bytes))))
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn numbers<const N: usize>(&mut self) -> Option<[u32; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = u32::from_be_bytes(self.bytes()?);
        }
        Some(numbers)
    }

    fn take(&mut self, length: u32) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(bytes)
    }
}

fn broken(what: &str) -> Refused {
    Refused::new(format!("the picture helper sent {what}"))
}

#[cfg(test)]
mod tests;
