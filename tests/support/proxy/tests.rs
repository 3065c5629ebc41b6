//! The fault proxy against a small origin server and a client that sends raw bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::proxy::{Fault, Proxy};

/// What the origin has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    body_bytes: AtomicUsize,
}

/// Up to the empty line; empty when the peer closed.
async fn read_head(from: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match from.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(head).expect("ASCII")
}

fn length(head: &str) -> usize {
    let head = head.to_ascii_lowercase();
    let value = head.split("content-length: ").nth(1).unwrap_or("0");
    let digits = value.split("\r\n").next().unwrap_or("0");
    digits.parse().expect("a number")
}

async fn read_chunked(from: &mut TcpStream) -> Vec<u8> {
    let mut raw = Vec::new();
    while !raw.ends_with(b"0\r\n\r\n") && !raw.ends_with(b"x-trailer: t\r\n\r\n") {
        raw.push(from.read_u8().await.expect("a chunk"));
    }
    raw
}

/// Answers by path: /len/N with N bytes; /chunked; /close with bytes up to the connection's end; /204; /304;
/// /refuse before the body is read. `Expect` gets its 100.
async fn origin() -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let addr = listener.local_addr().expect("addr");
    let seen = Arc::new(Seen::default());
    let shared = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream, shared.clone()));
        }
    });
    (addr, seen)
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>) -> std::io::Result<()> {
    loop {
        let head = read_head(&mut stream).await;
        if head.is_empty() {
            return Ok(());
        }
        let path = head.split(' ').nth(1).expect("a path").to_owned();
        if path == "/refuse" {
            let answer = "HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
            return stream.write_all(answer.as_bytes()).await;
        }
        if head.contains("Expect: 100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let got = if head.contains("Transfer-Encoding: chunked") {
            read_chunked(&mut stream).await.len()
        } else {
            let mut body = vec![0; length(&head)];
            stream.read_exact(&mut body).await?;
            body.len()
        };
        seen.body_bytes.fetch_add(got, Ordering::SeqCst);
        seen.requests.fetch_add(1, Ordering::SeqCst);
        if let Some(n) = path.strip_prefix("/len/") {
            let n: usize = n.parse().expect("a number");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n");
            stream.write_all(answer.as_bytes()).await?;
            if !head.starts_with("HEAD") {
                stream.write_all(&vec![b'x'; n]).await?;
            }
            continue;
        }
        let answer = match path.as_str() {
            "/chunked" => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5;ext=1\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nx-trailer: t\r\n\r\n"
            }
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\n\r\nuntil the end",
        };
        stream.write_all(answer.as_bytes()).await?;
        if path == "/close" {
            return Ok(());
        }
    }
}

async fn send(to: &mut TcpStream, bytes: &[u8]) {
    to.write_all(bytes).await.expect("send");
}

/// One request without a body, and its answer by Content-Length.
async fn get(stream: &mut TcpStream, path: &str) -> (String, Vec<u8>) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: somewhere:1\r\n\r\n");
    send(stream, request.as_bytes()).await;
    let head = read_head(stream).await;
    let mut body = vec![0; length(&head)];
    stream.read_exact(&mut body).await.expect("the body");
    (head, body)
}

async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is as good an end as any.
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

async fn client(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.addr()).await.expect("connect")
}

async fn setup() -> (Proxy, Arc<Seen>, TcpStream) {
    let (addr, seen) = origin().await;
    let proxy = Proxy::http(addr).await;
    let stream = client(&proxy).await;
    (proxy, seen, stream)
}

#[tokio::test]
async fn connections_are_kept_and_requests_are_logged() {
    let (proxy, seen, mut stream) = setup().await;
    for n in [0, 1, 70_000, 300_000] {
        let (head, body) = get(&mut stream, &format!("/len/{n}")).await;
        assert!(head.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(body, vec![b'x'; n]);
    }
    let head = b"PUT /?partNumber=7&x HTTP/1.1\r\nHost: h:1\r\nContent-Length: 200000\r\n\r\n";
    send(&mut stream, &[head.as_slice(), &[b'y'; 200_000]].concat()).await;
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert_eq!(seen.connections.load(Ordering::SeqCst), 1);
    assert_eq!(seen.body_bytes.load(Ordering::SeqCst), 200_000);

    let log = proxy.log();
    assert_eq!(log.len(), 5);
    assert!(log[..4].iter().all(|e| e.complete && e.status == Some(200)));
    assert_eq!(log[3].response_bytes, 300_000);
    assert_eq!(log[4].request_bytes, 200_000);
    assert_eq!(log[4].request.method, "PUT");
    assert_eq!(log[4].request.path(), "/");
    assert_eq!(log[4].request.query("partNumber"), Some("7"));
    assert_eq!(log[4].request.query("x"), Some(""));
    assert_eq!(log[4].request.query("art"), None);
    assert_eq!(log[4].request.header("Host"), Some("h:1"));
    proxy.clear();
    assert!(proxy.log().is_empty());
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_usable() {
    let (proxy, seen, mut stream) = setup().await;
    send(&mut stream, b"HEAD /len/5000 HTTP/1.1\r\n\r\n").await;
    assert_eq!(length(&read_head(&mut stream).await), 5000);
    for path in ["/204", "/304"] {
        let request = format!("GET {path} HTTP/1.1\r\n\r\n");
        send(&mut stream, request.as_bytes()).await;
        assert!(read_head(&mut stream).await.contains(&path[1..]));
    }
    assert_eq!(get(&mut stream, "/len/4").await.1, b"xxxx");
    assert_eq!(seen.connections.load(Ordering::SeqCst), 1);
    let bytes: Vec<u64> = proxy.log().iter().map(|e| e.response_bytes).collect();
    assert_eq!(bytes, [0, 0, 0, 4]);
}

#[tokio::test]
async fn chunks_pass_both_ways() {
    let (proxy, seen, mut stream) = setup().await;
    let request = b"PUT /chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    send(&mut stream, request).await;
    // The end comes in pieces: the state must survive that.
    for piece in ["A;x", "=y\r", "\n0123", "456789\r", "\n0\r\n", "\r\n"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
        send(&mut stream, piece.as_bytes()).await;
    }
    read_head(&mut stream).await;
    let raw = read_chunked(&mut stream).await;
    assert!(raw.starts_with(b"5;ext=1\r\nhello\r\n10\r\n"));
    assert_eq!(get(&mut stream, "/len/4").await.1, b"xxxx");
    assert_eq!(seen.connections.load(Ordering::SeqCst), 1);
    let log = proxy.log();
    assert_eq!((log[0].request_bytes, log[0].response_bytes), (13, 21));
}

#[tokio::test]
async fn a_body_up_to_the_connections_end_passes() {
    let (proxy, _, mut stream) = setup().await;
    send(&mut stream, b"GET /close HTTP/1.1\r\n\r\n").await;
    assert!(rest(&mut stream).await.ends_with(b"until the end"));
    assert!(proxy.log()[0].complete);
}

#[tokio::test]
async fn one_hundred_continue_is_passed_on() {
    let (proxy, _, mut stream) = setup().await;
    let head = "HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    for _ in 0..2 {
        send(&mut stream, format!("PUT /len/2 {head}").as_bytes()).await;
        assert_eq!(
            read_head(&mut stream).await,
            "HTTP/1.1 100 Continue\r\n\r\n"
        );
        send(&mut stream, b"body").await;
        assert_eq!(length(&read_head(&mut stream).await), 2);
        stream.read_exact(&mut [0; 2]).await.expect("the body");
    }
    // Refused by the server, and by a fault, before the body is sent: an answer, then the end.
    send(&mut stream, format!("PUT /refuse {head}").as_bytes()).await;
    assert!(rest(&mut stream).await.starts_with(b"HTTP/1.1 403"));
    proxy.set_fault(|_, _| Fault::Status(503, "SlowDown"));
    let mut stream = client(&proxy).await;
    send(&mut stream, format!("PUT /len/2 {head}").as_bytes()).await;
    assert!(rest(&mut stream).await.starts_with(b"HTTP/1.1 503"));
    let status: Vec<_> = proxy.log().iter().map(|e| e.status).collect();
    assert_eq!(status, [Some(200), Some(200), Some(403), Some(503)]);
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let (_proxy, _, mut stream) = setup().await;
    let head = b"PUT /refuse HTTP/1.1\r\nContent-Length: 900000\r\n\r\n";
    send(&mut stream, head).await;
    for _ in 0..9 {
        send(&mut stream, &[0; 100_000]).await;
    }
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 403"));
}

#[tokio::test]
async fn a_status_is_answered_in_the_servers_place() {
    let (proxy, seen, mut stream) = setup().await;
    proxy.set_fault(|head, n| match (head.method.as_str(), n) {
        ("PUT" | "POST", 0) => Fault::Status(503, "SlowDown"),
        _ => Fault::Pass,
    });
    let put = b"PUT /len/1 HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody";
    send(&mut stream, put).await;
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 503"));
    let mut body = vec![0; length(&head)];
    stream.read_exact(&mut body).await.expect("the error");
    let body = String::from_utf8(body).expect("text");
    assert!(body.contains("<Code>SlowDown</Code>"), "{body}");
    // The retry is the second of its kind, on the same connection; another target starts anew.
    send(&mut stream, put).await;
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
    stream.read_exact(&mut [0; 1]).await.expect("the body");
    let call = b"POST / HTTP/1.1\r\nX-Amz-Target: TrentService.Decrypt\r\n\r\n";
    send(&mut stream, call).await;
    let head = read_head(&mut stream).await;
    assert!(head.contains("application/x-amz-json-1.1"), "{head}");
    assert_eq!(seen.requests.load(Ordering::SeqCst), 1);
    assert_eq!(proxy.log().len(), 3);
}

#[tokio::test]
async fn a_response_is_cut_in_the_middle() {
    let (proxy, _, mut stream) = setup().await;
    proxy.fault_next(1, Fault::CutResponseAfter(100_001), |head| {
        head.path() == "/len/300000"
    });
    get(&mut stream, "/len/1").await;
    send(&mut stream, b"GET /len/300000 HTTP/1.1\r\n\r\n").await;
    assert_eq!(length(&read_head(&mut stream).await), 300_000);
    assert_eq!(rest(&mut stream).await.len(), 100_001);
    let mut stream = client(&proxy).await;
    assert_eq!(get(&mut stream, "/len/300000").await.1.len(), 300_000);
    let log = proxy.log();
    assert_eq!((log[1].response_bytes, log[1].complete), (100_001, false));
    assert!(log[2].complete);
}

#[tokio::test]
async fn an_answer_is_lost_after_the_work_was_done() {
    let (proxy, seen, mut stream) = setup().await;
    proxy.fault_next(1, Fault::LoseAnswer, |head| head.method == "PUT");
    let put = b"PUT /len/5 HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody";
    send(&mut stream, put).await;
    assert!(rest(&mut stream).await.is_empty());
    assert_eq!(seen.requests.load(Ordering::SeqCst), 1);
    let log = proxy.log();
    assert_eq!((log[0].status, log[0].complete), (Some(200), false));
}

#[tokio::test]
async fn a_connection_is_closed_before_the_server_hears_of_it() {
    let (proxy, seen, mut stream) = setup().await;
    proxy.fault_next(1, Fault::CloseBeforeForward, |_| true);
    send(&mut stream, b"GET /len/5 HTTP/1.1\r\n\r\n").await;
    assert!(rest(&mut stream).await.is_empty());
    assert_eq!(seen.requests.load(Ordering::SeqCst), 0);
    assert_eq!(proxy.log()[0].status, None);
    let mut stream = client(&proxy).await;
    get(&mut stream, "/len/5").await;
}

#[tokio::test]
async fn stalls_delays_and_low_rates_take_their_time() {
    let (proxy, _, mut stream) = setup().await;
    let pause = Duration::from_millis(300);
    let stall = Fault::StallResponse { after: 1000, pause };
    for fault in [stall, Fault::Delay(pause), Fault::Throttle(100_000)] {
        proxy.set_fault(move |_, _| fault);
        let begun = Instant::now();
        assert_eq!(get(&mut stream, "/len/40000").await.1.len(), 40_000);
        let took = begun.elapsed();
        assert!(took >= pause, "{fault:?} took {took:?}");
        assert!(took < pause * 20, "{fault:?} took {took:?}");
    }
    proxy.no_fault();
    assert!(proxy.log().iter().all(|e| e.complete && e.took >= pause));
}

#[tokio::test]
async fn down_means_every_connection() {
    let (proxy, _, mut open) = setup().await;
    get(&mut open, "/len/1").await;
    proxy.set_down(true);
    assert!(rest(&mut open).await.is_empty());
    let mut fresh = client(&proxy).await;
    assert!(rest(&mut fresh).await.is_empty());
    proxy.set_down(false);
    get(&mut client(&proxy).await, "/len/1").await;
}

#[tokio::test]
async fn a_server_that_is_gone_looks_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let nobody = listener.local_addr().expect("addr");
    drop(listener);
    let proxy = Proxy::http(nobody).await;
    let mut stream = client(&proxy).await;
    send(&mut stream, b"GET /len/1 HTTP/1.1\r\n\r\n").await;
    assert!(rest(&mut stream).await.is_empty());
    assert_eq!(proxy.log()[0].status, None);
}

#[tokio::test]
async fn plain_tcp_can_be_cut_and_swallowed() {
    let (addr, _) = origin().await;
    let proxy = Proxy::tcp(addr).await;
    let mut stream = client(&proxy).await;
    get(&mut stream, "/len/70000").await;
    proxy.set_blackhole(true);
    send(&mut stream, b"GET /len/3 HTTP/1.1\r\n\r\n").await;
    let mut byte = [0; 1];
    let silence = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut byte));
    assert!(silence.await.is_err());
    proxy.set_blackhole(false);
    assert_eq!(length(&read_head(&mut stream).await), 3);
    proxy.cut();
    rest(&mut stream).await;
    let mut stream = client(&proxy).await;
    get(&mut stream, "/len/3").await;
    proxy.set_down(true);
    rest(&mut stream).await;
    assert!(proxy.log().is_empty());
}
