//! What each store can do, measured: printed as a table and compared with what we know.

use ciphermill::checksum::Algorithm;
use ciphermill::fault::Code;
use ciphermill::job::ServerSide;
use ciphermill::store::NewObject;

use crate::subject::Subject;

/// Abilities in the order of the table.
const NAMES: [&str; 10] = [
    "if_absent put",
    "if_absent complete",
    "probe finds it",
    "checksum verified",
    "crc64nvme told",
    "content type",
    "storage class",
    "tags",
    "sse-s3",
    "sse-kms",
];

/// What we know of the stores: a change must be noticed, and the documents and flavours changed with it.
const KNOWN: [(&str, [bool; 10]); 3] = [
    (
        "files",
        [
            true, true, true, false, false, false, false, false, false, false,
        ],
    ),
    (
        "garage",
        [
            false, false, false, true, true, true, false, false, false, false,
        ],
    ),
    (
        "aws double",
        [true, true, true, true, true, true, true, true, true, true],
    ),
];

pub async fn check(subjects: &[Subject]) {
    let mut measured = Vec::new();
    for subject in subjects {
        measured.push((subject.name, measure(subject).await));
    }
    println!(
        "{:<20}{:<12}{:<12}{:<12}",
        "", "files", "garage", "aws double"
    );
    for (row, name) in NAMES.iter().enumerate() {
        let cells = measured
            .iter()
            .map(|(_, can)| if can[row] { "yes" } else { "-" });
        let cells: String = cells.map(|cell| format!("{cell:<12}")).collect();
        println!("{name:<20}{cells}");
    }
    assert_eq!(measured, KNOWN, "a store's abilities changed");
}

async fn measure(s: &Subject) -> [bool; 10] {
    let (content_type, storage_class, tags) = described(s).await;
    [
        if_absent_put(s).await,
        if_absent_complete(s).await,
        s.store
            .keeps_if_absent(&s.at("probe"))
            .await
            .expect("an answer"),
        verifies(s).await,
        tells_crc(s).await,
        content_type,
        storage_class,
        tags,
        keeps_encryption(s, "sse-s3", ServerSide::S3).await,
        keeps_encryption(s, "sse-kms", kms(s).await).await,
    ]
}

async fn if_absent_put(s: &Subject) -> bool {
    let new = NewObject {
        if_absent: true,
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
        if_absent: true,
        ..NewObject::plain()
    };
    let url = s.at("once-in-parts");
    let upload = s.store.begin(&url, &new).await.expect("begun");
    let sum = Algorithm::Crc64Nvme.of(b"mine");
    let place = ciphermill::store::PartPlace {
        number: 1,
        offset: 0,
    };
    let body = bytes::Bytes::from_static(b"mine");
    let part = s
        .store
        .upload(&url, &upload, place, body, sum)
        .await
        .expect("uploaded");
    s.put("once-in-parts", &NewObject::plain(), b"theirs")
        .await
        .expect("somebody was quicker");
    let result = s.store.complete(&url, &upload, &new, &[part]).await;
    s.store.abort(&url, &upload).await.expect("gone");
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
    let Some(lab) = &s.lab else {
        return (false, false, false);
    };
    let head = lab
        .s3
        .head_object()
        .bucket(&lab.bucket)
        .key("described")
        .send()
        .await;
    let head = head.expect("a head");
    let tags = lab
        .s3
        .get_object_tagging()
        .bucket(&lab.bucket)
        .key("described")
        .send()
        .await;
    let tags = tags.is_ok_and(|answer| {
        let set = answer.tag_set().iter();
        let got: std::collections::BTreeMap<_, _> = set
            .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
            .collect();
        got == new.tags
    });
    let class = head.storage_class().map(|class| class.as_str());
    (
        head.content_type() == Some("video/mp4"),
        class == Some("STANDARD_IA"),
        tags,
    )
}

async fn kms(s: &Subject) -> ServerSide {
    let kms_key_id = match s.name {
        "aws double" => Some(crate::keys::Kms::new().await.key().await),
        _ => Some("alias/any".into()),
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
            let lab = s.lab.as_ref().expect("an S3 store");
            assert_eq!(lab.uploads().await, Vec::<String>::new(), "{}", s.name);
            false
        }
    }
}
