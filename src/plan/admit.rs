//! What a producer may ask for: buckets, files and reply queues are limited by the settings, not by
//! the message.

use crate::fault::{Code, Fault, Result};
use crate::job::{Job, ObjectUrl};
use crate::settings;

/// Refuses a job that names what it may not. Files are refused here when they are not allowed at
/// all; the file store itself keeps them below their root.
pub fn admit(job: &Job, settings: &settings::Worker, files: bool) -> Result<()> {
    let outputs = job
        .outputs
        .iter()
        .enumerate()
        .map(|(index, output)| (format!("/outputs/{index}/url"), &output.url));
    for (pointer, url) in std::iter::once(("/input/url".to_owned(), &job.input.url)).chain(outputs)
    {
        admit_url(url, settings, files).map_err(|fault| fault.at(pointer))?;
    }
    match &job.reply_to {
        Some(queue) if !settings.allow_reply_queues.contains(queue) => {
            let message = format!("the reply queue {queue:?} is not on this worker's list");
            Err(Fault::new(Code::ReplyNotAllowed, message).at("/reply_to"))
        }
        _ => Ok(()),
    }
}

fn admit_url(url: &ObjectUrl, settings: &settings::Worker, files: bool) -> Result<()> {
    match (url, &settings.allow_buckets) {
        (ObjectUrl::File { .. }, _) if !files => Err(Fault::new(
            Code::FileNotAllowed,
            "files are not allowed from a broker",
        )),
        (ObjectUrl::S3 { bucket, key }, allow) => {
            if key.starts_with(&settings.ledger_prefix) {
                let message = format!("keys below {} are the worker's own", settings.ledger_prefix);
                return Err(Fault::new(Code::BucketNotAllowed, message));
            }
            match allow {
                Some(allow) if !allow.contains(bucket) => {
                    let message = format!("the bucket {bucket} is not on this worker's list");
                    Err(Fault::new(Code::BucketNotAllowed, message))
                }
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
