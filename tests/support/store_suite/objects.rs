//! Whole objects: PUT, HEAD, ranged reads, DELETE, lists, versions.

use bytes::Bytes;
use ciphermill::checksum::Algorithm;
use ciphermill::fault::Code;
use ciphermill::job::ObjectUrl;
use ciphermill::store::{Aborted, NewObject, Version};

use super::subject::Subject;
use super::{MIB, code, crc, noise};

pub async fn check(subject: &Subject) {
    whole_objects(subject).await;
    pinned_reads(subject).await;
    small_objects_and_lists(subject).await;
    lists_in_order(subject).await;
    odd_keys(subject).await;
    metadata(subject).await;
    if subject.is_s3() {
        wrong_checksums(subject).await;
        missing_buckets(subject).await;
    }
}

async fn whole_objects(s: &Subject) {
    let body = noise(100_000);
    assert_eq!(
        code(s.store.head(&s.at("whole"), None).await),
        Some(Code::SourceNotFound)
    );
    s.put("whole", &NewObject::plain(), &body)
        .await
        .expect("written");
    let facts = s.store.head(&s.at("whole"), None).await.expect("facts");
    assert_eq!(facts.len, body.len() as u64, "{}", s.name);
    assert!(!facts.version.etag.is_empty() && !facts.version.etag.contains('"'));
    for range in [0..1, 0..100_000, 16_384..16_400, 99_999..100_000] {
        let expected = &body[range.start as usize..range.end as usize];
        assert_eq!(
            s.read("whole", range.clone()).await,
            expected,
            "{} {range:?}",
            s.name
        );
    }
    s.put("whole", &NewObject::plain(), b"new")
        .await
        .expect("replaced");
    assert_eq!(s.small("whole").await.as_deref(), Some(b"new".as_slice()));
    s.put("empty", &NewObject::plain(), b"")
        .await
        .expect("an empty object");
    assert_eq!(
        s.store.head(&s.at("empty"), None).await.expect("facts").len,
        0
    );
    assert_eq!(s.small("empty").await, Some(Vec::new()));
    for _ in 0..2 {
        s.store
            .delete(&s.at("whole"))
            .await
            .expect("no fault when there is none");
        assert_eq!(s.small("whole").await, None);
    }
}

/// P5: a read of a version that is no more fails, and the buffer stays as it was.
async fn pinned_reads(s: &Subject) {
    let url = s.at("pinned");
    let read = async |version| {
        let room = s.pool.reserve(MIB).await.expect("room");
        let mut buffer = room.buffer(100);
        buffer.append(b"before");
        let (buffer, result) = s.store.read(&url, version, 0..10, buffer).await;
        (buffer.to_vec(), code(result))
    };
    s.put("pinned", &NewObject::plain(), &[1; 50])
        .await
        .expect("written");
    let first = s.store.head(&url, None).await.expect("facts").version;
    let good = [b"before".as_slice(), &[1; 10]].concat();
    assert_eq!(read(&first).await, (good, None), "{}", s.name);
    s.put("pinned", &NewObject::plain(), &[2; 50])
        .await
        .expect("replaced");
    let untouched = b"before".to_vec();
    assert_eq!(
        read(&first).await,
        (untouched.clone(), Some(Code::SourceChanged)),
        "{}",
        s.name
    );
    s.store.delete(&url).await.expect("deleted");
    assert_eq!(
        read(&first).await,
        (untouched, Some(Code::SourceNotFound)),
        "{}",
        s.name
    );
}

async fn small_objects_and_lists(s: &Subject) {
    for name in ["list/a", "list/b", "list/b2", "other/c"] {
        s.put(name, &NewObject::plain(), name.as_bytes())
            .await
            .expect("written");
    }
    let names = async |prefix: &str| {
        let prefix = match prefix.strip_suffix('/') {
            // A URL of a file ends in a name; only the worker itself builds one that does not.
            Some(folder) if !s.is_s3() => ObjectUrl::File {
                path: format!("{}{folder}/", s.root.trim_start_matches("file://")).into(),
            },
            _ => s.at(prefix),
        };
        let listed = s.store.list(&prefix).await.expect("a list");
        let mut names: Vec<_> = listed.iter().map(|one| one.url.clone()).collect();
        names.sort_by_key(ToString::to_string);
        names
    };
    assert_eq!(
        names("list/").await,
        ["list/a", "list/b", "list/b2"].map(|n| s.at(n)),
        "{}",
        s.name
    );
    assert_eq!(
        names("list/b").await,
        ["list/b", "list/b2"].map(|n| s.at(n)),
        "{}",
        s.name
    );
    assert_eq!(names("nothing/").await, []);
    let limited = s.store.get_small(&s.at("list/b2"), 6).await;
    assert_eq!(code(limited), Some(Code::LimitExceeded));
    let exact = s
        .store
        .get_small(&s.at("list/b2"), 7)
        .await
        .expect("it fits");
    assert_eq!(exact.as_deref(), Some(b"list/b2".as_slice()));
}

/// Lists are in the order of the keys' bytes, whatever the order of writing; files come as the folder has them.
async fn lists_in_order(s: &Subject) {
    if !s.is_s3() {
        return;
    }
    let keys = [
        "order/b",
        "order/é",
        "order/a/b",
        "order/B",
        "order/a",
        "order/a-b",
    ];
    for key in keys {
        s.put(key, &NewObject::plain(), b"x")
            .await
            .expect("written");
    }
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    let listed = s.store.list(&s.at("order/")).await.expect("a list");
    let urls: Vec<_> = listed.into_iter().map(|one| one.url).collect();
    let expected: Vec<_> = sorted.iter().map(|key| s.at(key)).collect();
    assert_eq!(urls, expected, "{}", s.name);
    s.store.delete(&s.at("order/a")).await.expect("deleted");
    let left = s.store.list(&s.at("order/")).await.expect("a list");
    assert_eq!(left.len(), keys.len() - 1, "{}", s.name);
}

async fn odd_keys(s: &Subject) {
    let mut keys = vec![
        "odd/a b  c",
        "odd/1+1=2",
        "odd/100%",
        "odd/%41",
        "odd/A",
        "odd/Grüße 🎬.mp4",
        "odd/a&b?c#d",
        "odd/~'(*)!",
        "odd/.hidden",
        "odd/semi;colon:at@",
    ];
    if s.is_s3() {
        keys.extend([
            "odd//double",
            "odd/trailing/",
            "odd/kc",
            "odd/kc/x",
            "odd/kc/x/y",
        ]);
    }
    for key in &keys {
        s.put(key, &NewObject::plain(), key.as_bytes())
            .await
            .expect(key);
    }
    for key in &keys {
        assert_eq!(
            s.small(key).await.as_deref(),
            Some(key.as_bytes()),
            "{} {key}",
            s.name
        );
        assert_eq!(s.read(key, 0..4).await, b"odd/", "{} {key}", s.name);
    }
    if s.is_s3() {
        let all = s.store.list(&s.at("odd/")).await.expect("a list").len();
        assert_eq!(all, keys.len(), "{}", s.name);
    } else {
        let below = s.put("odd/A/x", &NewObject::plain(), b"x").await;
        assert_eq!(code(below), Some(Code::SinkDenied), "a file is no folder");
        let above = s.put("odd", &NewObject::plain(), b"x").await;
        assert_eq!(code(above), Some(Code::SinkDenied), "a folder is no file");
    }
}

async fn metadata(s: &Subject) {
    let mut new = NewObject::plain();
    let pairs = [("title", "A film, 42"), ("ciphermill-iv", "q83vASNFZ4k=")];
    new.metadata = pairs.map(|(n, v)| (n.into(), v.into())).into();
    s.put("described", &new, b"x").await.expect("written");
    let facts = s.store.head(&s.at("described"), None).await.expect("facts");
    let expected = if s.is_s3() {
        new.metadata
    } else {
        Default::default()
    };
    assert_eq!(facts.metadata, expected, "{}", s.name);
}

/// Bytes that are not what was announced are refused, and what was there before stays.
async fn wrong_checksums(s: &Subject) {
    for algorithm in [Algorithm::Crc64Nvme, Algorithm::Sha256] {
        let new = NewObject {
            checksum: algorithm,
            ..NewObject::plain()
        };
        let wrong = algorithm.of(b"something else");
        s.put("sum", &new, b"old").await.expect("written");
        let put = s.put_as("sum", &new, b"new", &wrong).await;
        assert_eq!(
            code(put),
            Some(Code::IntegrityMismatch),
            "{} {algorithm:?}",
            s.name
        );
        assert_eq!(
            s.small("sum").await.as_deref(),
            Some(b"old".as_slice()),
            "{}",
            s.name
        );
        let upload = s.store.begin(&s.at("sum"), &new).await.expect("begun");
        let part = s.part("sum", &upload, (1, 0), b"part", wrong).await;
        assert_eq!(
            code(part),
            Some(Code::IntegrityMismatch),
            "{} {algorithm:?}",
            s.name
        );
        assert_eq!(
            s.store.abort(&s.at("sum"), &upload).await,
            Ok(Aborted::Gone)
        );
    }
}

async fn missing_buckets(s: &Subject) {
    let url = ObjectUrl::parse("s3://ciphermill-no-such-bucket/x").expect("a URL");
    let body = Bytes::from_static(b"x");
    let new = NewObject::plain();
    let put = s.store.put(&url, &new, body, &crc(b"x")).await;
    assert_eq!(code(put), Some(Code::BucketNotFound), "{}", s.name);
    assert_eq!(
        code(s.store.begin(&url, &new).await),
        Some(Code::BucketNotFound)
    );
    assert_eq!(
        code(s.store.head(&url, None).await),
        Some(Code::SourceNotFound)
    );
    assert!(!s.store.has_bucket(&url).await);
    assert!(s.store.has_bucket(&s.at("x")).await);
    assert_eq!(code(s.store.reachable().await), None);
}

/// In a bucket that keeps versions, one that was replaced or deleted can still be read.
pub async fn versions(s: &Subject) {
    let url = s.at("versioned");
    let Some(side) = &s.side else {
        return;
    };
    let kept = side.keep_versions().await;
    assert_eq!(kept, s.can("versions"), "{}", s.name);
    let read = async |version: &Version| {
        let room = s.pool.reserve(MIB).await.expect("room");
        let (buffer, result) = s.store.read(&url, version, 0..3, room.buffer(3)).await;
        result.map(|()| buffer.to_vec()).map_err(|fault| fault.code)
    };
    let mut versions = Vec::new();
    for body in [b"one", b"two"] {
        s.put("versioned", &NewObject::plain(), body)
            .await
            .expect("written");
        let facts = s.store.head(&url, None).await.expect("facts");
        versions.push(facts.version);
    }
    let ids = [0, 1].map(|index: usize| versions[index].version_id.as_deref());
    if !kept {
        assert_eq!(ids, [None, None], "{}", s.name);
        assert_eq!(read(&versions[0]).await, Err(Code::SourceChanged));
        return;
    }
    assert!(ids[0].is_some() && ids[1].is_some() && ids[0] != ids[1]);
    assert_eq!(read(&versions[0]).await, Ok(b"one".to_vec()), "{}", s.name);
    let first = s.store.head(&url, ids[0]).await.expect("facts");
    assert_eq!(first.version, versions[0], "{}", s.name);
    s.store.delete(&url).await.expect("deleted");
    assert_eq!(
        code(s.store.head(&url, None).await),
        Some(Code::SourceNotFound)
    );
    assert_eq!(s.small("versioned").await, None, "{}", s.name);
    assert_eq!(s.store.list(&url).await.expect("a list").len(), 0);
    assert_eq!(read(&versions[1]).await, Ok(b"two".to_vec()), "{}", s.name);
    let id = Some("00000000-0000-0000-0000-000000000000");
    let missing = code(s.store.head(&url, id).await);
    assert_eq!(missing, Some(Code::SourceNotFound), "{}", s.name);
}
