//! Pieces: an input of unknown length, cut at part boundaries of its form as it is read.

use std::path::Path;
use std::sync::Arc;

use ciphermill_cipher::cobblestone::{CHUNK_BYTES, SEALED_CHUNK_BYTES};
use ciphermill_cipher::{BLOCK_BYTES, Form, PartAt, TAG_BYTES};
use futures_util::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::buffers::{PartBuffer, Reservation};
use crate::fault::{Fault, Result};

/// One part as it was read.
pub struct Piece {
    /// Where it stands in the plaintext.
    pub at: PartAt,
    /// Its bytes; in CBC, with the block before it.
    pub buffer: PartBuffer,
}

/// An input.
pub struct Reader {
    source: Box<dyn AsyncRead + Send + Unpin>,
    name: std::path::PathBuf,
}

struct State {
    reader: Reader,
    form: Form,
    part_bytes: usize,
    reservation: Arc<Reservation>,
    next: Option<Vec<u8>>,
    offset: u64,
    before: Option<[u8; BLOCK_BYTES]>,
    ended: bool,
}

impl Reader {
    /// Opens a file, or standard input for `-`.
    pub async fn open(path: &Path) -> Result<Reader> {
        let source: Box<dyn AsyncRead + Send + Unpin> = if path.as_os_str() == "-" {
            Box::new(tokio::io::stdin())
        } else {
            let mut file = tokio::fs::File::open(path)
                .await
                .map_err(|e| Fault::io("open", path, &e))?;
            file.set_max_buf_size(1 << 20);
            Box::new(file)
        };
        Ok(Reader {
            source,
            name: path.into(),
        })
    }

    /// The first `N` bytes; `None` when there are fewer.
    pub async fn header<const N: usize>(&mut self) -> Result<Option<[u8; N]>> {
        let mut header = [0; N];
        let length = self.fill(&mut header).await?;
        Ok((length == N).then_some(header))
    }

    /// Cuts what is left into parts.
    pub fn pieces(
        self,
        form: Form,
        part_bytes: usize,
        reservation: Arc<Reservation>,
    ) -> impl Stream<Item = Result<Piece>> {
        let state = State {
            reader: self,
            form,
            part_bytes,
            reservation,
            next: None,
            offset: 0,
            before: None,
            ended: false,
        };
        stream::try_unfold(state, |mut state| async move {
            let piece = state.piece().await?;
            Ok(piece.map(|piece| (piece, state)))
        })
    }

    /// Reads until the buffer is full or the input ends; returns how much it was.
    async fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut length = 0;
        while length < buffer.len() {
            let read = self.source.read(&mut buffer[length..]).await;
            match read.map_err(|e| Fault::io("read", &self.name, &e))? {
                0 => break,
                more => length += more,
            }
        }
        Ok(length)
    }
}

impl State {
    /// A piece is the last one when nothing follows it; so the start of the next one is read first.
    /// A GCM tag that was cut in two is put together again.
    async fn piece(&mut self) -> Result<Option<Piece>> {
        if self.ended {
            return Ok(None);
        }
        let size = match self.form {
            Form::Cobblestone => self.part_bytes / CHUNK_BYTES * SEALED_CHUNK_BYTES,
            _ => self.part_bytes,
        };
        let mut buffer = self
            .reservation
            .buffer(Form::buffer_bytes(self.part_bytes as u64));
        if let (Form::Cbc, Some(before)) = (self.form, self.before) {
            buffer.append(&before);
        }
        let start = buffer.len();
        buffer.append(self.next.take().as_deref().unwrap_or_default());
        let held = buffer.len();
        buffer.set_len(start + size);
        let read = self.reader.fill(&mut buffer[held..]).await?;
        buffer.set_len(held + read);
        let mut following = vec![0; TAG_BYTES];
        let peeked = self.reader.fill(&mut following).await?;
        following.truncate(peeked);
        let tail = if self.form == Form::Gcm {
            TAG_BYTES - 1
        } else {
            0
        };
        let last = peeked <= tail;
        if last {
            buffer.append(&following);
        } else {
            self.next = Some(following);
        }
        self.before = buffer.last_chunk::<BLOCK_BYTES>().copied();
        let at = PartAt {
            offset: self.offset,
            last,
        };
        self.offset += self.part_bytes as u64;
        self.ended = last;
        Ok(Some(Piece { at, buffer }))
    }
}
