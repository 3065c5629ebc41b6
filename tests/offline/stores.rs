//! The suite for every store, without servers: files, and the store in memory as AWS, as the AWS double and as Garage.
//! The rows of the table of abilities are those of the real stores, so that it does what those were seen to do.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ciphermill::clock::VirtualClock;
use ciphermill::job::ObjectUrl;
use ciphermill::store::memory::{Abilities, MemoryStore};
use futures_util::future::{BoxFuture, FutureExt};

use crate::store_suite::subject::{Described, Side, Subject};
use crate::store_suite::{abilities, conforms};

const BUCKET: &str = "offline";

/// A store in memory, looked at from behind.
struct MemorySide(Arc<MemoryStore>);

impl Side for MemorySide {
    fn uploads(&self) -> BoxFuture<'_, Vec<String>> {
        let open = self.0.open_uploads(BUCKET).into_iter();
        let keys = open.map(|upload| upload.key).collect();
        std::future::ready(keys).boxed()
    }

    fn described<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Described> {
        let url = ObjectUrl::parse(&format!("s3://{BUCKET}/{key}")).expect("a URL");
        let object = self.0.object(&url).expect("an object");
        std::future::ready(Described {
            content_type: Some(object.content_type),
            storage_class: object.storage_class,
            tags: object.tags,
        })
        .boxed()
    }

    fn kms_key(&self) -> BoxFuture<'_, String> {
        std::future::ready("alias/any".into()).boxed()
    }

    fn keep_versions(&self) -> BoxFuture<'_, bool> {
        std::future::ready(self.0.keep_versions(BUCKET).is_ok()).boxed()
    }
}

fn memory(name: &'static str, row: &'static str, abilities: Abilities) -> Subject {
    let base = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let clock = Arc::new(VirtualClock::new(base));
    let store = Arc::new(MemoryStore::new(abilities, clock));
    store.create_bucket(BUCKET);
    let side = Box::new(MemorySide(store.clone()));
    Subject::s3(name, row, store, side, format!("s3://{BUCKET}/"))
}

fn aws() -> Subject {
    memory("memory as aws", "aws", Abilities::aws())
}

fn aws_double() -> Subject {
    memory("memory as double", "aws double", Abilities::aws_double())
}

fn garage() -> Subject {
    memory("memory as garage", "garage", Abilities::garage())
}

#[tokio::test]
async fn files_conform() {
    conforms(&Subject::files()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_conforms_as_aws() {
    conforms(&aws()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_conforms_as_the_aws_double() {
    conforms(&aws_double()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_conforms_as_garage() {
    conforms(&garage()).await;
}

#[tokio::test]
async fn the_table_of_abilities_holds() {
    abilities::check(&[Subject::files(), garage(), aws_double(), aws()]).await;
}
