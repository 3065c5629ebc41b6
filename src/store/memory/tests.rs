//! What only the store in memory has: counted ids, a clock, observers and views. How it behaves as a
//! store is in the suite for all stores (`tests/support/store_suite.rs`).

use std::time::{Duration, SystemTime};

use super::*;
use crate::checksum::Algorithm;
use crate::clock::{Skew, VirtualClock};
use crate::job::ServerSide;
use crate::store::Condition;

fn base() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn store(abilities: Abilities) -> Arc<MemoryStore> {
    let store = MemoryStore::new(abilities, Arc::new(VirtualClock::new(base())));
    store.create_bucket("bucket");
    Arc::new(store)
}

fn at(key: &str) -> ObjectUrl {
    ObjectUrl::parse(&format!("s3://bucket/{key}")).expect("a URL")
}

async fn put(store: &MemoryStore, key: &str, body: &'static [u8]) -> Result<()> {
    let sum = Algorithm::Crc64Nvme.of(body);
    let new = NewObject::plain();
    store
        .put(&at(key), &new, Bytes::from_static(body), &sum)
        .await
}

async fn part(
    store: &MemoryStore,
    key: &str,
    id: &UploadId,
    number: i32,
    body: &'static [u8],
) -> Result<UploadedPart> {
    let place = PartPlace { number, offset: 0 };
    let sum = Algorithm::Crc64Nvme.of(body);
    let url = at(key);
    store
        .upload(&url, id, place, Bytes::from_static(body), sum)
        .await
}

fn code<T>(result: Result<T>) -> Option<Code> {
    result.err().map(|fault| fault.code)
}

#[tokio::test(start_paused = true)]
async fn etags_are_those_of_s3() {
    let store = store(Abilities::aws());
    put(&store, "whole", b"hello").await.expect("written");
    let whole = store.object(&at("whole")).expect("an object");
    assert_eq!(whole.version.etag, "5d41402abc4b2a76b9719d911017c592");
    let new = NewObject::plain();
    let id = store.begin(&at("parts"), &new).await.expect("begun");
    let parts = [
        part(&store, "parts", &id, 1, b"hello")
            .await
            .expect("a part"),
        part(&store, "parts", &id, 2, b" world")
            .await
            .expect("a part"),
    ];
    assert_eq!(parts[0].etag, "\"5d41402abc4b2a76b9719d911017c592\"");
    let done = store.complete(&at("parts"), &id, &new, &parts).await;
    done.expect("complete");
    let facts = store.head(&at("parts"), None).await.expect("facts");
    assert_eq!(facts.version.etag, ETAG_OF_TWO_PARTS);
    let crc = Algorithm::Crc64Nvme.of(b"hello world").to_base64();
    assert_eq!(facts.crc64nvme, Some(crc));
}

/// MD5 over the MD5s of `hello` and ` world`, by openssl.
const ETAG_OF_TWO_PARTS: &str = "a56979024342128ecebc884e3442121b-2";

#[tokio::test(start_paused = true)]
async fn the_same_calls_give_the_same_answers() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let store = store(Abilities::aws());
        store.keep_versions("bucket").expect("versions");
        for key in ["b", "a", "b"] {
            put(&store, key, b"x").await.expect("written");
        }
        let new = NewObject::plain();
        let id = store.begin(&at("a"), &new).await.expect("begun");
        let version = |key| store.object(&at(key)).map(|object| object.version);
        seen.push((store.names("bucket"), version("a"), version("b"), id));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].0, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn times_come_from_the_clock() {
    let clock = Arc::new(VirtualClock::new(base()));
    let store = MemoryStore::new(Abilities::aws(), clock.clone());
    store.create_bucket("bucket");
    tokio::time::advance(Duration::from_secs(60)).await;
    put(&store, "a", b"x").await.expect("written");
    clock.set_skew(Skew::Behind(Duration::from_secs(100)));
    store
        .begin(&at("a"), &NewObject::plain())
        .await
        .expect("begun");
    let listed = store.list(&at("a")).await.expect("a list");
    assert_eq!(listed[0].modified, base() + Duration::from_secs(60));
    let uploads = store.uploads(&at("a")).await.expect("a list");
    assert_eq!(uploads[0].begun, base() - Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn observers_are_told_of_visible_changes_and_may_look() {
    let store = store(Abilities::garage());
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let (log, weak) = (Arc::clone(&told), Arc::downgrade(&store));
    store.observe(Arc::new(move |change| {
        let store = weak.upgrade().expect("the store");
        let names = store.names("bucket").join(",");
        let line = format!(
            "{:?} {} {} [{names}]",
            change.kind, change.url, change.bytes
        );
        log.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }));
    put(&store, "a", b"abc").await.expect("written");
    let new = NewObject::plain();
    let id = store.begin(&at("b"), &new).await.expect("begun");
    let parts = [part(&store, "b", &id, 1, b"hello").await.expect("a part")];
    let done = store.complete(&at("b"), &id, &new, &parts).await;
    done.expect("complete");
    for _ in 0..2 {
        store.delete(&at("a")).await.expect("deleted");
    }
    // Garage takes it, says nothing of encryption, and so it is taken away again.
    let new = NewObject {
        server_side: Some(ServerSide::S3),
        ..NewObject::plain()
    };
    let sum = Algorithm::Crc64Nvme.of(b"x");
    let ignored = store
        .put(&at("c"), &new, Bytes::from_static(b"x"), &sum)
        .await;
    assert_eq!(code(ignored), Some(Code::ServerSideIgnored));
    let expected = [
        "Put s3://bucket/a 3 [a]",
        "Complete s3://bucket/b 5 [a,b]",
        "Delete s3://bucket/a 3 [b]",
        "Put s3://bucket/c 1 [b,c]",
        "Delete s3://bucket/c 1 [b]",
    ];
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(*told, expected);
}

#[tokio::test(start_paused = true)]
async fn open_uploads_show_what_was_received() {
    let store = store(Abilities::aws());
    let new = NewObject::plain();
    let id = store.begin(&at("k"), &new).await.expect("begun");
    for (number, body) in [(3, b"three".as_slice()), (1, b"old"), (1, b"one")] {
        part(&store, "k", &id, number, body).await.expect("a part");
    }
    let view = |number, body: &'static [u8], times| PartView {
        number,
        body: Bytes::from_static(body),
        times,
    };
    let open = store.open_uploads("bucket");
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].key.as_str(), &open[0].id), ("k", &id));
    assert_eq!(open[0].parts, [view(1, b"one", 2), view(3, b"three", 1)]);
    assert_eq!(store.object(&at("k")), None);
}

#[tokio::test(start_paused = true)]
async fn small_parts_are_refused_where_that_is_asked_for() {
    let clock = Arc::new(VirtualClock::new(base()));
    let store = MemoryStore::new(Abilities::aws(), clock).with_minimum_part_bytes(4);
    store.create_bucket("bucket");
    let new = NewObject::plain();
    let id = store.begin(&at("k"), &new).await.expect("begun");
    let small = part(&store, "k", &id, 1, b"abc").await.expect("a part");
    let last = part(&store, "k", &id, 2, b"x").await.expect("a part");
    let both = store
        .complete(&at("k"), &id, &new, &[small, last.clone()])
        .await;
    assert_eq!(code(both), Some(Code::StoreRejected));
    let done = store.complete(&at("k"), &id, &new, &[last]).await;
    done.expect("the last part may be small");
}

#[tokio::test(start_paused = true)]
async fn parts_carry_the_checksum_of_their_upload_and_a_number_in_bounds() {
    let store = store(Abilities::aws());
    let new = NewObject {
        checksum: Algorithm::Sha256,
        ..NewObject::plain()
    };
    let id = store.begin(&at("k"), &new).await.expect("begun");
    let other = part(&store, "k", &id, 1, b"x").await;
    assert_eq!(code(other), Some(Code::StoreRejected));
    for number in [0, -1, 10_001] {
        let refused = part(&store, "k", &id, number, b"x").await;
        assert_eq!(code(refused), Some(Code::StoreRejected), "{number}");
    }
}

/// The bytes of a buffer are copied: what a job reserved comes back.
#[tokio::test(start_paused = true)]
async fn the_store_keeps_no_buffers() {
    let store = store(Abilities::aws());
    let pool = crate::buffers::Pool::new(1 << 20);
    let room = pool.reserve(1 << 16).await.expect("room");
    let mut buffer = room.buffer(100);
    buffer.append(b"bytes");
    drop(room);
    let sum = Algorithm::Crc64Nvme.of(b"bytes");
    let new = NewObject {
        condition: Condition::IfAbsent,
        ..NewObject::plain()
    };
    let body = Bytes::from_owner(buffer);
    store
        .put(&at("k"), &new, body, &sum)
        .await
        .expect("written");
    assert_eq!(pool.reserved_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn buckets_that_are_missing_and_abilities_that_are_lacking_are_named() {
    let aws = store(Abilities::aws());
    let missing = ObjectUrl::parse("s3://missing/key").expect("a URL");
    assert_eq!(
        code(aws.keep_versions("missing")),
        Some(Code::BucketNotFound)
    );
    assert_eq!(
        code(aws.head(&missing, None).await),
        Some(Code::SourceNotFound)
    );
    assert_eq!(
        code(aws.get_small(&missing, 1).await),
        Some(Code::BucketNotFound)
    );
    assert_eq!(code(aws.list(&missing).await), Some(Code::BucketNotFound));
    assert!(!aws.has_bucket(&missing).await && aws.has_bucket(&at("k")).await);
    let garage = store(Abilities::garage());
    assert_eq!(
        code(garage.keep_versions("bucket")),
        Some(Code::Unsupported)
    );
    let file = ObjectUrl::parse("file:///tmp/x").expect("a URL");
    assert_eq!(code(garage.head(&file, None).await), Some(Code::Internal));
}
