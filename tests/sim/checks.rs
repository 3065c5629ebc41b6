//! Checks: what must hold at every step of a run, and at its end. Each names the promise of README
//! that it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use ciphermill::job::{Mode, ObjectUrl};
use ciphermill::queue::Settlement;
use ciphermill::queue::memory::{Confirm, DEAD_LETTERS, Message, Notice, Observer};
use ciphermill::store::memory::{Change, ChangeKind};
use ciphermill::worker::reaper;

use crate::events::{body_of, note_event, told_the_truth};
use crate::jobs::{self, OUT};
use crate::oracle::{Expected, Keystream, Metadata, expected};
use crate::schedule::{Family, InputFault, JobSpec};
use crate::world::{World, lock};

/// Watches a world.
pub struct Checks {
    world: Weak<World>,
    seen: Mutex<Seen>,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    /// Which output met this keystream, made of which version of its source (P13).
    keystreams: BTreeMap<Keystream, (ObjectUrl, usize)>,
    /// Parts that were looked at: upload, number, times received.
    parts: BTreeMap<(String, i32), u32>,
    done: Vec<String>,
    dead: Vec<String>,
}

impl Checks {
    /// Watches this world from now on.
    pub fn watch(world: &Arc<World>) -> Arc<Checks> {
        let checks = Arc::new(Checks {
            world: Arc::downgrade(world),
            seen: Mutex::default(),
        });
        let on_change = Arc::clone(&checks);
        world
            .store
            .observe(Arc::new(move |change| on_change.changed(change)));
        world.broker.observe(checks.clone());
        checks
    }

    /// An object became visible, or vanished.
    fn changed(&self, change: &Change) {
        let Some(world) = self.world.upgrade() else {
            return;
        };
        let Some((job, output)) = of_output(&world, &change.url) else {
            return;
        };
        let url = &change.url;
        if change.kind == ChangeKind::Delete {
            return world.violation(format!("P2: {url} was deleted"));
        }
        let body = world.store.object(url).map(|object| object.body);
        let body = body.unwrap_or_default();
        if *body == *jobs::STRANGER {
            return world.note(&format!("somebody wrote {url}"));
        }
        world.note(&format!("{url} is visible"));
        let refused = match job.input.fault {
            InputFault::None => None,
            InputFault::Forged => Some("P7: nothing may be published of a forged source"),
            InputFault::BrokenPromise => Some("nothing may be published of a broken promise"),
            InputFault::Missing => Some("nothing can be published of a missing source"),
        };
        if let Some(refused) = refused {
            return world.violation(format!("{refused}: {url}"));
        }
        if job.outputs[output].is_refused() {
            return world.violation(format!("if_exists: {url} was replaced"));
        }
        let body = world.store.object(url).map(|object| object.body);
        let body = body.unwrap_or_default();
        let matches = |expected: &Expected| expected.object == *body;
        let what = format!(
            "P2, P4: {url} is not what the job asked for ({} bytes)",
            body.len()
        );
        self.match_version(&world, job, output, &change.metadata, matches, what);
    }

    /// Looks at parts that were received since the last look.
    pub fn look_at_parts(&self) {
        let Some(world) = self.world.upgrade() else {
            return;
        };
        for upload in world.store.open_uploads(OUT) {
            let url = ObjectUrl::S3 {
                bucket: OUT.into(),
                key: upload.key.clone(),
            };
            let Some((job, output)) = of_output(&world, &url) else {
                continue;
            };
            // What a forged source decrypts to is nobody's plaintext; it may not become visible.
            if job.input.fault == InputFault::Forged {
                continue;
            }
            for part in &upload.parts {
                let name = (upload.id.0.clone(), part.number);
                if lock(&self.seen).parts.insert(name, part.times) == Some(part.times) {
                    continue;
                }
                let matches = |expected: &Expected| expected.has_part(part.number, &part.body);
                let what = format!("P4: part {} of {url} is not that part", part.number);
                self.match_version(&world, job, output, &upload.metadata, matches, what);
            }
        }
    }

    /// Finds the version of the source that something was made of, and remembers that it met this
    /// keystream; all versions that it can be. A part without plaintext can be of any, and tells
    /// nothing.
    fn match_version(
        &self,
        world: &World,
        job: &JobSpec,
        output: usize,
        metadata: &Metadata,
        matches: impl Fn(&Expected) -> bool,
        otherwise: String,
    ) -> Vec<usize> {
        let (mut versions, mut keystream) = (Vec::new(), None);
        for (version, source) in world.versions(job.number).iter().enumerate() {
            let opens = |wrapped: &[u8]| world.keys.key_of(wrapped);
            match expected(job, output, &source.plain, metadata, opens) {
                Err(why) => {
                    world.violation(format!("{otherwise}: {why}"));
                    return Vec::new();
                }
                Ok(expected) if matches(&expected) => {
                    versions.push(version);
                    keystream = expected.keystream;
                }
                Ok(_) => {}
            }
        }
        match (versions.as_slice(), keystream) {
            ([], _) => world.violation(otherwise),
            ([only], Some(keystream)) => self.met(world, job, output, keystream, *only),
            (_, _) => {}
        }
        versions
    }

    /// P13: a keystream meets one plaintext. CBC has none, and an empty plaintext
    /// uses none.
    fn met(
        &self,
        world: &World,
        job: &JobSpec,
        output: usize,
        keystream: Keystream,
        version: usize,
    ) {
        let mode = job.outputs[output].mode;
        let nothing = mode == Some(Mode::AesCtr) && job.input.plain_bytes == 0;
        if mode == Some(Mode::AesCbcPkcs7) || nothing {
            return;
        }
        let plaintext = (jobs::output_url(job, output), version);
        let mut seen = lock(&self.seen);
        let known = seen.keystreams.entry(keystream);
        let first = known.or_insert_with(|| plaintext.clone()).clone();
        drop(seen);
        if first != plaintext {
            world.violation(format!(
                "P13: one keystream met {first:?} and {plaintext:?}"
            ));
        }
    }

    /// P1: what a settled delivery stands for.
    fn settled(&self, world: &World, message: &Message, settlement: Settlement) {
        let id = &message.correlation_id;
        let job = world.schedule.jobs.iter().find(|job| jobs::id(job) == *id);
        let Some(job) = job else {
            return world.violation(format!("a message of no job was settled: {id}"));
        };
        let (key, list) = match settlement {
            Settlement::Done => ("job.succeeded", true),
            Settlement::Dead => ("job.failed", false),
            Settlement::Retry | Settlement::Return => return,
        };
        world.note(&format!("{id} is settled as {settlement:?}"));
        let mut seen = lock(&self.seen);
        match list {
            true => seen.done.push(id.clone()),
            false => seen.dead.push(id.clone()),
        }
        drop(seen);
        let told = world.broker.events().into_iter().any(|record| {
            let same = record.event.correlation_id == *id && record.event.routing_key == key;
            let about = record.about == Some(message.number);
            same && about && record.confirm == Confirm::Given
        });
        if !told {
            world.violation(format!("P1: {id} was settled before {key} was confirmed"));
        }
        if settlement == Settlement::Done {
            self.readable(world, job);
        }
    }

    /// P1: every required output of a job is there, and right; P5: all are of one version of its
    /// source.
    fn readable(&self, world: &World, job: &JobSpec) {
        let mut common: Option<BTreeSet<usize>> = None;
        for (index, output) in job.outputs.iter().enumerate() {
            let url = jobs::output_url(job, index);
            match world.store.object(&url) {
                None if output.required => {
                    world.violation(format!("P1: {url} is missing although its job was acked"));
                }
                None => {}
                Some(object)
                    if *object.body == *jobs::STRANGER
                        && output.required
                        && !world.schedule.intrudes(job.number) =>
                {
                    world.violation(format!("P1: {url} is not ours although its job was acked"));
                }
                Some(object) if *object.body == *jobs::STRANGER => {}
                Some(object) => {
                    let matches = |expected: &Expected| expected.object == *object.body;
                    let what = format!("P1: {url} cannot be read although its job was acked");
                    let versions =
                        self.match_version(world, job, index, &object.metadata, matches, what);
                    // What an attempt that died left under `if_exists: fail` stays, whatever the
                    // source is by then.
                    if output.if_absent {
                        continue;
                    }
                    let versions = versions.into_iter().collect();
                    common = Some(match common {
                        None => versions,
                        Some(common) => common.intersection(&versions).copied().collect(),
                    });
                }
            }
        }
        if common.is_some_and(|versions| versions.is_empty()) {
            let id = jobs::id(job);
            world.violation(format!("P5: {id} was made of two versions of its source"));
        }
    }

    /// What must hold once every message was settled and every worker has ended.
    pub async fn at_the_end(&self) {
        let Some(world) = self.world.upgrade() else {
            return;
        };
        self.look_at_parts();
        let (done, dead) = {
            let seen = lock(&self.seen);
            (seen.done.clone(), seen.dead.clone())
        };
        for job in &world.schedule.jobs {
            self.ended(&world, job, &done, &dead);
        }
        let letters = world.broker.length(DEAD_LETTERS);
        if letters != dead.len() {
            world.violation(format!(
                "{} jobs failed, {letters} dead letters",
                dead.len()
            ));
        }
        if world.schedule.family == Family::Single {
            self.no_uploads(&world).await;
        }
    }

    fn ended(&self, world: &World, job: &JobSpec, done: &[String], dead: &[String]) {
        let id = jobs::id(job);
        let count = |list: &[String]| list.iter().filter(|one| **one == id).count();
        let (done, dead) = (count(done), count(dead));
        if done + dead < job.submitted_ms.len() {
            world.violation(format!(
                "{id}: {done} done and {dead} dead, of all that were submitted"
            ));
        }
        let overwritten = world.schedule.overwrites(job.number);
        let denied = world.schedule.denies();
        let intrudes = world.schedule.intrudes(job.number);
        let overlaps = world.schedule.family == Family::Overlapping;
        match job.input.fault {
            InputFault::None if job.is_refused() && done > 0 => {
                world.violation(format!("{id} succeeded, although it must be refused"));
            }
            InputFault::None if job.is_refused() => {}
            InputFault::None if dead > 0 && !overwritten && !overlaps && !denied && !intrudes => {
                world.violation(format!("{id} failed, and nothing was wrong with it"));
            }
            InputFault::Forged | InputFault::BrokenPromise if done > 0 => {
                world.violation(format!("P7: {id} succeeded with a bad source"));
            }
            InputFault::Missing if done > 0 => {
                world.violation(format!("{id} succeeded without a source"));
            }
            InputFault::None
            | InputFault::Forged
            | InputFault::BrokenPromise
            | InputFault::Missing => {}
        }
    }

    /// P6: no upload is left, or the reaper finds it.
    async fn no_uploads(&self, world: &Arc<World>) {
        let reap_after = world.settings.worker.reap_after;
        let left = world.store.open_uploads(OUT).len();
        if left > 0 && !world.schedule.disturbs() {
            world.violation(format!(
                "P6: {left} uploads are left although nothing failed"
            ));
        }
        world.note(&format!("{left} uploads are left; the reaper comes"));
        tokio::time::sleep(reap_after + Duration::from_secs(60)).await;
        let pipeline = world.pipeline(None);
        if let Err(fault) = reaper::reap(&pipeline, OUT).await {
            world.violation(format!("the reaper failed: {fault}"));
        }
        for upload in world.store.open_uploads(OUT) {
            world.violation(format!("P6: an upload of {} is left for ever", upload.key));
        }
    }
}

impl Observer for Checks {
    fn notice(&self, notice: &Notice) {
        let Some(world) = self.world.upgrade() else {
            return;
        };
        match notice {
            Notice::Settled {
                message,
                settlement,
                ..
            } => self.settled(&world, message, *settlement),
            Notice::Published(record) => {
                note_event(&world, &record.event);
                if body_of(&record.event)["data"]["fault"]["code"] == "internal" {
                    world.violation("a job failed by a bug of the worker".into());
                }
                // Somebody else may have replaced an object of an overlapping job meanwhile.
                let single = world.schedule.family == Family::Single;
                if single && record.event.routing_key == "job.succeeded" {
                    told_the_truth(&world, &record.event);
                }
            }
            Notice::Returned { cause, .. } => world.note(&format!("a message is back: {cause:?}")),
            Notice::Delivered { .. }
            | Notice::Confirmed(_)
            | Notice::DeadLettered { .. }
            | Notice::Cut { .. } => {}
        }
    }
}

/// The job and the output that an object is.
fn of_output<'w>(world: &'w World, url: &ObjectUrl) -> Option<(&'w JobSpec, usize)> {
    world.schedule.jobs.iter().find_map(|job| {
        let index = (0..job.outputs.len()).find(|index| jobs::output_url(job, *index) == *url);
        index.map(|index| (job, index))
    })
}
