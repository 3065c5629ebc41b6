//! AWS: one SDK configuration for every AWS protocol we speak, and the common part of its errors.
//!
//! Credentials, region and endpoints come from the SDK's own chain (`AWS_*`, profiles, web
//! identity), never from a message. `store::s3` and `keys::kms` come in for clients; nothing else.

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::sync::OnceCell;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for the first byte of an answer. A Complete of a huge object can take this long.
const READ: Duration = Duration::from_secs(60);
/// Tries of one request before it is a fault.
const TRIES: u32 = 4;

/// The SDK configuration, read when it is first needed: looking for credentials costs time that a
/// worker on local files need not spend.
#[derive(Clone, Default)]
pub struct Aws {
    config: Arc<OnceCell<SdkConfig>>,
}

impl Aws {
    /// A configuration that was made from a [`loader`] (for tests: several endpoints in one process).
    pub fn from_config(config: SdkConfig) -> Aws {
        Aws {
            config: Arc::new(OnceCell::new_with(Some(config))),
        }
    }

    /// The configuration.
    pub async fn config(&self) -> &SdkConfig {
        self.config.get_or_init(load).await
    }
}

/// The SDK's chain with our HTTP client, limits of time and retries.
pub fn loader() -> ConfigLoader {
    let client = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(READ)
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(client)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(TRIES))
}

async fn load() -> SdkConfig {
    let config = loader().load().await;
    if config.region().is_some() {
        return config;
    }
    // Compatible stores seldom care; the SDK refuses to sign without one.
    config
        .into_builder()
        .region(Region::new("us-east-1"))
        .build()
}

/// What an AWS service answered, as far as it did.
pub struct Answer<'a> {
    /// HTTP status; 0 when nothing came.
    pub status: u16,
    /// The service's error code, or nothing.
    pub code: &'a str,
    /// The service's own words, or nothing.
    pub text: &'a str,
}

impl<'a> Answer<'a> {
    /// The answer in an SDK error.
    pub fn of<E: ProvideErrorMetadata>(error: &'a SdkError<E, HttpResponse>) -> Answer<'a> {
        let service = error.as_service_error();
        let response = error.raw_response();
        Answer {
            status: response.map_or(0, |response| response.status().as_u16()),
            code: service.and_then(ProvideErrorMetadata::code).unwrap_or(""),
            text: service
                .and_then(ProvideErrorMetadata::message)
                .unwrap_or(""),
        }
    }
}

/// Text of an error and all its causes: the SDK's own texts say little.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    text
}

/// Error codes that say that the worker's own credentials are wrong or worn out: no job's fault.
pub fn is_credentials_code(code: &str) -> bool {
    matches!(
        code,
        "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidToken"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "RequestTimeTooSkewed"
            | "IncompleteSignature"
            | "InvalidSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "AuthorizationHeaderMalformed"
    )
}
