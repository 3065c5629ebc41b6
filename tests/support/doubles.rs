//! A pipeline over doubles: small parts, so that a few kilobytes are many of them, and cipher work
//! that is done inline, so that time can be paused.

use std::sync::Arc;

use ciphermill::buffers::Pool;
use ciphermill::checksum::Algorithm;
use ciphermill::clock::Clock;
use ciphermill::engine::inline::InlineEngine;
use ciphermill::job::ObjectUrl;
use ciphermill::keys::KeySource;
use ciphermill::media::Media;
use ciphermill::pipeline::Pipeline;
use ciphermill::plan::Limits;
use ciphermill::settings::Settings;
use ciphermill::store::memory::MemoryStore;
use ciphermill::store::{NewObject, Store, Stores};
use ciphermill_cipher::cpu;

/// All buffers of one worker.
const BUDGET_BYTES: usize = 64 << 20;

/// What a pipeline stands on.
pub struct Doubles<'a> {
    pub stores: Stores,
    pub keys: Arc<dyn KeySource>,
    pub clock: Arc<dyn Clock>,
    pub settings: &'a Settings,
    pub part_bytes: u64,
    pub slots: usize,
    /// Whether jobs may name files.
    pub files: bool,
}

impl Doubles<'_> {
    /// A pipeline of its own.
    pub fn pipeline(self) -> Arc<Pipeline> {
        let settings = self.settings;
        Arc::new(Pipeline {
            stores: self.stores,
            keys: self.keys,
            engine: Arc::new(InlineEngine::default()),
            kernel: cpu::best(),
            pool: Pool::new(BUDGET_BYTES),
            media: Media::new(settings.media.clone()),
            clock: self.clock,
            limits: Limits {
                part_bytes: self.part_bytes,
                parts_in_flight: 3,
                slots: self.slots,
                budget_bytes: BUDGET_BYTES,
                ..Limits::from_settings(settings)
            },
            worker: settings.worker.clone(),
            files: self.files,
        })
    }
}

/// Writes an object as another program would.
pub fn put(store: &MemoryStore, url: &ObjectUrl, body: Vec<u8>) {
    let checksum = Algorithm::Crc64Nvme.of(&body);
    let new = NewObject::plain();
    let put = store.put(url, &new, body.into(), &checksum);
    let put = futures_util::FutureExt::now_or_never(put);
    put.expect("memory never waits").expect("written");
}
