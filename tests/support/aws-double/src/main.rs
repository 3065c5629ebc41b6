//! `aws-double`: S3, KMS, Secrets Manager, IAM and STS on one loopback port, for ciphermill's tests.
//!
//! Why a separate process: the emulator's crates are AGPL-3.0-or-later. Nothing of ciphermill links them;
//! the tests start this program and speak HTTP to it. Everything lives in memory and dies with the process.
//!
//! Usage: `aws-double [127.0.0.1:PORT]`. Port 0, the default, takes a free one. The first line on stdout
//! is the endpoint, for example `http://127.0.0.1:14566`; it is printed once the socket is listening.
//! Any address but loopback is refused. With `VERIFY_SIGV4` set in the environment, request signatures
//! are checked (make keys with IAM CreateAccessKey, starting from the root pair test/test).
//! SIGTERM or SIGINT stops it at once.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use axum::{Extension, Router};
use fakecloud_core::{
    delivery::{DeliveryBus, KmsHook},
    dispatch::{self, DispatchConfig},
    multi_account::{AccountState, MultiAccountState},
    registry::ServiceRegistry,
};
use parking_lot::RwLock;
use tokio::signal::unix::{SignalKind, signal};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";

/// The state of one service, empty.
fn state<T: AccountState>(endpoint: &str) -> Arc<RwLock<MultiAccountState<T>>> {
    Arc::new(RwLock::new(MultiAccountState::new(
        ACCOUNT, REGION, endpoint,
    )))
}

/// Every service, wired as the real ones are: S3 and Secrets Manager encrypt through this KMS.
fn services(endpoint: &str, verify_sigv4: bool) -> Router {
    let s3: fakecloud_s3::SharedS3State = state(endpoint);
    let kms: fakecloud_kms::SharedKmsState = state(endpoint);
    let secrets: fakecloud_secretsmanager::SharedSecretsManagerState = state(endpoint);
    let iam: fakecloud_iam::SharedIamState = state(endpoint);

    let usage = Arc::new(RwLock::new(fakecloud_kms::hook::KmsUsageState::default()));
    let kms_hook: Arc<dyn KmsHook> =
        Arc::new(fakecloud_kms::hook::KmsServiceHook::new(kms.clone(), usage));
    let credentials =
        fakecloud_iam::credential_resolver::IamCredentialResolver::shared(iam.clone());

    let mut registry = ServiceRegistry::new();
    registry.register(Arc::new(fakecloud_kms::KmsService::new(kms.clone())));
    registry.register(Arc::new(
        fakecloud_secretsmanager::SecretsManagerService::new(secrets)
            .with_kms_hook(kms_hook.clone()),
    ));
    registry.register(Arc::new(
        fakecloud_s3::S3Service::new(s3, Arc::new(DeliveryBus::new()))
            .with_kms(kms)
            .with_kms_hook(kms_hook)
            .with_credential_resolver(credentials.clone()),
    ));
    registry.register(Arc::new(fakecloud_iam::iam_service::IamService::new(
        iam.clone(),
    )));
    registry.register(Arc::new(fakecloud_iam::sts_service::StsService::new(iam)));

    let mut config = DispatchConfig::new(REGION, ACCOUNT);
    config.verify_sigv4 = verify_sigv4;
    config.credential_resolver = Some(credentials);

    Router::new()
        .fallback(dispatch::dispatch)
        .layer(Extension(Arc::new(registry)))
        .layer(Extension(Arc::new(config)))
}

async fn stopped() {
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
}

async fn serve() -> Result<(), String> {
    let address: SocketAddr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned())
        .parse()
        .map_err(|e| format!("the first argument must be ADDRESS:PORT: {e}"))?;
    if !address.ip().is_loopback() {
        return Err(format!(
            "{address} is not loopback: this double has no access control and stays on this machine"
        ));
    }
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|e| format!("cannot listen on {address}: {e}"))?;
    let local = listener.local_addr().map_err(|e| e.to_string())?;
    let endpoint = format!("http://{local}");
    let app = services(&endpoint, std::env::var_os("VERIFY_SIGV4").is_some());
    println!("{endpoint}");
    let server = axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    );
    // Not a graceful stop: open keep-alive connections would hold it, and there is nothing to save.
    tokio::select! {
        result = server => result.map_err(|e| e.to_string()),
        () = stopped() => Ok(()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("error: {what}");
            ExitCode::from(2)
        }
    }
}
