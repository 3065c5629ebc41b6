//! Digest: the name of a message.
//!
//! A message's JSON comes in, SHA-256 over its canonical form goes out: fields sorted, no white
//! space, as RFC 8785 (JCS) writes it, so that any language can compute it. Two messages share a
//! digest exactly when they say the same thing; that is how a redelivered job is recognised. The
//! digest is no secret and proves nothing about who wrote a message.

use std::fmt;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// SHA-256 of a job message.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobDigest([u8; 32]);

impl JobDigest {
    /// The digest of raw bytes: names a message that is no JSON.
    pub fn of_bytes(bytes: &[u8]) -> JobDigest {
        JobDigest(Sha256::digest(bytes).into())
    }

    /// Reads the 64 lower-case hex digits that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<JobDigest> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        let digest = JobDigest(bytes);
        (digest.to_string() == text).then_some(digest)
    }

    /// The first 16 hex digits, as event ids carry them.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..8])
    }
}

impl fmt::Display for JobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for JobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The digest of a message's canonical JSON.
pub fn of(value: &Value) -> JobDigest {
    let mut text = String::new();
    write_canonical(value, &mut text);
    JobDigest::of_bytes(text.as_bytes())
}

/// Writes RFC 8785. Strings and integers are the same there as serde_json writes them; fractions
/// could differ, but no field of a job takes one, and integers above 2^53 are written exactly,
/// where JCS would round them.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            // JCS sorts by UTF-16 code units; whatever order the map type has, it is not relied on.
            fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (i, (name, field)) in fields.into_iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                *out += &Value::from(name.as_str()).to_string();
                out.push(':');
                write_canonical(field, out);
            }
            out.push('}');
        }
        leaf => *out += &leaf.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let mut out = String::new();
        write_canonical(&serde_json::from_str(text).expect("test JSON"), &mut out);
        out
    }

    #[test]
    fn canonical_form_is_rfc_8785() {
        assert_eq!(
            canonical(
                r#" { "b" : [ 1 , true , null , {} ] , "a" : { "y" : "\u0041\/" , "x" : [] } } "#
            ),
            r#"{"a":{"x":[],"y":"A/"},"b":[1,true,null,{}]}"#
        );
        // RFC 8785, section 3.2.3: sorted by UTF-16 code units, so the emoji stands before U+FB33.
        assert_eq!(
            canonical(
                r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#
            ),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}"
        );
        // Section 3.2.2.2: the shortest escapes, lower-case hex.
        assert_eq!(
            canonical(r#""\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/""#),
            r#""€$\u000f\nA'B\"\\\\\"/""#
        );
        assert_eq!(canonical("18446744073709551615"), "18446744073709551615");
    }

    #[test]
    fn digest_text_reads_back() {
        // SHA-256 of "{}".
        let text = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let digest = of(&serde_json::json!({}));
        assert_eq!(digest.to_string(), text);
        assert_eq!(digest, JobDigest::of_bytes(b"{}"));
        assert_eq!(digest.short(), &text[..16]);
        assert_eq!(JobDigest::parse(text), Some(digest));
        assert_eq!(JobDigest::parse(&text.to_uppercase()), None);
        assert_eq!(JobDigest::parse(&text[1..]), None);
        assert_eq!(JobDigest::parse("é"), None);
    }
}
