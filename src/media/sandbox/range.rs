//! The range reader: media too large for memory, served to one child in pieces as it asks for them.
//!
//! The socket was made inside the child's own network namespace, where nothing else can be reached
//! and from where nothing else is reachable. The worker accepts on it and answers `GET` with one
//! range, straight from the source (which decrypts on the fly). What speaks here is hostile: short
//! headers, few connections at once, no keep-alive, and a cap on the bytes served in all.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bytes asked of the source at once.
const STEP: u64 = 256 << 10;
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// ffmpeg closes one connection before or just after it opens the next.
const MOST_CONNECTIONS: usize = 4;
const MOST_HEADER: usize = 8 << 10;

/// What [`super::Outcome::source`] says when more than `Limits::range_bytes` were asked for: not
/// the source's failure but the child's.
pub const READ_TOO_MUCH: &str = "the decoder reads the media over and over";

/// Something with a length that can be read in any order.
pub trait RangeSource: Sync {
    /// All its bytes.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Exactly these bytes; the range lies inside of [`RangeSource::len`] and is not longer than
    /// 256 KiB.
    fn read(&self, range: Range<u64>) -> impl Future<Output = std::io::Result<Bytes>> + Send;
}

/// Any [`RangeSource`] behind one type, shared by the children that read it one after another.
#[derive(Clone)]
pub struct SharedRange(Arc<dyn Boxed>);

impl SharedRange {
    /// Shares this one.
    pub fn new(source: impl RangeSource + Send + 'static) -> Self {
        SharedRange(Arc::new(source))
    }
}

impl fmt::Debug for SharedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedRange({} bytes)", self.len())
    }
}

impl RangeSource for SharedRange {
    fn len(&self) -> u64 {
        self.0.length()
    }

    async fn read(&self, range: Range<u64>) -> std::io::Result<Bytes> {
        self.0.boxed(range).await
    }
}

type Reading<'a> = Pin<Box<dyn Future<Output = std::io::Result<Bytes>> + Send + 'a>>;

/// A [`RangeSource`] without its future's type.
trait Boxed: Send + Sync {
    fn length(&self) -> u64;
    fn boxed(&self, range: Range<u64>) -> Reading<'_>;
}

impl<S: RangeSource + Send> Boxed for S {
    fn length(&self) -> u64 {
        self.len()
    }

    fn boxed(&self, range: Range<u64>) -> Reading<'_> {
        Box::pin(self.read(range))
    }
}

/// What ends one connection.
enum End {
    /// The child closed it, or asked for nonsense.
    Client,
    /// The source failed, and so has everything.
    Source(String),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        End::Client
    }
}

/// Serves until dropped; comes back only when the source failed or too much was asked of it. Holds
/// at most one step per connection, 1 MiB in all, which the budget should know. All connections are
/// parts of this one future, so the count needs no more than load and store.
pub(super) async fn serve<S: RangeSource>(server: &TcpListener, source: &S, most: u64) -> String {
    let left = AtomicU64::new(most);
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = server.accept(), if connections.len() < MOST_CONNECTIONS => {
                if let Ok((stream, _)) = accepted {
                    connections.push(answer(stream, source, &left));
                }
            }
            Some(end) = connections.next() => {
                if let Err(End::Source(why)) = end {
                    return why;
                }
            }
        }
    }
}

async fn answer<S: RangeSource>(
    mut stream: TcpStream,
    source: &S,
    left: &AtomicU64,
) -> Result<(), End> {
    let length = source.len();
    // What the kernel holds is lost when the child seeks: by itself it would hold megabytes.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
    let Some(wanted) = request(&mut stream)
        .await?
        .and_then(|head| asked(&head, length))
    else {
        let sorry =
            format!("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{length}\r\n");
        stream
            .write_all(format!("{sorry}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        return Ok(());
    };
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nAccept-Ranges: bytes\r\nContent-Type: application/octet-stream\r\n\
         Content-Range: bytes {}-{}/{length}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        wanted.start,
        wanted.end - 1,
        wanted.end - wanted.start,
    );
    stream.write_all(head.as_bytes()).await?;
    let mut at = wanted.start;
    while at < wanted.end {
        let end = wanted.end.min(at + STEP);
        let rest = left.load(Ordering::Relaxed).checked_sub(end - at);
        let rest = rest.ok_or_else(|| End::Source(READ_TOO_MUCH.into()))?;
        left.store(rest, Ordering::Relaxed);
        let bytes = source
            .read(at..end)
            .await
            .map_err(|e| End::Source(e.to_string()))?;
        if bytes.len() as u64 != end - at {
            return Err(End::Source(format!(
                "{} bytes came instead of {}",
                bytes.len(),
                end - at
            )));
        }
        stream.write_all(&bytes).await?;
        at = end;
    }
    stream.shutdown().await?;
    Ok(())
}

/// The request up to its empty line; `None` when it is not one.
async fn request(stream: &mut TcpStream) -> Result<Option<String>, End> {
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > MOST_HEADER || stream.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    Ok(String::from_utf8(head).ok())
}

/// The bytes that a `GET` asks for; all of them when it names no range.
fn asked(head: &str, length: u64) -> Option<Range<u64>> {
    let mut lines = head.split("\r\n");
    lines
        .next()
        .filter(|line| line.starts_with("GET / HTTP/1."))?;
    let range = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("range").then_some(value.trim())
    });
    let range = match range {
        None => 0..length,
        Some(value) => {
            let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
            match (first.parse::<u64>(), last.parse::<u64>()) {
                (Ok(first), Ok(last)) => first..last.checked_add(1)?.min(length),
                (Ok(first), Err(_)) if last.is_empty() => first..length,
                (Err(_), Ok(last)) if first.is_empty() => length.saturating_sub(last)..length,
                _ => return None,
            }
        }
    };
    (range.start < range.end).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_they_are_asked_for() {
        let get = |range: &str| {
            asked(
                &format!("GET / HTTP/1.1\r\nHost: x\r\nrange: {range}\r\n\r\n"),
                100,
            )
        };
        assert_eq!(get("bytes=0-"), Some(0..100));
        assert_eq!(get("bytes=10-19"), Some(10..20));
        assert_eq!(get("bytes=90-900"), Some(90..100));
        assert_eq!(get("bytes=-7"), Some(93..100));
        assert_eq!(asked("GET / HTTP/1.1\r\n\r\n", 100), Some(0..100));
        for wrong in [
            "bytes=100-",
            "bytes=5-4",
            "bytes=-",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=-0",
            "bytes=+1-2x",
        ] {
            assert_eq!(get(wrong), None, "{wrong}");
        }
        let huge = format!("bytes=0-{}", u64::MAX);
        assert_eq!(get(&huge), None);
        assert_eq!(asked("GET /other HTTP/1.1\r\n\r\n", 100), None);
        assert_eq!(asked("POST / HTTP/1.1\r\n\r\n", 100), None);
        assert_eq!(asked("GET / HTTP/1.1\r\n\r\n", 0), None);
    }
}
