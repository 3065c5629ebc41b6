//! The store as the benchmark sees it: sources put, outputs looked at and fetched, and its own count of requests.
//! Never under measurement.

use std::collections::BTreeMap;
use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::random_bytes;
use crate::{Outcome, cannot};

/// The bucket that Garage is started with.
pub const BUCKET: &str = "parts";

/// Parts of sources. No program under measurement writes parts of this length, so that no block of an output, which
/// Garage cuts anew in every part, is one of its source: a copy has to be stored as every other output has.
const SOURCE_PART_BYTES: u64 = 9_437_189;
/// Requests in flight when sources are put.
const IN_FLIGHT: usize = 4;
const SMALL_IN_FLIGHT: usize = 32;

/// A plaintext that was put.
#[derive(Clone, Debug)]
pub struct Source {
    pub sha256: String,
}

/// What lies below a prefix.
#[derive(Clone, Debug)]
pub struct Listed {
    pub key: String,
    pub bytes: u64,
}

/// Requests by the store's own names.
pub type Requests = BTreeMap<String, u64>;

pub struct Store {
    client: Client,
    /// Address of the store's admin endpoint.
    admin: String,
}

/// A client with the worker's HTTP client and settings, at the endpoint that the environment names.
pub async fn sdk_client() -> Client {
    let aws = ciphermill::aws::Aws::default();
    let config = aws_sdk_s3::config::Builder::from(aws.config().await)
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}

impl Store {
    pub async fn connect(admin: &str) -> Outcome<Store> {
        Ok(Store {
            client: sdk_client().await,
            admin: admin.trim_start_matches("http://").into(),
        })
    }

    /// Puts an object of fresh random bytes.
    pub async fn put_random(&self, key: &str, bytes: u64) -> Outcome<Source> {
        let mut random = fastrand::Rng::with_seed(u64::from_le_bytes(random_bytes()?));
        let mut digest = Sha256::new();
        let parts = bytes.div_ceil(SOURCE_PART_BYTES).max(1);
        // Parts are made one after the other, as the hash wants them, while others are on their way.
        let parts = (0..parts).map(|index| {
            let left = bytes - index * SOURCE_PART_BYTES;
            let mut part = vec![0; left.min(SOURCE_PART_BYTES) as usize];
            random.fill(&mut part);
            digest.update(&part);
            Bytes::from(part)
        });
        self.put_parts(key, parts).await?;
        let sha256 = hex::encode(digest.finalize());
        Ok(Source { sha256 })
    }

    async fn put_parts(&self, key: &str, parts: impl Iterator<Item = Bytes>) -> Outcome<()> {
        let create = self
            .client
            .create_multipart_upload()
            .bucket(BUCKET)
            .key(key);
        let upload = create.send().await.map_err(said(key))?;
        let upload_id = upload.upload_id().unwrap_or_default();
        let puts = parts.zip(1..).map(|(body, number)| async move {
            let request = self.client.upload_part().bucket(BUCKET).key(key);
            let request = request.upload_id(upload_id).part_number(number);
            let request = request.body(ByteStream::from(body)).customize();
            let put = request.disable_payload_signing().send().await;
            let etag = put.map_err(said(key))?.e_tag.unwrap_or_default();
            Ok::<_, String>(
                CompletedPart::builder()
                    .part_number(number)
                    .e_tag(etag)
                    .build(),
            )
        });
        let parts: Vec<_> = stream::iter(puts).buffered(IN_FLIGHT).try_collect().await?;
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let complete = self
            .client
            .complete_multipart_upload()
            .bucket(BUCKET)
            .key(key);
        let complete = complete.upload_id(upload_id).multipart_upload(parts);
        complete.send().await.map(drop).map_err(said(key))
    }

    /// Puts many small objects of fresh random bytes, by these keys; the first of them.
    pub async fn put_small(&self, keys: &[String], bytes: u64) -> Outcome<Source> {
        let mut random = fastrand::Rng::with_seed(u64::from_le_bytes(random_bytes()?));
        let mut first = None;
        let puts: Vec<_> = keys
            .iter()
            .map(|key| {
                let mut body = vec![0; bytes as usize];
                random.fill(&mut body);
                first.get_or_insert_with(|| hex::encode(Sha256::digest(&body)));
                let put = self.client.put_object().bucket(BUCKET).key(key);
                async move {
                    put.body(body.into())
                        .send()
                        .await
                        .map(drop)
                        .map_err(said(key))
                }
            })
            .collect();
        let puts = stream::iter(puts).buffer_unordered(SMALL_IN_FLIGHT);
        puts.try_collect::<()>().await?;
        let sha256 = first.unwrap_or_default();
        Ok(Source { sha256 })
    }

    /// All objects below a prefix, in order.
    pub async fn list(&self, prefix: &str) -> Outcome<Vec<Listed>> {
        let list = self.client.list_objects_v2().bucket(BUCKET).prefix(prefix);
        let mut pages = list.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(said(prefix))?;
            found.extend(page.contents().iter().map(|object| {
                Listed {
                    key: object.key().unwrap_or_default().into(),
                    bytes: object
                        .size()
                        .and_then(|size| size.try_into().ok())
                        .unwrap_or(0),
                }
            }));
        }
        Ok(found)
    }

    /// Fetches an object into a file.
    pub async fn fetch(&self, key: &str, into: &Path) -> Outcome<()> {
        let get = self.client.get_object().bucket(BUCKET).key(key);
        let mut body = get.send().await.map_err(said(key))?.body;
        let file = tokio::fs::File::create(into).await;
        let mut file = file.map_err(cannot("make a file"))?;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(cannot("read an object"))?;
            file.write_all(&chunk)
                .await
                .map_err(cannot("write an object"))?;
        }
        file.flush().await.map_err(cannot("write an object"))
    }

    /// Requests that the store has answered since it was started, by its own count.
    pub async fn requests(&self) -> Outcome<Requests> {
        let text = self
            .metrics()
            .await
            .map_err(cannot("read the store's metrics"))?;
        let lines = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("api_s3_request_counter{api_endpoint=\"")?;
            let (name, rest) = rest.split_once('"')?;
            let count: f64 = rest.split_once('}')?.1.trim().parse().ok()?;
            Some((name.to_owned(), count as u64))
        });
        Ok(lines.collect())
    }

    async fn metrics(&self) -> std::io::Result<String> {
        let mut connection = TcpStream::connect(&self.admin).await?;
        let request = format!("GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", self.admin);
        connection.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

/// Requests between two counts.
pub fn between(before: &Requests, after: &Requests) -> Requests {
    let since =
        |name: &String, count: u64| count - before.get(name).copied().unwrap_or(0).min(count);
    let all = after
        .iter()
        .map(|(name, count)| (name.clone(), since(name, *count)));
    all.filter(|(_, count)| *count > 0).collect()
}

pub fn said<E: std::error::Error>(what: &str) -> impl FnOnce(E) -> String + '_ {
    move |error| format!("the store, about {what}: {}", DisplayErrorContext(&error))
}
