//! The session: one epoch after another.
//!
//! An epoch is one consuming and one publishing connection, made together. Whoever needs one comes
//! in and gets the living one, or waits in line while a single caller makes the next. An epoch ends
//! as a whole; what was taken from it keeps its connections alive until settled, and nothing is
//! ever carried over from one epoch to the next.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, select};
use lapin::{Channel, Connection, ConnectionStatus, Event};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::broker::{Backoff, Brokers, random_below};
use super::publish::{Message, Trouble, confirm_channel};
use super::topology::Topology;
use crate::fault::{Code, Fault, Result};
use crate::queue::{Outgoing, Published};
use crate::settings::Amqp;

/// Time in which an end state must find a broker that confirms it.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(60);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A booting broker may refuse access for a moment: only that many rounds over all URLs count.
const REFUSED_ROUNDS: usize = 3;

/// Two connections with one life.
pub(super) struct Epoch {
    /// Counts the epochs of this process, for the logs.
    pub(super) id: u64,
    /// Where jobs are consumed.
    pub(super) consume: Connection,
    /// Fires when the epoch has ended.
    pub(super) over: CancellationToken,
    publish: Connection,
    /// One publishing channel per slot, opened when first needed.
    lanes: Vec<Mutex<Option<Channel>>>,
    /// The channel of events that may be lost; without confirms, which nobody would collect.
    hints: Mutex<Option<Channel>>,
}

/// The way to the living epoch.
pub(super) struct Session {
    brokers: Brokers,
    topology: Topology,
    events_exchange: String,
    slots: usize,
    latest: watch::Sender<Option<Arc<Epoch>>>,
    dialer: Mutex<Dialer>,
    closed: CancellationToken,
}

struct Dialer {
    turn: usize,
    epochs: u64,
}

impl Session {
    /// A session without an epoch.
    pub(super) fn new(settings: &Amqp, slots: usize) -> Result<Self> {
        let brokers = Brokers::new(settings)?;
        let turn = random_below(brokers.len() as u64) as usize;
        Ok(Session {
            brokers,
            topology: Topology::new(settings),
            events_exchange: settings.events_exchange.clone(),
            slots,
            latest: watch::Sender::new(None),
            dialer: Mutex::new(Dialer { turn, epochs: 0 }),
            closed: CancellationToken::new(),
        })
    }

    /// Waits for the first epoch. Refused access and a missing topology end it; a broker that is
    /// down does not.
    pub(super) async fn start(&self, declare: bool) -> Result<()> {
        let mut dialer = self.dialer.lock().await;
        let (mut backoff, mut refused) = (Backoff::new(), 0);
        loop {
            let fault = match self.dial(&mut dialer, declare).await {
                Ok(_) => return Ok(()),
                Err(fault) if fault.code == Code::TopologyMissing => return Err(fault),
                Err(fault) => fault,
            };
            refused = if fault.code == Code::Settings {
                refused + 1
            } else {
                0
            };
            if refused >= REFUSED_ROUNDS * self.brokers.len() {
                return Err(fault);
            }
            warn!(%fault, "broker not reached, trying again");
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// The living epoch; a new one when the last has ended, however long that takes.
    pub(super) async fn epoch(&self) -> Result<Arc<Epoch>> {
        let mut backoff = Backoff::new();
        if let Some(epoch) = self.living() {
            return Ok(epoch);
        }
        let mut dialer = self.dialer.lock().await;
        loop {
            if self.closed.is_cancelled() {
                return Err(Fault::new(Code::Stopping, "the queue is closed"));
            }
            if let Some(epoch) = self.living() {
                return Ok(epoch);
            }
            match self.dial(&mut dialer, false).await {
                Ok(epoch) => return Ok(epoch),
                Err(fault) => warn!(%fault, "broker lost, trying again"),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Whether jobs can come and events can go.
    pub(super) fn ready(&self) -> bool {
        self.living()
            .is_some_and(|epoch| !epoch.publish.status().blocked())
    }

    /// Closes the connections politely.
    pub(super) async fn close(&self) {
        self.closed.cancel();
        let Some(epoch) = self.latest.send_replace(None) else {
            return;
        };
        epoch.over.cancel();
        for connection in [&epoch.publish, &epoch.consume] {
            let closing = connection.close(200, "bye".into());
            if !matches!(
                tokio::time::timeout(CLOSE_TIMEOUT, closing).await,
                Ok(Ok(()))
            ) {
                debug!(epoch = epoch.id, "broker connection did not close cleanly");
            }
        }
    }

    /// Publishes an event for a slot; an end state survives lost connections, for a while.
    pub(super) async fn publish(&self, slot: usize, event: &Outgoing) -> Result<Published> {
        let message = Message::event(&self.events_exchange, event)?;
        if !event.terminal {
            self.hint(&message).await;
            return Ok(Published::Routed);
        }
        let routed = self.deliver(slot, &message).await?;
        let Some(queue) = &event.reply_to else {
            return Ok(routed);
        };
        match self.deliver(slot, &Message::reply(queue, event)?).await? {
            Published::Routed => Ok(routed),
            Published::Unrouted => Ok(Published::Unrouted),
        }
    }

    async fn deliver(&self, slot: usize, message: &Message) -> Result<Published> {
        let deadline = Instant::now() + PUBLISH_PATIENCE;
        let mut backoff = Backoff::new();
        let mut last = String::from("no connection");
        let attempts = async {
            loop {
                match self.epoch().await?.confirm(slot, message).await {
                    Ok(published) => return Ok(published),
                    Err(Trouble::Held(fault)) => return Err(fault),
                    Err(Trouble::Lost(error)) => {
                        warn!(%error, "event not confirmed, trying again");
                        last = error.to_string();
                    }
                }
                tokio::time::sleep(backoff.pause()).await;
            }
        };
        match tokio::time::timeout_at(deadline, attempts).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let message = format!("the event could not be confirmed: {last}");
                Err(Fault::new(Code::BrokerDown, message))
            }
        }
    }

    async fn hint(&self, message: &Message) {
        let Some(epoch) = self
            .living()
            .filter(|epoch| !epoch.publish.status().blocked())
        else {
            return;
        };
        if let Err(error) = epoch.hint(message).await {
            debug!(%error, "event not sent");
        }
    }

    fn living(&self) -> Option<Arc<Epoch>> {
        self.latest
            .borrow()
            .as_ref()
            .filter(|epoch| epoch.alive())
            .cloned()
    }

    async fn dial(&self, dialer: &mut Dialer, declare: bool) -> Result<Arc<Epoch>> {
        let turn = dialer.turn;
        // A broker that fails is last in line the next time.
        dialer.turn += 1;
        let consume = self
            .brokers
            .connect(turn, "ciphermill worker consume")
            .await?;
        let publish = self
            .brokers
            .connect(turn, "ciphermill worker publish")
            .await?;
        if declare {
            self.topology.declare(&publish).await?;
        }
        self.topology.check(&publish).await?;
        dialer.turn = turn;
        dialer.epochs += 1;
        let epoch = Arc::new(Epoch {
            id: dialer.epochs,
            consume,
            publish,
            over: CancellationToken::new(),
            lanes: (0..self.slots).map(|_| Mutex::new(None)).collect(),
            hints: Mutex::new(None),
        });
        epoch.watch();
        info!(
            epoch = epoch.id,
            broker = self.brokers.label(turn),
            "broker connected"
        );
        if let Some(last) = self.latest.send_replace(Some(Arc::clone(&epoch))) {
            last.over.cancel();
        }
        Ok(epoch)
    }
}

impl Epoch {
    fn alive(&self) -> bool {
        !self.over.is_cancelled()
            && self.consume.status().connected()
            && self.publish.status().connected()
    }

    /// Ends the epoch when either connection does; without it an idle worker would not notice.
    fn watch(&self) {
        let statuses = [self.consume.status().clone(), self.publish.status().clone()];
        let consume = self.consume.events_listener().boxed();
        let publish = self.publish.events_listener().boxed();
        tokio::spawn(watch(
            self.id,
            select(consume, publish).boxed(),
            statuses,
            self.over.clone(),
        ));
    }

    async fn confirm(&self, slot: usize, message: &Message) -> Result<Published, Trouble> {
        let Some(lane) = self.lanes.get(slot) else {
            return Err(Trouble::Held(Fault::new(Code::Internal, "no such slot")));
        };
        let mut lane = lane.lock().await;
        // Taken out, and put back only when answered: a late answer must not meet the next message.
        let channel = match lane.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => confirm_channel(&self.publish)
                .await
                .map_err(Trouble::Lost)?,
        };
        let published = message.confirm(&channel).await?;
        *lane = Some(channel);
        Ok(published)
    }

    async fn hint(&self, message: &Message) -> lapin::Result<()> {
        let mut channel = self.hints.lock().await;
        if !channel
            .as_ref()
            .is_some_and(|channel| channel.status().connected())
        {
            *channel = Some(self.publish.create_channel().await?);
        }
        if let Some(channel) = channel.as_ref() {
            message.publish(channel, false).await?;
        }
        Ok(())
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

async fn watch(
    epoch: u64,
    mut events: BoxStream<'static, Event>,
    statuses: [ConnectionStatus; 2],
    over: CancellationToken,
) {
    loop {
        let event = tokio::select! {
            () = over.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Event::ConnectionBlocked(reason)) => {
                warn!(epoch, reason, "broker blocks publishing");
            }
            Some(Event::ConnectionUnblocked) => info!(epoch, "broker takes messages again"),
            // Faults of a single channel arrive here too, and are its owner's affair.
            Some(Event::Error(error)) if !statuses.iter().all(ConnectionStatus::connected) => {
                warn!(epoch, %error, "broker connection lost");
                return over.cancel();
            }
            Some(_) => {}
            None => return over.cancel(),
        }
    }
}
