//! `fault-proxy`: the fault proxy as a program, for runs in which requests are counted and not broken.
//!
//! `fault-proxy --listen 127.0.0.1:0 --upstream HOST:PORT --log FILE` prints its endpoint on stdout and writes
//! one JSON line per HTTP exchange, at its end. It runs until it is killed.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

#[path = "proxy.rs"]
mod proxy;
#[cfg(test)]
#[path = "proxy/tests.rs"]
mod tests;

use proxy::{Exchange, Kind, Proxy};

const USAGE: &str = "usage: fault-proxy --listen 127.0.0.1:PORT --upstream HOST:PORT --log FILE";

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out + "\""
}

/// Headers stay out of the line, but for the two that tell what a request is about: some hold credentials.
fn line(exchange: &Exchange) -> String {
    let header = |name| exchange.request.header(name).map_or("null".into(), quoted);
    format!(
        "{{\"time\":{:.6},\"method\":{},\"target\":{},\"range\":{},\"amz_target\":{},\"status\":{},\
         \"request_bytes\":{},\"response_bytes\":{},\"seconds\":{:.6},\"complete\":{}}}\n",
        exchange
            .started
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64(),
        quoted(&exchange.request.method),
        quoted(&exchange.request.target),
        header("range"),
        header("x-amz-target"),
        exchange.status.map_or("null".into(), |s| s.to_string()),
        exchange.request_bytes,
        exchange.response_bytes,
        exchange.took.as_secs_f64(),
        exchange.complete,
    )
}

async fn run() -> io::Result<()> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, USAGE);
    let (mut listen, mut upstream, mut log) = ("127.0.0.1:0".to_owned(), None, None);
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(usage)?;
        match name.as_str() {
            "--listen" => listen = value,
            "--upstream" => upstream = Some(value),
            "--log" => log = Some(value),
            _ => return Err(usage()),
        }
    }
    let listen = listen.parse().map_err(|_| usage())?;
    let upstream = tokio::net::lookup_host(upstream.ok_or_else(usage)?)
        .await?
        .next()
        .ok_or_else(usage)?;
    let file = Mutex::new(std::fs::File::create(log.ok_or_else(usage)?)?);
    let write = move |exchange: &Exchange| {
        // One write per line: a reader of the file never meets half a line for long.
        if let Ok(mut file) = file.lock()
            && let Err(e) = file.write_all(line(exchange).as_bytes())
        {
            eprintln!("error: cannot write the log: {e}");
        }
    };
    let proxy = Proxy::start(listen, upstream, Kind::Http, Some(Box::new(write))).await?;
    println!("{}", proxy.endpoint());
    std::future::pending().await
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(2)
        }
    }
}
