//! The calls: one S3 operation each, with its answer checked.

use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use bytes::{Bytes, BytesMut};

use super::errors::{Doing, fault, fault_of_publishing, is_silent};
use super::{S3Store, requests};
use crate::buffers::PartBuffer;
use crate::checksum::{Algorithm, Checksum};
use crate::fault::{Code, Fault, Result};
use crate::job::ObjectUrl;
use crate::store::{
    Aborted, Condition, Facts, NewObject, PartPlace, UploadId, UploadedPart, Version,
};

impl S3Store {
    pub(super) async fn head_object(
        &self,
        url: &ObjectUrl,
        version_id: Option<&str>,
    ) -> Result<Facts> {
        let (bucket, key) = place(url)?;
        let head = self.client().await.head_object().bucket(bucket).key(key);
        let head = head
            .set_version_id(version_id.map(Into::into))
            .checksum_mode(ChecksumMode::Enabled);
        match head.send().await {
            Ok(answer) => Ok(requests::facts(&answer)),
            Err(error) if is_silent(&error) => Err(self.explain(url, version_id).await),
            Err(error) => Err(fault(Doing::Reading, url, &error)),
        }
    }

    /// Asks again in a way that gets a reason: worn-out credentials must not look like an object
    /// that is denied.
    async fn explain(&self, url: &ObjectUrl, version_id: Option<&str>) -> Fault {
        let denied = || {
            Fault::new(
                Code::SourceDenied,
                format!("cannot read {url}: the store refuses it"),
            )
        };
        let Ok((bucket, key)) = place(url) else {
            return denied();
        };
        let get = self
            .client()
            .await
            .get_object()
            .bucket(bucket)
            .key(key)
            .range("bytes=0-0");
        match get.set_version_id(version_id.map(Into::into)).send().await {
            Ok(_) => denied(),
            Err(error) => fault(Doing::Reading, url, &error),
        }
    }

    /// Appends what arrives; the caller decides whether to go on after a break.
    pub(super) async fn read_range(
        &self,
        url: &ObjectUrl,
        version: &Version,
        range: Range<u64>,
        into: &mut PartBuffer,
    ) -> Result<()> {
        let (bucket, key) = place(url)?;
        let mut left = range.end - range.start;
        let get = self.client().await.get_object().bucket(bucket).key(key);
        let answer = get
            .set_version_id(version.version_id.clone())
            .if_match(format!("\"{}\"", version.etag))
            .range(format!("bytes={}-{}", range.start, range.end - 1))
            .send()
            .await
            .map_err(|e| fault(Doing::Reading, url, &e))?;
        requests::check_range(url, version, &range, &answer)?;
        let mut body = answer.body;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|e| broken(url, &e.to_string()))?;
            let wanted = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            left -= into.append(&chunk[..wanted]) as u64;
        }
        if left > 0 {
            Err(broken(url, &format!("{left} bytes are missing")))
        } else {
            Ok(())
        }
    }

    pub(super) async fn put_object(
        &self,
        url: &ObjectUrl,
        new: &NewObject,
        body: Bytes,
        sum: &Checksum,
    ) -> Result<()> {
        let request = requests::put(self.client().await.put_object(), place(url)?, new, sum)?;
        let request = request
            .body(ByteStream::from(body))
            .customize()
            .disable_payload_signing();
        let answer = request
            .send()
            .await
            .map_err(|e| fault_of_publishing(&new.condition, url, &e))?;
        let kept = requests::kept_server_side(new, answer.server_side_encryption());
        if let Err(fault) = kept {
            // The store took the object and ignored what was asked for: it must not stay.
            if let Err(left) = self.delete_object(url).await {
                tracing::error!(%url, detail = %left.message, "an object that the store did not encrypt was left");
            }
            return Err(fault);
        }
        Ok(())
    }

    pub(super) async fn begin_upload(&self, url: &ObjectUrl, new: &NewObject) -> Result<UploadId> {
        let request = requests::create(
            self.client().await.create_multipart_upload(),
            place(url)?,
            new,
        )?;
        let answer = request
            .send()
            .await
            .map_err(|e| fault(Doing::Writing, url, &e))?;
        let missing = || {
            Fault::new(
                Code::StoreRejected,
                format!("the store gave no upload id for {url}"),
            )
        };
        let upload = UploadId(answer.upload_id().ok_or_else(missing)?.into());
        if let Err(fault) = requests::kept_server_side(new, answer.server_side_encryption()) {
            match self.abort_upload(url, &upload).await {
                Ok(Aborted::Gone) => {}
                // The caller must know that there may be an upload.
                Err(unknown) if unknown.retryable() => return Err(unknown),
                Ok(Aborted::Left) | Err(_) => {
                    let code = fault.code.as_str();
                    tracing::error!(%url, code, "an upload that the store does not encrypt was left");
                }
            }
            return Err(fault);
        }
        Ok(upload)
    }

    pub(super) async fn upload_part(
        &self,
        url: &ObjectUrl,
        upload: &UploadId,
        place_of_part: PartPlace,
        body: Bytes,
        checksum: Checksum,
    ) -> Result<UploadedPart> {
        let (bucket, key) = place(url)?;
        let bytes = body.len() as u64;
        let request = self
            .client()
            .await
            .upload_part()
            .bucket(bucket)
            .key(key)
            .upload_id(&upload.0);
        let request = match checksum.algorithm() {
            Algorithm::Crc64Nvme => request.checksum_crc64_nvme(checksum.to_base64()),
            Algorithm::Sha256 => request.checksum_sha256(checksum.to_base64()),
        };
        let request = request
            .part_number(place_of_part.number)
            .body(ByteStream::from(body));
        let answer = request.customize().disable_payload_signing().send().await;
        let answer = answer.map_err(|e| fault(Doing::Writing, url, &e))?;
        let etag = answer.e_tag().unwrap_or_default().into();
        Ok(UploadedPart {
            number: place_of_part.number,
            etag,
            checksum,
            bytes,
        })
    }

    pub(super) async fn complete_upload(
        &self,
        url: &ObjectUrl,
        upload: &UploadId,
        new: &NewObject,
        parts: &[UploadedPart],
    ) -> Result<()> {
        let request = self
            .client()
            .await
            .complete_multipart_upload()
            .upload_id(&upload.0);
        let full = self.settings.flavour.full_object_crc64();
        let request = requests::complete(request, place(url)?, new, parts, full);
        request
            .send()
            .await
            .map_err(|e| fault_of_publishing(&new.condition, url, &e))?;
        Ok(())
    }

    /// Aborts, then looks: a part that was in flight can bring an upload back.
    pub(super) async fn abort_upload(&self, url: &ObjectUrl, upload: &UploadId) -> Result<Aborted> {
        let (bucket, key) = place(url)?;
        let client = self.client().await;
        for _ in 0..3 {
            let abort = client
                .abort_multipart_upload()
                .bucket(bucket)
                .key(key)
                .upload_id(&upload.0);
            if let Err(error) = abort.send().await {
                let fault = fault(Doing::Writing, url, &error);
                if fault.code != Code::SourceNotFound {
                    return Err(fault);
                }
            }
            let look = client
                .list_parts()
                .bucket(bucket)
                .key(key)
                .upload_id(&upload.0)
                .max_parts(1);
            if let Err(error) = look.send().await
                && fault(Doing::Reading, url, &error).code == Code::SourceNotFound
            {
                return Ok(Aborted::Gone);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(Aborted::Left)
    }

    pub(super) async fn delete_object(&self, url: &ObjectUrl) -> Result<()> {
        let (bucket, key) = place(url)?;
        let delete = self.client().await.delete_object().bucket(bucket).key(key);
        delete
            .send()
            .await
            .map_err(|e| fault(Doing::Writing, url, &e))?;
        Ok(())
    }

    pub(super) async fn small(&self, url: &ObjectUrl, limit: usize) -> Result<Option<Bytes>> {
        let (bucket, key) = place(url)?;
        let answer = match self
            .client()
            .await
            .get_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
        {
            Ok(answer) => answer,
            Err(error) => {
                let fault = fault(Doing::Reading, url, &error);
                return if fault.code == Code::SourceNotFound {
                    Ok(None)
                } else {
                    Err(fault)
                };
            }
        };
        let mut body = answer.body;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk.map_err(|e| broken(url, &e.to_string()))?);
            if bytes.len() > limit {
                return Err(Fault::new(
                    Code::LimitExceeded,
                    format!("{url} is larger than {limit} bytes"),
                ));
            }
        }
        Ok(Some(bytes.freeze()))
    }

    /// Known from the flavour, or tried once: some stores answer 200 to If-None-Match and
    /// overwrite.
    pub(super) async fn probe_if_absent(&self, probe: &ObjectUrl) -> Result<bool> {
        if let Some(known) = self.settings.flavour.conditional_writes() {
            return Ok(known);
        }
        let new = NewObject {
            condition: Condition::IfAbsent,
            ..NewObject::plain()
        };
        let body = Bytes::from_static(b"ciphermill: does this store keep If-None-Match?\n");
        let sum = Algorithm::Crc64Nvme.of(&body);
        self.put_object(probe, &new, body.clone(), &sum).await?;
        let again = self.put_object(probe, &new, body, &sum).await;
        self.delete_object(probe).await?;
        let keeps = again.is_err_and(|fault| fault.code == Code::OutputExists);
        tracing::info!(keeps, "probed whether the store keeps If-None-Match");
        Ok(keeps)
    }
}

pub(super) fn place(url: &ObjectUrl) -> Result<(&str, &str)> {
    match url {
        ObjectUrl::S3 { bucket, key } => Ok((bucket, key)),
        ObjectUrl::File { .. } => Err(Fault::new(
            Code::Internal,
            "a file URL reached the S3 store",
        )),
    }
}

fn broken(url: &ObjectUrl, what: &str) -> Fault {
    Fault::new(
        Code::SourceBroken,
        format!("the download of {url} broke off: {what}"),
    )
}
