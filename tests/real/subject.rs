//! A real S3 store under test, and its bucket as a client of its own sees it.

use std::sync::Arc;

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use ciphermill::aws::Aws;
use ciphermill::store::s3::S3Store;
use futures_util::future::{BoxFuture, FutureExt};

use crate::lab::Lab;
use crate::store_suite::subject::{Described, Side, Subject};
use crate::support::Endpoint;

/// A store under test with a bucket of its own; `name` is its row in the table of abilities, too.
pub async fn s3(name: &'static str, endpoint: Endpoint) -> Subject {
    let lab = Lab::new(endpoint.clone()).await;
    let aws = Aws::from_config(endpoint.config().await);
    let store = Arc::new(S3Store::new(aws, endpoint.settings()));
    let root = lab.url("");
    let side = Box::new(RealSide { name, lab });
    Subject::s3(name, name, store, side, root)
}

struct RealSide {
    name: &'static str,
    lab: Lab,
}

impl Side for RealSide {
    fn uploads(&self) -> BoxFuture<'_, Vec<String>> {
        self.lab.uploads().boxed()
    }

    fn described<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Described> {
        async move {
            let (s3, bucket) = (&self.lab.s3, &self.lab.bucket);
            let head = s3.head_object().bucket(bucket).key(key).send().await;
            let head = head.expect("a head");
            let tags = s3.get_object_tagging().bucket(bucket).key(key).send().await;
            // A store that has no tags answers with a fault.
            let tags = tags.map(|answer| {
                let set = answer.tag_set().iter();
                set.map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
                    .collect()
            });
            Described {
                content_type: head.content_type().map(Into::into),
                storage_class: head.storage_class().map(|class| class.as_str().into()),
                tags: tags.unwrap_or_default(),
            }
        }
        .boxed()
    }

    fn kms_key(&self) -> BoxFuture<'_, String> {
        async move {
            match self.name {
                "aws double" => crate::keys::Kms::new().await.key().await,
                _ => "alias/any".into(),
            }
        }
        .boxed()
    }

    fn keep_versions(&self) -> BoxFuture<'_, bool> {
        async move {
            let enabled = VersioningConfiguration::builder()
                .status(BucketVersioningStatus::Enabled)
                .build();
            let asked = self.lab.s3.put_bucket_versioning();
            let asked = asked.bucket(&self.lab.bucket);
            let answer = asked.versioning_configuration(enabled).send().await;
            answer.is_ok()
        }
        .boxed()
    }
}
