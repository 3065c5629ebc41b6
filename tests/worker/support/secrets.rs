//! P8 from outside: every key that a test uses is known here, in all the forms in which it could leak, and
//! everything that left the program is searched for them.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The keys of one test.
#[derive(Default)]
pub struct Secrets(Mutex<Vec<Vec<u8>>>);

impl Secrets {
    pub fn add(&self, key: &[u8]) {
        assert!(key.len() >= 16, "too short to be searched for");
        self.0.lock().unwrap().push(key.to_vec());
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The forms in which `bytes` hold a key; never the key itself.
    pub fn found_in(&self, bytes: &[u8]) -> Vec<String> {
        let keys = self.0.lock().unwrap();
        let mut found = Vec::new();
        for (number, key) in keys.iter().enumerate() {
            for (form, needle) in forms(key) {
                if bytes.windows(needle.len()).any(|window| window == needle) {
                    found.push(format!("key {number} as {form}"));
                }
            }
        }
        found
    }
}

/// How a key can be written. Base64 is searched for at all three alignments, so that a key inside a larger
/// block is found too.
fn forms(key: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let decimal = |separator: &str| {
        let numbers: Vec<String> = key.iter().map(u8::to_string).collect();
        numbers.join(separator).into_bytes()
    };
    let mut forms = vec![
        ("raw bytes", key.to_vec()),
        ("hex", hex::encode(key).into_bytes()),
        ("HEX", hex::encode_upper(key).into_bytes()),
        ("numbers", decimal(",")),
        ("spaced numbers", decimal(", ")),
    ];
    for shift in 0..3 {
        let padded = [&[0; 2][..shift], key].concat();
        // Characters that also depend on the neighbours are left out.
        let (first, last) = ((shift * 8).div_ceil(6), padded.len() * 8 / 6);
        for (form, engine) in [("base64", STANDARD_NO_PAD), ("base64url", URL_SAFE_NO_PAD)] {
            let text = engine.encode(&padded);
            forms.push((form, text.as_bytes()[first..last].to_vec()));
        }
    }
    forms
}

#[test]
fn p8_the_search_finds_a_planted_key_in_every_form() {
    let key: Vec<u8> = (0..32u8)
        .map(|n| n.wrapping_mul(73).wrapping_add(250))
        .collect();
    let secrets = Secrets::default();
    secrets.add(&key);
    for before in ["", "x", "xy"] {
        let block = [before.as_bytes(), &key, b"after"].concat();
        let texts = [
            block.clone(),
            base64::engine::general_purpose::STANDARD
                .encode(&block)
                .into_bytes(),
            base64::engine::general_purpose::URL_SAFE
                .encode(&block)
                .into_bytes(),
            hex::encode(&block).into_bytes(),
            hex::encode_upper(&block).into_bytes(),
            format!("{block:?}").into_bytes(),
            serde_json::to_vec(&block).unwrap(),
        ];
        for text in texts {
            let line = [b"{\"level\":\"INFO\",\"x\":\"", text.as_slice(), b"\"}\n"].concat();
            assert!(
                !secrets.found_in(&line).is_empty(),
                "{}",
                String::from_utf8_lossy(&line)
            );
        }
    }
    let other: Vec<u8> = key.iter().rev().copied().collect();
    let innocent = [hex::encode(&other), STANDARD_NO_PAD.encode(&other)].concat();
    assert!(secrets.found_in(innocent.as_bytes()).is_empty());
    assert!(
        secrets
            .found_in(&hex::encode(&key).into_bytes()[..60])
            .is_empty()
    );
}
