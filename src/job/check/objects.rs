//! Objects: what a job reads and writes.
//!
//! `input` and `outputs` come in, [`Input`] and [`Output`] go out. The rules between objects stand
//! here too: no two outputs share a URL, none overwrites the input, and files are not told what
//! only an S3 store understands.

use std::collections::BTreeMap;

use super::encryption::{self, End};
use super::walk::{Fields, Spot};
use crate::fault::Code;
use crate::job::{Checksum, IfExists, Input, ObjectUrl, Output, ServerSide, Storage, limits};

/// URLs that the job uses already.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) input: Option<ObjectUrl>,
    pub(super) outputs: Vec<ObjectUrl>,
}

/// What every written object says besides its place, its encryption and its storage.
pub(super) struct Rules {
    pub(super) if_exists: IfExists,
    pub(super) required: bool,
    pub(super) checksum: Checksum,
}

/// Reads `input`.
pub(super) fn input(spot: &Spot<'_>, taken: &mut Taken) -> Option<Input> {
    let input = spot.object(input_fields)?;
    taken.input = Some(input.url.clone());
    Some(input)
}

/// Reads the fields of an object that is read.
pub(super) fn input_fields(f: &mut Fields<'_, '_>) -> Option<Input> {
    let url = f.required("url", object_url);
    if is_file(&url) {
        for name in ["version_id", "etag"] {
            f.forbidden(name, Code::InvalidValue, "files have no version");
        }
    }
    let version = |s: &Spot<'_>| s.text(limits::VERSION_BYTES).map(String::from);
    let version_id = f.optional("version_id", version);
    let etag = f.optional("etag", version);
    let sha256 = f.optional("sha256", sha256);
    let bytes = f.optional("bytes", Spot::integer);
    let encryption = f.optional("encryption", |s| encryption::encryption(s, End::Input));
    Some(Input {
        url: url?,
        version_id,
        etag,
        sha256,
        bytes,
        encryption,
    })
}

/// Reads one of `outputs`.
pub(super) fn output(spot: &Spot<'_>, taken: &mut Taken) -> Option<Output> {
    spot.object(|f| {
        let url = f.required("url", |s| output_url(s, taken));
        let encryption = f.optional("encryption", |s| encryption::encryption(s, End::Output));
        let storage = f.optional("storage", |s| storage(s, is_file(&url)));
        let rules = rules(f);
        Some(Output {
            url: url?,
            encryption,
            storage: storage.unwrap_or_default(),
            if_exists: rules.if_exists,
            required: rules.required,
            checksum: rules.checksum,
        })
    })
}

/// Reads what every written object says.
pub(super) fn rules(f: &mut Fields<'_, '_>) -> Rules {
    let if_exists = f.optional("if_exists", |s| {
        s.choice(&[("overwrite", IfExists::Overwrite), ("fail", IfExists::Fail)])
    });
    let required = f.optional("required", Spot::flag);
    let checksum = f.optional("checksum", |s| {
        s.choice(&[
            ("crc64nvme", Checksum::Crc64nvme),
            ("sha256", Checksum::Sha256),
        ])
    });
    Rules {
        if_exists: if_exists.unwrap_or_default(),
        required: required.unwrap_or(true),
        checksum: checksum.unwrap_or_default(),
    }
}

fn is_file(url: &Option<ObjectUrl>) -> bool {
    matches!(url, Some(ObjectUrl::File { .. }))
}

fn object_url(spot: &Spot<'_>) -> Option<ObjectUrl> {
    match ObjectUrl::parse(spot.text(limits::URL_BYTES)?) {
        Ok(url) => Some(url),
        Err(message) => spot.refuse(Code::InvalidValue, message),
    }
}

fn output_url(spot: &Spot<'_>, taken: &mut Taken) -> Option<ObjectUrl> {
    let url = object_url(spot)?;
    if taken.input.as_ref() == Some(&url) {
        spot.refuse::<()>(Code::InvalidValue, "would overwrite the job's own input");
    } else if taken.outputs.contains(&url) {
        spot.refuse::<()>(
            Code::InvalidValue,
            "another output of this job has this url",
        );
    }
    taken.outputs.push(url.clone());
    Some(url)
}

/// 64 hex digits, kept in lower case.
fn sha256(spot: &Spot<'_>) -> Option<String> {
    let text = spot.text_or_empty(usize::MAX)?;
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return spot.refuse(Code::InvalidValue, "expected 64 hex digits");
    }
    Some(text.to_ascii_lowercase())
}

pub(super) fn storage(spot: &Spot<'_>, file: bool) -> Option<Storage> {
    spot.object(|f| {
        if file {
            for (name, message) in [
                ("content_type", "files have no content type"),
                ("storage_class", "files have no storage class"),
                ("metadata", "files have no metadata"),
                ("tags", "files have no tags"),
                ("server_side", "files have no server-side encryption"),
            ] {
                f.forbidden(name, Code::InvalidValue, message);
            }
        }
        Some(Storage {
            content_type: f.optional("content_type", |s| {
                s.word(limits::CONTENT_TYPE_BYTES, "printable ASCII", printable)
            }),
            storage_class: f.optional("storage_class", storage_class),
            metadata: f.optional("metadata", metadata).unwrap_or_default(),
            tags: f.optional("tags", tags).unwrap_or_default(),
            server_side: f.optional("server_side", server_side),
        })
    })
}

fn printable(c: char) -> bool {
    matches!(c, ' '..='~')
}

fn storage_class(spot: &Spot<'_>) -> Option<String> {
    spot.word(
        limits::STORAGE_CLASS_BYTES,
        "A-Z, 0-9, '_' and '-'",
        |c| matches!(c, 'A'..='Z' | '0'..='9' | '_' | '-'),
    )
}

fn metadata(spot: &Spot<'_>) -> Option<BTreeMap<String, String>> {
    let metadata = spot.map(limits::METADATA_BYTES, metadata_value)?;
    let bytes: usize = metadata.iter().map(|(k, v)| k.len() + v.len()).sum();
    if bytes > limits::METADATA_BYTES {
        let message = format!(
            "names and values take more than {} bytes",
            limits::METADATA_BYTES
        );
        return spot.refuse(Code::LimitExceeded, message);
    }
    Some(metadata)
}

fn metadata_value(name: &str, value: &Spot<'_>) -> Option<String> {
    let allowed = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if name.len() > limits::METADATA_NAME_BYTES {
        let message = format!(
            "the name is longer than {} bytes",
            limits::METADATA_NAME_BYTES
        );
        return value.refuse(Code::LimitExceeded, message);
    }
    if !name.bytes().all(allowed) {
        return value.refuse(Code::InvalidValue, "the name may hold a-z, 0-9 and '-'");
    }
    if name.starts_with("ciphermill-") {
        let message = "names that start with ciphermill- are the worker's own";
        return value.refuse(Code::InvalidValue, message);
    }
    let text = value.text_or_empty(limits::METADATA_BYTES)?;
    if !text.chars().all(printable) {
        return value.refuse(Code::InvalidValue, "expected printable ASCII");
    }
    Some(text.into())
}

fn tags(spot: &Spot<'_>) -> Option<BTreeMap<String, String>> {
    spot.map(limits::TAGS, |name, value| {
        let allowed = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
        if name.chars().count() > limits::TAG_KEY_CHARS {
            let message = format!(
                "the name has more than {} characters",
                limits::TAG_KEY_CHARS
            );
            return value.refuse(Code::LimitExceeded, message);
        }
        if name.starts_with("aws:") {
            return value.refuse(
                Code::InvalidValue,
                "names that start with aws: are reserved",
            );
        }
        let text = value.text_or_empty(usize::MAX)?;
        if text.chars().count() > limits::TAG_VALUE_CHARS {
            let message = format!("more than {} characters", limits::TAG_VALUE_CHARS);
            return value.refuse(Code::LimitExceeded, message);
        }
        if !name.chars().chain(text.chars()).all(allowed) {
            let message = "tags hold letters, digits, spaces and + - = . _ : / @";
            return value.refuse(Code::InvalidValue, message);
        }
        Some(text.into())
    })
}

fn server_side(spot: &Spot<'_>) -> Option<ServerSide> {
    spot.object(|f| {
        let kms = f.required("mode", |s| s.choice(&[("s3", false), ("s3-aws-kms", true)]));
        if kms == Some(false) {
            for name in ["kms_key_id", "context"] {
                f.forbidden(name, Code::InvalidValue, "goes with mode s3-aws-kms only");
            }
        }
        let kms_key_id = f.optional("kms_key_id", |s| {
            s.text(limits::KMS_KEY_ID_BYTES).map(Into::into)
        });
        let context = f.optional("context", encryption::context);
        Some(match kms? {
            false => ServerSide::S3,
            true => ServerSide::Kms {
                kms_key_id,
                context: context.unwrap_or_default(),
            },
        })
    })
}
