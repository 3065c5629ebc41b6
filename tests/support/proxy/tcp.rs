//! Bytes in both directions, for AMQP. They stop while the proxy is a black hole.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use super::wire::{Reader, reader};
use super::{Shared, connect};

pub async fn serve(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    clear_sky(shared).await;
    let (from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = connect(shared.upstream).await?.into_split();
    let (mut from_client, mut from_server) = (reader(from_client), reader(from_server));
    tokio::try_join!(
        copy(&mut from_client, &mut to_server, shared),
        copy(&mut from_server, &mut to_client, shared),
    )?;
    Ok(())
}

async fn clear_sky(shared: &Shared) {
    let mut weather = shared.weather.subscribe();
    // The sender lives as long as `shared`: this cannot fail.
    let _ = weather.wait_for(|w| !w.blackhole).await;
}

async fn copy(from: &mut Reader, to: &mut OwnedWriteHalf, shared: &Shared) -> io::Result<()> {
    loop {
        let data = from.fill_buf().await?;
        clear_sky(shared).await;
        if data.is_empty() {
            return to.shutdown().await;
        }
        let n = data.len();
        to.write_all(data).await?;
        from.consume(n);
    }
}
