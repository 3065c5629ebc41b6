//! Every kind of injection, as the caller of a store meets it.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};

use super::*;
use crate::buffers::Pool;
use crate::checksum::Algorithm;
use crate::clock::VirtualClock;
use crate::fault::Fault;
use crate::inject::rules::{Effect, Rule, Rules};
use crate::store::memory::{Abilities, MemoryStore};

const BODY: &[u8] = b"0123456789abcdef";

struct Bench {
    memory: Arc<MemoryStore>,
    rules: Arc<Rules>,
    store: FaultyStore,
    pool: Arc<Pool>,
}

fn bench(rules: impl IntoIterator<Item = Rule>) -> Bench {
    let clock = Arc::new(VirtualClock::new(SystemTime::UNIX_EPOCH));
    let memory = Arc::new(MemoryStore::new(Abilities::aws(), clock));
    memory.create_bucket("bucket");
    let rules = Arc::new(Rules::new(rules));
    let inner: Arc<dyn Store> = memory.clone();
    Bench {
        store: FaultyStore::new(inner, rules.clone()),
        memory,
        rules,
        pool: Pool::new(1 << 20),
    }
}

fn url() -> ObjectUrl {
    ObjectUrl::parse("s3://bucket/key").expect("a URL")
}

fn fault(code: Code) -> Fault {
    Fault::new(code, "injected")
}

impl Bench {
    async fn put(&self) -> Result<()> {
        let sum = Algorithm::Crc64Nvme.of(BODY);
        let body = Bytes::from_static(BODY);
        let new = NewObject::plain();
        self.store.put(&url(), &new, body, &sum).await
    }

    fn is_there(&self) -> bool {
        self.memory.object(&url()).is_some()
    }

    /// What a buffer that began with `>` holds after a read of `2..12`.
    async fn read(&self) -> (String, Result<()>) {
        let version = self.memory.object(&url()).expect("an object").version;
        let room = self.pool.reserve(1 << 16).await.expect("room");
        let mut buffer = room.buffer(100);
        buffer.append(b">");
        let (buffer, result) = self.store.read(&url(), &version, 2..12, buffer).await;
        (String::from_utf8_lossy(&buffer).into_owned(), result)
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_refused_is_not_made() {
    let bench = bench([Rule::new(Effect::Fail(fault(Code::SinkDenied))).operation("put")]);
    assert_eq!(bench.put().await, Err(fault(Code::SinkDenied)));
    assert!(!bench.is_there());
    assert_eq!(bench.store.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_answer_is_lost_is_made() {
    let bench = bench([Rule::new(Effect::LoseAnswer(fault(Code::StoreDown))).times(1)]);
    assert_eq!(bench.put().await, Err(fault(Code::StoreDown)));
    assert!(bench.is_there());
    assert_eq!(bench.put().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_call_can_hang_before_and_after_its_work() {
    for (effect, done) in [(Effect::HangBefore, false), (Effect::HangAfter, true)] {
        let bench = bench([Rule::new(effect)]);
        let hung = timeout(Duration::from_secs(3600), bench.put()).await;
        assert!(hung.is_err(), "it came back");
        assert_eq!(bench.is_there(), done);
    }
}

#[tokio::test(start_paused = true)]
async fn delays_take_their_time_before_and_after_the_work() {
    let time = Duration::from_secs(10);
    let effects = [
        (Effect::DelayBefore(time), false),
        (Effect::DelayAfter(time), true),
    ];
    for (effect, done_at_once) in effects {
        let bench = bench([Rule::new(effect)]);
        let begun = Instant::now();
        let mut put = std::pin::pin!(bench.put());
        assert!(timeout(time / 2, put.as_mut()).await.is_err());
        assert_eq!(bench.is_there(), done_at_once);
        put.await.expect("written");
        assert!(bench.is_there());
        assert_eq!(begun.elapsed(), time);
    }
}

#[tokio::test(start_paused = true)]
async fn throttling_is_the_store_being_down_for_some_calls() {
    let bench = bench([Rule::new(Effect::Throttle).times(3)]);
    for _ in 0..3 {
        assert_eq!(bench.put().await.map_err(|f| f.code), Err(Code::StoreDown));
    }
    assert_eq!(bench.put().await, Ok(()));
    assert_eq!(bench.rules.applied(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_breaks_off_leaves_what_came_before() {
    let bench = bench([]);
    bench.put().await.expect("written");
    for (bytes, held) in [(0, ">"), (4, ">2345"), (99, ">23456789ab")] {
        let effect = Effect::Truncate {
            bytes,
            fault: fault(Code::SourceBroken),
        };
        bench.rules.clear();
        bench.rules.add(Rule::new(effect));
        let expected = (held.to_owned(), Err(fault(Code::SourceBroken)));
        assert_eq!(bench.read().await, expected);
    }
    // Calls that are no reads are refused.
    assert_eq!(bench.put().await, Err(fault(Code::SourceBroken)));
}

#[tokio::test(start_paused = true)]
async fn a_read_whose_answer_is_lost_brings_nothing() {
    let bench = bench([]);
    bench.put().await.expect("written");
    let rule = Rule::new(Effect::LoseAnswer(fault(Code::StoreDown)));
    bench.rules.add(rule);
    let expected = (">".to_owned(), Err(fault(Code::StoreDown)));
    assert_eq!(bench.read().await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_comes_whole_and_late() {
    let bench = bench([]);
    bench.put().await.expect("written");
    let rule = Rule::new(Effect::Trickle {
        bytes_per_second: 2,
    });
    bench.rules.add(rule);
    let begun = Instant::now();
    assert_eq!(bench.read().await, (">23456789ab".to_owned(), Ok(())));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn every_call_is_named() {
    let names = [
        "head",
        "put",
        "begin",
        "upload",
        "complete",
        "abort",
        "parts",
        "uploads",
        "delete",
        "get_small",
        "list",
        "has_bucket",
        "keeps_if_absent",
        "reachable",
        "read",
    ];
    let deny = |name| Rule::new(Effect::Fail(fault(Code::StoreDown))).operation(name);
    let bench = bench(names.map(deny));
    let (s, at, new) = (&bench.store, url(), NewObject::plain());
    let (id, sum) = (UploadId("x".into()), Algorithm::Crc64Nvme.of(b""));
    let place = PartPlace {
        number: 1,
        offset: 0,
    };
    let failed = [
        s.head(&at, None).await.is_err(),
        s.put(&at, &new, Bytes::new(), &sum).await.is_err(),
        s.begin(&at, &new).await.is_err(),
        s.upload(&at, &id, place, Bytes::new(), sum).await.is_err(),
        s.complete(&at, &id, &new, &[]).await.is_err(),
        s.abort(&at, &id).await.is_err(),
        s.parts(&at, &id).await.is_err(),
        s.uploads(&at).await.is_err(),
        s.delete(&at).await.is_err(),
        s.get_small(&at, 1).await.is_err(),
        s.list(&at).await.is_err(),
        s.keeps_if_absent(&at).await.is_err(),
        s.reachable().await.is_err(),
    ];
    assert!(failed.into_iter().all(|failed| failed), "{failed:?}");
    // Nobody knows, so nobody says that it is missing.
    assert!(s.has_bucket(&at).await);
    let sum = Algorithm::Crc64Nvme.of(BODY);
    let body = Bytes::from_static(BODY);
    bench
        .memory
        .put(&at, &new, body, &sum)
        .await
        .expect("past the rules");
    assert_eq!(bench.read().await.1, Err(fault(Code::StoreDown)));
    assert_eq!(bench.rules.applied(), [1; 15]);
}
