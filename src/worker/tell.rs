//! Telling: events of a delivery on their way to whoever listens.

use bytes::Bytes;
use tokio::time::Instant;

use crate::fault::{Code, Fault, Result};
use crate::job::check::ParsedJob;
use crate::job::event::{Event, EventData, State};
use crate::observe;
use crate::queue::{Delivery, Outgoing, Published};
use crate::report::{self, Context};

/// Tells about one delivery.
pub struct Teller<'a> {
    /// Who tells, and which attempt.
    pub context: &'a Context,
    /// The delivery.
    pub delivery: &'a Delivery,
    /// When the delivery must be settled at the latest.
    pub until: Option<Instant>,
}

impl Teller<'_> {
    /// Waits until the delivery must be settled; for ever when there is no such time.
    pub async fn lease_ends(&self) {
        match self.until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until the delivery is somebody else's.
    pub async fn lost(&self) {
        self.delivery.lost().await;
    }

    /// Publishes an end event and waits for its confirmation. One that no queue is bound for is
    /// counted and logged; it does not hold the job.
    pub async fn tell(&self, event: &Event, reply_to: Option<String>) -> Result<()> {
        let outgoing = outgoing(event, true, reply_to)?;
        match self.delivery.publish(outgoing).await {
            Ok(Published::Routed) => Ok(()),
            Ok(Published::Unrouted) => {
                observe::events_unrouted();
                tracing::warn!(
                    event_id = event.id,
                    "nobody has bound a queue for this event"
                );
                Ok(())
            }
            Err(fault) => {
                tracing::error!(
                    event_id = event.id, code = fault.code.as_str(), detail = %fault.message,
                    "the end event was not confirmed: the job goes back and will be recognised"
                );
                Err(fault)
            }
        }
    }

    /// Publishes news that may be lost.
    pub async fn progress(&self, parsed: &ParsedJob, state: State, (done, total): (u64, u64)) {
        let mut data = EventData::default();
        if state == State::Progress {
            data.bytes_done = Some(done);
            data.bytes_total = Some(total);
        }
        let event = report::event(self.context, &parsed.job, parsed.digest, state, data);
        if let Ok(outgoing) = outgoing(&event, false, None) {
            let _ = self.delivery.publish(outgoing).await;
        }
    }
}

/// The message that carries an event.
pub fn outgoing(event: &Event, terminal: bool, reply_to: Option<String>) -> Result<Outgoing> {
    let body = serde_json::to_vec(event).map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
    let state = event.state().map_or("job.failed", State::routing_key);
    Ok(Outgoing {
        routing_key: state.into(),
        message_id: event.id.clone(),
        correlation_id: event.subject.clone().unwrap_or_default(),
        body: Bytes::from(body),
        terminal,
        reply_to,
    })
}
