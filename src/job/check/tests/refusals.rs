//! One fault at a time: the full job with one value changed, and exactly what must be said about
//! it.

use super::*;

/// `POINTER | VALUE | CODE`: the full job with this value there is refused with this code at this
/// pointer, and for nothing else. `#text 9` stands for a string of nine characters, `#bytes 9` for
/// the base64 of nine bytes, `#map 9` for an object of nine fields; `CODE /below` moves the
/// expected pointer down.
const WRONG_JOB: &str = r##"
/version | "1" | wrong_type
/version | 1.0 | wrong_type
/version | 2 | unsupported_version
/version | -1 | invalid_value
/id | 7 | wrong_type
/id | "" | invalid_value
/id | "-a" | invalid_value
/id | "a b" | invalid_value
/id | "a\n" | invalid_value
/id | #text 129 | limit_exceeded
/input | [] | wrong_type
/outputs | {} | wrong_type
/outputs | [] | invalid_value
/outputs/0 | null | wrong_type
/deadline_seconds | 0 | invalid_value
/deadline_seconds | -1 | invalid_value
/deadline_seconds | 604801 | limit_exceeded
/deadline_seconds | 1e30 | wrong_type
/reply_to | "a\u0000b" | invalid_value
/reply_to | "" | invalid_value
/reply_to | #text 256 | limit_exceeded
/labels | #map 17 | limit_exceeded
/labels | "a" | wrong_type
/labels/a | 1 | wrong_type
/labels/a | "\u0085" | invalid_value
/labels/a | #text 257 | limit_exceeded
/labels/ | "a" | invalid_value
/thumbnails | [] | wrong_type
/captions | [] | wrong_type
/artwork | 1 | wrong_type
/watermarks | [] | unsupported
/package | {} | unsupported
/a~1b~0c | 1 | unknown_field
"##;

const WRONG_INPUT: &str = r##"
/input/x | 1 | unknown_field
/input/url | null | wrong_type
/input/url | "" | invalid_value
/input/url | "http://x/y" | invalid_value
/input/url | "s3://in-bucket/../x" | invalid_value
/input/url | #text 2049 | limit_exceeded
/input/etag | null | wrong_type
/input/version_id | #text 1025 | limit_exceeded
/input/sha256 | "ab" | invalid_value
/input/sha256 | "éééééééééééééééééééééééééééééééé" | invalid_value
/input/bytes | -1 | invalid_value
/input/bytes | 1.5 | wrong_type
/input/bytes | "1" | wrong_type
/input/bytes | 18446744073709551616 | wrong_type
/input/encryption/mode | "aes-crt" | invalid_value
/input/encryption/iv | "A" | invalid_value
/input/encryption/iv | "AAAA" | invalid_iv_length
/input/encryption/iv | #bytes 17 | invalid_iv_length
/input/encryption/iv | #bytes 999 | invalid_iv_length
/input/encryption/ctr_start | 2 | invalid_value
/input/encryption/cobblestone_context | "AQID" | invalid_value
/input/encryption/key | "000102030405060708090a0b0c0d0e0f" | plaintext_key
/input/encryption/key | 7 | wrong_type
/input/encryption/key | { "hex": "00" } | plaintext_key /hex
/input/encryption/key | { "kms2": {} } | unknown_field /kms2
/input/encryption/key | { "secret": { "id": "x" } } | unsupported /secret
/input/encryption/key | { "speke": {} } | unsupported /speke
/input/encryption/key | { "generate": { "keyring": { "bits": 128 } } } | invalid_value /generate
/input/encryption/key | { "kms": { "ciphertext": "AQID" }, "keyring": { "wrapped": "AQID" } } | invalid_value
/input/encryption/key/kms/cipher | "x" | unknown_field
/input/encryption/key/kms/ciphertext | "" | invalid_value
/input/encryption/key/kms/ciphertext | "#" | invalid_value
/input/encryption/key/kms/ciphertext | #bytes 6145 | limit_exceeded
/input/encryption/key/kms/region | "EU" | invalid_value
/input/encryption/key/kms/key_id | #text 2049 | limit_exceeded
/input/encryption/key/kms/ciphertext_md5 | "AQID" | invalid_value
/input/encryption/key/kms/context | #map 17 | limit_exceeded
/input/encryption/key/kms/context/a~1b~0c | 1 | wrong_type
/input/encryption/key/kms/context/a | #text 1025 | limit_exceeded
"##;

const WRONG_OUTPUT: &str = r##"
/outputs/0/url | "s3://in-bucket/film.mp4" | invalid_value
/outputs/1/url | "s3://out/a" | invalid_value
/outputs/0/required | "no" | wrong_type
/outputs/0/if_exists | "Fail" | invalid_value
/outputs/0/checksum | "md5" | invalid_value
/outputs/2/encrypton | {} | unknown_field
/outputs/0/encryption/iv | "AAAAAAAAAAAAAAAAAAAAAA==" | invalid_iv_length
/outputs/1/encryption/iv | #bytes 15 | invalid_iv_length
/outputs/2/encryption/iv | #bytes 12 | invalid_iv_length
/outputs/1/encryption/ctr_start | 0 | invalid_value
/outputs/0/encryption/cobblestone_context | #bytes 1025 | limit_exceeded
/outputs/0/encryption/key/generate/kms/bits | 192 | invalid_key_length
/outputs/0/encryption/key/generate/kms/bits | 512 | invalid_key_length
/outputs/1/encryption/key/keyring/wrapped | #bytes 1025 | limit_exceeded
/outputs/0/storage/content_type | "é" | invalid_value
/outputs/0/storage/storage_class | "standard" | invalid_value
/outputs/0/storage/metadata/title | #text 1600 | limit_exceeded
/outputs/0/storage/metadata | #map 800 | limit_exceeded
/outputs/0/storage/metadata/Title | "x" | invalid_value
/outputs/0/storage/metadata/title | "é" | invalid_value
/outputs/0/storage/metadata/ciphermill-iv | "x" | invalid_value
/outputs/0/storage/tags | #map 11 | limit_exceeded
/outputs/0/storage/tags/a | "<b>" | invalid_value
/outputs/0/storage/tags/<a> | "b" | invalid_value
/outputs/0/storage/tags/aws:x | "b" | invalid_value
/outputs/0/storage/tags/a | #text 257 | limit_exceeded
/outputs/0/storage/server_side/mode | "c" | invalid_value
/outputs/1/storage/server_side/kms_key_id | "x" | invalid_value
/outputs/1/storage/server_side/context | {} | invalid_value
/outputs/2/storage | { "metadata": { "A": 1 } } | invalid_value /metadata
/outputs/2/storage | { "tags": { "<": 1 } } | invalid_value /tags
/outputs/2/storage | { "server_side": { "mode": "s3" } } | invalid_value /server_side
/outputs/2/storage | { "storage_class": 1 } | invalid_value /storage_class
/outputs/2/storage | { "content_type": "a/b" } | invalid_value /content_type
"##;

const WRONG_COMPANION: &str = r##"
/thumbnails/url_pattern | "s3://out/t" | invalid_value
/thumbnails/url_pattern | "s3://out/{count}{language}" | invalid_value
/thumbnails/url_pattern | "s3://out-{count}/t-{count}" | invalid_value
/thumbnails/url_pattern | "http://out/{count}" | invalid_value
/thumbnails/url_pattern | "s3://out/../{count}" | invalid_value
/thumbnails/url_pattern | #text 2049 | limit_exceeded
/thumbnails/format | "gif" | invalid_value
/thumbnails/quality | 0 | invalid_value
/thumbnails/quality | 101 | invalid_value
/thumbnails/quality | 1.5 | wrong_type
/thumbnails/max_width | 31 | invalid_value
/thumbnails/max_width | 4097 | invalid_value
/thumbnails/max_height | 3073 | invalid_value
/thumbnails/sizing | "Fit" | invalid_value
/thumbnails/padding | true | wrong_type
/thumbnails/interval_seconds | 0 | invalid_value
/thumbnails/interval_seconds | "1" | wrong_type
/thumbnails/interval_seconds | 100000 | invalid_value
/thumbnails/count | 3 | invalid_value
/thumbnails/at_seconds | [1] | invalid_value
/thumbnails/encryption/iv | "AAAAAAAAAAAAAAAA" | invalid_value
/thumbnails/x | 1 | unknown_field
/thumbnails/watermarks | [] | invalid_value
/thumbnails/watermarks | [1, 2, 3, 4, 5] | limit_exceeded
/thumbnails/watermarks/0/url | "x" | invalid_value
/thumbnails/watermarks/0/max_width | "15px" | invalid_value
/thumbnails/watermarks/0/max_width | "0%" | invalid_value
/thumbnails/watermarks/0/max_height | "101%" | invalid_value
/thumbnails/watermarks/0/max_height | 10 | wrong_type
/thumbnails/watermarks/0/sizing | "fill" | invalid_value
/thumbnails/watermarks/0/horizontal_align | "top" | invalid_value
/thumbnails/watermarks/0/vertical_offset | "-1px" | invalid_value
/thumbnails/watermarks/0/opacity | 100.5 | invalid_value
/thumbnails/watermarks/0/target | "all" | invalid_value
/captions/merge | "MergeRetain" | invalid_value
/captions/outputs | [] | invalid_value
/captions/outputs | [1, 2, 3, 4, 5] | limit_exceeded
/captions/outputs/0/format | "scc" | invalid_value
/captions/outputs/0/url_pattern | "s3://out/x" | invalid_value
/captions/outputs/0/url_pattern | "s3://out/{count}{language}" | invalid_value
/captions/sources/0/language | "d" | invalid_value
/captions/sources/0/language | "d1" | invalid_value
/captions/sources/0/language | "germ" | limit_exceeded
/captions/sources/0/label | #text 41 | limit_exceeded
/captions/sources/0/label | "" | invalid_value
/captions/sources/0/time_offset | "1:2" | invalid_value
/captions/sources/0/x | 1 | unknown_field
/artwork/url_pattern | "s3://out/{language}" | invalid_value
/artwork/quality | 80 | invalid_value
/artwork/watermarks | [] | unknown_field
"##;

/// `REMOVED | MISSING`: the full job without the one is said to miss the other.
const MISSING: &str = "
/version | /version
/id | /id
/input | /input
/outputs | /outputs
/input/url | /input/url
/input/encryption/key | /input/encryption/key
/input/encryption/key/kms | /input/encryption/key
/input/encryption/key/kms/ciphertext | /input/encryption/key/kms/ciphertext
/outputs/0/encryption/mode | /outputs/0/encryption/mode
/outputs/0/encryption/key/generate/kms | /outputs/0/encryption/key/generate
/outputs/0/encryption/key/generate/kms/bits | /outputs/0/encryption/key/generate/kms/bits
/outputs/0/encryption/key/generate/kms/key_id | /outputs/0/encryption/key/generate/kms/key_id
/outputs/0/storage/server_side/mode | /outputs/0/storage/server_side/mode
/outputs/1/encryption/key/keyring/wrapped | /outputs/1/encryption/key/keyring/wrapped
/outputs/2/encryption/key/generate/keyring/bits | /outputs/2/encryption/key/generate/keyring/bits
/thumbnails/url_pattern | /thumbnails/url_pattern
/thumbnails/watermarks/0/url | /thumbnails/watermarks/0/url
/thumbnails/watermarks/0/max_width | /thumbnails/watermarks/0/max_width
/captions/outputs | /captions/outputs
/captions/outputs/0/format | /captions/outputs/0/format
/captions/sources/0/language | /captions/sources/0/language
/artwork/url_pattern | /artwork/url_pattern
";

fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = table.lines().filter(|line| !line.is_empty());
    lines.map(|line| line.split(" | ").collect())
}

fn value(text: &str) -> Value {
    let Some((kind, count)) = text.strip_prefix('#').and_then(|t| t.split_once(' ')) else {
        return serde_json::from_str(text).expect("JSON");
    };
    let count: usize = count.parse().expect("a count");
    match kind {
        "text" => "x".repeat(count).into(),
        "bytes" => Base64(vec![0; count]).to_string().into(),
        "map" => (0..count).map(|i| (format!("n{i}"), "v")).collect(),
        _ => panic!("{text}"),
    }
}

#[test]
fn each_wrong_value_is_named() {
    for row in [WRONG_JOB, WRONG_INPUT, WRONG_OUTPUT, WRONG_COMPANION]
        .into_iter()
        .flat_map(rows)
    {
        let [pointer, text, expected] = row[..] else {
            panic!("{row:?}");
        };
        let (code, below) = expected.split_once(' ').unwrap_or((expected, ""));
        let message = with(full(), pointer, value(text));
        let expected = [format!("{code} at {pointer}{below}")];
        assert_eq!(faults(&message.to_string()), expected, "{pointer} = {text}");
    }
}

#[test]
fn each_missing_field_is_named() {
    for row in rows(MISSING) {
        let message = without(full(), row[0]).to_string();
        let expected = [format!("missing_field at {}", row[1])];
        assert_eq!(faults(&message), expected, "{row:?}");
    }
}

#[test]
fn decrypting_needs_the_iv() {
    let mut message = without(full(), "/input/encryption/iv");
    let missing = "missing_field at /input/encryption/iv";
    for mode in ["aes-gcm", "aes-cbc-pkcs7"] {
        message["input"]["encryption"]["mode"] = mode.into();
        let without_start = without(message.clone(), "/input/encryption/ctr_start");
        assert_eq!(faults(&without_start.to_string()), [missing]);
    }
    message["input"]["encryption"]["mode"] = "aes-ctr".into();
    let expected = [missing, "invalid_value at /input/encryption/ctr_start"];
    assert_eq!(faults(&message.to_string()), expected);
}

#[test]
fn outputs_are_counted() {
    let many = |count: usize| {
        let output = |i| json!({ "url": format!("s3://out/{i}") });
        with(smallest(), "/outputs", (0..count).map(output).collect())
    };
    assert!(parse_value(&many(limits::OUTPUTS)).is_ok());
    let too_many = many(limits::OUTPUTS + 1).to_string();
    assert_eq!(faults(&too_many), ["limit_exceeded at /outputs"]);
}

#[test]
fn companions_write_no_name_twice() {
    let twice = "s3://out/a-{count}";
    let mut message = with(smallest(), "/thumbnails", json!({ "url_pattern": twice }));
    message["artwork"] = json!({ "url_pattern": twice });
    let expected = ["invalid_value at /artwork/url_pattern"];
    assert_eq!(faults(&message.to_string()), expected);
    message["artwork"] = json!({ "url_pattern": twice, "format": "png" });
    assert!(parse_value(&message).is_ok());
    let over_output = json!({ "url_pattern": "s3://out/film" });
    let mut message = with(smallest(), "/artwork", over_output);
    message["outputs"][0]["url"] = "s3://out/film.jpg".into();
    assert_eq!(faults(&message.to_string()), expected);
    let source = json!({ "url": "s3://abc/a", "language": "en" });
    let outputs = json!([{ "url_pattern": "s3://out/{language}", "format": "srt" }]);
    let captions = json!({ "sources": [source, source], "outputs": outputs });
    let message = with(smallest(), "/captions", captions).to_string();
    assert_eq!(faults(&message), ["invalid_value at /captions/sources/1"]);
}

#[test]
fn times_rise() {
    let at = |times: Value| {
        let thumbnails = json!({ "url_pattern": "s3://out/{count}", "at_seconds": times });
        faults(&with(smallest(), "/thumbnails", thumbnails).to_string())
    };
    assert_eq!(at(json!([0, 1.5, 60])), Vec::<String>::new());
    assert_eq!(at(json!([])), ["invalid_value at /thumbnails/at_seconds"]);
    assert_eq!(
        at(json!([1, 1])),
        ["invalid_value at /thumbnails/at_seconds"]
    );
    assert_eq!(
        at(json!([0, -1])),
        ["invalid_value at /thumbnails/at_seconds/1"]
    );
    let many = (0..=limits::THUMBNAILS).collect::<Vec<_>>();
    assert_eq!(
        at(json!(many)),
        ["limit_exceeded at /thumbnails/at_seconds"]
    );
}
