//! The bench that the rules of a job are tested on: a store, a broker, keys and a clock in memory,
//! and what a test asks of them. Parts are small, so that a job of a few kilobytes has several.

pub mod script;
pub mod stubborn;
pub mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ciphermill::checksum::Algorithm;
use ciphermill::clock::{Clock, VirtualClock};
use ciphermill::fault::{Code, Fault, Result};
use ciphermill::inject::rules::Rule;
use ciphermill::job::ObjectUrl;
use ciphermill::job::check::{self, ParsedJob};
use ciphermill::job::event::{OutputResult, OutputStatus};
use ciphermill::keys::faulty::FaultyKeys;
use ciphermill::keys::fixed::FixedKeys;
use ciphermill::pipeline::{Attempt, Outcome, Pipeline, Progress};
use ciphermill::queue::memory::Broker;
use ciphermill::settings::{Flags, Settings};
use ciphermill::store::faulty::FaultyStore;
use ciphermill::store::files::{Access, FileStore};
use ciphermill::store::memory::{Abilities, ChangeKind, MemoryStore, ObjectView};
use ciphermill::store::{NewObject, Store, Stores, UploadId};
use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::script::{Process, Script, lock};
use self::stubborn::Stubborn;
use crate::doubles::{self, Doubles};

/// Plaintext of one part.
pub const PART: usize = 16 * 1024;
/// A source of three parts.
pub const LONG: usize = 2 * PART + 100;
/// A source of one part.
pub const SHORT: usize = 1000;
/// The key that jobs name, and its bytes.
pub const KEY: &str = "key";
pub const KEY_BYTES: [u8; 32] = [7; 32];

/// Time after which an attempt that hangs is taken for dead.
const HANGS: Duration = Duration::from_secs(10);

/// Everything that outlives an attempt.
pub struct Bench {
    pub store: Arc<MemoryStore>,
    pub script: Arc<Script>,
    pub keys: Arc<FixedKeys>,
    pub clock: Arc<VirtualClock>,
    pub broker: Broker,
    pub settings: Settings,
    /// The store says of every abort that the upload is still there.
    pub stubborn: bool,
}

/// A bench with a source of three parts.
pub fn with_source() -> Bench {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    bench
}

impl Bench {
    /// A store that keeps what S3 promises.
    pub fn aws() -> Bench {
        Bench::new(Abilities::aws())
    }

    /// A store that keeps no conditions and no server-side encryption.
    pub fn garage() -> Bench {
        Bench::new(Abilities::garage())
    }

    pub fn both() -> [Bench; 2] {
        [Bench::aws(), Bench::garage()]
    }

    pub fn new(abilities: Abilities) -> Bench {
        let base = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let clock = Arc::new(VirtualClock::new(base));
        let time: Arc<dyn Clock> = clock.clone();
        let store = Arc::new(MemoryStore::new(abilities, time));
        store.create_bucket("films");
        store.create_bucket("made");
        let text = "[worker]\nallow_buckets = [\"films\", \"made\", \"gone\"]\nallow_reply_queues = [\"replies\"]";
        let settings = Settings::from_parts(text, &BTreeMap::new(), &Flags::default());
        Bench {
            store,
            script: Arc::default(),
            keys: Arc::new(FixedKeys::new(1).with(KEY.as_bytes(), &KEY_BYTES)),
            clock,
            broker: Broker::default(),
            settings: settings.expect("good settings"),
            stubborn: false,
        }
    }

    /// From now on this is what happens.
    pub fn rule(&self, rule: Rule) {
        self.script.rule(rule);
    }

    /// A pipeline of a process of its own.
    pub fn pipeline(&self, process: &Arc<Process>) -> Arc<Pipeline> {
        let mut store: Arc<dyn Store> = self.store.clone();
        if self.stubborn {
            store = Arc::new(Stubborn(store));
        }
        let store: Arc<dyn Store> = Arc::new(FaultyStore::new(store, process.clone()));
        let files: Arc<dyn Store> = Arc::new(FileStore::new(Access::Anywhere));
        let files: Arc<dyn Store> = Arc::new(FaultyStore::new(files, process.clone()));
        Doubles {
            stores: Stores::new(store, files),
            keys: Arc::new(FaultyKeys::new(self.keys.clone(), process.clone())),
            clock: self.clock.clone(),
            settings: &self.settings,
            part_bytes: PART as u64,
            slots: 2,
            files: true,
        }
        .pipeline()
    }

    fn process(&self) -> Arc<Process> {
        Process::new(self.script.clone())
    }

    /// One attempt at a job.
    pub async fn attempt(
        &self,
        job: &Value,
        redelivered: bool,
        cancel: &CancellationToken,
    ) -> Result<Outcome> {
        let pipeline = self.pipeline(&self.process());
        let parsed = parse(job);
        let attempt = Attempt {
            parsed: &parsed,
            redelivered,
            cancel: cancel.clone(),
            progress: Arc::new(Progress::default()),
        };
        pipeline.run(&attempt).await
    }

    /// The first attempt at a job, which must end well.
    pub async fn succeeds(&self, job: &Value) -> Outcome {
        let ended = self.attempt(job, false, &CancellationToken::new()).await;
        ended.unwrap_or_else(|fault| panic!("the job failed: {fault}"))
    }

    /// A later one, which must end well.
    pub async fn succeeds_again(&self, job: &Value) -> Outcome {
        let ended = self.attempt(job, true, &CancellationToken::new()).await;
        ended.unwrap_or_else(|fault| panic!("the job failed: {fault}"))
    }

    /// The first attempt at a job, which must fail with this code, at this place of the job.
    pub async fn fails(&self, job: &Value, code: Code, pointer: &str) -> Fault {
        let ended = self.attempt(job, false, &CancellationToken::new()).await;
        expect(ended, code, pointer)
    }

    /// A later one, which must fail with this code.
    pub async fn fails_again(&self, job: &Value, code: Code, pointer: &str) -> Fault {
        let ended = self.attempt(job, true, &CancellationToken::new()).await;
        expect(ended, code, pointer)
    }

    /// The process dies at the call that this rule lets hang; afterwards everything works.
    pub async fn dies(&self, job: &Value, at: Rule) {
        self.rule(at);
        let process = self.process();
        let pipeline = self.pipeline(&process);
        let parsed = parse(job);
        let attempt = Attempt {
            parsed: &parsed,
            redelivered: false,
            cancel: CancellationToken::new(),
            progress: Arc::new(Progress::default()),
        };
        let mut run = Box::pin(pipeline.run(&attempt));
        let ended = tokio::time::timeout(HANGS, &mut run).await;
        assert!(ended.is_err(), "the process lived on");
        process.die();
        drop(run);
        self.script.clear();
    }

    /// Writes an object as another program would.
    pub fn put(&self, url: &str, body: &[u8]) {
        doubles::put(&self.store, &self::url(url), body.to_vec());
    }

    /// Has another program write to an output before the nth call of this kind.
    pub fn stranger_before(&self, call: (&'static str, &str, u32), output: &str) {
        let (store, url) = (self.store.clone(), self::url(output));
        self.script.before(call, move || {
            doubles::put(&store, &url, STRANGER.to_vec());
        });
    }

    /// Writes the source of all jobs; the bytes differ by `seed`.
    pub fn source(&self, bytes: usize, seed: u64) -> Vec<u8> {
        let plain = plain(bytes, seed);
        self.put("s3://films/film", &plain);
        plain
    }

    pub fn object(&self, url: &str) -> Option<ObjectView> {
        self.store.object(&self::url(url))
    }

    /// The bytes of an object that must be there.
    pub fn body(&self, url: &str) -> Vec<u8> {
        let object = self.object(url);
        let object = object.unwrap_or_else(|| panic!("{url} is not there"));
        object.body.to_vec()
    }

    /// Begins an upload as another program, or another attempt, would.
    pub fn begin(&self, url: &str) -> UploadId {
        let url = self::url(url);
        let begun = self.store.begin(&url, &NewObject::plain()).now_or_never();
        begun.expect("memory never waits").expect("begun")
    }

    /// Keys of open uploads.
    pub fn uploads(&self) -> Vec<String> {
        let open = self.store.open_uploads("made").into_iter();
        open.map(|upload| upload.key).collect()
    }

    /// The ledger entry of the job.
    pub fn entry(&self) -> Option<Value> {
        let object = self.object(LEDGER)?;
        Some(serde_json::from_slice(&object.body).expect("JSON"))
    }

    /// Changes the ledger entry of the job, which must be there.
    pub fn edit_entry(&self, edit: impl FnOnce(&mut Value)) {
        let mut entry = self.entry().expect("an entry");
        edit(&mut entry);
        self.put(LEDGER, entry.to_string().as_bytes());
    }

    /// From now on, URLs of outputs in the order in which they become visible.
    pub fn watch_outputs(&self) -> Arc<std::sync::Mutex<Vec<String>>> {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let told = seen.clone();
        self.store.observe(Arc::new(move |change| {
            let url = change.url.to_string();
            if change.kind != ChangeKind::Delete && !url.contains(".ciphermill") {
                lock(&told).push(url);
            }
        }));
        seen
    }

    /// Waits on the paused clock.
    pub async fn wait(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

/// What another program wrote.
pub const STRANGER: &[u8] = b"somebody else's";

/// Where the ledger entry of the job is.
pub const LEDGER: &str = "s3://made/.ciphermill/film.json";

pub fn url(text: &str) -> ObjectUrl {
    ObjectUrl::parse(text).unwrap_or_else(|_| panic!("{text} is no URL"))
}

/// Any bytes, by seed.
pub fn plain(bytes: usize, seed: u64) -> Vec<u8> {
    let mut plain = vec![0; bytes];
    fastrand::Rng::with_seed(seed).fill(&mut plain);
    plain
}

pub fn parse(job: &Value) -> ParsedJob {
    let parsed = check::parse(job.to_string().as_bytes());
    parsed.unwrap_or_else(|refused| panic!("{job} is no job: {:?}", refused.faults))
}

/// A job over the source, with these outputs.
pub fn job<const N: usize>(outputs: [Value; N]) -> Value {
    json!({"version": 1, "id": "film", "input": {"url": "s3://films/film"}, "outputs": outputs.to_vec()})
}

/// An output in the clear.
pub fn output(name: &str) -> Value {
    json!({"url": format!("s3://made/{name}")})
}

/// An output that may not replace anything.
pub fn new_output(name: &str) -> Value {
    json!({"url": format!("s3://made/{name}"), "if_exists": "fail"})
}

/// An output that the job can do without.
pub fn optional(name: &str) -> Value {
    json!({"url": format!("s3://made/{name}"), "required": false})
}

/// The named key, as a job refers to it.
pub fn key() -> Value {
    json!({"keyring": {"wrapped": base64(KEY.as_bytes())}})
}

/// An output encrypted with the named key, with an IV of the job's.
pub fn given_iv(name: &str) -> Value {
    let encryption = json!({"mode": "aes-gcm", "key": key(), "iv": base64(&[9; 12])});
    json!({"url": format!("s3://made/{name}"), "encryption": encryption})
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub fn sum(bytes: &[u8]) -> ciphermill::checksum::Checksum {
    Algorithm::Crc64Nvme.of(bytes)
}

/// The fault of an attempt that must have failed like this.
pub fn expect(ended: Result<Outcome>, code: Code, pointer: &str) -> Fault {
    let Err(fault) = ended else {
        panic!("the job ended well, not with {}", code.as_str());
    };
    let at = fault.pointer.as_deref().unwrap_or_default();
    assert_eq!((fault.code, at), (code, pointer), "{fault}");
    fault
}

/// The code of an output that was not written.
pub fn refused(output: &OutputResult) -> &str {
    assert_eq!(output.status, OutputStatus::Failed, "{output:?}");
    let fault = output.fault.as_ref().expect("a fault");
    fault.code.as_str()
}
