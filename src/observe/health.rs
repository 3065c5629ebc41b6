//! The admin endpoints: `/live` (the process answers), `/ready` (jobs are taken) and `/metrics`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::metrics;

/// Connections served at once; more wait.
const CONNECTIONS: usize = 64;

/// What the worker says of itself.
pub struct Readiness {
    /// Whether it takes jobs.
    pub taking: bool,
    /// What stands beside that, a line each.
    pub words: String,
}

/// Answers whether the worker takes jobs, and refreshes gauges.
pub type Ready = Arc<dyn Fn() -> Readiness + Send + Sync>;

/// Binds and serves in the background; returns the address.
pub async fn serve(listen: SocketAddr, ready: Ready) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::spawn(async move {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let ready = Arc::clone(&ready);
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = answer(&request, &ready);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                http.keep_alive(false);
                let connection = http.serve_connection(TokioIo::new(stream), service);
                let _ = tokio::time::timeout(std::time::Duration::from_secs(10), connection).await;
                drop(place);
            });
        }
    });
    Ok(address)
}

fn answer(request: &Request<Incoming>, ready: &Ready) -> Response<Full<Bytes>> {
    let Readiness { taking, words } = ready();
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/live") => (StatusCode::OK, "text/plain", "live\n".to_owned()),
        (&Method::GET, "/ready") if taking => {
            (StatusCode::OK, "text/plain", format!("ready\n{words}"))
        }
        (&Method::GET, "/ready") => (
            StatusCode::SERVICE_UNAVAILABLE,
            "text/plain",
            format!("not taking jobs\n{words}"),
        ),
        (&Method::GET, "/metrics") => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, kind, metrics::text())
        }
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "try /live, /ready or /metrics\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
