//! Multipart uploads: parts in any order, lists of them, and what ends an upload.

use ciphermill::checksum::Algorithm;
use ciphermill::fault::Code;
use ciphermill::store::{Aborted, ListedPart, NewObject, UploadedPart};
use futures_util::stream::{self, StreamExt};

use super::subject::{Staged, Subject};
use super::{MIB, code, crc, noise};

pub async fn check(subject: &Subject) {
    multipart(subject).await;
    aborts(subject).await;
    parts_again_and_in_order(subject).await;
    writes_while_uploads_are_open(subject).await;
    older_and_newer_uploads(subject).await;
    if subject.is_s3() {
        wrong_lists_of_parts(subject).await;
        lists_of_uploads(subject).await;
    }
    if subject.can("lists parts") {
        many_parts(subject).await;
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
        let expected = (!s.can("complete again")).then_some(Code::SourceNotFound);
        assert_eq!(code(again), expected, "{} {key}", s.name);
        let facts = s.store.head(&s.at(&key), None).await.expect("facts");
        let told = algorithm == Algorithm::Crc64Nvme && s.can("crc64nvme of parts");
        let whole = told.then(|| crc(&body).to_base64());
        assert_eq!(facts.crc64nvme, whole, "{} {key}", s.name);
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
    if let Some(side) = &s.side {
        assert_eq!(side.uploads().await, Vec::<String>::new(), "{}", s.name);
    }
}

/// What a list of parts must say of these.
fn same_parts(listed: &[ListedPart], uploaded: &[&UploadedPart]) -> bool {
    let same = |listed: &ListedPart, part: &&UploadedPart| {
        listed.number == part.number
            && listed.bytes == part.bytes
            && listed.etag.trim_matches('"') == part.etag.trim_matches('"')
            && listed
                .checksum
                .as_ref()
                .is_none_or(|sum| *sum == part.checksum)
    };
    let mut pairs = listed.iter().zip(uploaded);
    listed.len() == uploaded.len() && pairs.all(|(listed, part)| same(listed, part))
}

/// A part that is sent again replaces the one before; lists of parts are by number, whatever the order of sending.
async fn parts_again_and_in_order(s: &Subject) {
    let (old, first, last) = (vec![1; 5 * MIB], noise(5 * MIB), b"the end".to_vec());
    for algorithm in [Algorithm::Crc64Nvme, Algorithm::Sha256] {
        let key = format!("again-{}", algorithm.as_str());
        let new = NewObject {
            checksum: algorithm,
            ..NewObject::plain()
        };
        let upload = s.begin(&key, &new).await;
        let mut sent = Vec::new();
        for (number, body) in [(7, &last), (1, &old), (1, &first)] {
            let place = (number, if number == 1 { 0 } else { first.len() });
            let part = s.part(&key, &upload, place, body, algorithm.of(body)).await;
            sent.push(part.expect("uploaded"));
        }
        let parts = s.store.parts(&s.at(&key), &upload).await.expect("a list");
        assert_eq!(parts.is_some(), s.can("lists parts"), "{}", s.name);
        if let Some(parts) = parts {
            let good = same_parts(&parts, &[&sent[2], &sent[0]]);
            assert!(good, "{}: {parts:?} for {sent:?}", s.name);
            let tells = parts.iter().all(|part| part.checksum.is_some());
            assert_eq!(tells, s.can("part checksums told"), "{} {parts:?}", s.name);
        }
        if s.is_s3() {
            let stale = [sent[1].clone(), sent[0].clone()];
            let stale = s.store.complete(&s.at(&key), &upload, &new, &stale).await;
            assert_eq!(code(stale), Some(Code::StoreRejected), "{}", s.name);
        }
        let parts = [sent[2].clone(), sent[0].clone()];
        let done = s.store.complete(&s.at(&key), &upload, &new, &parts).await;
        done.expect("complete");
        let whole = [first.as_slice(), &last].concat();
        let read = s.read(&key, 0..whole.len() as u64).await;
        assert!(read == whole, "{} {key}: other bytes", s.name);
        if s.is_s3() {
            let gone = code(s.store.parts(&s.at(&key), &upload).await);
            assert_eq!(gone, Some(Code::SourceNotFound), "{}", s.name);
        }
    }
}

/// Complete refuses what was not uploaded, and the upload stays.
async fn wrong_lists_of_parts(s: &Subject) {
    let url = s.at("wrong-parts");
    let new = NewObject::plain();
    let upload = s.begin("wrong-parts", &new).await;
    let mut parts = Vec::new();
    for (number, body) in [(1, noise(5 * MIB)), (2, b"end".to_vec())] {
        let place = (number, (number as usize - 1) * 5 * MIB);
        let part = s
            .part("wrong-parts", &upload, place, &body, crc(&body))
            .await;
        parts.push(part.expect("uploaded"));
    }
    let changed = |change: fn(&mut UploadedPart)| {
        let mut parts = parts.clone();
        change(&mut parts[1]);
        parts
    };
    let wrong = [
        ("no parts", Vec::new()),
        ("order", vec![parts[1].clone(), parts[0].clone()]),
        ("twice", vec![parts[0].clone(), parts[0].clone()]),
        ("number", changed(|part| part.number = 3)),
        (
            "etag",
            changed(|part| part.etag = format!("\"{}\"", "0".repeat(32))),
        ),
    ];
    for (what, parts) in wrong {
        let refused = code(s.store.complete(&url, &upload, &new, &parts).await);
        assert_eq!(refused, Some(Code::StoreRejected), "{}: {what}", s.name);
    }
    let sum = changed(|part| part.checksum = crc(b"other"));
    let refused = code(s.store.complete(&url, &upload, &new, &sum).await);
    let known = [Some(Code::StoreRejected), Some(Code::IntegrityMismatch)];
    assert!(known.contains(&refused), "{}: {refused:?}", s.name);
    assert_eq!(s.small("wrong-parts").await, None, "{}", s.name);
    let done = s.store.complete(&url, &upload, &new, &parts).await;
    done.expect("complete");
}

/// Uploads of this object and of no other one, also not of one whose key is longer.
async fn lists_of_uploads(s: &Subject) {
    let new = NewObject::plain();
    let url = s.at("listed");
    assert_eq!(s.store.uploads(&url).await.expect("a list").len(), 0);
    let mut begun = [s.begin("listed", &new).await, s.begin("listed", &new).await];
    let other = s.begin("listed/longer", &new).await;
    let listed = s.store.uploads(&url).await.expect("a list");
    let mut ids: Vec<_> = listed.into_iter().map(|upload| upload.id).collect();
    ids.sort_unstable_by(|one, next| one.0.cmp(&next.0));
    begun.sort_unstable_by(|one, next| one.0.cmp(&next.0));
    assert_eq!(ids, begun, "{}", s.name);
    for upload in &begun {
        s.store.abort(&url, upload).await.expect("gone");
    }
    assert_eq!(s.store.uploads(&url).await.expect("a list").len(), 0);
    let abort = s.store.abort(&s.at("listed/longer"), &other).await;
    assert_eq!(abort, Ok(Aborted::Gone), "{}", s.name);
}

/// A list of more parts than one page has.
async fn many_parts(s: &Subject) {
    let upload = s.begin("many", &NewObject::plain()).await;
    let send = async |number: i32| {
        let body = number.to_be_bytes();
        let part = s
            .part("many", &upload, (number, 0), &body, crc(&body))
            .await;
        part.expect("uploaded")
    };
    let sent: Vec<_> = stream::iter(1..=1002).map(send).buffered(8).collect().await;
    let parts = s.store.parts(&s.at("many"), &upload).await;
    let parts = parts.expect("a list").expect("a list");
    let sent: Vec<_> = sent.iter().collect();
    assert!(
        same_parts(&parts, &sent),
        "{}: {} parts",
        s.name,
        parts.len()
    );
    let abort = s.store.abort(&s.at("many"), &upload).await;
    assert_eq!(abort, Ok(Aborted::Gone), "{}", s.name);
    let gone = code(s.store.parts(&s.at("many"), &upload).await);
    assert_eq!(gone, Some(Code::SourceNotFound), "{}", s.name);
}

/// A PUT to the key, or a DELETE there, ends open uploads on some stores.
async fn writes_while_uploads_are_open(s: &Subject) {
    let new = NewObject::plain();
    let ended = (!s.can("uploads survive writes")).then_some(Code::SourceNotFound);
    let staged = s.staged("open", &new, b"in parts").await;
    s.put("open", &new, b"at once").await.expect("written");
    assert_eq!(code(s.complete(&staged, &new).await), ended, "{}", s.name);
    let expected: &[u8] = match ended {
        Some(_) => b"at once",
        None => b"in parts",
    };
    assert_eq!(
        s.small("open").await.as_deref(),
        Some(expected),
        "{}",
        s.name
    );
    let staged = s.staged("open", &new, b"in parts").await;
    s.store.delete(&s.at("open")).await.expect("deleted");
    assert_eq!(code(s.complete(&staged, &new).await), ended, "{}", s.name);
    s.store.delete(&s.at("open")).await.expect("deleted");
    let staged = s.staged("open", &new, b"in parts").await;
    s.put("open-other", &new, b"x").await.expect("written");
    assert_eq!(code(s.complete(&staged, &new).await), None, "{}", s.name);
}

/// Of two uploads of one object the older one can always be completed first. After the newer one it is gone where
/// writes end uploads.
async fn older_and_newer_uploads(s: &Subject) {
    let new = NewObject::plain();
    let both = async |key| {
        let older: Staged = s.staged(key, &new, b"older").await;
        (older, s.staged(key, &new, b"newer").await)
    };
    let (older, newer) = both("older-first").await;
    assert_eq!(code(s.complete(&older, &new).await), None, "{}", s.name);
    assert_eq!(code(s.complete(&newer, &new).await), None, "{}", s.name);
    assert_eq!(
        s.small("older-first").await.as_deref(),
        Some(b"newer".as_slice())
    );
    let (older, newer) = both("newer-first").await;
    assert_eq!(code(s.complete(&newer, &new).await), None, "{}", s.name);
    let ended = (!s.can("uploads survive writes")).then_some(Code::SourceNotFound);
    assert_eq!(code(s.complete(&older, &new).await), ended, "{}", s.name);
    for staged in [older, newer] {
        let abort = s.store.abort(&staged.url, &staged.upload).await;
        assert_eq!(abort, Ok(Aborted::Gone), "{}", s.name);
    }
}
