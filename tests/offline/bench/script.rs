//! What a test has happen at the seams: faults by rule, and deeds of its own before a call is made.
//! Every call is written down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ciphermill::fault::{Code, Fault};
use ciphermill::inject::rules::{Effect, Rule, Rules};
use ciphermill::inject::{Call, Injection, Injector, Seam};

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that is done once.
type Deed = Box<dyn FnOnce() + Send>;

/// A deed, and the call before which it is done.
struct Hook {
    operation: &'static str,
    target: String,
    /// Calls that still go by before it.
    before: u32,
    deed: Option<Deed>,
}

/// Faults and deeds of one test.
#[derive(Default)]
pub struct Script {
    rules: Rules,
    hooks: Mutex<Vec<Hook>>,
    calls: Mutex<Vec<Call>>,
}

impl Script {
    /// One more rule, after the others.
    pub fn rule(&self, rule: Rule) {
        self.rules.add(rule);
    }

    /// From now on everything works.
    pub fn clear(&self) {
        self.rules.clear();
        lock(&self.hooks).clear();
    }

    /// Does this before the `nth` call of `operation` whose target holds `target`, from 1.
    pub fn before(
        &self,
        (operation, target, nth): (&'static str, &str, u32),
        deed: impl FnOnce() + Send + 'static,
    ) {
        lock(&self.hooks).push(Hook {
            operation,
            target: target.to_owned(),
            before: nth - 1,
            deed: Some(Box::new(deed)),
        });
    }

    /// Targets of the calls of `operation` so far.
    pub fn calls_of(&self, operation: &str) -> Vec<String> {
        let calls = lock(&self.calls);
        let found = calls.iter().filter(|call| call.operation == operation);
        found.map(|call| call.target.clone()).collect()
    }

    /// Names and targets of the calls that changed a store since the last look.
    pub fn writes(&self) -> Vec<String> {
        let writes = ["put", "begin", "upload", "complete", "abort", "delete"];
        let calls = std::mem::take(&mut *lock(&self.calls));
        let found = calls
            .iter()
            .filter(|call| writes.contains(&call.operation) && call.seam == Seam::Store);
        found
            .map(|call| format!("{} {}", call.operation, call.target))
            .collect()
    }

    /// How many calls there were.
    pub fn calls(&self) -> usize {
        lock(&self.calls).len()
    }

    fn due(&self, call: &Call) -> Vec<Deed> {
        let mut due = Vec::new();
        for hook in lock(&self.hooks).iter_mut() {
            if hook.operation != call.operation || !call.target.contains(&hook.target) {
                continue;
            }
            match hook.before.checked_sub(1) {
                Some(less) => hook.before = less,
                None => due.extend(hook.deed.take()),
            }
        }
        due
    }
}

/// One worker process; a dead one makes no calls any more, its destructors neither.
pub struct Process {
    script: Arc<Script>,
    dead: AtomicBool,
}

impl Process {
    pub fn new(script: Arc<Script>) -> Arc<Process> {
        Arc::new(Process {
            script,
            dead: AtomicBool::new(false),
        })
    }

    pub fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }
}

impl Injector for Process {
    fn decide(&self, call: &Call) -> Injection {
        if self.dead.load(Ordering::SeqCst) {
            return Injection::none().wait_before(std::future::pending());
        }
        lock(&self.script.calls).push(call.clone());
        for deed in self.script.due(call) {
            deed();
        }
        self.script.rules.decide(call)
    }
}

/// Calls of a store's `operation` about what holds `target` go like this.
pub fn at_store(operation: &'static str, target: &str, effect: Effect) -> Rule {
    let rule = Rule::new(effect).seam(Seam::Store);
    rule.operation(operation).target(target)
}

/// The call is not made.
pub fn fail(code: Code) -> Effect {
    Effect::Fail(Fault::new(code, "as the test wants it"))
}

/// The call is made, and its answer lost.
pub fn lose(code: Code) -> Effect {
    Effect::LoseAnswer(Fault::new(code, "the answer was lost"))
}
