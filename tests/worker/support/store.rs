//! Garage, and the AWS double's KMS, as a test sees them: past the program and past its proxies.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::primitives::ByteStream;

use super::variable;

fn http_client() -> aws_sdk_s3::config::SharedHttpClient {
    use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
    let builder = aws_smithy_http_client::Builder::new();
    builder
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
}

/// The real store.
pub struct S3(Client);

impl S3 {
    pub fn connect() -> S3 {
        let credentials = Credentials::new(
            variable("CIPHERMILL_TEST_GARAGE_KEY"),
            variable("CIPHERMILL_TEST_GARAGE_SECRET"),
            None,
            None,
            "test",
        );
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http_client())
            .endpoint_url(variable("CIPHERMILL_TEST_GARAGE"))
            .region(Region::new("us-east-1"))
            .credentials_provider(credentials)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        S3(Client::from_conf(config))
    }

    pub async fn create_bucket(&self, bucket: &str) {
        self.0.create_bucket().bucket(bucket).send().await.unwrap();
    }

    /// `at` is `bucket/key`.
    pub async fn put(&self, at: &str, bytes: &[u8]) {
        let (bucket, key) = at.split_once('/').unwrap();
        let body = ByteStream::from(bytes.to_vec());
        let put = self.0.put_object().bucket(bucket).key(key).body(body);
        put.send().await.unwrap();
    }

    pub async fn get(&self, at: &str) -> Option<Vec<u8>> {
        let (bucket, key) = at.split_once('/').unwrap();
        let answer = self.0.get_object().bucket(bucket).key(key).send().await;
        let body = answer.ok()?.body.collect().await.unwrap();
        Some(body.into_bytes().to_vec())
    }

    pub async fn exists(&self, at: &str) -> bool {
        let (bucket, key) = at.split_once('/').unwrap();
        let head = self.0.head_object().bucket(bucket).key(key).send().await;
        head.is_ok()
    }

    pub async fn etag(&self, at: &str) -> String {
        let (bucket, key) = at.split_once('/').unwrap();
        let head = self.0.head_object().bucket(bucket).key(key).send().await;
        head.unwrap().e_tag().unwrap().trim_matches('"').to_owned()
    }

    /// Multipart uploads that are open.
    pub async fn uploads(&self, bucket: &str) -> usize {
        let list = self.0.list_multipart_uploads().bucket(bucket).send().await;
        list.unwrap().uploads().len()
    }

    pub async fn keys(&self, bucket: &str) -> Vec<String> {
        let list = self.0.list_objects_v2().bucket(bucket).send().await;
        let list = list.unwrap();
        let keys = list.contents().iter().filter_map(|object| object.key());
        keys.map(str::to_owned).collect()
    }
}

/// The KMS of the AWS double.
pub struct Kms(aws_sdk_kms::Client);

impl Kms {
    pub fn connect() -> Kms {
        let config = aws_sdk_kms::Config::builder()
            .behavior_version(aws_sdk_kms::config::BehaviorVersion::latest())
            .http_client(http_client())
            .endpoint_url(variable("CIPHERMILL_TEST_AWS"))
            .region(aws_sdk_kms::config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_kms::config::Credentials::new(
                "test", "test", None, None, "test",
            ))
            .build();
        Kms(aws_sdk_kms::Client::from_conf(config))
    }

    /// A new master key's id.
    pub async fn create(&self) -> String {
        let made = self.0.create_key().send().await.unwrap();
        made.key_metadata().unwrap().key_id().to_owned()
    }

    pub async fn disable(&self, id: &str) {
        self.0.disable_key().key_id(id).send().await.unwrap();
    }

    pub async fn schedule_deletion(&self, id: &str) {
        let gone = self.0.schedule_key_deletion().key_id(id);
        gone.pending_window_in_days(7).send().await.unwrap();
    }

    pub async fn wrap(&self, id: &str, key: &[u8], context: &[(&str, &str)]) -> Vec<u8> {
        let blob = aws_sdk_kms::primitives::Blob::new(key);
        let mut wrap = self.0.encrypt().key_id(id).plaintext(blob);
        for (name, value) in context {
            wrap = wrap.encryption_context(*name, *value);
        }
        let wrapped = wrap.send().await.unwrap();
        wrapped.ciphertext_blob().unwrap().as_ref().to_vec()
    }
}
