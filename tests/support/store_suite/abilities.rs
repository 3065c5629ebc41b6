//! What each store can do, measured: printed as a table and compared with what we know.

use ciphermill::checksum::Algorithm;
use ciphermill::fault::{Code, Fault};
use ciphermill::job::ServerSide;
use ciphermill::store::{Condition, NewObject};

use super::subject::Subject;

/// Abilities in the order of the table.
const NAMES: [&str; 21] = [
    "if_absent put",
    "if_absent complete",
    "if_match put",
    "if_match complete",
    "probe finds it",
    "checksum verified",
    "crc64nvme told",
    "crc64nvme of parts",
    "lists parts",
    "part checksums told",
    "complete again",
    "aborts are final",
    "uploads survive writes",
    "content type",
    "storage class",
    "tags",
    "sse-s3",
    "sse-kms",
    "sse by default",
    "sse of parts",
    "versions",
];

/// One store's row, in the order of [`NAMES`].
type Row = [bool; NAMES.len()];

/// What we know of the stores: a change must be noticed, and the documents, the flavours and the stores in memory
/// changed with it.
const KNOWN: [(&str, Row); 4] = [
    (
        "files",
        [
            true, true, false, false, true, // conditions
            false, false, false, // checksums
            false, false, false, true, true, // uploads
            false, false, false, // descriptions
            false, false, false, false, // encryption at rest
            false,
        ],
    ),
    (
        "garage",
        [
            false, false, false, false, false, // conditions
            true, true, true, // checksums
            true, true, false, true, false, // uploads
            true, false, false, // descriptions
            false, false, false, false, // encryption at rest
            false,
        ],
    ),
    (
        "aws double",
        [
            true, true, true, false, true, // conditions: If-Match on Complete is ignored
            true, true, true, // checksums
            true, true, true, false, true, // uploads
            true, true, true, // descriptions
            true, true, true, true, // encryption at rest
            true,
        ],
    ),
    // Amazon S3, by its documents: not measured here, and only the store in memory is held to it.
    ("aws", [true; NAMES.len()]),
];

/// What the table says of a store.
pub fn known(row: &str, ability: &str) -> bool {
    let column = NAMES.iter().position(|name| *name == ability);
    let column = column.unwrap_or_else(|| panic!("no ability is called {ability}"));
    row_of(row)[column]
}

fn row_of(row: &str) -> Row {
    let found = KNOWN.iter().find(|(name, _)| *name == row);
    found.unwrap_or_else(|| panic!("no row is called {row}")).1
}

pub async fn check(subjects: &[Subject]) {
    let mut measured = Vec::new();
    for subject in subjects {
        measured.push((subject.name, measure(subject).await));
    }
    let heads = measured.iter().map(|(name, _)| format!("{name:<18}"));
    println!("{:<24}{}", "", heads.collect::<String>());
    for (row, name) in NAMES.iter().enumerate() {
        let cells = measured
            .iter()
            .map(|(_, can)| if can[row] { "yes" } else { "-" });
        let cells: String = cells.map(|cell| format!("{cell:<18}")).collect();
        println!("{name:<24}{cells}");
    }
    let known: Vec<_> = subjects.iter().map(|s| (s.name, row_of(s.row))).collect();
    assert_eq!(measured, known, "a store's abilities changed");
}

async fn measure(s: &Subject) -> Row {
    let (content_type, storage_class, tags) = described(s).await;
    let (lists_parts, part_checksums) = lists_parts(s).await;
    [
        if_absent_put(s).await,
        if_absent_complete(s).await,
        if_match_put(s).await,
        if_match_complete(s).await,
        s.store
            .keeps_if_absent(&s.at("probe"))
            .await
            .expect("an answer"),
        verifies(s).await,
        tells_crc(s).await,
        tells_crc_of_parts(s).await,
        lists_parts,
        part_checksums,
        completes_again(s).await,
        aborts_are_final(s).await,
        uploads_survive_writes(s).await,
        content_type,
        storage_class,
        tags,
        keeps_encryption(s, "sse-s3", ServerSide::S3).await,
        keeps_encryption(s, "sse-kms", kms(s).await).await,
        encrypts(s, "summed").await,
        encrypts(s, "summed-in-parts").await,
        // Last, because the bucket keeps versions afterwards.
        keeps_versions(s).await,
    ]
}

async fn if_absent_put(s: &Subject) -> bool {
    let new = NewObject {
        condition: Condition::IfAbsent,
        ..NewObject::plain()
    };
    s.put("once", &new, b"first")
        .await
        .expect("nothing is there");
    let refused = s.put("once", &new, b"second").await;
    let kept = s.small("once").await.as_deref() == Some(b"first");
    match refused {
        Err(fault) => {
            assert_eq!((fault.code, kept), (Code::OutputExists, true), "{}", s.name);
            true
        }
        Ok(()) => {
            assert!(!kept, "{}: said yes and kept the old object", s.name);
            false
        }
    }
}

async fn if_absent_complete(s: &Subject) -> bool {
    let new = NewObject {
        condition: Condition::IfAbsent,
        ..NewObject::plain()
    };
    let staged = s.staged("once-in-parts", &new, b"mine").await;
    s.put("once-in-parts", &NewObject::plain(), b"theirs")
        .await
        .expect("somebody was quicker");
    let result = s.complete(&staged, &new).await;
    s.store
        .abort(&staged.url, &staged.upload)
        .await
        .expect("gone");
    match result {
        // Garage drops uploads that began before the object: theirs stays, but the upload is lost.
        Err(fault) if fault.code == Code::SourceNotFound => false,
        Err(fault) => {
            assert_eq!(fault.code, Code::OutputExists, "{}: {fault}", s.name);
            assert_eq!(
                s.small("once-in-parts").await.as_deref(),
                Some(b"theirs".as_slice())
            );
            true
        }
        Ok(()) => false,
    }
}

/// Refused as not supported (files), or ignored, or kept.
fn keeps_if_match(s: &Subject, stale: Result<(), Fault>) -> bool {
    match stale {
        Ok(()) => false,
        Err(fault) if fault.code == Code::Unsupported => false,
        Err(fault) => {
            assert_eq!(fault.code, Code::SourceChanged, "{}: {fault}", s.name);
            true
        }
    }
}

/// The condition that an object is the one that it was before it was replaced.
async fn stale(s: &Subject, key: &str) -> NewObject {
    let plain = NewObject::plain();
    s.put(key, &plain, b"first").await.expect("written");
    let condition = Condition::IfMatch(s.etag(key).await);
    s.put(key, &plain, b"second").await.expect("replaced");
    NewObject { condition, ..plain }
}

async fn if_match_put(s: &Subject) -> bool {
    let new = stale(s, "matched").await;
    keeps_if_match(s, s.put("matched", &new, b"third").await)
}

async fn if_match_complete(s: &Subject) -> bool {
    let new = stale(s, "matched-in-parts").await;
    let plain = NewObject::plain();
    let staged = s.staged("matched-in-parts", &plain, b"third").await;
    let keeps = keeps_if_match(s, s.complete(&staged, &new).await);
    let abort = s.store.abort(&staged.url, &staged.upload).await;
    abort.expect("gone");
    keeps
}

/// Whether it lists parts, and whether it says their checksums there.
async fn lists_parts(s: &Subject) -> (bool, bool) {
    let staged = s.staged("parts", &NewObject::plain(), b"bytes").await;
    let parts = s.store.parts(&staged.url, &staged.upload).await;
    let abort = s.store.abort(&staged.url, &staged.upload).await;
    abort.expect("gone");
    match parts.expect("an answer") {
        None => (false, false),
        Some(parts) => (true, parts.iter().all(|part| part.checksum.is_some())),
    }
}

async fn completes_again(s: &Subject) -> bool {
    let new = NewObject::plain();
    let staged = s.staged("completed", &new, b"bytes").await;
    s.complete(&staged, &new).await.expect("complete");
    survived(s, s.complete(&staged, &new).await)
}

/// Whether an upload that was aborted is gone also where an object stands.
async fn aborts_are_final(s: &Subject) -> bool {
    let new = NewObject::plain();
    s.put("final", &new, b"others").await.expect("written");
    let staged = s.staged("final", &new, b"mine").await;
    let abort = s.store.abort(&staged.url, &staged.upload).await;
    abort.expect("gone");
    let found = survived(s, s.complete(&staged, &new).await);
    let kept = s.small("final").await;
    assert_eq!(kept.as_deref(), Some(b"others".as_slice()), "{}", s.name);
    !found
}

async fn uploads_survive_writes(s: &Subject) -> bool {
    let new = NewObject::plain();
    let staged = s.staged("survived", &new, b"bytes").await;
    s.put("survived", &new, b"others").await.expect("written");
    survived(s, s.complete(&staged, &new).await)
}

fn survived(s: &Subject, completed: Result<(), Fault>) -> bool {
    match completed {
        Ok(()) => true,
        Err(fault) => {
            assert_eq!(fault.code, Code::SourceNotFound, "{}: {fault}", s.name);
            false
        }
    }
}

async fn keeps_versions(s: &Subject) -> bool {
    match &s.side {
        None => false,
        Some(side) => side.keep_versions().await,
    }
}

async fn verifies(s: &Subject) -> bool {
    let wrong = Algorithm::Crc64Nvme.of(b"other bytes");
    s.put_as("verified", &NewObject::plain(), b"bytes", &wrong)
        .await
        .is_err()
}

async fn tells_crc(s: &Subject) -> bool {
    let sum = Algorithm::Crc64Nvme.of(b"bytes").to_base64();
    s.put("summed", &NewObject::plain(), b"bytes")
        .await
        .expect("written");
    let facts = s.store.head(&s.at("summed"), None).await.expect("facts");
    facts.crc64nvme.is_some_and(|told| told == sum)
}

async fn tells_crc_of_parts(s: &Subject) -> bool {
    let new = NewObject::plain();
    let staged = s.staged("summed-in-parts", &new, b"bytes").await;
    s.complete(&staged, &new).await.expect("complete");
    let sum = Algorithm::Crc64Nvme.of(b"bytes").to_base64();
    let facts = s.store.head(&staged.url, None).await.expect("facts");
    facts.crc64nvme.is_some_and(|told| told == sum)
}

/// Whether the store says that it encrypts an object of which nobody asked it.
async fn encrypts(s: &Subject, key: &str) -> bool {
    let facts = s.store.head(&s.at(key), None).await.expect("facts");
    let told = facts.server_side.as_deref();
    assert!(
        told.is_none() || told == Some("AES256"),
        "{}: {told:?}",
        s.name
    );
    told.is_some()
}

/// Content type, storage class and tags, as a client of its own sees them.
async fn described(s: &Subject) -> (bool, bool, bool) {
    let new = NewObject {
        content_type: Some("video/mp4".into()),
        storage_class: Some("STANDARD_IA".into()),
        tags: [("team", "media & more"), ("a/b", "ü")]
            .map(|(n, v)| (n.into(), v.into()))
            .into(),
        ..NewObject::plain()
    };
    s.put("described", &new, b"x").await.expect("written");
    let Some(side) = &s.side else {
        return (false, false, false);
    };
    let got = side.described("described").await;
    (
        got.content_type.as_deref() == Some("video/mp4"),
        got.storage_class.as_deref() == Some("STANDARD_IA"),
        got.tags == new.tags,
    )
}

async fn kms(s: &Subject) -> ServerSide {
    let kms_key_id = match &s.side {
        Some(side) => Some(side.kms_key().await),
        None => None,
    };
    ServerSide::Kms {
        kms_key_id,
        context: [("film".to_owned(), "42".to_owned())].into(),
    }
}

/// Kept, or refused as ignored and nothing left behind: never taken silently. (Files have no such thing, and the message
/// check refuses it for them.)
async fn keeps_encryption(s: &Subject, key: &str, mode: ServerSide) -> bool {
    if !s.is_s3() {
        return false;
    }
    let expected = match mode {
        ServerSide::S3 => "AES256",
        ServerSide::Kms { .. } => "aws:kms",
    };
    let new = NewObject {
        server_side: Some(mode),
        ..NewObject::plain()
    };
    let put = s.put(key, &new, b"x").await;
    let begun = s.store.begin(&s.at("encrypted-in-parts"), &new).await;
    match put {
        Ok(()) => {
            let facts = s.store.head(&s.at(key), None).await.expect("facts");
            assert_eq!(facts.server_side.as_deref(), Some(expected), "{}", s.name);
            let upload = begun.expect("in parts too");
            s.store
                .abort(&s.at("encrypted-in-parts"), &upload)
                .await
                .expect("gone");
            true
        }
        Err(fault) => {
            assert_eq!(fault.code, Code::ServerSideIgnored, "{}: {fault}", s.name);
            let fault = begun.expect_err("in parts neither");
            assert_eq!(fault.code, Code::ServerSideIgnored, "{}: {fault}", s.name);
            assert_eq!(s.small(key).await, None, "{}: it must not stay", s.name);
            let side = s.side.as_ref().expect("an S3 store");
            assert_eq!(side.uploads().await, Vec::<String>::new(), "{}", s.name);
            false
        }
    }
}
