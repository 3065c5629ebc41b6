//! The store as the driver sees it: directly, beside the proxy.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::ByteStream;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::checks::{Outcome, cannot};

/// The bucket that Garage is started with.
pub const BUCKET: &str = "parts";

pub struct Store(Client);

impl Store {
    /// The store that the environment names.
    pub async fn connect() -> Store {
        let aws = ciphermill::aws::Aws::default();
        let config = aws_sdk_s3::config::Builder::from(aws.config().await)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Store(Client::from_conf(config))
    }

    pub async fn put(&self, key: &str, path: &Path) -> Outcome<()> {
        let body = ByteStream::from_path(path).await;
        let body = body.map_err(cannot("read a file for the store"))?;
        let put = self.0.put_object().bucket(BUCKET).key(key).body(body);
        put.send().await.map(drop).map_err(said(key))
    }

    /// Fetches an object into a file or a pipe; the SHA-256 of it.
    pub async fn fetch(&self, key: &str, into: &Path) -> Outcome<String> {
        let get = self.0.get_object().bucket(BUCKET).key(key);
        let mut body = get.send().await.map_err(said(key))?.body;
        let mut options = tokio::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).open(into);
        let mut file = file.await.map_err(cannot("open the file for an object"))?;
        let mut digest = Sha256::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(cannot("read an object"))?;
            digest.update(&chunk);
            file.write_all(&chunk)
                .await
                .map_err(cannot("write an object"))?;
        }
        file.flush().await.map_err(cannot("write an object"))?;
        Ok(hex::encode(digest.finalize()))
    }

    /// Ids of multipart uploads that are neither completed nor aborted.
    pub async fn uploads(&self) -> Outcome<Vec<String>> {
        let answer = self.0.list_multipart_uploads().bucket(BUCKET).send().await;
        let answer = answer.map_err(said("the list of uploads"))?;
        let uploads = answer.uploads().iter();
        Ok(uploads
            .filter_map(|upload| upload.upload_id().map(Into::into))
            .collect())
    }

    /// Deletes everything below a prefix.
    pub async fn delete(&self, prefix: &str) -> Outcome<()> {
        loop {
            let list = self.0.list_objects_v2().bucket(BUCKET).prefix(prefix);
            let list = list.send().await.map_err(said(prefix))?;
            for key in list.contents().iter().filter_map(|object| object.key()) {
                let delete = self.0.delete_object().bucket(BUCKET).key(key);
                delete.send().await.map_err(said(key))?;
            }
            if !list.is_truncated().unwrap_or(false) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn said<E: std::error::Error>(what: &str) -> impl FnOnce(E) -> String + '_ {
    move |error| format!("the store, about {what}: {}", DisplayErrorContext(&error))
}
