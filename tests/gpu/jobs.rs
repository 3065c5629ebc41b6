//! Whole jobs while a device is lost: all of them finish, and what they wrote opens again.

#[path = "../support/pipeline.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;

use ciphermill::engine::both::Both;
use ciphermill::job::check::parse;
use ciphermill::keys::keyring::Keyring;
use ciphermill::pipeline::{Attempt, Pipeline};
use ciphermill::settings::{Flags, Settings};
use serde_json::{Value, json};

use super::{bytes, forced, options};

/// A pipeline over the files of this folder.
fn pipeline(engine: &Arc<Both>, keyring: &Path) -> Pipeline {
    let settings = Settings::from_parts("", &Default::default(), &Flags::default());
    let settings = settings.expect("the defaults");
    let engine = Arc::clone(engine) as Arc<dyn ciphermill::engine::Engine>;
    support::pipeline(settings, engine, keyring.to_owned())
}

async fn run(pipeline: &Pipeline, message: &Value) -> Value {
    let parsed = parse(message.to_string().as_bytes()).expect("a job");
    let attempt = Attempt {
        parsed: &parsed,
        redelivered: false,
        cancel: Default::default(),
        progress: Default::default(),
    };
    let outcome = pipeline.run(&attempt).await.expect("the job succeeds");
    serde_json::to_value(&outcome.data.outputs[0]).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_jobs_survive_the_loss_of_their_device() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let url = |name: &str| format!("file://{}", path(name).display());
    Keyring::create(&path("keyring")).expect("a keyring");
    let plain = bytes(200_000, 6);
    std::fs::write(path("in"), &plain).expect("a source");
    let engine = Arc::new(forced(options()).expect("software Vulkan"));
    let pipeline = pipeline(&engine, &path("keyring"));
    let mut engines = Vec::new();
    for number in 0..100 {
        if number == 50 {
            engine.gpu().expect("a device").lose();
        }
        let mode = ["aes-ctr", "aes-gcm", "cobblestone"][number % 3];
        let key = json!({ "generate": { "keyring": { "bits": 256 } } });
        let sealed = format!("sealed-{number}");
        let message = json!({ "version": 1, "id": format!("job-{number}"), "input": { "url": url("in") },
            "outputs": [{ "url": url(&sealed), "encryption": { "mode": mode, "key": key } }] });
        let result = run(&pipeline, &message).await;
        engines.push(result["engine"].as_str().unwrap_or_default().to_owned());
        let opened = format!("opened-{number}");
        let back = json!({ "version": 1, "id": format!("back-{number}"),
            "input": { "url": url(&sealed), "encryption": result["encryption"] },
            "outputs": [{ "url": url(&opened) }] });
        run(&pipeline, &back).await;
        assert_eq!(std::fs::read(path(&opened)).expect("it was written"), plain);
    }
    assert_eq!(engines[0], "gpu");
    assert!(engines[99].starts_with("cpu/"), "{}", engines[99]);
    assert!(engine.gpu().and_then(|gpu| gpu.retired()).is_some());
}
