//! As much HTTP/1.1 as a proxy needs to know where a message ends: heads, and bodies by Content-Length,
//! by chunks, or up to the end of the connection. Bytes pass through as they came.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Duration, sleep};

/// The reading side of a connection. Its buffer is all that the proxy ever holds of a body.
pub type Reader = BufReader<OwnedReadHalf>;

pub const BUFFER: usize = 64 << 10;
const LONGEST_HEAD: usize = 64 << 10;

pub fn reader(half: OwnedReadHalf) -> Reader {
    BufReader::with_capacity(BUFFER, half)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// A request's or response's head: its first line in three words, its headers, and the bytes as they came.
#[derive(Debug, Default)]
pub struct Head {
    pub raw: Vec<u8>,
    pub first: [String; 3],
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Reads up to the empty line. `None`: the peer closed the connection instead of sending another.
    pub async fn read(from: &mut Reader) -> io::Result<Option<Head>> {
        let mut raw = Vec::new();
        loop {
            let data = from.fill_buf().await?;
            if data.is_empty() {
                return match raw.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
            // The empty line may lie across two reads: look again at the three bytes before this one.
            let (had, new) = (raw.len(), data.len());
            raw.extend_from_slice(data);
            let from_here = had.saturating_sub(3);
            if let Some(at) = raw[from_here..].windows(4).position(|w| w == b"\r\n\r\n") {
                raw.truncate(from_here + at + 4);
                let used = raw.len() - had;
                from.consume(used);
                return Head::parse(raw).map(Some);
            }
            from.consume(new);
            if raw.len() > LONGEST_HEAD {
                return Err(bad("the head is too long"));
            }
        }
    }

    fn parse(raw: Vec<u8>) -> io::Result<Head> {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
        let first = [(); 3].map(|()| words.next().unwrap_or_default().to_owned());
        if first[1].is_empty() {
            return Err(bad("not HTTP"));
        }
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Head {
            raw,
            first,
            headers,
        })
    }

    /// The value of a header, its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn says(&self, name: &str, word: &str) -> bool {
        self.header(name).is_some_and(|value| {
            value
                .split(',')
                .any(|w| w.trim().eq_ignore_ascii_case(word))
        })
    }

    pub fn closes(&self, version: &str) -> bool {
        self.says("connection", "close")
            || (version == "HTTP/1.0" && !self.says("connection", "keep-alive"))
    }

    pub fn expects_continue(&self) -> bool {
        self.says("expect", "100-continue")
    }

    pub fn status(&self) -> io::Result<u16> {
        self.first[1].parse().map_err(|_| bad("no status"))
    }

    fn framed(&self) -> io::Result<Option<Body>> {
        if self.says("transfer-encoding", "chunked") {
            return Ok(Some(Body::Chunked(Chunked::Size(0))));
        }
        match self.header("content-length") {
            None => Ok(None),
            Some(n) => n
                .parse()
                .map(|n| Some(Body::Length(n)))
                .map_err(|_| bad("Content-Length is no number")),
        }
    }

    pub fn request_body(&self) -> io::Result<Body> {
        Ok(self.framed()?.unwrap_or(Body::Length(0)))
    }

    pub fn response_body(&self, method: &str) -> io::Result<Body> {
        let status = self.status()?;
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Ok(Body::Length(0));
        }
        Ok(self.framed()?.unwrap_or(Body::UntilClose))
    }
}

/// What is still to come of a body.
#[derive(Debug)]
pub enum Body {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// Where in a chunked body we are.
#[derive(Debug)]
pub enum Chunked {
    /// In the hexadecimal digits of a chunk's size, which is this so far.
    Size(u64),
    /// Behind the digits, before the end of their line.
    Extension(u64),
    Data(u64),
    /// In the line end behind the data.
    DataEnd,
    /// In a trailer line, or the empty one; true when something stands on it.
    Trailer(bool),
    Done,
}

impl Body {
    pub fn finished(&self) -> bool {
        matches!(self, Body::Length(0) | Body::Chunked(Chunked::Done))
    }

    /// How many of these bytes belong to the body, and how many of those are payload and not framing.
    fn take(&mut self, data: &[u8]) -> io::Result<(usize, u64)> {
        match self {
            Body::UntilClose => Ok((data.len(), data.len() as u64)),
            Body::Length(left) => {
                let n = (*left).min(data.len() as u64);
                *left -= n;
                Ok((n as usize, n))
            }
            Body::Chunked(state) => state.take(data),
        }
    }
}

impl Chunked {
    fn take(&mut self, data: &[u8]) -> io::Result<(usize, u64)> {
        let (mut at, mut payload) = (0, 0);
        while at < data.len() {
            let byte = data[at];
            match self {
                Chunked::Done => break,
                Chunked::Data(left) => {
                    let n = (*left).min((data.len() - at) as u64);
                    *left -= n;
                    payload += n;
                    at += n as usize;
                    if *left == 0 {
                        *self = Chunked::DataEnd;
                    }
                    continue;
                }
                Chunked::Size(size) => match (byte as char).to_digit(16) {
                    Some(digit) if *size < 1 << 59 => *size = *size * 16 + u64::from(digit),
                    Some(_) => return Err(bad("a chunk is too long")),
                    None if matches!(byte, b';' | b'\r' | b' ' | b'\t') => {
                        *self = Chunked::Extension(*size);
                    }
                    None => return Err(bad("a chunk's size is no number")),
                },
                Chunked::Extension(size) if byte == b'\n' => {
                    *self = match *size {
                        0 => Chunked::Trailer(false),
                        n => Chunked::Data(n),
                    };
                }
                Chunked::DataEnd if byte == b'\n' => *self = Chunked::Size(0),
                Chunked::Trailer(filled) => match byte {
                    b'\r' => {}
                    b'\n' if *filled => *filled = false,
                    b'\n' => *self = Chunked::Done,
                    _ => *filled = true,
                },
                Chunked::Extension(_) | Chunked::DataEnd => {}
            }
            at += 1;
        }
        Ok((at, payload))
    }
}

/// How a body is handled on its way. Byte counts are on the wire, so chunk framing counts.
#[derive(Debug, Default, Clone, Copy)]
pub struct Shape {
    pub cut_after: Option<u64>,
    pub stall: Option<(u64, Duration)>,
    pub bytes_per_second: Option<u64>,
}

#[derive(Debug)]
pub enum Pumped {
    Whole,
    /// Stopped where the shape says.
    Cut,
    /// The source broke off inside the body.
    SourceGone,
    /// Nobody takes the bytes any more; they were read to the end all the same.
    SinkGone,
}

/// Moves a body. `sink` may be `None`: then it is read and forgotten. `count` hears how much payload is moved, and
/// whether that was the last of it, before the sink gets it: who has an answer finds it in the log.
pub async fn pump<W: AsyncWrite + Unpin>(
    source: &mut Reader,
    sink: Option<&mut W>,
    mut body: Body,
    shape: Shape,
    mut count: impl FnMut(u64, bool),
) -> io::Result<Pumped> {
    let (mut sink, mut lost, mut moved, mut stall) = (sink, false, 0u64, shape.stall);
    // Small pieces for low rates: twenty a second.
    let piece = match shape.bytes_per_second {
        Some(rate) => (rate / 20).clamp(1, BUFFER as u64),
        None => BUFFER as u64,
    };
    while !body.finished() {
        let mut most = piece;
        if let Some((after, pause)) = stall {
            if moved >= after {
                stall = None;
                sleep(pause).await;
                continue;
            }
            most = most.min(after - moved);
        }
        if let Some(after) = shape.cut_after {
            if moved >= after {
                return Ok(Pumped::Cut);
            }
            most = most.min(after - moved);
        }
        let data = match source.fill_buf().await {
            Ok(data) if !data.is_empty() => &data[..data.len().min(most as usize)],
            _ if matches!(body, Body::UntilClose) => break,
            _ => return Ok(Pumped::SourceGone),
        };
        let (used, payload) = body.take(data)?;
        if let Some(rate) = shape.bytes_per_second {
            sleep(Duration::from_secs_f64(used as f64 / rate as f64)).await;
        }
        count(payload, body.finished());
        if let Some(to) = &mut sink
            && to.write_all(&data[..used]).await.is_err()
        {
            (sink, lost) = (None, true);
        }
        source.consume(used);
        moved += used as u64;
    }
    Ok(match lost {
        true => Pumped::SinkGone,
        false => Pumped::Whole,
    })
}
