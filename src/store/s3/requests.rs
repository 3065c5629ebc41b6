//! S3 requests built from our types, and answers read back into them.

use std::collections::HashMap;
use std::ops::Range;

use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder as Complete;
use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder as Create;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder as Put;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, Part,
    ServerSideEncryption, StorageClass,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checksum::{Algorithm, Checksum};
use crate::fault::{Code, Fault, Result};
use crate::job::{ObjectUrl, ServerSide};
use crate::store::{Condition, Facts, ListedPart, NewObject, UploadedPart, Version};

pub(super) fn facts(head: &HeadObjectOutput) -> Facts {
    let whole = head
        .checksum_type()
        .is_none_or(|kind| *kind == ChecksumType::FullObject);
    let crc = head
        .checksum_crc64_nvme()
        .filter(|sum| whole && !sum.contains('-'));
    Facts {
        len: head
            .content_length()
            .and_then(|len| u64::try_from(len).ok())
            .unwrap_or(0),
        version: Version {
            etag: unquoted(head.e_tag()),
            version_id: head.version_id().filter(|id| *id != "null").map(Into::into),
        },
        metadata: head
            .metadata()
            .map(|map| map.clone().into_iter().collect())
            .unwrap_or_default(),
        server_side: head
            .server_side_encryption()
            .map(|mode| mode.as_str().into()),
        crc64nvme: crc.map(Into::into),
    }
}

/// A store that ignores `Range` or `If-Match` would give other bytes than were asked for.
pub(super) fn check_range(
    url: &ObjectUrl,
    version: &Version,
    range: &Range<u64>,
    answer: &GetObjectOutput,
) -> Result<()> {
    let expected = format!("bytes {}-{}/", range.start, range.end - 1);
    if !answer
        .content_range()
        .is_some_and(|got| got.starts_with(&expected))
    {
        let got = answer.content_range().unwrap_or("the whole object");
        let message = format!("asked {url} for {expected}, got {got}");
        return Err(Fault::new(Code::SourceChanged, message));
    }
    if unquoted(answer.e_tag()) != version.etag {
        return Err(Fault::new(
            Code::SourceChanged,
            format!("{url} has another ETag than when it was opened"),
        ));
    }
    Ok(())
}

fn unquoted(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').into()
}

macro_rules! common {
    ($request:expr, $place:expr, $new:expr) => {{
        let (bucket, key) = $place;
        let (mode, kms_key, context) = server_side($new)?;
        $request
            .bucket(bucket)
            .key(key)
            .content_type(
                $new.content_type
                    .as_deref()
                    .unwrap_or("application/octet-stream"),
            )
            .set_storage_class($new.storage_class.as_deref().map(StorageClass::from))
            .set_metadata(Some(
                $new.metadata.clone().into_iter().collect::<HashMap<_, _>>(),
            ))
            .set_tagging(tagging($new))
            .set_server_side_encryption(mode)
            .set_ssekms_key_id(kms_key)
            .set_ssekms_encryption_context(context)
    }};
}

pub(super) fn put(
    request: Put,
    place: (&str, &str),
    new: &NewObject,
    checksum: &Checksum,
) -> Result<Put> {
    let request = common!(request, place, new);
    let request = match checksum.algorithm() {
        Algorithm::Crc64Nvme => request.checksum_crc64_nvme(checksum.to_base64()),
        Algorithm::Sha256 => request.checksum_sha256(checksum.to_base64()),
    };
    let Preconditions {
        if_none_match,
        if_match,
    } = Preconditions::of(&new.condition);
    Ok(request
        .set_if_none_match(if_none_match)
        .set_if_match(if_match))
}

pub(super) fn create(request: Create, place: (&str, &str), new: &NewObject) -> Result<Create> {
    let algorithm = match new.checksum {
        Algorithm::Crc64Nvme => ChecksumAlgorithm::Crc64Nvme,
        Algorithm::Sha256 => ChecksumAlgorithm::Sha256,
    };
    Ok(common!(request, place, new).checksum_algorithm(algorithm))
}

/// `full`: the store compares the CRC of the whole object too.
pub(super) fn complete(
    request: Complete,
    place: (&str, &str),
    new: &NewObject,
    parts: &[UploadedPart],
    full: bool,
) -> Complete {
    let listed = parts.iter().map(|part| {
        let listed = CompletedPart::builder()
            .part_number(part.number)
            .e_tag(&part.etag);
        match part.checksum.algorithm() {
            Algorithm::Crc64Nvme => listed.checksum_crc64_nvme(part.checksum.to_base64()),
            Algorithm::Sha256 => listed.checksum_sha256(part.checksum.to_base64()),
        }
        .build()
    });
    let upload = CompletedMultipartUpload::builder()
        .set_parts(Some(listed.collect()))
        .build();
    let sums: Vec<_> = parts
        .iter()
        .map(|part| (part.checksum.clone(), part.bytes))
        .collect();
    let whole =
        Checksum::combine(&sums).filter(|sum| full && sum.algorithm() == Algorithm::Crc64Nvme);
    let preconditions = Preconditions::of(&new.condition);
    request
        .bucket(place.0)
        .key(place.1)
        .multipart_upload(upload)
        .set_checksum_type(whole.as_ref().map(|_| ChecksumType::FullObject))
        .set_checksum_crc64_nvme(whole.map(|sum| sum.to_base64()))
        .set_if_none_match(preconditions.if_none_match)
        .set_if_match(preconditions.if_match)
}

/// One part of a listing; `None` when it lacks what every part has.
pub(super) fn listed_part(part: &Part) -> Option<ListedPart> {
    let crc = part
        .checksum_crc64_nvme()
        .map(|text| (Algorithm::Crc64Nvme, text));
    let sum = crc.or(part.checksum_sha256().map(|text| (Algorithm::Sha256, text)));
    Some(ListedPart {
        number: part.part_number()?,
        etag: part.e_tag()?.into(),
        bytes: part.size().and_then(|size| u64::try_from(size).ok())?,
        checksum: sum.and_then(|(algorithm, text)| Checksum::from_base64(algorithm, text)),
    })
}

/// The headers that a condition becomes.
struct Preconditions {
    if_none_match: Option<String>,
    if_match: Option<String>,
}

impl Preconditions {
    fn of(condition: &Condition) -> Preconditions {
        let (if_none_match, if_match) = match condition {
            Condition::Always => (None, None),
            Condition::IfAbsent => (Some("*".into()), None),
            Condition::IfMatch(etag) => (None, Some(format!("\"{etag}\""))),
        };
        Preconditions {
            if_none_match,
            if_match,
        }
    }
}

/// A store that was asked to encrypt at rest and does not say that it does, does not.
pub(super) fn kept_server_side(
    new: &NewObject,
    answer: Option<&ServerSideEncryption>,
) -> Result<()> {
    let asked = match &new.server_side {
        None => return Ok(()),
        Some(ServerSide::S3) => "AES256",
        Some(ServerSide::Kms { .. }) => "aws:kms",
    };
    match answer.map(ServerSideEncryption::as_str) {
        Some(got) if got.starts_with(asked) => Ok(()),
        got => {
            let got = got.unwrap_or("nothing");
            let message =
                format!("asked the store for server-side encryption {asked}, it confirmed {got}");
            Err(Fault::new(Code::ServerSideIgnored, message))
        }
    }
}

type ServerSideFields = (Option<ServerSideEncryption>, Option<String>, Option<String>);

fn server_side(new: &NewObject) -> Result<ServerSideFields> {
    Ok(match &new.server_side {
        None => (None, None, None),
        Some(ServerSide::S3) => (Some(ServerSideEncryption::Aes256), None, None),
        Some(ServerSide::Kms {
            kms_key_id,
            context,
        }) => {
            let context = (!context.is_empty())
                .then(|| serde_json::to_vec(context))
                .transpose();
            let context = context.map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
            let context = context.map(|json| STANDARD.encode(json));
            (
                Some(ServerSideEncryption::AwsKms),
                kms_key_id.clone(),
                context,
            )
        }
    })
}

fn tagging(new: &NewObject) -> Option<String> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(&new.tags);
    // The serializer writes a space as `+`, which not every store reads as one.
    (!new.tags.is_empty()).then(|| query.finish().replace('+', "%20"))
}
