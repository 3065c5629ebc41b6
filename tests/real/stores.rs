//! One suite for every store: files, Garage and the AWS double behave alike through the `Store` trait, and where they
//! cannot, the table of abilities says so. A store that gains or loses one fails here, so that it is noticed.

use bytes::Bytes;
use ciphermill::checksum::{Algorithm, Checksum};
use ciphermill::fault::{Code, Fault};
use ciphermill::job::ObjectUrl;
use ciphermill::settings::Flavour;
use ciphermill::store::{Aborted, NewObject};

use crate::abilities;
use crate::subject::Subject;
use crate::support::{Endpoint, MIB, aws_double, garage, noise};

fn crc(body: &[u8]) -> Checksum {
    Algorithm::Crc64Nvme.of(body)
}

fn code<T>(result: Result<T, Fault>) -> Option<Code> {
    result.err().map(|fault| fault.code)
}

async fn conforms(subject: &Subject) {
    whole_objects(subject).await;
    pinned_reads(subject).await;
    small_objects_and_lists(subject).await;
    odd_keys(subject).await;
    multipart(subject).await;
    aborts(subject).await;
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

/// P2: parts come in any order and nobody sees them before the end.
async fn multipart(s: &Subject) {
    let body = noise(2 * 5 * MIB + 1000);
    let parts: Vec<_> = body.chunks(5 * MIB).collect();
    for algorithm in [Algorithm::Crc64Nvme, Algorithm::Sha256] {
        let key = format!("multi-{}", algorithm.as_str());
        let new = NewObject {
            checksum: algorithm,
            ..NewObject::plain()
        };
        let upload = s.store.begin(&s.at(&key), &new).await.expect("begun");
        let mut done = Vec::new();
        for index in [2, 0, 1] {
            let place = (index as i32 + 1, index * 5 * MIB);
            let sum = algorithm.of(parts[index]);
            done.push(
                s.part(&key, &upload, place, parts[index], sum)
                    .await
                    .expect("uploaded"),
            );
            assert_eq!(s.small(&key).await, None, "{}: seen before the end", s.name);
        }
        done.sort_by_key(|part| part.number);
        s.store
            .complete(&s.at(&key), &upload, &new, &done)
            .await
            .expect("complete");
        let whole = s.read(&key, 0..body.len() as u64).await;
        assert!(whole == body, "{} {key}: other bytes", s.name);
        let again = s.store.complete(&s.at(&key), &upload, &new, &done).await;
        println!("{}: a second complete gives {:?}", s.name, code(again));
    }
}

/// P6: an aborted upload is gone, whatever is tried with it, and aborting twice is no fault.
async fn aborts(s: &Subject) {
    let url = s.at("aborted");
    let new = NewObject::plain();
    let upload = s.store.begin(&url, &new).await.expect("begun");
    let part = s
        .part("aborted", &upload, (1, 0), b"part", crc(b"part"))
        .await;
    let part = part.expect("uploaded");
    for _ in 0..2 {
        assert_eq!(
            s.store.abort(&url, &upload).await,
            Ok(Aborted::Gone),
            "{}",
            s.name
        );
    }
    let late = s
        .part("aborted", &upload, (2, 4), b"late", crc(b"late"))
        .await;
    assert_eq!(code(late), Some(Code::SourceNotFound), "{}", s.name);
    let completed = s.store.complete(&url, &upload, &new, &[part]).await;
    assert_eq!(code(completed), Some(Code::SourceNotFound), "{}", s.name);
    assert_eq!(
        code(s.store.head(&url, None).await),
        Some(Code::SourceNotFound)
    );
    if let Some(lab) = &s.lab {
        assert_eq!(lab.uploads().await, Vec::<String>::new(), "{}", s.name);
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

#[tokio::test]
async fn files_conform() {
    conforms(&Subject::files()).await;
}

#[tokio::test]
async fn garage_conforms() {
    conforms(&Subject::s3("garage", garage()).await).await;
}

#[tokio::test]
async fn the_aws_double_conforms() {
    conforms(&Subject::s3("aws double", aws_double()).await).await;
}

#[tokio::test]
async fn the_table_of_abilities_holds() {
    let generic = |mut endpoint: Endpoint| {
        endpoint.flavour = Flavour::Generic;
        endpoint
    };
    let subjects = [
        Subject::files(),
        Subject::s3("garage", generic(garage())).await,
        Subject::s3("aws double", generic(aws_double())).await,
    ];
    abilities::check(&subjects).await;
}
