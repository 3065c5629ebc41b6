//! Object URLs: `s3://bucket/key` and `file:///path`.
//!
//! The text is taken literally: no percent-decoding, no query, no user info. So a key cannot mean
//! one thing to our checks and another to the store.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::limits;

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ObjectUrl {
    /// An object in an S3-compatible store. The endpoint never comes from a message.
    S3 {
        /// Bucket name (3 to 63 of `a-z 0-9 . -`).
        bucket: String,
        /// Object key, UTF-8, at most 1,024 bytes.
        key: String,
    },
    /// A file on this machine: an absolute path without `.` and `..` steps.
    File {
        /// The path.
        path: PathBuf,
    },
}

impl ObjectUrl {
    /// Parses a URL; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<ObjectUrl, String> {
        if text.len() > limits::URL_BYTES {
            return Err(format!("longer than {} bytes", limits::URL_BYTES));
        }
        if text.chars().any(char::is_control) {
            return Err("holds a control character".into());
        }
        if let Some(rest) = text.strip_prefix("s3://") {
            parse_s3(rest)
        } else if let Some(path) = text.strip_prefix("file://") {
            parse_file(path)
        } else {
            Err("expected s3://bucket/key or file:///path".into())
        }
    }

    /// The bucket, for an S3 object.
    pub fn bucket(&self) -> Option<&str> {
        match self {
            ObjectUrl::S3 { bucket, .. } => Some(bucket),
            ObjectUrl::File { .. } => None,
        }
    }
}

fn parse_s3(rest: &str) -> Result<ObjectUrl, String> {
    let (bucket, key) = rest
        .split_once('/')
        .ok_or("expected a key after the bucket")?;
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| edge(c) || c == '.' || c == '-';
    let well_formed = (3..=63).contains(&bucket.len())
        && bucket.chars().all(inner)
        && bucket.starts_with(edge)
        && bucket.ends_with(edge)
        && !bucket.contains("..");
    if !well_formed {
        return Err("the bucket name must be 3 to 63 of a-z, 0-9, '.' and '-'".into());
    }
    // Names that the SDK takes for access points, Object Lambda or directory buckets, and sends
    // elsewhere than to the configured endpoint.
    let special = [
        "-s3alias", "--ol-s3", "--x-s3", "--xa-s3", "--op-s3", ".mrap",
    ];
    if special.iter().any(|suffix| bucket.ends_with(suffix)) {
        return Err("the bucket name has a suffix that S3 reserves".into());
    }
    if key.is_empty() {
        return Err("the key is empty".into());
    }
    if key.len() > limits::OBJECT_KEY_BYTES {
        return Err(format!(
            "the key is longer than {} bytes",
            limits::OBJECT_KEY_BYTES
        ));
    }
    if key.split('/').any(|step| step == "." || step == "..") {
        return Err("the key holds a '.' or '..' step".into());
    }
    Ok(ObjectUrl::S3 {
        bucket: bucket.into(),
        key: key.into(),
    })
}

fn parse_file(path: &str) -> Result<ObjectUrl, String> {
    if !path.starts_with('/') {
        return Err("a file URL needs an absolute path: file:///path".into());
    }
    let mut steps = path[1..].split('/');
    if path.len() < 2 || steps.any(|step| step.is_empty() || step == "." || step == "..") {
        return Err("the path holds an empty, '.' or '..' step".into());
    }
    Ok(ObjectUrl::File { path: path.into() })
}

impl fmt::Display for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectUrl::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            ObjectUrl::File { path } => write!(f, "file://{}", path.display()),
        }
    }
}

impl Serialize for ObjectUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for ObjectUrl {
    fn schema_name() -> Cow<'static, str> {
        "ObjectUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": limits::URL_BYTES,
            "pattern": r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\n]+|file:///[^\n]+)$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_ordinary_urls() {
        for text in [
            "s3://in/a",
            "s3://my.bucket-1/ü x+y=&%20é/🎬.mp4",
            "file:///tmp/a b",
            "s3://abc/dir/",
        ] {
            let ok = text != "s3://in/a";
            assert_eq!(ObjectUrl::parse(text).is_ok(), ok, "{text}");
        }
        assert_eq!(
            ObjectUrl::parse("s3://in1/a//b")
                .expect("opaque key")
                .to_string(),
            "s3://in1/a//b"
        );
    }

    #[test]
    fn refuses_tricks() {
        for text in [
            "",
            "x",
            "http://a/b",
            "s3://abc",
            "s3://abc/",
            "s3://ABC/x",
            "s3://a..b/x",
            "s3://abc/../x",
            "s3://abc/a/./b",
            "file://etc/passwd",
            "file:///",
            "file:///a/../b",
            "file:///a//b",
            "s3://abc/a\nb",
            "s3://-ab/x",
            "s3://a--x-s3/k",
        ] {
            assert!(ObjectUrl::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
