//! Where the result goes: a file that appears by rename, or standard output.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use crate::buffers::PartBuffer;
use crate::checksum::Checksum;
use crate::fault::{Code, Fault, Result};
use crate::job::ObjectUrl;
use crate::sink::Sink;
use crate::store::files::{Access, FileStore};
use crate::store::{NewObject, PartPlace};

/// The output.
pub(super) enum Out {
    File(Box<Sink>),
    Standard,
}

impl Out {
    pub(super) async fn open(path: &Path) -> Result<Out> {
        if path.as_os_str() == "-" {
            return Ok(Out::Standard);
        }
        let path = std::path::absolute(path).map_err(|e| Fault::io("name", path, &e))?;
        let store = Arc::new(FileStore::new(Access::Anywhere));
        let sink = Sink::begin(
            store,
            ObjectUrl::File { path },
            NewObject::plain(),
            true,
            false,
        )
        .await;
        let sink = sink.map_err(|fault| match fault.code {
            Code::InvalidValue => {
                Fault::new(Code::Usage, format!("{}: write to `-`", fault.message)).at("OUT")
            }
            _ => fault,
        })?;
        Ok(Out::File(Box::new(sink)))
    }

    /// Writes the buffer, or a range of it, at its place.
    pub(super) async fn write(
        &self,
        number: i32,
        offset: u64,
        mut buffer: PartBuffer,
        range: Option<Range<usize>>,
    ) -> Result<()> {
        let range = range.unwrap_or(0..buffer.len());
        match self {
            Out::File(sink) => {
                buffer.copy_within(range.clone(), 0);
                buffer.set_len(range.len());
                let unused = Checksum::Crc64Nvme(0);
                sink.part(PartPlace { number, offset }, buffer, unused)
                    .await
            }
            Out::Standard => {
                let mut stdout = tokio::io::stdout();
                stdout
                    .write_all(&buffer[range])
                    .await
                    .map_err(|e| Fault::io("write", Path::new("-"), &e))
            }
        }
    }

    /// Publishes what was written, or leaves nothing.
    pub(super) async fn end<T>(self, moved: Result<T>) -> Result<T> {
        match self {
            Out::File(mut sink) => match moved {
                Ok(moved) => sink.commit().await.map(|_| moved),
                Err(fault) => {
                    sink.abort().await;
                    Err(fault)
                }
            },
            Out::Standard => {
                let flushed = tokio::io::stdout().flush().await;
                let moved = moved?;
                flushed
                    .map(|()| moved)
                    .map_err(|e| Fault::io("write", Path::new("-"), &e))
            }
        }
    }
}
