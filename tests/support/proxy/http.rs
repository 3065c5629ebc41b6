//! HTTP/1.1: one exchange after the other on a client's connection, over one connection to the server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{sleep, timeout};

use super::wire::{Body, Head, Pumped, Reader, Shape, pump, reader};
use super::{Fault, Record, RequestHead, Shared, connect};

/// How long a server's early answer waits for the rest of the request before the connection is closed.
const PATIENCE: Duration = Duration::from_secs(5);

struct Side {
    read: Reader,
    write: OwnedWriteHalf,
}

impl Side {
    fn new(stream: TcpStream) -> Side {
        let (read, write) = stream.into_split();
        Side {
            read: reader(read),
            write,
        }
    }
}

/// Whether the connection can carry another exchange.
#[derive(PartialEq)]
enum After {
    KeepAlive,
    Close,
}

pub async fn serve(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let mut client = Side::new(client);
    let mut server: Option<Side> = None;
    loop {
        // A server that closes its idle connection closes the client's: the client would see it so without us.
        let head = tokio::select! {
            biased;
            head = Head::read(&mut client.read) => head?,
            () = gone(server.as_mut()) => return Ok(()),
        };
        let Some(head) = head else { return Ok(()) };
        let [method, target, _] = head.first.clone();
        let request = RequestHead {
            method,
            target,
            headers: head.headers.clone(),
        };
        let fault = shared.fault_for(&request);
        let record = shared.begin(request, fault);
        let after = exchange(&mut client, &mut server, &head, fault, &record, shared).await?;
        if after == After::Close {
            return Ok(());
        }
    }
}

/// Ends when the server closes the connection; never, when there is none.
async fn gone(side: Option<&mut Side>) {
    if let Some(side) = side {
        let half: &mut OwnedReadHalf = side.read.get_mut();
        if !matches!(half.peek(&mut [0]).await, Ok(n) if n > 0) {
            return;
        }
    }
    std::future::pending().await
}

async fn exchange(
    client: &mut Side,
    server: &mut Option<Side>,
    head: &Head,
    fault: Fault,
    record: &Record,
    shared: &Arc<Shared>,
) -> io::Result<After> {
    let mut shape = Shape::default();
    match fault {
        Fault::CloseBeforeForward => return Ok(After::Close),
        Fault::Status(status, code) => return refuse(client, head, status, code, record).await,
        Fault::Delay(pause) => sleep(pause).await,
        Fault::CutResponseAfter(bytes) => shape.cut_after = Some(bytes),
        Fault::StallResponse { after, pause } => shape.stall = Some((after, pause)),
        Fault::Throttle(rate) => shape.bytes_per_second = Some(rate.max(1)),
        Fault::Pass | Fault::LoseAnswer => {}
    }
    let server = match server {
        Some(server) => server,
        None => server.insert(Side::new(connect(shared.upstream).await?)),
    };

    let Side { read, write } = server;
    let request_shape = Shape {
        bytes_per_second: shape.bytes_per_second,
        ..Shape::default()
    };
    let body = head.request_body()?;
    let client_read = &mut client.read;
    let upload = async move {
        write.write_all(&head.raw).await?;
        let count = |n, _| record.write(|e| e.request_bytes += n);
        pump(client_read, Some(write), body, request_shape, count).await
    };
    let lose = fault == Fault::LoseAnswer;
    let client_write = &mut client.write;
    let download = answer(read, client_write, head, lose, shape, record);

    // Both at once: a server may answer before it has read everything, and says 100 before it reads at all.
    tokio::pin!(upload, download);
    let mut uploaded = None;
    let after = loop {
        tokio::select! {
            done = &mut upload, if uploaded.is_none() => {
                let done = done?;
                if matches!(done, Pumped::SourceGone) {
                    return Ok(After::Close);
                }
                uploaded = Some(done);
            }
            after = &mut download => break after?,
        }
    };
    let Answered::Whole { closes } = after else {
        return Ok(After::Close);
    };
    if uploaded.is_none() && !head.expects_continue() {
        uploaded = match timeout(PATIENCE, &mut upload).await {
            Ok(done) => Some(done?),
            Err(_) => None,
        };
    }
    let keep = matches!(uploaded, Some(Pumped::Whole)) && !closes && !head.closes(&head.first[2]);
    Ok(if keep { After::KeepAlive } else { After::Close })
}

enum Answered {
    Whole { closes: bool },
    Broken,
}

/// Hands the server's answer to the client, after any number of interim ones.
async fn answer(
    server: &mut Reader,
    client: &mut OwnedWriteHalf,
    request: &Head,
    lose: bool,
    shape: Shape,
    record: &Record,
) -> io::Result<Answered> {
    let head = loop {
        let Some(head) = Head::read(server).await? else {
            return Ok(Answered::Broken);
        };
        // 100 Continue must reach the client even when the answer will be lost: it would not send its body.
        if head.status()? >= 200 {
            break head;
        }
        client.write_all(&head.raw).await?;
    };
    let status = head.status()?;
    record.write(|e| e.status = Some(status));
    let body = head.response_body(&request.first[0])?;
    let closes = head.closes(&head.first[0]) || matches!(body, Body::UntilClose);
    if lose {
        pump(server, None::<&mut OwnedWriteHalf>, body, shape, |_, _| {}).await?;
        return Ok(Answered::Broken);
    }
    record.write(|e| e.complete = body.finished());
    client.write_all(&head.raw).await?;
    let count = |n, last| {
        record.write(|e| {
            e.response_bytes += n;
            e.complete = last;
        });
    };
    let pumped = pump(server, Some(client), body, shape, count).await?;
    let whole = matches!(pumped, Pumped::Whole);
    record.write(|e| e.complete = whole);
    Ok(if whole {
        Answered::Whole { closes }
    } else {
        Answered::Broken
    })
}

/// Answers in the server's place, in the words of S3, or of the JSON services if the request is theirs.
async fn refuse(
    client: &mut Side,
    head: &Head,
    status: u16,
    code: &str,
    record: &Record,
) -> io::Result<After> {
    // A client that waits for 100 Continue is refused before it sends its body; the connection ends with that.
    let waits = head.expects_continue();
    if !waits {
        let count = |n, _| record.write(|e| e.request_bytes += n);
        let body = head.request_body()?;
        let nowhere = None::<&mut OwnedWriteHalf>;
        pump(&mut client.read, nowhere, body, Shape::default(), count).await?;
    }
    let (kind, body) = match head.header("x-amz-target") {
        Some(_) => (
            "application/x-amz-json-1.1",
            format!("{{\"__type\":\"{code}\",\"message\":\"injected by the fault proxy\"}}"),
        ),
        None => (
            "application/xml",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
                 <Message>injected by the fault proxy</Message><RequestId>fault</RequestId></Error>"
            ),
        ),
    };
    let bodyless = head.first[0] == "HEAD" || status == 204 || status == 304;
    let close = waits || head.closes(&head.first[2]);
    let answer = format!(
        "HTTP/1.1 {status} Injected\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
         x-amz-request-id: fault\r\n{}\r\n{}",
        body.len(),
        if close { "connection: close\r\n" } else { "" },
        if bodyless { "" } else { &body },
    );
    record.write(|e| {
        e.status = Some(status);
        e.response_bytes = if bodyless { 0 } else { body.len() as u64 };
        e.complete = true;
    });
    client.write.write_all(answer.as_bytes()).await?;
    Ok(if close {
        After::Close
    } else {
        After::KeepAlive
    })
}
