//! The TLS front of the store: a TCP port on loopback that speaks TLS 1.3 and passes the bytes on to Garage, which
//! has no TLS of its own. It runs in the benchmark's process, so that its CPU time is nobody's who is measured.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{Outcome, cannot};

const BUFFER_BYTES: usize = 64 << 10;

/// Starts it with the certificate that lies beside the authority's; it ends with the runtime.
pub async fn start(upstream: SocketAddr, ca: &Path) -> Outcome<SocketAddr> {
    let acceptor = TlsAcceptor::from(Arc::new(config(ca)?));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.map_err(cannot("listen"))?;
    let address = listener.local_addr().map_err(cannot("listen"))?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            // A client that breaks off is its own business: the turn's check sees what came of it.
            tokio::spawn(async move { serve(acceptor, client, upstream).await.ok() });
        }
    });
    Ok(address)
}

async fn serve(
    acceptor: TlsAcceptor,
    client: TcpStream,
    upstream: SocketAddr,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = acceptor.accept(client).await?;
    let mut server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER_BYTES, BUFFER_BYTES).await?;
    Ok(())
}

fn config(ca: &Path) -> Outcome<ServerConfig> {
    let [certificate, key] = ["server.pem", "server.key"].map(|name| ca.with_file_name(name));
    let chain = CertificateDer::pem_file_iter(certificate).map_err(cannot("read a certificate"))?;
    let chain = chain.collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_file(key).map_err(cannot("read a private key"))?;
    let config = ServerConfig::builder().with_no_client_auth();
    let chain = chain.map_err(cannot("read a certificate"))?;
    let mut config = config
        .with_single_cert(chain, key)
        .map_err(cannot("use the certificate"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
