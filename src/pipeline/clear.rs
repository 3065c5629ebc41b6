//! Clear: uploads that earlier attempts left, aborted before they are forgotten (P6).
//!
//! A ledger entry comes in, what became of its uploads goes out. Those that the entry names are
//! aborted by name; those that began after it was written and never got into it are looked for.

use std::time::{Duration, SystemTime};

use super::Pipeline;
use crate::fault::{Class, Fault, Result};
use crate::job::ObjectUrl;
use crate::ledger::{Entry, OutputEntry};
use crate::plan::admit;
use crate::sink;
use crate::store::Upload;

/// Clocks of a worker and its store may differ by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// What became of uploads that were to be aborted.
#[derive(Default)]
pub(crate) struct Cleared {
    /// How many are gone.
    pub aborted: usize,
    /// Whether there may be more.
    pub left: bool,
    /// Why one could not be aborted, or not looked for.
    pub fault: Option<Fault>,
}

impl Cleared {
    fn add(&mut self, aborted: Result<()>) {
        match aborted {
            Ok(()) => self.aborted += 1,
            Err(fault) => {
                self.left = true;
                self.fault.get_or_insert(fault);
            }
        }
    }
}

impl Pipeline {
    /// Aborts what an entry remembers, and what was begun after it was written and never
    /// remembered. The entry is about to be replaced: where the store does not answer, the attempt
    /// ends here, so that no upload is forgotten. What cannot be aborted for another reason is
    /// logged and counted.
    pub(super) async fn abort_uploads(
        &self,
        entry: &Entry,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<()> {
        let outputs = entry.outputs.iter().enumerate();
        let outputs = outputs.filter(|(index, _)| wanted(*index) && entry.may_be_open(*index));
        let companions = entry.companions.iter();
        let companions = companions.filter(|_| entry.result.is_none());
        let companions = companions.filter(|c| c.uploads || c.object.upload.is_some());
        let companions = companions.map(|companion| &companion.object);
        let mut ended = Ok(());
        for remembered in outputs.map(|(_, object)| object).chain(companions) {
            let cleared = self.abort_remembered(remembered, entry.begun, None).await;
            if let Some(fault) = cleared.fault
                && fault.class() == Class::Dependency
            {
                ended = ended.and(Err(fault));
            }
        }
        ended
    }

    /// Aborts the upload that is remembered of an object; where none is, all of the object that
    /// began since `begun`, the entry's beginning in seconds since 1970. One that began after
    /// `until` is left. Objects that jobs may not name are not touched.
    pub(crate) async fn abort_remembered(
        &self,
        remembered: &OutputEntry,
        begun: u64,
        until: Option<SystemTime>,
    ) -> Cleared {
        let mut cleared = Cleared::default();
        let Ok(url) = ObjectUrl::parse(&remembered.url) else {
            return cleared;
        };
        if admit::admit_url(&url, &self.worker, self.files).is_err() {
            return cleared;
        }
        let store = self.stores.of(&url);
        if let Some(upload) = &remembered.upload {
            cleared.add(sink::abort(store.as_ref(), &url, upload).await);
            return cleared;
        }
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(begun);
        let uploads = match store.uploads(&url).await {
            Ok(uploads) => uploads,
            Err(fault) => {
                let code = fault.code.as_str();
                tracing::warn!(%url, code, detail = %fault.message, "cannot look for uploads that a crash left");
                // Who may not list uploads can only abort those that are named.
                cleared.left = fault.retryable();
                cleared.fault = Some(fault);
                return cleared;
            }
        };
        let begun_since = |upload: &&Upload| upload.begun + CLOCK_SKEW >= since;
        for upload in uploads.iter().filter(begun_since) {
            match until.is_some_and(|until| upload.begun > until) {
                true => cleared.left = true,
                false => cleared.add(sink::abort(store.as_ref(), &url, &upload.id).await),
            }
        }
        cleared
    }
}
