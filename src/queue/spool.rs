//! The spool: a directory as a queue, for one machine and no broker.
//!
//! Jobs come in as `new/NAME.json` (write elsewhere, then rename) and are worked on in `running/`,
//! where each is locked for as long as its worker lives. They end in `done/` or `failed/`, beside
//! `NAME.result.json`. A job in `running/` without a lock belonged to a worker that crashed, and is
//! taken again. Any number of workers may share a spool.

mod claim;

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tracing::debug;

use self::claim::{Claim, Folder};
use super::{
    Backend, DeadLetters, Delivery, Handle, Outgoing, Producer, Published, Queue, Settlement,
};
use crate::fault::{Code, Fault, Result};

const POLL: Duration = Duration::from_millis(200);

/// A spool that is not open yet.
pub struct SpoolBackend {
    root: PathBuf,
    once: bool,
}

/// A directory that jobs are taken from.
pub struct SpoolQueue {
    root: Arc<Path>,
    once: bool,
    /// Jobs that could not be taken, each complained about once.
    refused: Arc<Mutex<HashSet<String>>>,
}

/// A claimed job in the worker's hands.
struct Held {
    root: Arc<Path>,
    claim: Arc<Claim>,
}

impl SpoolBackend {
    /// The spool in this directory. With `once` its queue ends when no job is left to take.
    pub fn new(root: PathBuf, once: bool) -> Self {
        SpoolBackend { root, once }
    }
}

impl Backend for SpoolBackend {
    fn queue(&self, _slots: usize, _declare: bool) -> BoxFuture<'_, Result<Arc<dyn Queue>>> {
        let opened = SpoolQueue::open(&self.root, self.once);
        let opened = opened.map(|queue| Arc::new(queue) as Arc<dyn Queue>);
        std::future::ready(opened).boxed()
    }

    fn producer(&self) -> BoxFuture<'_, Result<Arc<dyn Producer>>> {
        let message = "a spool has no producers: put a job file into its folder new/";
        std::future::ready(Err(Fault::new(Code::Usage, message))).boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Box<dyn DeadLetters>>> {
        let message = "a spool has no dead letters: jobs that failed are in its folder failed/";
        std::future::ready(Err(Fault::new(Code::Usage, message))).boxed()
    }
}

impl SpoolQueue {
    /// Opens a spool, creating its folders. With `once` it ends when no job is left to take.
    pub fn open(root: &Path, once: bool) -> Result<SpoolQueue> {
        for folder in Folder::ALL {
            let path = folder.of(root);
            std::fs::create_dir_all(&path).map_err(|error| Fault::io("create", &path, &error))?;
        }
        Ok(SpoolQueue {
            root: root.into(),
            once,
            refused: Arc::default(),
        })
    }

    async fn take(&self) -> Result<Option<Delivery>> {
        loop {
            let (root, refused) = (Arc::clone(&self.root), Arc::clone(&self.refused));
            // A claim that arrives here too late, for a dropped future, returns its job by itself.
            if let Some(claim) = blocking(move || Claim::any(&root, &refused)).await? {
                return Ok(Some(self.deliver(claim)));
            }
            if self.once {
                return Ok(None);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn deliver(&self, mut claim: Claim) -> Delivery {
        let body = claim.deliver();
        let (attempt, name) = (claim.attempt(), claim.file_name());
        let held = Held {
            root: Arc::clone(&self.root),
            claim: Arc::new(claim),
        };
        let mut delivery = Delivery::new(body, attempt, attempt > 1, Box::new(held));
        delivery.name = Some(name);
        delivery
    }
}

impl Queue for SpoolQueue {
    fn next(&self, _slot: usize) -> BoxFuture<'_, Result<Option<Delivery>>> {
        self.take().boxed()
    }

    fn release(&self, _slot: usize) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    fn ready(&self) -> bool {
        self.root.is_dir()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

impl Handle for Held {
    /// Writes an end state beside where the job will be; the job follows when it is settled.
    fn publish(&self, event: Outgoing) -> BoxFuture<'_, Result<Published>> {
        async move {
            if !event.terminal {
                return Ok(Published::Routed);
            }
            let folder = match event.routing_key.as_str() {
                "job.succeeded" => Folder::Done,
                _ => Folder::Failed,
            };
            let folder = folder.of(&self.root);
            let name = format!("{}.result.json", self.claim.name());
            blocking(move || write_atomically(&folder, &name, &event.body)).await?;
            Ok(Published::Routed)
        }
        .boxed()
    }

    /// A lock is never lost while its holder lives.
    fn lost(&self) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }

    fn settle(self: Box<Self>, settlement: Settlement) -> BoxFuture<'static, Result<bool>> {
        async move {
            let claim = Arc::clone(&self.claim);
            let settled = blocking(move || claim.settle(settlement)).await?;
            debug!(
                name = self.claim.name(),
                ?settlement,
                settled,
                "spooled job settled"
            );
            Ok(settled)
        }
        .boxed()
    }
}

/// Readers see the old file or the new one, whole, also after a power cut.
fn write_atomically(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let temporary: PathBuf = folder.join(format!(".{name}.{}", std::process::id()));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| {
        std::fs::remove_file(&temporary).ok();
        Fault::io("write", &path, &error)
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Fault::new(Code::Internal, format!("spool: {error}"))),
    }
}

#[cfg(test)]
mod tests;
