//! The main load: all jobs, ten messages that are none, and a worker that is killed three times in the middle.

use std::time::{Duration, Instant};

use ciphermill::job::JobDigest;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::broker::Ended;
use crate::cases::Case;
use crate::checks::{Checks, Outcome, ensure, some};
use crate::store::BUCKET;
use crate::tally::Tally;
use crate::worker::Worker;
use crate::world::{DEAD, JOBS, World};

const SLOTS: &str = "3";
const KILLS: usize = 3;

/// A message that must end in the dead-letter queue, the name of its event, and the code in it.
struct Bad {
    body: String,
    name: String,
    code: &'static str,
}

/// Runs the load; the end events, unless the load itself could not be run.
pub async fn run(world: &World, checks: &mut Checks, cases: &[Case]) -> Option<Ended> {
    let mut worker = match start(world, 0).await {
        Ok(worker) => worker,
        Err(reason) => {
            checks.note("the load", Err(reason));
            return None;
        }
    };
    let mut ended = Ended::default();
    let begun = Instant::now();
    let driven = drive(world, cases, &mut worker, &mut ended).await;
    let time = begun.elapsed().as_secs();
    let left = match driven {
        Ok(left) => left,
        Err(reason) => {
            checks.note("the load", Err(worker.with_tail(&reason)));
            return None;
        }
    };
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| ended.complaint(&case.id))
        .collect();
    let figures = format!("{} jobs succeeded in {time} s", cases.len());
    let all = ensure(wrong.is_empty(), figures);
    checks.note("jobs", all.map_err(|_| worker.with_tail(&some(&wrong))));
    let stopped = worker.stop().await;
    checks.note("the worker drains", stopped.map(|()| "exit code 0".into()));
    checks.note("killed in the middle", once(world, cases, &left));
    checks.note("what kills left", clean(world, &left).await);
    checks.note("malformed messages", dead(world, &ended).await);
    Some(ended)
}

async fn start(world: &World, number: usize) -> Outcome<Worker> {
    let settings = [("CIPHERMILL_WORKER__SLOTS", SLOTS)];
    let name = format!("load-worker-{number}");
    Worker::start(world, &name, &world.proxy.endpoint(), &settings, &[]).await
}

/// Submits everything, kills, and waits for the end of all; the uploads that each kill left.
async fn drive(
    world: &World,
    cases: &[Case],
    worker: &mut Worker,
    ended: &mut Ended,
) -> Outcome<Vec<Vec<String>>> {
    submit(world, cases).await?;
    for bad in bad_messages() {
        world.broker.publish(bad.body.as_bytes()).await?;
    }
    let objects: usize = cases.iter().map(|case| case.outputs.len()).sum();
    let limit = Instant::now() + Duration::from_secs(if world.quick { 300 } else { 1200 });
    let names = || cases.iter().map(|case| case.id.as_str());
    let bad = bad_messages();
    let bad_names = || bad.iter().map(|bad| bad.name.as_str());
    let (mut left, mut due) = (Vec::new(), None);
    loop {
        ended.read(&world.broker).await;
        if ended.count(names()) == cases.len() && ended.count(bad_names()) == bad.len() {
            return Ok(left);
        }
        if Instant::now() > limit {
            let done = ended.count(names());
            return Err(format!("{done} of {} jobs ended in time", cases.len()));
        }
        if !worker.running() {
            return Err("the worker ended by itself".into());
        }
        let tally = Tally::of(&world.proxy.log());
        if left.len() < KILLS && tally.objects() >= objects * (left.len() + 1) / (KILLS + 2) {
            // In the middle of an upload, unless there is none for long.
            let since = *due.get_or_insert_with(Instant::now);
            if tally.part_under_way || since.elapsed() > Duration::from_secs(10) {
                worker.kill().await?;
                left.push(world.store.uploads().await?);
                *worker = start(world, left.len()).await?;
                due = None;
            }
        }
        sleep(Duration::from_millis(150)).await;
    }
}

/// Submits these cases.
pub async fn submit(world: &World, cases: &[Case]) -> Outcome<()> {
    let messages = cases.iter().map(|case| {
        let message = case.message(&world.keys, &world.sources[&case.size].sha256);
        (case.id.clone(), message)
    });
    world.submit(&messages.collect::<Vec<_>>()).await
}

/// Nothing was lost, and nothing was written twice.
fn once(world: &World, cases: &[Case], left: &[Vec<String>]) -> Outcome<String> {
    let tally = Tally::of(&world.proxy.log());
    let keys = cases.iter().flat_map(|case| {
        let indexes = 0..case.outputs.len();
        indexes.map(|index| case.output_key(index))
    });
    let keys: Vec<String> = keys.collect();
    let mut wrong: Vec<String> = keys.iter().filter_map(|key| tally.complaint(key)).collect();
    let kills = left.len();
    if kills < KILLS {
        wrong.push(format!("killed only {kills} times"));
    }
    if left.iter().all(Vec::is_empty) {
        wrong.push("no kill interrupted an upload".into());
    }
    let figures = format!(
        "{kills} kills, {} objects published once each ({} answers unheard), {} UploadParts, {} aborts, {} requests",
        keys.len(),
        tally.unknown(),
        tally.parts,
        tally.aborts,
        tally.requests,
    );
    ensure(wrong.is_empty(), figures).map_err(|_| some(&wrong))
}

async fn clean(world: &World, left: &[Vec<String>]) -> Outcome<String> {
    let open = world.store.uploads().await?.len();
    let waiting = world.broker.depth(JOBS).await?;
    let forgotten = Tally::of(&world.proxy.log())
        .forgotten(&left.concat())
        .len();
    let counts: Vec<usize> = left.iter().map(Vec::len).collect();
    let figures = format!(
        "uploads open after each kill: {counts:?}, each ended by name; none is open, and the queue is empty"
    );
    let holds = open == 0 && waiting == 0 && forgotten == 0;
    ensure(holds, figures).map_err(|_| {
        format!("{open} uploads are open, {forgotten} were forgotten; {waiting} messages wait")
    })
}

/// The dead-letter queue holds the malformed messages, each told of, and no job.
async fn dead(world: &World, ended: &Ended) -> Outcome<String> {
    let bad = bad_messages();
    let mut wrong = Vec::new();
    for bad in &bad {
        let code = ended
            .of(&bad.name)
            .map(|event| &event["data"]["fault"]["code"]);
        if code != Some(&Value::from(bad.code)) {
            wrong.push(format!(
                "{} ended with {code:?}, not {}",
                bad.name, bad.code
            ));
        }
    }
    let mut found = world.broker.take(DEAD).await?;
    let mut expected: Vec<Vec<u8>> = bad
        .iter()
        .map(|bad| bad.body.clone().into_bytes())
        .collect();
    found.sort();
    expected.sort();
    if found != expected {
        wrong.push(format!(
            "{} messages lie in the dead-letter queue",
            found.len()
        ));
    }
    let figures = format!(
        "{} in the dead-letter queue, each with its event, and no job",
        bad.len()
    );
    ensure(wrong.is_empty(), figures).map_err(|_| some(&wrong))
}

fn bad_messages() -> Vec<Bad> {
    let input = json!({ "url": format!("s3://{BUCKET}/src/17") });
    let output = json!({ "url": format!("s3://{BUCKET}/out/bad") });
    let job = |name: &str| json!({ "version": 1, "id": name, "input": input, "outputs": [output] });
    let with = |name: &str, pointer: &str, value: Value| {
        let mut job = job(name);
        let (parent, field) = pointer.rsplit_once('/').unwrap_or_default();
        if let Some(parent) = job.pointer_mut(parent) {
            parent[field] = value;
        }
        job.to_string()
    };
    let named = |name: &str, code: &'static str, pointer: &str, value: Value| Bad {
        body: with(name, pointer, value),
        name: name.into(),
        code,
    };
    let nameless = |body: &str, code: &'static str| Bad {
        body: body.into(),
        name: format!("-:failed:{}", JobDigest::of_bytes(body.as_bytes()).short()),
        code,
    };
    let key = |key: Value| json!({ "mode": "aes-gcm", "key": key });
    let keyring = |wrapped: &str| key(json!({ "keyring": { "wrapped": wrapped } }));
    let missing = format!("s3://{BUCKET}/src/nothing-here");
    vec![
        nameless("{ this is no JSON", "invalid_json"),
        nameless("[]", "wrong_type"),
        named("bad-version", "unsupported_version", "/version", 2.into()),
        named("bad-type", "wrong_type", "/deadline_seconds", "soon".into()),
        named("bad-field", "unknown_field", "/outputz", 1.into()),
        named("bad-none", "invalid_value", "/outputs", json!([])),
        named(
            "bad-key",
            "plaintext_key",
            "/outputs/0/encryption",
            key("00112233445566778899aabbccddeeff".into()),
        ),
        named(
            "bad-base64",
            "invalid_value",
            "/outputs/0/encryption",
            keyring("!!!!"),
        ),
        named(
            "bad-file",
            "file_not_allowed",
            "/input/url",
            "file:///etc/shadow".into(),
        ),
        named(
            "bad-object",
            "source_not_found",
            "/input/url",
            missing.into(),
        ),
    ]
}
