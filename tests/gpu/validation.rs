//! The API's validation layers watch a run of every kind of batch and have nothing to say.

use std::sync::atomic::{AtomicU32, Ordering};

use ciphermill::engine::gpu::Options;
use ciphermill::engine::gpu::device::Transfer;
use futures_util::future::join_all;

use super::{WHOLE, bytes, ctr, encrypt, forced, memory, options, others};

/// Counts what the layers report: wgpu hands it to `log`.
struct Count;

static REPORTED: AtomicU32 = AtomicU32::new(0);

impl log::Log for Count {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        // Layers that are not there say nothing, but wgpu does.
        let missing = text.contains("unable to find layer");
        if self.enabled(record.metadata()) && (missing || text.contains("VUID")) {
            eprintln!("{text}");
            REPORTED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn the_validation_layers_are_silent() {
    log::set_logger(&Count).expect("the first logger");
    log::set_max_level(log::LevelFilter::Warn);
    let memory = memory(32 << 20).await;
    for transfer in [Transfer::Staged, Transfer::Mapped] {
        let engine = forced(Options {
            validation: true,
            transfer: Some(transfer),
            ..options()
        });
        let engine = engine.expect("software Vulkan");
        assert_eq!(engine.gpu().expect("a device").transfer(), transfer);
        for key_bytes in [16, 24, 32] {
            let objects: Vec<_> = (0..20).map(|n| bytes(1 + 9_001 * n, n as u64)).collect();
            let key = bytes(key_bytes, 4);
            let sealed = objects.iter().map(|plain| async {
                encrypt(&engine, &memory, &ctr(&key, [8; 16]), WHOLE, plain).await
            });
            for (sealed, plain) in join_all(sealed).await.into_iter().zip(&objects) {
                assert!(sealed.by_gpu);
                assert_eq!(&sealed.out[..], others::ctr(&key, [8; 16], plain));
            }
        }
    }
    assert_eq!(REPORTED.load(Ordering::Relaxed), 0);
}
