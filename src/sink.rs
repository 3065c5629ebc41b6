//! Sink: one output object, staged part by part and published whole.
//!
//! Parts come in, in any order; nothing is visible before [`Sink::commit`] (P2). A sink that is
//! given up aborts its upload, checks that it is gone and counts it (P6); one that is dropped on
//! the way does the same in the background. A commit whose answer was lost recognises its own
//! object by the token in its metadata.

pub mod label;

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::buffers::PartBuffer;
use crate::checksum::Checksum;
use crate::fault::{Code, Fault, Result};
use crate::job::ObjectUrl;
use crate::observe;
use crate::store::{Aborted, Facts, NewObject, PartPlace, Store, UploadId, UploadedPart};

/// Metadata name of the token that tells an attempt's objects from all others.
pub const TOKEN: &str = "ciphermill-attempt";

/// Aborts of dropped sinks, under way.
static ABORTS: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// Waits for the aborts of sinks that were dropped; a runtime that ends would drop them too.
pub async fn aborted(patience: Duration) {
    ABORTS.close();
    if tokio::time::timeout(patience, ABORTS.wait()).await.is_err() {
        tracing::error!("uploads were left behind: the store did not take their aborts in time");
    }
}

/// An object being written.
pub struct Sink {
    store: Arc<dyn Store>,
    url: ObjectUrl,
    new: NewObject,
    check_absent: bool,
    stage: Stage,
}

enum Stage {
    /// A whole object, kept in memory until it is published.
    Whole(Mutex<Option<(Bytes, Checksum)>>),
    /// A multipart upload; `None` once it was completed or aborted.
    Parts {
        upload: Option<UploadId>,
        parts: Mutex<Vec<UploadedPart>>,
    },
}

impl Sink {
    /// Stages an object; `multipart` begins an upload. `check_absent`: refuse to replace an object,
    /// although the store does not keep [`Condition::IfAbsent`](crate::store::Condition) by itself.
    pub async fn begin(
        store: Arc<dyn Store>,
        url: ObjectUrl,
        new: NewObject,
        multipart: bool,
        check_absent: bool,
    ) -> Result<Sink> {
        let stage = if multipart {
            let upload = Some(store.begin(&url, &new).await?);
            Stage::Parts {
                upload,
                parts: Mutex::default(),
            }
        } else {
            Stage::Whole(Mutex::default())
        };
        Ok(Sink {
            store,
            url,
            new,
            check_absent,
            stage,
        })
    }

    /// The upload, to be remembered before the first byte.
    pub fn upload_id(&self) -> Option<&UploadId> {
        match &self.stage {
            Stage::Whole(_) => None,
            Stage::Parts { upload, .. } => upload.as_ref(),
        }
    }

    /// Stages one part. The buffer goes back to its pool when the store has it.
    pub async fn part(&self, place: PartPlace, body: PartBuffer, checksum: Checksum) -> Result<()> {
        let body = Bytes::from_owner(body);
        match &self.stage {
            Stage::Whole(whole) => {
                *whole.lock().unwrap_or_else(PoisonError::into_inner) = Some((body, checksum));
            }
            Stage::Parts { upload, parts } => {
                let upload = upload.as_ref().ok_or_else(ended)?;
                let part = self
                    .store
                    .upload(&self.url, upload, place, body, checksum)
                    .await;
                let part = part.map_err(upload_gone)?;
                parts
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(part);
            }
        }
        Ok(())
    }

    /// Publishes the object and returns what the store then says of it.
    pub async fn commit(&mut self) -> Result<Facts> {
        self.check_absent().await?;
        let published = match &self.stage {
            Stage::Whole(whole) => {
                let staged = whole.lock().unwrap_or_else(PoisonError::into_inner).take();
                let (body, checksum) = staged.ok_or_else(ended)?;
                self.store.put(&self.url, &self.new, body, &checksum).await
            }
            Stage::Parts { upload, parts } => {
                let upload = upload.as_ref().ok_or_else(ended)?;
                let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
                parts.sort_unstable_by_key(|part| part.number);
                self.store
                    .complete(&self.url, upload, &self.new, &parts)
                    .await
            }
        };
        if let Err(fault) = published {
            self.recognise(fault).await?;
        }
        if let Stage::Parts { upload, .. } = &mut self.stage {
            *upload = None;
        }
        self.facts().await
    }

    /// Gives the object up; `true` when nothing is left of it. A failed abort is logged and counted,
    /// and left to the ledger.
    pub async fn abort(&mut self) -> bool {
        let Stage::Parts { upload, .. } = &mut self.stage else {
            return true;
        };
        match upload.take() {
            Some(upload) => abort(self.store.as_ref(), &self.url, &upload).await.is_ok(),
            None => true,
        }
    }

    /// After a retry the store can answer that the object exists, or that the upload is gone,
    /// because the first try did it: then it carries our token.
    async fn recognise(&self, fault: Fault) -> Result<()> {
        let doubtful = matches!(
            fault.code,
            Code::OutputExists | Code::SourceNotFound | Code::StoreDown | Code::StoreRejected
        );
        let Some(token) = self.new.metadata.get(TOKEN).filter(|_| doubtful) else {
            return Err(upload_gone(fault));
        };
        match self.store.head(&self.url, None).await {
            Ok(facts) if facts.metadata.get(TOKEN) == Some(token) => {
                tracing::info!(url = %self.url, "an answer was lost: the object is there and is ours");
                Ok(())
            }
            // Nobody can tell now: the next attempt will look again.
            Err(unknown) if unknown.retryable() => Err(unknown),
            _ => Err(upload_gone(fault)),
        }
    }

    /// A store that does not keep `IfAbsent` itself is asked as late as possible.
    async fn check_absent(&self) -> Result<()> {
        if self.check_absent {
            refuse_existing(self.store.as_ref(), &self.url).await?;
        }
        Ok(())
    }

    async fn facts(&self) -> Result<Facts> {
        let facts = self.store.head(&self.url, None).await?;
        let ours = facts.metadata.get(TOKEN) == self.new.metadata.get(TOKEN)
            || self.url.bucket().is_none();
        if ours {
            return Ok(facts);
        }
        let message = format!(
            "{} was overwritten by somebody else straight after it was written",
            self.url
        );
        Err(Fault::new(Code::IntegrityMismatch, message))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let Stage::Parts { upload, .. } = &mut self.stage else {
            return;
        };
        if let (Some(upload), Ok(runtime)) = (upload.take(), tokio::runtime::Handle::try_current())
        {
            let (store, url) = (Arc::clone(&self.store), self.url.clone());
            let work = async move { abort(store.as_ref(), &url, &upload).await };
            ABORTS.spawn_on(work.in_current_span(), &runtime);
        }
    }
}

/// Refuses when something is there. A store that cannot say is no proof that nothing is.
pub async fn refuse_existing(store: &dyn Store, url: &ObjectUrl) -> Result<()> {
    match store.head(url, None).await {
        Ok(_) => Err(Fault::new(
            Code::OutputExists,
            format!("{url} is there already"),
        )),
        Err(fault) if fault.code == Code::SourceNotFound => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Aborts an upload, checks and counts it; says why it is not gone.
pub async fn abort(store: &dyn Store, url: &ObjectUrl, upload: &UploadId) -> Result<()> {
    let result = match store.abort(url, upload).await {
        Ok(Aborted::Gone) => Ok(()),
        Ok(Aborted::Left) => Err(Fault::new(
            Code::IntegrityMismatch,
            format!("an upload of {url} is there after it was aborted"),
        )),
        Err(fault) => Err(fault),
    };
    observe::upload_aborted(result.is_ok());
    if let Err(fault) = &result {
        let (code, detail) = (fault.code.as_str(), &fault.message);
        let left = "an upload could not be aborted; it stays until the reaper finds it";
        tracing::error!(%url, code, detail, "{left}");
    }
    result
}

fn ended() -> Fault {
    Fault::new(
        Code::Internal,
        "the object was already published or given up",
    )
}

/// Somebody else aborted our upload, as a redelivery of the same job does: the next attempt makes a
/// new one.
fn upload_gone(fault: Fault) -> Fault {
    match fault.code {
        Code::SourceNotFound => Fault {
            code: Code::IntegrityMismatch,
            ..fault
        },
        _ => fault,
    }
}
