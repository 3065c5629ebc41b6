//! Ciphers in a job: every mode there and back, keys and IVs as the job says (P7, P13), and the
//! promises about the plaintext.

use ciphermill::fault::Code;
use ciphermill::inject::Seam;
use ciphermill::inject::rules::{Effect, Rule};
use ciphermill::job::event::OutputResult;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bench::script::fail;
use crate::bench::{Bench, LONG, PART, SHORT, base64, given_iv, job, key, output};

const MODES: [&str; 4] = ["aes-ctr", "aes-cbc-pkcs7", "aes-gcm", "cobblestone"];

/// An output in this mode, under a key of its own.
fn generated(name: &str, mode: &str) -> Value {
    let key = json!({"generate": {"keyring": {"bits": 256}}});
    json!({"url": format!("s3://made/{name}"), "encryption": {"mode": mode, "key": key}})
}

/// A job that decrypts what another one wrote, by its result alone.
fn opening(written: &OutputResult) -> Value {
    let mut opening = job([output("open"), output("twice")]);
    opening["id"] = "opening".into();
    let input = &mut opening["input"];
    input["url"] = written.url.clone().into();
    input["encryption"] = written.encryption.clone().expect("a block");
    opening
}

/// The named key as another mode or job uses it.
fn named(name: &str, mode: &str) -> Value {
    json!({"url": format!("s3://made/{name}"), "encryption": {"mode": mode, "key": key()}})
}

#[tokio::test(start_paused = true)]
async fn every_mode_is_opened_by_what_the_result_says() {
    for mode in MODES {
        for bytes in [0, SHORT, PART, LONG] {
            let bench = Bench::aws();
            let plain = bench.source(bytes, 1);
            let sealing = job([generated("a", mode)]);
            let done = bench.succeeds(&sealing).await.data;
            assert!(bytes == 0 || bench.body("s3://made/a") != plain, "{mode}");
            let opened = bench.succeeds(&opening(&done.outputs[0])).await.data;
            assert_eq!(bench.body("s3://made/open"), plain, "{mode}, {bytes} bytes");
            assert_eq!(
                bench.body("s3://made/twice"),
                plain,
                "{mode}, {bytes} bytes"
            );
            assert_eq!(opened.input.expect("one").bytes, bytes as u64);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn p4_given_ivs_give_the_same_bytes_in_any_attempt() {
    let encryption = |mode: &str, iv: &[u8]| json!({"mode": mode, "key": key(), "iv": base64(iv)});
    for (mode, iv) in [
        ("aes-ctr", vec![1; 16]),
        ("aes-ctr", vec![1; 12]),
        ("aes-cbc-pkcs7", vec![1; 16]),
        ("aes-gcm", vec![1; 12]),
    ] {
        let output = json!({"url": "s3://made/a", "encryption": encryption(mode, &iv)});
        let mut bodies = Vec::new();
        for _ in 0..2 {
            let bench = Bench::aws();
            bench.source(LONG, 1);
            bench.succeeds(&job([output.clone()])).await;
            bodies.push(bench.body("s3://made/a"));
        }
        assert_eq!(bodies[0], bodies[1], "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn p7_nothing_is_published_of_a_forged_source() {
    for (mode, damage) in [
        ("aes-gcm", LONG / 2),
        ("cobblestone", LONG / 2),
        ("cobblestone", 0),
    ] {
        let bench = Bench::aws();
        bench.source(LONG, 1);
        let done = bench.succeeds(&job([generated("a", mode)])).await.data;
        let mut forged = bench.body("s3://made/a");
        forged[damage] ^= 1;
        bench.put("s3://made/a", &forged);
        let opening = opening(&done.outputs[0]);
        let fault = bench.fails(&opening, Code::DecryptFailed, "/input").await;
        assert!(bench.object("s3://made/open").is_none(), "{fault}");
        assert!(bench.uploads().is_empty(), "P6");
    }
}

#[tokio::test(start_paused = true)]
async fn p7_an_object_too_short_for_its_mode_cannot_be_opened() {
    for mode in ["aes-gcm", "cobblestone", "aes-cbc-pkcs7"] {
        let bench = Bench::aws();
        bench.source(SHORT, 1);
        let done = bench.succeeds(&job([generated("a", mode)])).await.data;
        bench.put("s3://made/a", b"cut");
        let opening = opening(&done.outputs[0]);
        bench.fails(&opening, Code::DecryptFailed, "/input").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_promised_hash_is_checked_before_anything_is_published() {
    let bench = Bench::aws();
    let plain = bench.source(LONG, 1);
    let mut promising = job([output("a")]);
    promising["input"]["sha256"] = "0".repeat(64).into();
    bench
        .fails(&promising, Code::ChecksumMismatch, "/input/sha256")
        .await;
    assert!(bench.object("s3://made/a").is_none());
    assert!(bench.uploads().is_empty(), "P6");
    let right = hex::encode(Sha256::digest(&plain));
    promising["input"]["sha256"] = right.into();
    promising["input"]["bytes"] = LONG.into();
    bench.succeeds(&promising).await;
}

#[tokio::test(start_paused = true)]
async fn a_promised_length_is_checked_before_anything_is_published() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    let mut promising = job([output("a")]);
    promising["input"]["bytes"] = (LONG + 1).into();
    bench
        .fails(&promising, Code::ChecksumMismatch, "/input/bytes")
        .await;
    assert!(
        bench.script.calls_of("begin").is_empty(),
        "the length alone tells"
    );
    // Of a CBC object the length is known at its end only.
    let sealed = bench
        .succeeds(&job([generated("a", "aes-cbc-pkcs7")]))
        .await
        .data;
    let mut opening = opening(&sealed.outputs[0]);
    opening["input"]["bytes"] = (LONG + 1).into();
    bench
        .fails(&opening, Code::ChecksumMismatch, "/input/bytes")
        .await;
    assert!(!bench.script.calls_of("begin").is_empty());
    assert!(bench.object("s3://made/open").is_none());
}

#[tokio::test(start_paused = true)]
async fn p13_a_key_serves_one_mode() {
    let bench = Bench::aws();
    bench.source(SHORT, 1);
    let both = job([named("a", "aes-gcm"), named("b", "aes-ctr")]);
    let at = "/outputs/1/encryption";
    let fault = bench.fails(&both, Code::KeyReuse, at).await;
    assert!(bench.script.writes().is_empty(), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn p13_outputs_do_not_share_a_given_iv() {
    let bench = Bench::aws();
    bench.source(SHORT, 1);
    let both = job([given_iv("a"), given_iv("b")]);
    let at = "/outputs/1/encryption";
    bench.fails(&both, Code::KeystreamReuse, at).await;
    assert!(bench.script.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_does_not_open_names_its_place() {
    let bench = Bench::aws();
    bench.source(SHORT, 1);
    let mut wrong = job([named("a", "aes-gcm")]);
    let unknown = json!({"keyring": {"wrapped": base64(b"unknown")}});
    wrong["outputs"][0]["encryption"]["key"] = unknown;
    bench
        .fails(&wrong, Code::KeyRefused, "/outputs/0/encryption/key")
        .await;
    assert!(bench.script.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_service_that_is_down_is_a_fault_of_its_own() {
    let bench = Bench::aws();
    bench.source(SHORT, 1);
    bench.rule(Rule::new(fail(Code::KeyServiceDown)).seam(Seam::Keys));
    let encrypted = job([named("a", "aes-gcm")]);
    bench.fails(&encrypted, Code::KeyServiceDown, "").await;
    bench.script.clear();
    let slow = Effect::DelayBefore(std::time::Duration::from_secs(3));
    bench.rule(Rule::new(slow).seam(Seam::Keys));
    bench.succeeds(&encrypted).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_of_a_length_that_its_mode_does_not_take_is_refused() {
    let bench = Bench::aws();
    bench.source(SHORT, 1);
    let key = json!({"generate": {"keyring": {"bits": 192}}});
    let encryption = json!({"mode": "aes-gcm", "key": key});
    let sealing = job([json!({"url": "s3://made/a", "encryption": encryption})]);
    let done = bench.succeeds(&sealing).await.data;
    let mut opening = opening(&done.outputs[0]);
    opening["input"]["encryption"]["mode"] = "cobblestone".into();
    let block = opening["input"]["encryption"].as_object_mut();
    block.expect("a block").remove("iv");
    let at = "/input/encryption";
    bench.fails(&opening, Code::InvalidKeyLength, at).await;
}

#[tokio::test(start_paused = true)]
async fn the_result_tells_who_ciphered_each_output() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    let done = bench
        .succeeds(&job([named("a", "aes-gcm"), output("b")]))
        .await
        .data;
    let engine = done.outputs[0].engine.clone().expect("it was ciphered");
    assert!(engine.starts_with("inline/"), "{engine}");
    assert_eq!(done.outputs[1].engine, None, "nothing was ciphered");
}

#[tokio::test(start_paused = true)]
async fn a_checksum_of_the_whole_object_is_told_where_there_is_one() {
    let bench = Bench::aws();
    let plain = bench.source(LONG, 1);
    let mut hashed = output("b");
    hashed["checksum"] = "sha256".into();
    let done = bench
        .succeeds(&job([output("a"), hashed.clone()]))
        .await
        .data;
    let sum = done.outputs[0].checksum.as_ref().expect("of all parts");
    assert_eq!(sum.value, crate::bench::sum(&plain).to_base64());
    assert_eq!(
        done.outputs[1].checksum, None,
        "SHA-256 has none over parts"
    );
    let bench = Bench::aws();
    let plain = bench.source(SHORT, 1);
    let done = bench.succeeds(&job([output("a"), hashed])).await.data;
    let sum = done.outputs[1].checksum.as_ref().expect("of the only part");
    assert_eq!(sum.value, base64(&Sha256::digest(&plain)));
}
