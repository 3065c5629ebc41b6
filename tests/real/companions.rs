//! Thumbnails, captions and artwork on real stores: encrypted under keys of their own, published with the outputs or not
//! at all, and recognised when the job comes again. What they look like is the business of tests/media.

use std::process::Command;

use ciphermill::fault::Code;
use ciphermill::job::event::{CompanionKind, CompanionResult};
use serde_json::{Value, json};

use crate::faults::only;
use crate::lab::{Key, Lab};
use crate::oracle::{Oracle, Recipe};
use crate::support::{aws_double, garage, job};

const CAPTIONS: &str = "1\n00:00:01,000 --> 00:00:02,000\nHello\n\n";

/// Three seconds of film.
fn film(lab: &Lab) -> Vec<u8> {
    let path = lab.dir.path().join("film.mp4");
    let words = "-v error -y -f lavfi -i testsrc2=size=320x180:rate=25:duration=3 -c:v libx264 -preset ultrafast";
    let made = Command::new("ffmpeg")
        .args(words.split(' '))
        .arg(&path)
        .status();
    assert!(made.expect("ffmpeg").success());
    std::fs::read(path).expect("a film")
}

/// Puts an object that the oracle has encrypted; the fields of an input.
async fn sealed(lab: &Lab, oracle: &mut Oracle, name: &str, bytes: &[u8], key: &Key) -> Value {
    let recipe = Recipe {
        mode: "aes-gcm",
        key: key.bytes.clone(),
        iv: Some(name.bytes().cycle().take(12).collect()),
        ..Recipe::default()
    };
    let path = lab.dir.path().join(name);
    std::fs::write(&path, bytes).expect("written");
    lab.put(name, &oracle.encrypt(&recipe, &path)).await;
    let iv = crate::support::base64(&recipe.iv.expect("an iv"));
    json!({ "url": lab.url(name), "encryption": { "mode": "aes-gcm", "iv": iv, "key": key.reference } })
}

/// A job with every kind of companion of a film.
async fn full(lab: &Lab, oracle: &mut Oracle, key: &Key) -> Value {
    let source = lab.key(256);
    let film = sealed(lab, oracle, "film", &film(lab), &source).await;
    let mut captions = sealed(lab, oracle, "captions", CAPTIONS.as_bytes(), &source).await;
    captions["language"] = json!("en");
    let output = json!({ "url": lab.url("out"), "encryption": { "mode": "cobblestone", "key": lab.key(256).reference } });
    let encryption = json!({ "mode": "aes-gcm", "key": key.reference });
    let mut job = job("full", film, vec![output]);
    job["thumbnails"] = json!({ "url_pattern": lab.url("t-{resolution}-{count}"), "interval_seconds": 1,
        "max_width": 64, "max_height": 64, "encryption": encryption, "if_exists": "fail" });
    job["captions"] = json!({ "sources": [captions],
        "outputs": [{ "url_pattern": lab.url("c-{language}"), "format": "webvtt", "encryption": encryption }] });
    job["artwork"] = json!({ "url_pattern": lab.url("a"), "required": false });
    job
}

const WRITTEN: [&str; 7] = [
    "c-en.vtt",
    "captions",
    "film",
    "out",
    "t-64x36-00001.jpg",
    "t-64x36-00002.jpg",
    "t-64x36-00003.jpg",
];

/// SHA-256 of what the oracle makes of a companion.
async fn opened(lab: &Lab, oracle: &mut Oracle, companion: &CompanionResult, key: &Key) -> String {
    let name = companion.output.url.rsplit('/').next().expect("a name");
    let object = lab.get(name).await;
    assert_eq!(companion.output.bytes, Some(object.len() as u64));
    let block = companion.output.encryption.as_ref().expect("encrypted");
    let iv = ciphermill::job::Base64::decode(block["iv"].as_str().expect("an iv"));
    let recipe = Recipe {
        mode: "aes-gcm",
        key: key.bytes.clone(),
        iv: iv.map(|iv| iv.0),
        ..Recipe::default()
    };
    let path = lab.dir.path().join("companion");
    std::fs::write(&path, object).expect("written");
    oracle.sha256("decrypt", &recipe, &path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn companions_open_with_another_program_and_are_made_once() {
    for store in [garage(), aws_double()] {
        let lab = Lab::new(store).await;
        let mut oracle = Oracle::start();
        let key = lab.key(256);
        let job = full(&lab, &mut oracle, &key).await;
        let first = lab.run(&job).await.expect("the job");
        only(&lab, &WRITTEN).await;
        let (failed, made): (Vec<_>, Vec<_>) = first
            .data
            .companions
            .iter()
            .partition(|c| c.output.fault.is_some());
        assert_eq!((failed.len(), made.len()), (1, 4), "{:#?}", first.data);
        assert_eq!(failed[0].about.kind, CompanionKind::Artwork);
        let sha256 = |bytes: &[u8]| {
            use sha2::Digest;
            hex::encode(sha2::Sha256::digest(bytes))
        };
        let vtt = "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nHello\n";
        for companion in made {
            let opened = opened(&lab, &mut oracle, companion, &key).await;
            if companion.about.kind == CompanionKind::Caption {
                assert_eq!(opened, sha256(vtt.as_bytes()));
            }
        }
        // It is done, and known to be; also where the result was never written down.
        let again = lab.run(&job).await.expect("known");
        assert!(again.recognised);
        assert_eq!(again.data.companions, first.data.companions);
        let place = ".ciphermill/full.json";
        let mut entry: Value = serde_json::from_slice(&lab.get(place).await).expect("an entry");
        entry.as_object_mut().expect("an object").remove("result");
        lab.put(place, entry.to_string().as_bytes()).await;
        let third = lab.run(&job).await.expect("known by its objects");
        assert!(third.recognised);
        let told = |data: &ciphermill::job::event::EventData| -> Vec<_> {
            let told = |c: &CompanionResult| {
                (
                    c.output.url.clone(),
                    c.output.etag.clone(),
                    c.output.encryption.clone(),
                )
            };
            data.companions.iter().map(told).collect()
        };
        assert_eq!(told(&third.data), told(&first.data));
        // An output that is gone: everything is made again, and `if_exists` does not stand in its own way.
        let delete = lab.s3.delete_object().bucket(&lab.bucket).key("out").send();
        delete.await.expect("deleted");
        lab.put(place, entry.to_string().as_bytes()).await;
        let fourth = lab.run(&job).await.expect("made again");
        assert!(!fourth.recognised);
        only(&lab, &WRITTEN).await;
        assert_ne!(told(&fourth.data), told(&first.data));
        // An attempt that ended before it had made them again: the output is there, and they are an earlier one's.
        let mut entry: Value = serde_json::from_slice(&lab.get(place).await).expect("an entry");
        let fields = entry.as_object_mut().expect("an object");
        fields.remove("result");
        let mut earlier = fields.remove("companions").expect("companions");
        let earlier = earlier.as_array_mut().expect("a list");
        earlier.retain(|c| c["result"]["status"] == "written");
        assert_eq!(earlier.len(), 4);
        fields.insert("ours".into(), json!(earlier));
        lab.put(place, entry.to_string().as_bytes()).await;
        let fifth = lab.run(&job).await.expect("made once more");
        assert!(!fifth.recognised, "its companions were never made");
        assert_eq!(fifth.data.companions.len(), 5);
        assert_eq!(fifth.data.outputs[0].etag, fourth.data.outputs[0].etag);
        assert_ne!(told(&fifth.data), told(&fourth.data));
        only(&lab, &WRITTEN).await;
        lab.no_uploads_soon().await;
        lab.all_memory_soon().await;
    }
}

/// P7: the last byte of the source's tag is wrong, so nothing that was made of it is seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_made_public_of_a_forged_source() {
    let lab = Lab::new(garage()).await;
    let mut oracle = Oracle::start();
    let key = lab.key(256);
    let job = full(&lab, &mut oracle, &key).await;
    let mut forged = lab.get("film").await;
    *forged.last_mut().expect("a tag") ^= 1;
    lab.put("film", &forged).await;
    lab.fails(&job, Code::DecryptFailed, "/input").await;
    only(&lab, &["captions", "film"]).await;
    lab.no_uploads_soon().await;
    lab.all_memory_soon().await;
}

/// A store that encrypts at rest is told so for companions as well, and what it is not asked for it does not do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn companions_carry_their_own_storage() {
    let lab = Lab::new(aws_double()).await;
    lab.put("film", &film(&lab)).await;
    let mut job = job(
        "storage",
        json!({ "url": lab.url("film") }),
        vec![json!({ "url": lab.url("out") })],
    );
    job["thumbnails"] = json!({ "url_pattern": lab.url("t-{count}"), "count": 2, "format": "png",
        "storage": { "server_side": { "mode": "s3" }, "metadata": { "show": "42" } } });
    let outcome = lab.run(&job).await.expect("the job");
    assert_eq!(outcome.data.companions.len(), 2);
    for name in ["t-00001.png", "t-00002.png", "out"] {
        let head = lab.s3.head_object().bucket(&lab.bucket).key(name).send();
        let head = head.await.expect("it is there");
        let metadata = head.metadata().expect("metadata");
        if name == "out" {
            assert_eq!(metadata.get("show"), None);
            continue;
        }
        assert_eq!(head.content_type(), Some("image/png"));
        assert_eq!(metadata.get("show").map(String::as_str), Some("42"));
        let at_rest = head.server_side_encryption().map(|s| s.as_str());
        assert_eq!(at_rest, Some("AES256"));
    }
    lab.no_uploads_soon().await;
}
