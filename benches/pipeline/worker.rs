//! A worker process, fed through RabbitMQ: started for the turn, measured from the first job that is published to the
//! last end event, and stopped.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::broker::Broker;
use crate::process::{Used, cpu_seconds, peak_bytes, tail};
use crate::world::{Endpoint, World};
use crate::{Outcome, cannot};

/// Longest time until it is connected, until it has stopped, and until jobs have ended.
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(60);
const JOBS: Duration = Duration::from_secs(20 * 60);

pub struct Worker {
    child: Child,
    log: PathBuf,
}

/// Starts a worker, has it do these jobs, and stops it. Without `slots` it has as many as it thinks right.
pub async fn jobs(
    world: &World,
    endpoint: &Endpoint,
    slots: Option<usize>,
    jobs: &[Value],
) -> Outcome<Used> {
    let mut worker = Worker::start(world, endpoint, slots).await?;
    let used = worker.work(world, jobs).await;
    let stopped = worker.stop().await;
    let used = used.map_err(|reason| worker.with_tail(&reason))?;
    stopped.map(|()| used)
}

impl Worker {
    async fn start(world: &World, endpoint: &Endpoint, slots: Option<usize>) -> Outcome<Worker> {
        let log = world.path("worker.log");
        let file = File::create(&log).map_err(cannot("make a file"))?;
        let mut command = world.ciphermill(endpoint);
        command.args(["work", "--declare"]).stdin(Stdio::null());
        if let Some(slots) = slots {
            command.env("CIPHERMILL_WORKER__SLOTS", slots.to_string());
        }
        let child = command.stdout(Stdio::null()).stderr(file).spawn();
        let child = child.map_err(cannot("start a worker"))?;
        let mut worker = Worker { child, log };
        let end = Instant::now() + START;
        while !worker.is_ready() {
            if !worker.is_running() || Instant::now() > end {
                return Err(worker.with_tail("the worker does not start"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(worker)
    }

    async fn work(&self, world: &World, jobs: &[Value]) -> Outcome<Used> {
        let mut broker = Broker::connect(&world.amqp).await?;
        let pid = self.child.id();
        let cpu_before = cpu_seconds(pid);
        let begun = Instant::now();
        let events = timeout(JOBS, broker.follow(jobs)).await;
        let seconds = begun.elapsed().as_secs_f64();
        events.map_err(|_| "the jobs do not end".to_owned())??;
        let used = Used {
            seconds,
            cpu_seconds: cpu_seconds(pid) - cpu_before,
            peak_bytes: peak_bytes(pid),
        };
        broker.close().await;
        Ok(used)
    }

    /// It has connected and takes jobs.
    fn is_ready(&self) -> bool {
        std::fs::read_to_string(&self.log).is_ok_and(|log| log.contains("worker started"))
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    async fn stop(&mut self) -> Outcome<()> {
        let pid = Pid::from_raw(self.child.id() as i32).filter(|_| self.is_running());
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).map_err(cannot("stop the worker"))?;
        }
        let end = Instant::now() + STOP;
        loop {
            match self
                .child
                .try_wait()
                .map_err(cannot("wait for the worker"))?
            {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(self.with_tail(&format!("the worker ended with {status}")));
                }
                None if Instant::now() > end => {
                    return Err(self.with_tail("the worker does not stop"));
                }
                None => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    fn with_tail(&self, reason: &str) -> String {
        format!("{reason}\n{}", tail(&self.log))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
