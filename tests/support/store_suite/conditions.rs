//! Conditions: what must stand under a name when an object is published there.

use ciphermill::fault::Code;
use ciphermill::store::{Aborted, Condition, NewObject};

use super::code;
use super::subject::Subject;

pub async fn check(subject: &Subject) {
    puts_if_absent(subject).await;
    completes_if_absent(subject).await;
    if subject.is_s3() {
        puts_if_match(subject).await;
        completes_if_match(subject).await;
    } else {
        files_refuse_if_match(subject).await;
    }
}

fn on(condition: Condition) -> NewObject {
    NewObject {
        condition,
        ..NewObject::plain()
    }
}

/// What must be there after a write that some stores refuse.
fn kept_or_replaced(kept: bool, old: &'static [u8], new: &'static [u8]) -> Option<Vec<u8>> {
    Some(if kept { old.to_vec() } else { new.to_vec() })
}

async fn puts_if_absent(s: &Subject) {
    let keeps = s.can("if_absent put");
    let new = on(Condition::IfAbsent);
    s.put("absent", &new, b"1").await.expect("nothing is there");
    let again = code(s.put("absent", &new, b"2").await);
    assert_eq!(again, keeps.then_some(Code::OutputExists), "{}", s.name);
    assert_eq!(s.small("absent").await, kept_or_replaced(keeps, b"1", b"2"));
    s.store.delete(&s.at("absent")).await.expect("deleted");
    s.put("absent", &new, b"3").await.expect("nothing is there");
}

/// A Complete that is refused leaves the upload as it was.
async fn completes_if_absent(s: &Subject) {
    let keeps = s.can("if_absent complete");
    let new = on(Condition::IfAbsent);
    let staged = s.staged("absent-parts", &new, b"1").await;
    let first = s.complete(&staged, &new).await;
    first.expect("nothing is there");
    let staged = s.staged("absent-parts", &new, b"2").await;
    let again = code(s.complete(&staged, &new).await);
    assert_eq!(again, keeps.then_some(Code::OutputExists), "{}", s.name);
    assert_eq!(
        s.small("absent-parts").await,
        kept_or_replaced(keeps, b"1", b"2")
    );
    if keeps {
        let done = s.complete(&staged, &on(Condition::Always)).await;
        done.expect("the upload is still there");
        assert_eq!(
            s.small("absent-parts").await,
            Some(b"2".to_vec()),
            "{}",
            s.name
        );
    }
}

async fn puts_if_match(s: &Subject) {
    let refused = s.can("if_match put").then_some(Code::SourceChanged);
    let keeps = refused.is_some();
    s.put("match", &NewObject::plain(), b"1")
        .await
        .expect("written");
    let new = on(Condition::IfMatch(s.etag("match").await));
    s.put("match", &new, b"2").await.expect("it is this one");
    let stale = code(s.put("match", &new, b"3").await);
    assert_eq!(stale, refused, "{}", s.name);
    assert_eq!(s.small("match").await, kept_or_replaced(keeps, b"2", b"3"));
    s.store.delete(&s.at("match")).await.expect("deleted");
    let nothing = code(s.put("match", &new, b"4").await);
    assert_eq!(nothing, refused, "{}: over nothing", s.name);
    assert_eq!(s.small("match").await.is_none(), keeps, "{}", s.name);
}

async fn completes_if_match(s: &Subject) {
    let refused = s.can("if_match complete").then_some(Code::SourceChanged);
    let keeps = refused.is_some();
    let key = "match-parts";
    s.put(key, &NewObject::plain(), b"1")
        .await
        .expect("written");
    let new = on(Condition::IfMatch(s.etag(key).await));
    let staged = s.staged(key, &new, b"2").await;
    let first = s.complete(&staged, &new).await;
    first.expect("it is this one");
    let staged = s.staged(key, &new, b"3").await;
    let stale = code(s.complete(&staged, &new).await);
    assert_eq!(stale, refused, "{}", s.name);
    assert_eq!(s.small(key).await, kept_or_replaced(keeps, b"2", b"3"));
    if keeps {
        let done = s.complete(&staged, &on(Condition::Always)).await;
        done.expect("the upload is still there");
    }
    s.store.delete(&s.at(key)).await.expect("deleted");
    let staged = s.staged(key, &new, b"4").await;
    let nothing = code(s.complete(&staged, &new).await);
    assert_eq!(nothing, refused, "{}: over nothing", s.name);
    assert_eq!(s.small(key).await.is_none(), keeps, "{}", s.name);
    let abort = s.store.abort(&staged.url, &staged.upload).await;
    assert_eq!(abort, Ok(Aborted::Gone), "{}", s.name);
}

/// Not kept is not ignored.
async fn files_refuse_if_match(s: &Subject) {
    s.put("match", &NewObject::plain(), b"1")
        .await
        .expect("written");
    let new = on(Condition::IfMatch(s.etag("match").await));
    let put = code(s.put("match", &new, b"2").await);
    assert_eq!(put, Some(Code::Unsupported), "{}", s.name);
    let begun = code(s.store.begin(&s.at("match"), &new).await);
    assert_eq!(begun, Some(Code::Unsupported), "{}", s.name);
    let staged = s.staged("match", &NewObject::plain(), b"3").await;
    let done = code(s.complete(&staged, &new).await);
    assert_eq!(done, Some(Code::Unsupported), "{}", s.name);
    assert_eq!(s.small("match").await, Some(b"1".to_vec()), "{}", s.name);
    s.store
        .abort(&staged.url, &staged.upload)
        .await
        .expect("gone");
}
