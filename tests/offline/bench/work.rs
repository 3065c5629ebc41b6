//! Workers on the bench, and what the broker saw of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ciphermill::fault::Result;
use ciphermill::queue::faulty::FaultyQueue;
use ciphermill::queue::memory::{JOBS, Notice, Observer};
use ciphermill::queue::{Delivery, Queue, Settlement};
use ciphermill::worker::{Ended, Worker};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Bench;
use super::script::lock;

/// Simulated time after which jobs that are not settled are stuck.
const STUCK: Duration = Duration::from_secs(24 * 3600);
/// How often the bench looks whether all is done.
const LOOKS: Duration = Duration::from_millis(100);

/// An event that the broker took.
#[derive(Clone, Debug)]
pub struct Told {
    /// Since the worker started.
    pub at: Duration,
    pub key: String,
    pub body: Value,
    /// The queue that it was sent to by name.
    pub queue: Option<String>,
}

/// A delivery that was settled.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Since the worker started.
    pub at: Duration,
    pub settlement: Settlement,
    /// Which attempt it was.
    pub attempt: u32,
    pub job: String,
}

/// What the broker saw.
pub struct Seen {
    begun: Instant,
    told: Mutex<Vec<Told>>,
    settled: Mutex<Vec<Settled>>,
}

impl Observer for Seen {
    fn notice(&self, notice: &Notice) {
        let at = self.begun.elapsed();
        match notice {
            Notice::Published(record) => lock(&self.told).push(Told {
                at,
                key: record.event.routing_key.clone(),
                body: serde_json::from_slice(&record.event.body).expect("an event is JSON"),
                queue: record.queue.clone(),
            }),
            Notice::Settled {
                message,
                settlement,
                ..
            } => lock(&self.settled).push(Settled {
                at,
                settlement: *settlement,
                attempt: message.count + 1,
                job: message.message_id.clone(),
            }),
            _ => {}
        }
    }
}

impl Seen {
    /// Every delivery that was settled, in order.
    pub fn settled(&self) -> Vec<Settled> {
        lock(&self.settled).clone()
    }

    /// How deliveries were settled, in order.
    pub fn settlements(&self) -> Vec<Settlement> {
        self.settled().iter().map(|one| one.settlement).collect()
    }

    /// Which attempts were settled, in order.
    pub fn attempts(&self) -> Vec<u32> {
        self.settled().iter().map(|one| one.attempt).collect()
    }

    /// Events with this routing key.
    pub fn told(&self, key: &str) -> Vec<Told> {
        let told = lock(&self.told);
        told.iter()
            .filter(|told| told.key == key)
            .cloned()
            .collect()
    }

    /// Routing keys of all events, in order.
    pub fn keys(&self) -> Vec<String> {
        lock(&self.told)
            .iter()
            .map(|told| told.key.clone())
            .collect()
    }

    /// The code of the only failure event.
    pub fn failure(&self) -> String {
        let told = self.told("job.failed");
        assert_eq!(told.len(), 1, "{told:?}");
        let code = told[0].body["data"]["fault"]["code"].as_str();
        code.expect("a code").to_owned()
    }
}

/// A worker that runs.
pub struct Working {
    pub seen: Arc<Seen>,
    pub stop: CancellationToken,
    pub abort: CancellationToken,
    task: JoinHandle<Result<Ended>>,
}

impl Working {
    /// Waits for it to end by itself.
    pub async fn ended(self) -> Result<Ended> {
        let ended = tokio::time::timeout(STUCK, self.task).await;
        ended.expect("the worker did not end").expect("no panic")
    }

    /// Tells it to take no more jobs, and waits for it.
    pub async fn stopped(self) -> Ended {
        self.stop.cancel();
        self.ended().await.expect("it ends well")
    }
}

impl Bench {
    /// Puts a job into the queue.
    pub fn submit(&self, job: &Value) {
        let id = job["id"].as_str().expect("an id");
        self.submit_bytes(id, job.to_string().as_bytes());
    }

    /// Puts any message into the queue.
    pub fn submit_bytes(&self, id: &str, bytes: &[u8]) {
        let sent = self.broker.send(JOBS, id, bytes.to_vec().into());
        sent.expect("there is a queue");
    }

    /// A worker with so many slots; three attempts a job.
    pub fn worker(&self, slots: usize) -> Worker {
        let process = self.process();
        let queue = self.broker.connect(slots);
        Worker {
            pipeline: self.pipeline(&process),
            queue: Arc::new(FaultyQueue::new(queue, process)),
            slots,
            max_attempts: 3,
            max_jobs: None,
            name: "/ciphermill/bench".into(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
        }
    }

    /// Lets it work.
    pub fn start(&self, worker: Worker) -> Working {
        let seen = Arc::new(Seen {
            begun: Instant::now(),
            told: Mutex::default(),
            settled: Mutex::default(),
        });
        self.broker.observe(seen.clone());
        let (stop, abort) = (worker.stop.clone(), worker.abort.clone());
        Working {
            seen,
            stop,
            abort,
            task: tokio::spawn(worker.run()),
        }
    }

    /// Waits until no job is left.
    pub async fn all_done(&self) {
        let end = Instant::now() + STUCK;
        while self.broker.length(JOBS) > 0 {
            assert!(Instant::now() < end, "a job was never settled");
            tokio::time::sleep(LOOKS).await;
        }
    }

    /// Submits a job, and lets a worker with one slot work until it is settled for good.
    pub async fn works(&self, job: &Value) -> Arc<Seen> {
        self.submit(job);
        let working = self.start(self.worker(1));
        let seen = working.seen.clone();
        self.all_done().await;
        working.stopped().await;
        seen
    }
}

/// A queue whose deliveries have names, as those of the spool, and that can end.
pub struct Spool {
    pub inner: Arc<dyn Queue>,
    /// Nothing comes any more.
    pub ended: AtomicBool,
}

impl Queue for Spool {
    fn next(&self, slot: usize) -> BoxFuture<'_, Result<Option<Delivery>>> {
        async move {
            if self.ended.load(Ordering::SeqCst) {
                return Ok(None);
            }
            let mut delivery = self.inner.next(slot).await?;
            if let Some(delivery) = &mut delivery {
                delivery.name = Some("job.json".to_owned());
            }
            Ok(delivery)
        }
        .boxed()
    }

    fn release(&self, slot: usize) -> BoxFuture<'_, ()> {
        self.inner.release(slot)
    }

    fn ready(&self) -> bool {
        self.inner.ready()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}
