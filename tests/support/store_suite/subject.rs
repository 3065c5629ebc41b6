//! A store under test, through the `Store` trait, and what can be seen of it past the trait.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use ciphermill::buffers::Pool;
use ciphermill::checksum::Checksum;
use ciphermill::fault::Fault;
use ciphermill::job::ObjectUrl;
use ciphermill::store::files::{Access, FileStore};
use ciphermill::store::{NewObject, PartPlace, Store, UploadId, UploadedPart};
use futures_util::future::BoxFuture;

use super::MIB;

/// The bucket of a store under test, past the store.
pub trait Side: Send + Sync {
    /// Names of objects with multipart uploads under way.
    fn uploads(&self) -> BoxFuture<'_, Vec<String>>;

    /// What a client of its own sees of an object.
    fn described<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Described>;

    /// A key that the store can encrypt with.
    fn kms_key(&self) -> BoxFuture<'_, String>;

    /// Lets the bucket keep versions; `false` where it cannot.
    fn keep_versions(&self) -> BoxFuture<'_, bool>;
}

/// What was said of an object when it was made.
pub struct Described {
    pub content_type: Option<String>,
    pub storage_class: Option<String>,
    pub tags: BTreeMap<String, String>,
}

/// A store under test.
pub struct Subject {
    pub name: &'static str,
    /// Its row in the table of abilities.
    pub row: &'static str,
    pub store: Arc<dyn Store>,
    /// None for files.
    pub side: Option<Box<dyn Side>>,
    pub root: String,
    pub pool: Arc<Pool>,
    _dir: Option<tempfile::TempDir>,
}

impl Subject {
    pub fn files() -> Subject {
        let dir = tempfile::tempdir().expect("a folder");
        Subject {
            name: "files",
            row: "files",
            store: Arc::new(FileStore::new(Access::Below(dir.path().into()))),
            side: None,
            root: format!("file://{}/", dir.path().display()),
            pool: Pool::new(64 * MIB),
            _dir: Some(dir),
        }
    }

    /// `root` is the URL of its bucket.
    pub fn s3(
        name: &'static str,
        row: &'static str,
        store: Arc<dyn Store>,
        side: Box<dyn Side>,
        root: String,
    ) -> Subject {
        Subject {
            name,
            row,
            store,
            side: Some(side),
            root,
            pool: Pool::new(64 * MIB),
            _dir: None,
        }
    }

    pub fn is_s3(&self) -> bool {
        self.side.is_some()
    }

    /// What the table of abilities says of this store.
    pub fn can(&self, ability: &str) -> bool {
        super::abilities::known(self.row, ability)
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

    /// The ETag of what is there now.
    pub async fn etag(&self, key: &str) -> String {
        let facts = self.store.head(&self.at(key), None).await;
        facts.expect("facts").version.etag
    }

    /// The bytes of `range` of the version that `head` names now.
    pub async fn read(&self, key: &str, range: Range<u64>) -> Vec<u8> {
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

    pub async fn begin(&self, key: &str, new: &NewObject) -> UploadId {
        self.store.begin(&self.at(key), new).await.expect("begun")
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

    /// An upload with one part, ready to be completed.
    pub async fn staged(&self, key: &str, new: &NewObject, body: &[u8]) -> Staged {
        let upload = self.begin(key, new).await;
        let sum = new.checksum.of(body);
        let part = self.part(key, &upload, (1, 0), body, sum).await;
        Staged {
            url: self.at(key),
            upload,
            parts: vec![part.expect("uploaded")],
        }
    }

    pub async fn complete(&self, staged: &Staged, new: &NewObject) -> Result<(), Fault> {
        let Staged { url, upload, parts } = staged;
        self.store.complete(url, upload, new, parts).await
    }
}

/// An upload whose parts are there.
pub struct Staged {
    pub url: ObjectUrl,
    pub upload: UploadId,
    pub parts: Vec<UploadedPart>,
}
