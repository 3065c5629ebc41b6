//! What a producer may ask for: buckets, files and reply queues are limited by the settings, not by
//! the message.

use crate::fault::{Code, Fault, Result};
use crate::job::companions::LONGEST;
use crate::job::{Job, ObjectUrl, ServerSide, Storage};
use crate::settings;

/// Refuses a job that names what it may not. Files are refused here when they are not allowed at
/// all; the file store itself keeps them below their root.
pub fn admit(job: &Job, settings: &settings::Worker, files: bool) -> Result<()> {
    let mut urls = vec![("/input/url".to_owned(), job.input.url.clone())];
    let mut storages = Vec::new();
    for (index, output) in job.outputs.iter().enumerate() {
        urls.push((format!("/outputs/{index}/url"), output.url.clone()));
        storages.push((format!("/outputs/{index}"), &output.storage));
    }
    for (pointer, input) in job.beside_inputs() {
        urls.push((format!("{pointer}/url"), input.url.clone()));
    }
    for family in job.families() {
        let pointer = format!("{}/url_pattern", family.pointer());
        urls.push((pointer, family.url(&LONGEST)?));
        storages.push((family.pointer(), &family.delivery.storage));
    }
    for (pointer, url) in urls {
        admit_url(&url, settings, files).map_err(|fault| fault.at(pointer))?;
    }
    for (pointer, storage) in storages {
        let pointer = format!("{pointer}/storage/server_side/kms_key_id");
        admit_server_side(storage, settings).map_err(|fault| fault.at(pointer))?;
    }
    match &job.reply_to {
        Some(queue) if !settings.allow_reply_queues.contains(queue) => {
            let message = format!("the reply queue {queue:?} is not on this worker's list");
            Err(Fault::new(Code::ReplyNotAllowed, message).at("/reply_to"))
        }
        _ => Ok(()),
    }
}

/// The store's own KMS keys are limited like ours; its default key is the store's business.
fn admit_server_side(storage: &Storage, settings: &settings::Worker) -> Result<()> {
    let (
        Some(ServerSide::Kms {
            kms_key_id: Some(key),
            ..
        }),
        Some(allow),
    ) = (&storage.server_side, &settings.allow_kms_keys)
    else {
        return Ok(());
    };
    if allow
        .iter()
        .any(|name| key == name || key.ends_with(&format!(":key/{name}")))
    {
        return Ok(());
    }
    Err(Fault::new(
        Code::KeyNotAllowed,
        format!("the KMS key {key} is not on this worker's list"),
    ))
}

/// Refuses a URL that the settings do not allow.
pub fn admit_url(url: &ObjectUrl, settings: &settings::Worker, files: bool) -> Result<()> {
    match (url, &settings.allow_buckets) {
        (ObjectUrl::File { .. }, _) if !files => Err(Fault::new(
            Code::FileNotAllowed,
            "files are not allowed from a broker",
        )),
        (ObjectUrl::File { path }, _) => {
            let own = settings.ledger_prefix.trim_end_matches('/');
            if path.components().any(|step| step.as_os_str() == own) {
                let message = format!("folders named {own} are the worker's own");
                return Err(Fault::new(Code::ReservedPlace, message));
            }
            Ok(())
        }
        (ObjectUrl::S3 { bucket, key }, allow) => {
            if key.starts_with(&settings.ledger_prefix) {
                let message = format!("keys below {} are the worker's own", settings.ledger_prefix);
                return Err(Fault::new(Code::ReservedPlace, message));
            }
            match allow {
                Some(allow) if !allow.contains(bucket) => {
                    let message = format!("the bucket {bucket} is not on this worker's list");
                    Err(Fault::new(Code::BucketNotAllowed, message))
                }
                _ => Ok(()),
            }
        }
    }
}
