//! Dead letters of the broker in memory.
//!
//! Each message comes in once per sweep and goes to the tail with a mark, after the caller's
//! failure event was confirmed. Unlike at a real broker no message is taken out meanwhile.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::channel::Link;
use super::message::{Message, Reason};
use super::publish::{Attempt, Way, down};
use super::state::State;
use super::{Broker, DEAD_LETTERS, JOBS};
use crate::fault::Result;
use crate::queue::{DeadLetters, DeadMessage, Outgoing, Published, Report, SweepReport};

/// A queue of the same length is looked through again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// The dead letters, seen by their sweeper.
pub struct MemoryDeadLetters {
    link: Link,
    quiet: Mutex<Option<Quiet>>,
}

/// The length of the queue after the last sweep, and when that was.
#[derive(Clone, Copy)]
struct Quiet {
    length: usize,
    since: Instant,
}

impl MemoryDeadLetters {
    /// A sweeper with a connection of its own.
    pub(super) fn new(broker: Broker) -> Self {
        MemoryDeadLetters {
            link: Link::new(broker, JOBS, 0),
            quiet: Mutex::default(),
        }
    }

    fn walk(&self, report: &mut Report<'_>) -> Result<SweepReport> {
        let mut swept = SweepReport::default();
        if !self.link.broker.with(|state, _| state.link(self.link.id)) {
            return Err(down("the broker is down"));
        }
        let length = self.link.broker.ready(DEAD_LETTERS).len();
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |quiet: &Quiet| quiet.length == length && quiet.since.elapsed() < LOOK_AGAIN;
        if quiet.as_ref().is_some_and(same) {
            return Ok(swept);
        }
        for message in self.link.broker.ready(DEAD_LETTERS) {
            swept.seen += 1;
            if !message.reported {
                self.report(&message, report, &mut swept)?;
            }
            self.link
                .broker
                .with(|state, _| state.mark_dead(message.number));
        }
        let since = Instant::now();
        *quiet = Some(Quiet { length, since });
        Ok(swept)
    }

    /// Tells of a message that nobody has seen, unless its worker has told already.
    fn report(
        &self,
        message: &Message,
        report: &mut Report<'_>,
        swept: &mut SweepReport,
    ) -> Result<()> {
        swept.marked += 1;
        let death = message.deaths.first();
        if death.is_some_and(|death| death.reason == Reason::Rejected) {
            return Ok(());
        }
        let dead = DeadMessage {
            body: message.body.clone(),
            reason: death.map_or("", |death| death.reason.as_str()).to_owned(),
            queue: death.map(|death| death.queue.clone()).unwrap_or_default(),
        };
        let Some(event) = report(&dead) else {
            return Ok(());
        };
        swept.reported += 1;
        let mut published = self.confirm(&event, message.number, None)?;
        if let Some(queue) = &event.reply_to
            && self.confirm(&event, message.number, Some(queue))? == Published::Unrouted
        {
            published = Published::Unrouted;
        }
        swept.unrouted += u32::from(published == Published::Unrouted);
        Ok(())
    }

    fn confirm(&self, event: &Outgoing, about: u64, queue: Option<&str>) -> Result<Published> {
        let way = Way {
            connection: self.link.id,
            about: Some(about),
            queue,
        };
        match self.link.broker.attempt(way, event) {
            Attempt::Answered(answer) => answer,
            Attempt::Lost => Err(down("the connection is lost")),
        }
    }
}

impl State {
    /// Moves a dead letter to the tail, marked.
    fn mark_dead(&mut self, number: u64) {
        let Some(queue) = self.queues.get_mut(DEAD_LETTERS) else {
            return;
        };
        let place = |waiting: &VecDeque<Message>| {
            waiting.iter().position(|message| message.number == number)
        };
        let message = match (place(&queue.returned), place(&queue.fresh)) {
            (Some(place), _) => queue.returned.remove(place),
            (None, Some(place)) => queue.fresh.remove(place),
            (None, None) => None,
        };
        if let Some(mut message) = message {
            message.reported = true;
            queue.fresh.push_back(message);
        }
    }
}

impl DeadLetters for MemoryDeadLetters {
    fn sweep<'a>(&'a self, report: &'a mut Report<'a>) -> BoxFuture<'a, Result<SweepReport>> {
        async move { self.walk(report) }.boxed()
    }
}
