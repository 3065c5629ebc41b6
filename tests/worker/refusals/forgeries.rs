//! Objects that were changed after they were sealed: one code, nothing published (P7).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::world::{FILM, Jobs};
use crate::support::noise;

/// Sealed objects, changed after they were sealed.
pub async fn sealed(jobs: &mut Jobs<'_>) {
    let bench = jobs.bench;
    std::fs::write(bench.path("film"), noise(FILM, 14)).unwrap();
    for mode in ["cobblestone", "aes-gcm", "aes-cbc-pkcs7"] {
        let (key, reference) = bench.key(32);
        std::fs::write(bench.path("key"), key).unwrap();
        let iv = if mode == "aes-gcm" {
            vec![5; 12]
        } else {
            vec![5; 16]
        };
        let mut arguments = vec![
            "encrypt",
            "--mode",
            mode,
            "--key-file",
            "key",
            "film",
            "sealed",
        ];
        let hex = hex::encode(&iv);
        if mode != "cobblestone" {
            arguments.extend(["--iv", &hex]);
        }
        assert_eq!(bench.run(&arguments).code, Some(0));
        let sealed = std::fs::read(bench.path("sealed")).unwrap();
        let mut encryption = json!({ "mode": mode, "key": reference });
        if mode != "cobblestone" {
            encryption["iv"] = json!(STANDARD.encode(&iv));
        }
        let mut flipped = sealed.clone();
        // The last block: the padding's in CBC, the tag's elsewhere.
        let last = flipped.len() - 1;
        flipped[if mode == "aes-cbc-pkcs7" {
            last - 16
        } else {
            last
        }] ^= 0x40;
        let cut = &sealed[..sealed.len() - 7];
        for (what, bytes) in [("flipped", flipped.as_slice()), ("cut", cut)] {
            let key = format!("{mode}-{what}");
            bench.s3.put(&bench.inn(&key), bytes).await;
            jobs.open(
                &format!("{mode}: {what}"),
                "/input",
                &key,
                encryption.clone(),
            );
        }
        bench.s3.put(&bench.inn(mode), &sealed).await;
        let (_, other) = bench.key(32);
        encryption["key"] = other;
        if mode != "aes-cbc-pkcs7" {
            jobs.open(&format!("{mode}: another key"), "/input", mode, encryption);
        }
    }
    bench.s3.put(&bench.inn("stub"), b"short").await;
    let (_, key) = bench.key(32);
    jobs.open(
        "cobblestone: five bytes",
        "/input",
        "stub",
        json!({ "mode": "cobblestone", "key": key }),
    );
}
