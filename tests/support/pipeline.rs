//! A real pipeline over files, in the process of the test itself.

use std::path::PathBuf;
use std::sync::Arc;

use ciphermill::aws::Aws;
use ciphermill::buffers::Pool;
use ciphermill::clock::SystemClock;
use ciphermill::engine::Engine;
use ciphermill::keys::Keys;
use ciphermill::media::Media;
use ciphermill::pipeline::Pipeline;
use ciphermill::plan::Limits;
use ciphermill::settings::Settings;
use ciphermill::store::Stores;
use ciphermill::store::files::Access;
use ciphermill_cipher::cpu;

pub fn pipeline(settings: Settings, engine: Arc<dyn Engine>, keyring: PathBuf) -> Pipeline {
    let aws = Aws::default();
    let limits = Limits::from_settings(&settings);
    Pipeline {
        stores: Stores::open(aws.clone(), settings.s3, Access::Anywhere),
        keys: Arc::new(Keys::new(aws, None, keyring)),
        engine,
        kernel: cpu::best(),
        clock: Arc::new(SystemClock),
        pool: Pool::new(settings.worker.budget_bytes),
        limits,
        media: Media::new(settings.media),
        worker: settings.worker,
        files: true,
    }
}
