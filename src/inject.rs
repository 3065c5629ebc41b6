//! Fault injection: what happens to one call at a seam (store, keys, queue).
//!
//! A wrapper such as [`store::faulty`](crate::store::faulty) names each call to an [`Injector`]
//! before it is made, and does to it what the answer says: wait, refuse, lose the answer, never
//! come back. For tests and simulations only: no setting leads here, and no code of the program
//! itself makes an injector.

pub mod rules;
pub mod seeded;

use std::fmt;

use futures_util::future::{BoxFuture, FutureExt};

use crate::fault::{Fault, Result};

/// Where a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seam {
    /// A call of [`Store`](crate::store::Store).
    Store,
    /// A call of a key source.
    Keys,
    /// A call of [`Queue`](crate::queue::Queue) or of one of its deliveries.
    Queue,
}

/// One call, before it is made.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where.
    pub seam: Seam,
    /// The name of the method: `put`, `fetch`, `publish`.
    pub operation: &'static str,
    /// What it is about: a URL, a routing key; empty where there is nothing to name.
    pub target: String,
    /// Counts the calls of one wrapper, from 1.
    pub number: u64,
}

/// Something that is waited for: a delay, a wake-up, or for ever.
pub type Wait = BoxFuture<'static, ()>;

/// What is done to one call.
pub struct Injection {
    /// Waited for before the work is done; one that never ends is a crash, or a request that is
    /// lost.
    pub before: Option<Wait>,
    /// What becomes of the call itself.
    pub act: Act,
    /// Waited for after the work was done, before the caller hears of it.
    pub after: Option<Wait>,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is made, and its own answer is given.
    Work,
    /// It is not made; the caller gets this fault.
    Refuse(Fault),
    /// It is made, but its caller gets this fault instead of the answer.
    LoseAnswer(Fault),
    /// A read ends with this fault after so many bytes. Other calls are refused with it.
    Truncate {
        /// Bytes that still arrive.
        bytes: u64,
        /// How the read ends.
        fault: Fault,
    },
    /// A read comes at this rate. Other calls are just made.
    Trickle {
        /// Bytes a second, more than 0.
        bytes_per_second: u64,
    },
}

impl Injection {
    /// Nothing is done to the call.
    pub fn none() -> Injection {
        Injection::only(Act::Work)
    }

    /// Without any wait.
    pub fn only(act: Act) -> Injection {
        Injection {
            before: None,
            act,
            after: None,
        }
    }

    /// Waits before the call is made.
    #[must_use]
    pub fn wait_before(self, wait: impl Future<Output = ()> + Send + 'static) -> Injection {
        Injection {
            before: Some(wait.boxed()),
            ..self
        }
    }

    /// Waits after the call was made.
    #[must_use]
    pub fn wait_after(self, wait: impl Future<Output = ()> + Send + 'static) -> Injection {
        Injection {
            after: Some(wait.boxed()),
            ..self
        }
    }

    /// Does this to a call whose work is `work`. Cutting and slowing down a read is the wrapper's
    /// own to do: here such a call is refused, or just made.
    pub async fn apply<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        if let Some(before) = self.before {
            before.await;
        }
        let result = match self.act {
            Act::Work | Act::Trickle { .. } => work.await,
            Act::Refuse(fault) | Act::Truncate { fault, .. } => Err(fault),
            Act::LoseAnswer(fault) => work.await.and(Err(fault)),
        };
        if let Some(after) = self.after {
            after.await;
        }
        result
    }
}

impl fmt::Debug for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injection")
            .field("before", &self.before.is_some())
            .field("act", &self.act)
            .field("after", &self.after.is_some())
            .finish()
    }
}

/// Decides what is done to each call.
pub trait Injector: Send + Sync {
    /// Asked once for every call, in the order they are made.
    fn decide(&self, call: &Call) -> Injection;
}
