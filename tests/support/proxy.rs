//! The fault proxy: stands between the worker and a store, a KMS or a broker, writes down every request and
//! breaks what it is told to break. The servers used in tests cannot inject faults, and some mistakes only
//! show when the network does something rude: an answer lost after the work was done, a body cut in the middle.
//!
//! In comes a TCP connection from the client under test, out goes one to the real server; bytes pass as they
//! are, the Host header too, since the client's signature covers it. No TLS, no HTTP/2. It never holds more of
//! a body than one buffer of 64 KiB per direction.
#![allow(dead_code)] // Each test binary uses its own part of this.

// The paths are spelled out so that this file works as `mod proxy;` and as `#[path = ".../proxy.rs"] mod proxy;`.
#[path = "proxy/http.rs"]
mod http;
#[path = "proxy/tcp.rs"]
mod tcp;
#[path = "proxy/wire.rs"]
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Pass,
    /// Answers with this status and S3 error code (or AWS JSON error, for a request with X-Amz-Target); the
    /// server hears nothing. The request's body is read first.
    Status(u16, &'static str),
    /// Closes the connection after so many bytes of the response's body; a shorter one passes whole.
    CutResponseAfter(u64),
    /// Pauses after so many bytes of the response's body, then goes on.
    StallResponse {
        after: u64,
        pause: Duration,
    },
    /// The server gets the request and does its work; the client gets a closed connection.
    LoseAnswer,
    /// Closes the connection as soon as the request's head is read; the server hears nothing.
    CloseBeforeForward,
    /// Slows both bodies down to so many bytes per second.
    Throttle(u64),
    /// Waits before the request is forwarded.
    Delay(Duration),
}

/// A request without its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestHead {
    pub method: String,
    /// Path and query, as on the wire.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl RequestHead {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(p, _)| p)
    }

    /// The value of a query parameter, undecoded; an empty one for a bare name such as `?uploads`.
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find_map(|(n, value)| (n == name).then_some(value))
    }
}

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub request: RequestHead,
    /// What the server answered, or the proxy in its place; also when that answer was lost on purpose.
    pub status: Option<u16>,
    pub request_bytes: u64,
    /// Payload handed on to the client.
    pub response_bytes: u64,
    pub fault: Fault,
    pub started: SystemTime,
    pub took: Duration,
    /// The client was handed the whole answer.
    pub complete: bool,
}

type Chooser = dyn Fn(&RequestHead, usize) -> Fault + Send + Sync;
type Observer = dyn Fn(&Exchange) + Send + Sync;

struct Rules {
    choose: Arc<Chooser>,
    /// How often each method and target was asked for since `choose` was set.
    seen: HashMap<(String, String), usize>,
}

/// The whole proxy's condition; every connection watches it.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    down: bool,
    blackhole: bool,
    /// Connections from before the last cut are over.
    epoch: u64,
}

struct Shared {
    upstream: SocketAddr,
    rules: Mutex<Option<Rules>>,
    log: Mutex<Vec<Arc<Mutex<Exchange>>>>,
    observer: Option<Box<Observer>>,
    weather: watch::Sender<Weather>,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn fault_for(&self, head: &RequestHead) -> Fault {
        let (choose, n) = match lock(&self.rules).as_mut() {
            None => return Fault::Pass,
            Some(rules) => {
                let key = (head.method.clone(), head.target.clone());
                let n = rules.seen.entry(key).or_default();
                *n += 1;
                (rules.choose.clone(), *n - 1)
            }
        };
        choose(head, n)
    }

    fn begin(self: &Arc<Self>, request: RequestHead, fault: Fault) -> Record {
        let exchange = Arc::new(Mutex::new(Exchange {
            request,
            status: None,
            request_bytes: 0,
            response_bytes: 0,
            fault,
            started: SystemTime::now(),
            took: Duration::ZERO,
            complete: false,
        }));
        if self.observer.is_none() {
            lock(&self.log).push(exchange.clone());
        }
        Record {
            shared: self.clone(),
            exchange,
            begun: Instant::now(),
        }
    }
}

/// An exchange being written. Its end is the end of the exchange, however that came about.
struct Record {
    shared: Arc<Shared>,
    exchange: Arc<Mutex<Exchange>>,
    begun: Instant,
}

impl Record {
    fn write(&self, change: impl FnOnce(&mut Exchange)) {
        let mut exchange = lock(&self.exchange);
        change(&mut exchange);
        exchange.took = self.begun.elapsed();
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.write(|_| {});
        if let Some(observer) = &self.shared.observer {
            observer(&lock(&self.exchange));
        }
    }
}

/// A running proxy. It ends, with all its connections, when it is dropped.
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Http,
    Tcp,
}

impl Proxy {
    /// For S3, KMS and anything else in HTTP/1.1, on a free loopback port.
    pub async fn http(upstream: SocketAddr) -> Proxy {
        Self::on_free_port(upstream, Kind::Http).await
    }

    /// For AMQP and anything else: bytes only, no log and no faults per request, but `cut`, `set_down` and
    /// `set_blackhole`.
    pub async fn tcp(upstream: SocketAddr) -> Proxy {
        Self::on_free_port(upstream, Kind::Tcp).await
    }

    async fn on_free_port(upstream: SocketAddr, kind: Kind) -> Proxy {
        Self::start(([127, 0, 0, 1], 0).into(), upstream, kind, None)
            .await
            .expect("a free loopback port")
    }

    /// With an observer, each exchange is handed to it at its end, and nothing is kept for `log`.
    pub async fn start(
        listen: SocketAddr,
        upstream: SocketAddr,
        kind: Kind,
        observer: Option<Box<Observer>>,
    ) -> io::Result<Proxy> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            rules: Mutex::new(None),
            log: Mutex::default(),
            observer,
            weather: watch::Sender::new(Weather::default()),
        });
        let task = tokio::spawn(accept(listener, shared.clone(), kind));
        Ok(Proxy { addr, shared, task })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Every request since the start or the last `clear`, in order of arrival, running ones too.
    pub fn log(&self) -> Vec<Exchange> {
        let log = lock(&self.shared.log);
        log.iter().map(|exchange| lock(exchange).clone()).collect()
    }

    pub fn clear(&self) {
        lock(&self.shared.log).clear();
    }

    /// From now on `choose` decides the fate of each request. It hears how many requests with the same method
    /// and target (path and query) came before this one since `set_fault`: 0 for the first try, 1 for the
    /// first retry.
    pub fn set_fault(&self, choose: impl Fn(&RequestHead, usize) -> Fault + Send + Sync + 'static) {
        *lock(&self.shared.rules) = Some(Rules {
            choose: Arc::new(choose),
            seen: HashMap::new(),
        });
    }

    /// The next `times` requests for which `matches` is true meet `fault`; all others pass.
    pub fn fault_next(
        &self,
        times: usize,
        fault: Fault,
        matches: impl Fn(&RequestHead) -> bool + Send + Sync + 'static,
    ) {
        let left = Mutex::new(times);
        self.set_fault(move |head, _| {
            if !matches(head) {
                return Fault::Pass;
            }
            let mut left = lock(&left);
            if *left == 0 {
                return Fault::Pass;
            }
            *left -= 1;
            fault
        });
    }

    pub fn no_fault(&self) {
        *lock(&self.shared.rules) = None;
    }

    /// Down: open connections break now, and new ones are closed as soon as they are made.
    pub fn set_down(&self, down: bool) {
        self.shared.weather.send_modify(|w| {
            w.down = down;
            w.epoch += u64::from(down);
        });
    }

    /// Breaks the connections that are open now; new ones are welcome.
    pub fn cut(&self) {
        self.shared.weather.send_modify(|w| w.epoch += 1);
    }

    /// A TCP proxy's connections stay open, also new ones, but no byte passes until this is taken back.
    pub fn set_blackhole(&self, on: bool) {
        self.shared.weather.send_modify(|w| w.blackhole = on);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, kind: Kind) {
    let mut connections = JoinSet::new();
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((client, _)) = client else {
            // Out of descriptors, most likely: some will be freed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let weather = *shared.weather.borrow();
        if !weather.down {
            connections.spawn(connection(client, shared.clone(), kind, weather.epoch));
        }
    }
}

/// One connection, until its end, the server's, or the next cut. The errors end here: for the client they all
/// look like a closed connection, and what it was told until then is in the log.
async fn connection(client: TcpStream, shared: Arc<Shared>, kind: Kind, epoch: u64) {
    let mut weather = shared.weather.subscribe();
    let served = async {
        client.set_nodelay(true)?;
        match kind {
            Kind::Http => http::serve(client, &shared).await,
            Kind::Tcp => tcp::serve(client, &shared).await,
        }
    };
    tokio::select! {
        _ = served => {}
        _ = weather.wait_for(|w| w.epoch != epoch) => {}
    }
}

async fn connect(upstream: SocketAddr) -> io::Result<TcpStream> {
    let server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    Ok(server)
}
