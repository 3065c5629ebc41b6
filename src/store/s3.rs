//! S3-compatible stores, through the AWS SDK.
//!
//! Checksums and their validation are set here, not left to the SDK's defaults, which break many
//! compatible stores: we compute them on the cipher threads and send them as headers; bodies are
//! always in memory, so every retry sends the same bytes. Quirks of a store stand in its
//! [`Flavour`].

mod calls;
mod errors;
mod lists;
mod requests;

use std::ops::Range;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::OnceCell;

use self::errors::{Doing, fault};
use super::{
    Aborted, Facts, Listed, ListedPart, NewObject, PartPlace, Store, Upload, UploadId,
    UploadedPart, Version,
};
use crate::aws::Aws;
use crate::buffers::PartBuffer;
use crate::checksum::Checksum;
use crate::fault::{Code, Result};
use crate::job::ObjectUrl;
use crate::settings::{self, Flavour};

/// An S3-compatible store.
pub struct S3Store {
    client: OnceCell<Client>,
    aws: Aws,
    settings: settings::S3,
    if_absent: OnceCell<bool>,
}

impl S3Store {
    /// The store that the SDK's environment names; the connection is made when it is first used.
    pub fn new(aws: Aws, settings: settings::S3) -> S3Store {
        S3Store {
            client: OnceCell::new(),
            aws,
            settings,
            if_absent: OnceCell::new(),
        }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| self.build()).await
    }

    async fn build(&self) -> Client {
        let shared = self.aws.config().await;
        let custom_endpoint =
            shared.endpoint_url().is_some() || self.settings.flavour != Flavour::Aws;
        let path_style = self.settings.flavour.path_style() && custom_endpoint;
        let config = aws_sdk_s3::config::Builder::from(shared)
            .force_path_style(self.settings.path_style.unwrap_or(path_style))
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Client::from_conf(config)
    }
}

impl Store for S3Store {
    fn head<'a>(
        &'a self,
        url: &'a ObjectUrl,
        version_id: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Facts>> {
        self.head_object(url, version_id).boxed()
    }

    fn read<'a>(
        &'a self,
        url: &'a ObjectUrl,
        version: &'a Version,
        range: Range<u64>,
        mut into: PartBuffer,
    ) -> BoxFuture<'a, (PartBuffer, Result<()>)> {
        async move {
            let result = self.read_range(url, version, range, &mut into).await;
            (into, result)
        }
        .boxed()
    }

    fn put<'a>(
        &'a self,
        url: &'a ObjectUrl,
        new: &'a NewObject,
        body: Bytes,
        checksum: &'a Checksum,
    ) -> BoxFuture<'a, Result<()>> {
        self.put_object(url, new, body, checksum).boxed()
    }

    fn begin<'a>(
        &'a self,
        url: &'a ObjectUrl,
        new: &'a NewObject,
    ) -> BoxFuture<'a, Result<UploadId>> {
        self.begin_upload(url, new).boxed()
    }

    fn upload<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
        place: PartPlace,
        body: Bytes,
        checksum: Checksum,
    ) -> BoxFuture<'a, Result<UploadedPart>> {
        self.upload_part(url, upload, place, body, checksum).boxed()
    }

    fn complete<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
        new: &'a NewObject,
        parts: &'a [UploadedPart],
    ) -> BoxFuture<'a, Result<()>> {
        self.complete_upload(url, upload, new, parts).boxed()
    }

    fn abort<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Aborted>> {
        self.abort_upload(url, upload).boxed()
    }

    fn parts<'a>(
        &'a self,
        url: &'a ObjectUrl,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Option<Vec<ListedPart>>>> {
        self.list_parts(url, upload).boxed()
    }

    fn uploads<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, Result<Vec<Upload>>> {
        self.list_uploads(url).boxed()
    }

    fn delete<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, Result<()>> {
        self.delete_object(url).boxed()
    }

    fn get_small<'a>(
        &'a self,
        url: &'a ObjectUrl,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<Bytes>>> {
        self.small(url, limit).boxed()
    }

    fn list<'a>(&'a self, prefix: &'a ObjectUrl) -> BoxFuture<'a, Result<Vec<Listed>>> {
        self.list_objects(prefix).boxed()
    }

    fn has_bucket<'a>(&'a self, url: &'a ObjectUrl) -> BoxFuture<'a, bool> {
        async move {
            let head = self
                .client()
                .await
                .head_bucket()
                .set_bucket(url.bucket().map(Into::into));
            let answer = head.send().await;
            !answer.is_err_and(|e| fault(Doing::Reading, url, &e).code == Code::SourceNotFound)
        }
        .boxed()
    }

    fn keeps_if_absent<'a>(&'a self, probe: &'a ObjectUrl) -> BoxFuture<'a, Result<bool>> {
        async move {
            self.if_absent
                .get_or_try_init(|| self.probe_if_absent(probe))
                .await
                .copied()
        }
        .boxed()
    }

    fn reachable(&self) -> BoxFuture<'_, Result<()>> {
        async move {
            // Any answer at all will do: a store that denies the listing is there.
            let answer = self
                .client()
                .await
                .list_buckets()
                .max_buckets(1)
                .send()
                .await;
            let anywhere = ObjectUrl::S3 {
                bucket: "-".into(),
                key: "-".into(),
            };
            match answer.map_err(|e| fault(Doing::Reading, &anywhere, &e)) {
                Err(fault) if fault.code == Code::StoreDown => Err(fault),
                _ => Ok(()),
            }
        }
        .boxed()
    }
}
