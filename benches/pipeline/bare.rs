//! The bare loop: GET and PUT with the worker's AWS client, part size and requests in flight, and nothing else: no
//! queue, no checksum, no cipher. A process of its own, so that it is measured as the others are.

use std::ops::Range;
use std::path::Path;
use std::process::Command;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::settings::{IN_FLIGHT, PART_BYTES};
use crate::store::{BUCKET, said, sdk_client};
use crate::world::{Endpoint, client};
use crate::{Outcome, cannot};

/// The first argument by which the benchmark knows that it is to be the loop.
pub const NAME: &str = "bare";

/// The command for one large object.
pub fn large(endpoint: &Endpoint, from: &str, to: &str) -> Outcome<Command> {
    command(endpoint, &["large", from, to])
}

/// The command for many small ones, so many at a time.
pub fn small(endpoint: &Endpoint, count: usize, depth: usize) -> Outcome<Command> {
    command(endpoint, &["small", &count.to_string(), &depth.to_string()])
}

fn command(endpoint: &Endpoint, arguments: &[&str]) -> Outcome<Command> {
    let program = std::env::current_exe().map_err(cannot("find this program"))?;
    let mut command = client(Path::new(&program), endpoint);
    command.arg(NAME).args(arguments);
    Ok(command)
}

/// Keys of the small objects.
pub fn small_keys(folder: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|index| format!("{folder}/{index:05}"))
        .collect()
}

/// The loop itself.
pub async fn run(arguments: &[String]) -> Outcome<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let client = sdk_client().await;
    match words[..] {
        ["large", from, to] => copy_large(&client, from, to).await,
        ["small", count, depth] => {
            let count = count.parse().map_err(cannot("read a number"))?;
            let depth = depth.parse().map_err(cannot("read a number"))?;
            copy_small(&client, count, depth).await
        }
        _ => Err("usage: bare large FROM TO, bare small COUNT DEPTH".into()),
    }
}

async fn copy_large(client: &Client, from: &str, to: &str) -> Outcome<()> {
    let head = client.head_object().bucket(BUCKET).key(from);
    let length = head.send().await.map_err(said(from))?.content_length();
    let length = length
        .and_then(|length| u64::try_from(length).ok())
        .unwrap_or(0);
    let create = client.create_multipart_upload().bucket(BUCKET).key(to);
    let upload_id = create
        .send()
        .await
        .map_err(said(to))?
        .upload_id
        .unwrap_or_default();
    let ranges = (0..length.div_ceil(PART_BYTES)).map(|index| {
        let start = index * PART_BYTES;
        start..(start + PART_BYTES).min(length)
    });
    // Each request on a task of its own: one core is not to be the limit.
    let gets = ranges.map(|range| spawned(get(client.clone(), from.to_owned(), Some(range))));
    let puts = stream::iter(gets)
        .buffered(IN_FLIGHT)
        .zip(stream::iter(1..))
        .map(|(body, number)| {
            let (client, to, upload_id) = (client.clone(), to.to_owned(), upload_id.clone());
            spawned(async move { put_part(client, to, upload_id, number, body?).await })
        });
    let mut parts: Vec<CompletedPart> = puts.buffer_unordered(IN_FLIGHT).try_collect().await?;
    parts.sort_by_key(CompletedPart::part_number);
    let parts = CompletedMultipartUpload::builder()
        .set_parts(Some(parts))
        .build();
    let complete = client.complete_multipart_upload().bucket(BUCKET).key(to);
    let complete = complete.upload_id(upload_id).multipart_upload(parts);
    complete.send().await.map(drop).map_err(said(to))
}

/// Copies each object and inverts its first byte: the store keeps equal blocks once, and would have nothing to write.
async fn copy_small(client: &Client, count: usize, depth: usize) -> Outcome<()> {
    let pairs = small_keys("src", count)
        .into_iter()
        .zip(small_keys("out", count));
    let copies = pairs.map(|(from, to)| {
        let client = client.clone();
        spawned(async move {
            let mut body = Vec::from(get(client.clone(), from, None).await?);
            if let Some(first) = body.first_mut() {
                *first = !*first;
            }
            let put = client.put_object().bucket(BUCKET).key(&to);
            let put = put.body(body.into()).customize().disable_payload_signing();
            put.send().await.map(drop).map_err(said(&to))
        })
    });
    let copies = stream::iter(copies).buffer_unordered(depth);
    copies.try_collect().await
}

/// A task of its own, started when it is first polled.
async fn spawned<T: Send + 'static>(
    work: impl Future<Output = Outcome<T>> + Send + 'static,
) -> Outcome<T> {
    tokio::spawn(work)
        .await
        .map_err(cannot("wait for a task"))?
}

async fn get(client: Client, key: String, range: Option<Range<u64>>) -> Outcome<Bytes> {
    let range = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
    let get = client
        .get_object()
        .bucket(BUCKET)
        .key(&key)
        .set_range(range);
    let body = get.send().await.map_err(said(&key))?.body;
    let body = body.collect().await.map_err(cannot("read an object"))?;
    Ok(body.into_bytes())
}

async fn put_part(
    client: Client,
    key: String,
    upload_id: String,
    number: i32,
    body: Bytes,
) -> Outcome<CompletedPart> {
    let put = client.upload_part().bucket(BUCKET).key(&key);
    let put = put.upload_id(upload_id).part_number(number);
    let put = put.body(ByteStream::from(body)).customize();
    let put = put.disable_payload_signing().send().await;
    let etag = put.map_err(said(&key))?.e_tag.unwrap_or_default();
    Ok(CompletedPart::builder()
        .part_number(number)
        .e_tag(etag)
        .build())
}
