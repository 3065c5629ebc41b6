//! Source: one version of one object, read by ranges.
//!
//! A URL comes in, parts in pool buffers go out. Every range carries the version that was opened,
//! so a source that is overwritten meanwhile fails the job instead of mixing two versions (P5). A
//! download that breaks off goes on from the byte where it broke.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::buffers::PartBuffer;
use crate::fault::{Code, Fault, Result};
use crate::job::Input;
use crate::observe;
use crate::store::{Facts, Store};

/// Times a range is taken up again before the attempt fails.
const RESUMES: u32 = 5;

/// An open source.
#[derive(Clone)]
pub struct Source {
    store: Arc<dyn Store>,
    input: Arc<Input>,
    /// Where the input stands in the job.
    pointer: Arc<str>,
    facts: Arc<Facts>,
}

impl Source {
    /// Opens the input that stands at `pointer` in the job, and pins its version. One that is not
    /// the version the job names is refused.
    pub async fn open(store: Arc<dyn Store>, input: &Input, pointer: &str) -> Result<Source> {
        let facts = store.head(&input.url, input.version_id.as_deref()).await;
        let facts = match facts {
            Ok(facts) => facts,
            Err(fault) => {
                let no_bucket =
                    fault.code == Code::SourceNotFound && !store.has_bucket(&input.url).await;
                let code = if no_bucket {
                    Code::BucketNotFound
                } else {
                    fault.code
                };
                return Err(Fault { code, ..fault }.at(format!("{pointer}/url")));
            }
        };
        if let Some(etag) = &input.etag {
            let named = etag.trim_matches('"');
            if named != facts.version.etag {
                let message = format!(
                    "{} has the ETag {}, not {named}",
                    input.url, facts.version.etag
                );
                let fault = Fault::new(Code::SourceChanged, message);
                return Err(fault.at(format!("{pointer}/etag")));
            }
        }
        Ok(Source {
            store,
            input: Arc::new(input.clone()),
            pointer: pointer.into(),
            facts: Arc::new(facts),
        })
    }

    /// Where it stands in the job.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// What its store said of it.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Appends the bytes of `range` to the buffer.
    pub async fn read(&self, range: Range<u64>, mut into: PartBuffer) -> Result<PartBuffer> {
        let begun = into.len() as u64;
        let mut tries = 0;
        loop {
            let got = into.len() as u64 - begun;
            let left = range.start + got..range.end;
            if left.is_empty() {
                return Ok(into);
            }
            let url = &self.input.url;
            let (buffer, result) = self.store.read(url, &self.facts.version, left, into).await;
            into = buffer;
            let Err(fault) = result else { continue };
            if fault.code != Code::SourceBroken {
                return Err(self.told(fault));
            }
            if into.len() as u64 - begun > got {
                tries = 0;
            }
            tries += 1;
            if tries > RESUMES {
                return Err(self.told(fault));
            }
            tracing::warn!(code = fault.code.as_str(), detail = %fault.message, tries, "download broke off; going on");
            observe::source_resumed();
            tokio::time::sleep(Duration::from_millis(50 << tries)).await;
        }
    }

    /// A source that vanishes while it is read was changed, not missing.
    fn told(&self, fault: Fault) -> Fault {
        let fault = match fault.code {
            Code::SourceNotFound => Fault {
                code: Code::SourceChanged,
                ..fault
            },
            _ => fault,
        };
        fault.at(format!("{}/url", self.pointer))
    }
}
