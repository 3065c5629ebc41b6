//! Reads that break off, or come slowly.
//!
//! What has arrived when a read ends stays in the buffer, as the trait says. A slow read is made of
//! several reads of the store inside, so that an object which is replaced meanwhile is noticed
//! between two of them.

use std::ops::Range;
use std::time::Duration;

use crate::buffers::PartBuffer;
use crate::fault::{Code, Fault, Result};
use crate::inject::Act;
use crate::job::ObjectUrl;
use crate::store::{Store, Version};

/// A slow read comes in this many steps at most.
const MOST_STEPS: u64 = 64;
/// Steps in a second of a slow read, where [`MOST_STEPS`] allows it.
const STEPS_A_SECOND: u64 = 10;

/// One version of one object in the store inside.
pub(super) struct Source<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) url: &'a ObjectUrl,
    pub(super) version: &'a Version,
}

impl Source<'_> {
    /// Reads the range as `act` says.
    pub(super) async fn read(
        &self,
        range: Range<u64>,
        into: PartBuffer,
        act: Act,
    ) -> (PartBuffer, Result<()>) {
        match act {
            Act::Work => self.plain(range, into).await,
            Act::Refuse(fault) => (into, Err(fault)),
            Act::LoseAnswer(fault) => {
                let before = into.len();
                let (mut into, _) = self.plain(range, into).await;
                into.set_len(before);
                (into, Err(fault))
            }
            Act::Truncate { bytes, fault } => self.truncated(range, into, bytes, fault).await,
            Act::Trickle { bytes_per_second } => self.slow(range, into, bytes_per_second).await,
        }
    }

    async fn plain(&self, range: Range<u64>, into: PartBuffer) -> (PartBuffer, Result<()>) {
        self.store.read(self.url, self.version, range, into).await
    }

    /// The first `bytes` of the range, then the fault; a fault of the store itself goes first.
    async fn truncated(
        &self,
        range: Range<u64>,
        into: PartBuffer,
        bytes: u64,
        fault: Fault,
    ) -> (PartBuffer, Result<()>) {
        let end = range.end.min(range.start.saturating_add(bytes));
        if end <= range.start {
            return (into, Err(fault));
        }
        let (into, result) = self.plain(range.start..end, into).await;
        (into, result.and(Err(fault)))
    }

    async fn slow(
        &self,
        range: Range<u64>,
        mut into: PartBuffer,
        bytes_per_second: u64,
    ) -> (PartBuffer, Result<()>) {
        if bytes_per_second == 0 {
            let fault = Fault::new(Code::Internal, "a slow read needs a rate above 0");
            return (into, Err(fault));
        }
        let bytes = range.end.saturating_sub(range.start);
        let step = (bytes_per_second / STEPS_A_SECOND)
            .max(bytes.div_ceil(MOST_STEPS))
            .max(1);
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + step);
            tokio::time::sleep(duration(end - start, bytes_per_second)).await;
            let (buffer, result) = self.plain(start..end, into).await;
            into = buffer;
            if let Err(fault) = result {
                return (into, Err(fault));
            }
            start = end;
        }
        (into, Ok(()))
    }
}

/// How long so many bytes take.
fn duration(bytes: u64, bytes_per_second: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / bytes_per_second as f64)
}
