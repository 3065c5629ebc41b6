//! The tally: what workers did to the store, counted from the proxy's log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::proxy::Exchange;
use crate::store::BUCKET;

/// Requests about output objects.
#[derive(Default)]
pub struct Tally {
    /// Publications by key.
    published: BTreeMap<String, Published>,
    /// CreateMultipartUpload, UploadPart, Complete and PUT, answered or not.
    pub writes: usize,
    pub parts: usize,
    /// Ids of the uploads that were aborted or completed.
    ended: BTreeSet<String>,
    pub aborts: usize,
    /// An UploadPart without an answer yet: somebody is at work.
    pub part_under_way: bool,
    pub requests: usize,
}

/// Completes and PUTs of one key.
#[derive(Clone, Copy, Default)]
struct Published {
    done: usize,
    /// Sent whole, but the client was gone before the answer: done or not.
    unknown: usize,
}

impl Tally {
    pub fn of(log: &[Exchange]) -> Tally {
        let mut tally = Tally {
            requests: log.len(),
            ..Tally::default()
        };
        for exchange in log {
            tally.count(exchange);
        }
        tally
    }

    fn count(&mut self, exchange: &Exchange) {
        let request = &exchange.request;
        let prefix = format!("/{BUCKET}/out/");
        if !request.path().starts_with(&prefix) {
            return;
        }
        let key = request.path()[BUCKET.len() + 2..].to_owned();
        let upload_id = request.query("uploadId");
        let upload = upload_id.is_some();
        if matches!(request.method.as_str(), "DELETE" | "POST")
            && matches!(exchange.status, Some(200..=299))
        {
            self.ended.extend(upload_id.map(Into::into));
        }
        let publishes = match request.method.as_str() {
            "PUT" if upload => {
                self.parts += 1;
                let fresh = exchange.started.elapsed();
                self.part_under_way |= exchange.status.is_none()
                    && fresh.is_ok_and(|age| age < Duration::from_secs(2));
                false
            }
            "PUT" => true,
            "POST" => upload,
            "DELETE" => {
                self.aborts += usize::from(upload);
                return;
            }
            _ => return,
        };
        self.writes += 1;
        if !publishes {
            return;
        }
        let published = self.published.entry(key).or_default();
        match exchange.status {
            Some(200..=299) => published.done += 1,
            Some(_) => {}
            None => published.unknown += 1,
        }
    }

    /// Output objects that were published.
    pub fn objects(&self) -> usize {
        self.published.values().filter(|p| p.done > 0).count()
    }

    /// Publications whose answer nobody heard.
    pub fn unknown(&self) -> usize {
        self.published.values().map(|p| p.unknown).sum()
    }

    /// Those of these uploads that nobody aborted or completed. Asking the store is not enough: Garage drops an upload
    /// by itself when another one to the same key is completed, as S3 would not.
    pub fn forgotten(&self, uploads: &[String]) -> Vec<String> {
        let forgotten = uploads
            .iter()
            .filter(|upload| !self.ended.contains(*upload));
        forgotten.cloned().collect()
    }

    /// What is wrong with the publications of a key: each object is completed or PUT once.
    pub fn complaint(&self, key: &str) -> Option<String> {
        let p = self.published.get(key).copied().unwrap_or_default();
        let once = p.done <= 1 && p.done + p.unknown >= 1;
        (!once).then(|| format!("{key}: published {} times, {} unheard", p.done, p.unknown))
    }
}
