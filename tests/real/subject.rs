//! A store under test, through the `Store` trait, and its bucket past it.

use std::sync::Arc;

use bytes::Bytes;
use ciphermill::aws::Aws;
use ciphermill::buffers::Pool;
use ciphermill::checksum::Checksum;
use ciphermill::fault::Fault;
use ciphermill::job::ObjectUrl;
use ciphermill::store::files::{Access, FileStore};
use ciphermill::store::s3::S3Store;
use ciphermill::store::{NewObject, PartPlace, Store, UploadId, UploadedPart};

use crate::lab::Lab;
use crate::support::{Endpoint, MIB};

/// A store under test.
pub struct Subject {
    pub name: &'static str,
    pub store: Arc<dyn Store>,
    /// Its bucket, past the store under test; none for files.
    pub lab: Option<Lab>,
    pub root: String,
    pub pool: Arc<Pool>,
    _dir: tempfile::TempDir,
}

impl Subject {
    pub fn files() -> Subject {
        let dir = tempfile::tempdir().expect("a folder");
        let root = format!("file://{}/", dir.path().display());
        let store = Arc::new(FileStore::new(Access::Below(dir.path().into())));
        Subject {
            name: "files",
            store,
            lab: None,
            root,
            pool: Pool::new(64 * MIB),
            _dir: dir,
        }
    }

    pub async fn s3(name: &'static str, endpoint: Endpoint) -> Subject {
        let lab = Lab::new(endpoint.clone()).await;
        let aws = Aws::from_config(endpoint.config().await);
        Subject {
            name,
            store: Arc::new(S3Store::new(aws, endpoint.settings())),
            root: lab.url(""),
            lab: Some(lab),
            pool: Pool::new(64 * MIB),
            _dir: tempfile::tempdir().expect("a folder"),
        }
    }

    pub fn is_s3(&self) -> bool {
        self.lab.is_some()
    }

    pub fn at(&self, key: &str) -> ObjectUrl {
        ObjectUrl::parse(&format!("{}{key}", self.root)).expect("a URL")
    }

    pub async fn put(&self, key: &str, new: &NewObject, body: &[u8]) -> Result<(), Fault> {
        let sum = new.checksum.of(body);
        self.put_as(key, new, body, &sum).await
    }

    pub async fn put_as(
        &self,
        key: &str,
        new: &NewObject,
        body: &[u8],
        sum: &Checksum,
    ) -> Result<(), Fault> {
        let body = Bytes::copy_from_slice(body);
        self.store.put(&self.at(key), new, body, sum).await
    }

    pub async fn small(&self, key: &str) -> Option<Vec<u8>> {
        let small = self.store.get_small(&self.at(key), MIB).await;
        small.expect("an answer").map(|bytes| bytes.to_vec())
    }

    /// The bytes of `range` of the version that `head` names now.
    pub async fn read(&self, key: &str, range: std::ops::Range<u64>) -> Vec<u8> {
        let url = self.at(key);
        let facts = self.store.head(&url, None).await.expect("facts");
        let len = (range.end - range.start) as usize;
        let buffer = self.pool.reserve(2 * len + MIB).await.expect("room");
        let read = self
            .store
            .read(&url, &facts.version, range, buffer.buffer(len));
        let (buffer, result) = read.await;
        result.expect("the bytes");
        buffer.to_vec()
    }

    pub async fn part(
        &self,
        key: &str,
        upload: &UploadId,
        (number, offset): (i32, usize),
        body: &[u8],
        sum: Checksum,
    ) -> Result<UploadedPart, Fault> {
        let place = PartPlace {
            number,
            offset: offset as u64,
        };
        let (url, body) = (self.at(key), Bytes::copy_from_slice(body));
        self.store.upload(&url, upload, place, body, sum).await
    }
}
