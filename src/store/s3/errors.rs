//! What an S3 error means for a job.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::aws::{self, Answer};
use crate::fault::{Code, Fault};
use crate::job::ObjectUrl;
use crate::store::Condition;

/// What was being done, which decides what "denied" and "precondition failed" mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Reading,
    Writing,
}

/// Whether the answer says why it refused: an error to a HEAD has no body to say it in.
pub(super) fn is_silent<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let Answer { status, code, .. } = Answer::of(error);
    matches!(status, 400 | 403) && code.is_empty()
}

/// Turns an SDK error into a fault that names the object.
pub(super) fn fault<E>(doing: Doing, url: &ObjectUrl, error: &SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Answer { status, code, text } = Answer::of(error);
    let fault_code = classify(doing, status, code);
    let verb = if doing == Doing::Reading {
        "read"
    } else {
        "write"
    };
    let said = match (status, code) {
        (0, _) => aws::chain(error),
        _ => format!("the store answered {status} {code}: {text}")
            .trim_end_matches([' ', ':'])
            .to_owned(),
    };
    Fault::new(fault_code, format!("cannot {verb} {url}: {said}"))
}

/// A fault of a PUT or a Complete. An object that is not the one of `IfMatch` must not look like an
/// upload that is gone, nor like an object that must not be there.
pub(super) fn fault_of_publishing<E>(
    condition: &Condition,
    url: &ObjectUrl,
    error: &SdkError<E, HttpResponse>,
) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Answer { status, code, .. } = Answer::of(error);
    match condition {
        Condition::IfMatch(etag) if is_other_object(status, code) => {
            let message = format!("cannot write {url}: the object there has not the ETag {etag}");
            Fault::new(Code::SourceChanged, message)
        }
        Condition::Always | Condition::IfAbsent | Condition::IfMatch(_) => {
            fault(Doing::Writing, url, error)
        }
    }
}

/// Whether this is the answer to an `If-Match` that does not hold; with nothing there it is a 404.
fn is_other_object(status: u16, code: &str) -> bool {
    status == 412 || code == "NoSuchKey"
}

/// Whether the store says that it does not know the operation.
pub(super) fn is_not_implemented<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
) -> bool {
    let Answer { status, code, .. } = Answer::of(error);
    status == 501 || matches!(code, "NotImplemented" | "XNotImplemented")
}

fn classify(doing: Doing, status: u16, code: &str) -> Code {
    if aws::is_credentials_code(code) {
        return Code::StoreDown;
    }
    match (status, code) {
        // No answer, or one that broke off.
        (0..=299, _) => Code::StoreDown,
        (_, "NoSuchBucket") => Code::BucketNotFound,
        (_, "NoSuchKey" | "NotFound" | "NoSuchVersion" | "NoSuchUpload") => Code::SourceNotFound,
        (_, "KMS.DisabledException" | "KMS.KMSInvalidStateException") => Code::KeyDisabled,
        (_, "KMS.NotFoundException") => Code::KeyNotFound,
        (
            _,
            "BadDigest"
            | "InvalidDigest"
            | "XAmzContentSHA256Mismatch"
            | "XAmzContentChecksumMismatch",
        ) => Code::IntegrityMismatch,
        (
            _,
            "SlowDown" | "RequestTimeout" | "ServiceUnavailable" | "InternalError"
            | "IncompleteBody",
        ) => Code::StoreDown,
        (_, "ConditionalRequestConflict" | "OperationAborted") => Code::IntegrityMismatch,
        (404, _) => Code::SourceNotFound,
        (403, _) if doing == Doing::Reading => Code::SourceDenied,
        (403, _) => Code::SinkDenied,
        (412, _) if doing == Doing::Reading => Code::SourceChanged,
        (412, _) => Code::OutputExists,
        // Not implemented is an answer to this request, not an outage.
        (501 | 505, _) | (_, "NotImplemented" | "XNotImplemented") => Code::StoreRejected,
        (408 | 429 | 500.., _) => Code::StoreDown,
        _ => Code::StoreRejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_that_is_gone_is_no_failed_condition() {
        assert!(is_other_object(412, "PreconditionFailed"));
        assert!(is_other_object(404, "NoSuchKey"));
        assert!(!is_other_object(404, "NoSuchUpload"));
        assert!(!is_other_object(404, "NoSuchBucket"));
    }

    #[test]
    fn faults_of_the_worker_are_not_faults_of_the_job() {
        assert_eq!(
            classify(Doing::Reading, 403, "AccessDenied"),
            Code::SourceDenied
        );
        assert_eq!(
            classify(Doing::Writing, 403, "ExpiredToken"),
            Code::StoreDown
        );
        assert_eq!(classify(Doing::Writing, 503, "SlowDown"), Code::StoreDown);
        assert_eq!(
            classify(Doing::Reading, 412, "PreconditionFailed"),
            Code::SourceChanged
        );
        assert_eq!(
            classify(Doing::Writing, 412, "PreconditionFailed"),
            Code::OutputExists
        );
        assert_eq!(
            classify(Doing::Writing, 501, "NotImplemented"),
            Code::StoreRejected
        );
        assert_eq!(
            classify(Doing::Writing, 404, "NoSuchBucket"),
            Code::BucketNotFound
        );
    }
}
