//! The lab: a bucket, a keyring and a pipeline for one test, and ways to put objects in, run jobs and look at what is
//! there afterwards, all past the pipeline.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciphermill::fault::{Code, Fault};
use ciphermill::job::check;
use ciphermill::keys::keyring::Keyring;
use ciphermill::pipeline::{Attempt, Outcome, Pipeline, Progress};
use ciphermill_cipher::secret::Secret;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Endpoint, Options, capture_logs, lock, logged, pipeline, random};

/// A bucket, a keyring, a pipeline, and a client that goes straight to the store.
pub struct Lab {
    pub pipeline: Pipeline,
    pub s3: Client,
    pub bucket: String,
    pub dir: tempfile::TempDir,
    ring: Keyring,
    secrets: Mutex<Vec<Vec<u8>>>,
}

/// A data key and how a job names it.
#[derive(Clone)]
pub struct Key {
    pub bytes: Vec<u8>,
    pub reference: Value,
}

impl Lab {
    pub async fn new(store: Endpoint) -> Lab {
        Lab::with(&store.clone(), Options::on(store)).await
    }

    /// `direct` is the store itself, where `options` may name a proxy.
    pub async fn with(direct: &Endpoint, options: Options) -> Lab {
        capture_logs();
        let dir = tempfile::tempdir().expect("a folder");
        let ring = Keyring::create(&dir.path().join("ring")).expect("a keyring");
        let s3 = direct.client().await;
        let bucket = format!("real-{}", hex::encode(random(8)));
        let made = s3.create_bucket().bucket(&bucket).send().await;
        made.expect("a bucket");
        let pipeline = pipeline(&options, dir.path()).await;
        Lab {
            pipeline,
            s3,
            bucket,
            dir,
            ring,
            secrets: Mutex::default(),
        }
    }

    /// Another pipeline over the same bucket and keyring.
    pub async fn pipeline(&self, options: &Options) -> Pipeline {
        pipeline(options, self.dir.path()).await
    }

    pub fn key(&self, bits: usize) -> Key {
        let bytes = random(bits / 8);
        self.watch(&bytes);
        let secret = Secret::new(bytes.clone());
        let wrapped = self.ring.wrap_key(&secret, &Default::default());
        let wrapped = STANDARD.encode(wrapped.expect("wrapped"));
        let reference = json!({"keyring": {"wrapped": wrapped}});
        Key { bytes, reference }
    }

    /// From now on these key bytes must not appear in anything that a run says.
    pub fn watch(&self, key: &[u8]) {
        lock(&self.secrets).push(key.to_vec());
    }

    pub fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    pub async fn put(&self, key: &str, body: &[u8]) {
        let put = self.s3.put_object().bucket(&self.bucket).key(key);
        let put = put.body(ByteStream::from(body.to_vec())).send().await;
        put.expect("an object");
    }

    pub async fn get(&self, key: &str) -> Vec<u8> {
        let get = self.s3.get_object().bucket(&self.bucket).key(key);
        let answer = get.send().await.expect("the object");
        let body = answer.body.collect().await.expect("its body");
        body.to_vec()
    }

    /// Names of all objects but the worker's own.
    pub async fn objects(&self) -> Vec<String> {
        let all = self.s3.list_objects_v2().bucket(&self.bucket).send().await;
        let all = all.expect("a list");
        let keys = all.contents().iter().filter_map(|o| o.key());
        let others = keys.filter(|key| !key.starts_with(".ciphermill/"));
        others.map(Into::into).collect()
    }

    /// Names of objects with multipart uploads under way.
    pub async fn uploads(&self) -> Vec<String> {
        let list = self.s3.list_multipart_uploads().bucket(&self.bucket);
        let list = list.send().await.expect("a list");
        let keys = list.uploads().iter().filter_map(|upload| upload.key());
        keys.map(Into::into).collect()
    }

    /// Waits for the aborts that run in the background.
    pub async fn no_uploads_soon(&self) {
        for _ in 0..100 {
            if self.uploads().await.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("uploads were left: {:?}", self.uploads().await);
    }

    /// Waits until the pool has all its memory again: connections that are cut give their buffers back a moment later.
    pub async fn all_memory_soon(&self) {
        for _ in 0..150 {
            if self.pipeline.pool.reserved_bytes() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let left = self.pipeline.pool.reserved_bytes();
        panic!("{left} bytes are still reserved");
    }

    pub async fn run(&self, job: &Value) -> Result<Outcome, Fault> {
        self.run_on(&self.pipeline, job, CancellationToken::new())
            .await
    }

    pub async fn run_on(
        &self,
        pipeline: &Pipeline,
        job: &Value,
        cancel: CancellationToken,
    ) -> Result<Outcome, Fault> {
        let text = job.to_string();
        let parsed = check::parse(text.as_bytes());
        let parsed = parsed.unwrap_or_else(|r| panic!("{:?}: {text}", r.faults));
        let attempt = Attempt {
            parsed: &parsed,
            redelivered: false,
            cancel,
            progress: Arc::new(Progress::default()),
        };
        let result = pipeline.run(&attempt).await;
        let said = match &result {
            Ok(outcome) => serde_json::to_string(&outcome.data).expect("an event"),
            Err(fault) => format!("{fault} {fault:?}"),
        };
        self.search(said.as_bytes());
        result
    }

    /// Runs a job that must fail like this; returns the message.
    pub async fn fails(&self, job: &Value, code: Code, pointer: &str) -> String {
        match self.run(job).await {
            Ok(_) => panic!("succeeded, expected {}: {job}", code.as_str()),
            Err(fault) => {
                let got = (fault.code, fault.pointer.as_deref().unwrap_or(""));
                assert_eq!(got, (code, pointer), "{fault}");
                fault.message
            }
        }
    }

    /// P8: none of the keys, neither in hex nor in base64 at any alignment.
    pub fn search(&self, said: &[u8]) {
        let text = String::from_utf8_lossy(said);
        for key in lock(&self.secrets).iter() {
            for form in spellings(key) {
                assert!(!text.contains(&form), "a key was said: {text}");
            }
            let found = said.windows(key.len()).any(|window| window == key);
            assert!(!found, "raw key bytes were said: {text}");
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.search(&logged());
        }
    }
}

/// Hex and base64 of the key. Inside a longer base64 text its middle looks like one of three, by alignment.
pub fn spellings(key: &[u8]) -> Vec<String> {
    let hex = hex::encode(key);
    let mut forms = vec![hex.to_uppercase(), hex];
    for shift in 0..3 {
        let shifted = [vec![0; shift], key.to_vec()].concat();
        let text = STANDARD.encode(shifted);
        forms.push(text[4..text.len() - 4].into());
    }
    forms
}
