//! Processes: one simulated worker, which can die, be paused or be cut off at any call.
//!
//! Every call that a worker makes of its store, key source or queue passes through its process,
//! which looks up in the schedule what happens there. A dead process makes no call any more: what it
//! had asked for never comes back, and what its destructors ask for never leaves.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ciphermill::fault::{Code, Fault};
use ciphermill::inject::{Act, Call, Injection, Injector, Seam};
use ciphermill::queue::memory::Cut;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::schedule::What;
use crate::world::{World, lock};

/// Time after which a store that does not answer is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Paused,
    Dead,
}

/// The state of a process, and who waits for it to change: in the order they came, so that a run
/// can be repeated.
struct Life {
    state: Mutex<State>,
    changed: Notify,
}

impl Life {
    fn is(&self, state: State) -> bool {
        *lock(&self.state) == state
    }

    /// Goes from one state to another, if it is in that one.
    fn change(&self, from: State, to: State) {
        let mut state = lock(&self.state);
        if *state == from {
            *state = to;
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// Waits until it runs; for ever when it is dead.
    async fn running(self: Arc<Life>) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is(State::Running) {
                return;
            }
            changed.await;
        }
    }
}

/// A simulated worker process.
pub struct Process {
    pub name: String,
    world: Arc<World>,
    life: Arc<Life>,
    held: Mutex<Held>,
}

/// What ends with the process, and how long it is cut off.
#[derive(Default)]
struct Held {
    tasks: Option<AbortHandle>,
    connection: Option<u64>,
    cut_off_until: Option<Instant>,
}

impl Process {
    pub fn new(world: Arc<World>, name: String) -> Arc<Process> {
        Arc::new(Process {
            name,
            world,
            life: Arc::new(Life {
                state: Mutex::new(State::Running),
                changed: Notify::new(),
            }),
            held: Mutex::default(),
        })
    }

    /// From now on this connection and these tasks die with it.
    pub fn holds(&self, connection: u64, tasks: AbortHandle) {
        let mut held = lock(&self.held);
        held.connection = Some(connection);
        held.tasks = Some(tasks);
    }

    /// Whether it has not died.
    pub fn is_alive(&self) -> bool {
        !self.life.is(State::Dead)
    }

    /// Dies, and another process starts later.
    fn crash(&self, restart: Duration) {
        *lock(&self.life.state) = State::Dead;
        let (connection, tasks) = {
            let mut held = lock(&self.held);
            (held.connection.take(), held.tasks.take())
        };
        if let Some(tasks) = tasks {
            tasks.abort();
        }
        let world = Arc::clone(&self.world);
        tokio::spawn(async move {
            // The broker notices once the tasks are gone.
            tokio::task::yield_now().await;
            if let Some(connection) = connection {
                world.broker.cut(connection, Cut::AtOnce);
            }
            tokio::time::sleep(restart).await;
            world.start_worker();
        });
    }

    /// Stands still, and goes on by itself later.
    fn pause(&self, time: Duration) {
        self.life.change(State::Running, State::Paused);
        let life = Arc::clone(&self.life);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            life.change(State::Paused, State::Running);
        });
    }

    /// Waits until it runs; for ever when it is dead.
    fn running(&self) -> impl Future<Output = ()> + Send + 'static {
        Arc::clone(&self.life).running()
    }

    fn is_cut_off(&self) -> bool {
        let until = lock(&self.held).cut_off_until;
        until.is_some_and(|until| Instant::now() < until)
    }

    fn apply(&self, what: What, call: &Call) -> Injection {
        let none = Injection::none();
        match what {
            What::Crash { after, restart_ms } => {
                let restart = Duration::from_millis(restart_ms);
                if after {
                    return self.crash_after(restart);
                }
                self.crash(restart);
                none.wait_before(std::future::pending())
            }
            What::Pause { after, ms } => {
                let time = Duration::from_millis(ms);
                if after {
                    return self.pause_after(time);
                }
                self.pause(time);
                none
            }
            What::Delay { after, ms } => {
                let wait = tokio::time::sleep(Duration::from_millis(ms));
                match after {
                    true => none.wait_after(wait),
                    false => none.wait_before(wait),
                }
            }
            // A queue handles faults of its broker itself; only these two report them.
            What::Refuse | What::Deny | What::LoseAnswer
                if call.seam == Seam::Queue && !matches!(call.operation, "publish" | "settle") =>
            {
                none
            }
            What::Refuse => Injection::only(Act::Refuse(failure(call))),
            // A worker that may neither abort nor list uploads cannot clear them away.
            What::Deny if matches!(call.operation, "abort" | "uploads") => none,
            What::Deny => Injection::only(Act::Refuse(denial(call))),
            What::LoseAnswer => Injection::only(Act::LoseAnswer(failure(call))),
            What::Truncate { .. } if call.operation != "read" => none,
            What::Truncate { bytes } => Injection::only(Act::Truncate {
                bytes,
                fault: Fault::new(Code::SourceBroken, "the download broke off"),
            }),
            What::Partition { ms } => {
                let until = Instant::now() + Duration::from_millis(ms);
                lock(&self.held).cut_off_until = Some(until);
                none
            }
            What::Cut => {
                let connection = lock(&self.held).connection;
                if let Some(connection) = connection {
                    self.world.broker.cut(connection, Cut::AtOnce);
                }
                none
            }
            What::Intrude { job } => {
                self.world.intrude(job);
                none
            }
            What::Overwrite { job } => {
                self.world.overwrite(job);
                none
            }
        }
    }

    fn crash_after(&self, restart: Duration) -> Injection {
        let me = self.world.process(&self.name);
        Injection::none().wait_after(async move {
            if let Some(me) = me {
                me.crash(restart);
            }
            std::future::pending::<()>().await;
        })
    }

    fn pause_after(&self, time: Duration) -> Injection {
        let me = self.world.process(&self.name);
        Injection::none().wait_after(async move {
            if let Some(me) = me {
                me.pause(time);
                me.running().await;
            }
        })
    }
}

impl Injector for Process {
    fn decide(&self, call: &Call) -> Injection {
        if !self.is_alive() {
            return Injection::none().wait_before(std::future::pending());
        }
        let what = self.world.note_call(&self.name, call);
        let mut injection = match what {
            Some(what) => self.apply(what, call),
            None if call.seam == Seam::Store && self.is_cut_off() => {
                let lost = Fault::new(Code::StoreDown, "the store cannot be reached");
                Injection::only(Act::Refuse(lost)).wait_before(tokio::time::sleep(PATIENCE))
            }
            None => Injection::none(),
        };
        let running = self.running();
        let before = injection.before.take();
        injection = injection.wait_before(async move {
            running.await;
            if let Some(before) = before {
                before.await;
            }
        });
        let running = self.running();
        let after = injection.after.take();
        injection.wait_after(async move {
            if let Some(after) = after {
                after.await;
            }
            running.await;
        })
    }
}

/// How a call of this kind is refused for good.
fn denial(call: &Call) -> Fault {
    let code = match call.seam {
        Seam::Store => match call.operation {
            "put" | "begin" | "upload" | "complete" | "abort" | "delete" => Code::SinkDenied,
            "head" | "read" | "get_small" | "list" | "uploads" | "parts" | "keeps_if_absent"
            | "has_bucket" | "reachable" => Code::SourceDenied,
            other => panic!("what does a store say that refuses {other}?"),
        },
        Seam::Keys => Code::KeyDenied,
        Seam::Queue => return failure(call),
    };
    Fault::new(code, "access is denied")
}

/// How a call of this kind fails.
fn failure(call: &Call) -> Fault {
    match call.seam {
        Seam::Store if call.operation == "read" => {
            Fault::new(Code::SourceBroken, "the download broke off")
        }
        Seam::Store if call.operation == "upload" => {
            Fault::new(Code::IntegrityMismatch, "the store got other bytes")
        }
        Seam::Store => Fault::new(Code::StoreDown, "the store does not answer"),
        Seam::Keys => Fault::new(Code::KeyServiceDown, "the key service does not answer"),
        Seam::Queue => Fault::new(Code::BrokerDown, "the broker does not answer"),
    }
}
