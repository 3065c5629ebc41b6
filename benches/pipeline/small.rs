//! Many small objects: a worker fed through RabbitMQ, one job for each object, beside rclone and the bare loop.

use serde_json::Value;

use crate::bare::small_keys;
use crate::check::{self, Opener};
use crate::process::{Pipe, Used};
use crate::record::Run;
use crate::settings::Settings;
use crate::store::BUCKET;
use crate::turn::{Before, Turn, order};
use crate::world::World;
use crate::{Outcome, bare, jobs, worker};

const MODE: &str = "cobblestone";
/// More slots than a worker has by itself, and transfers of the peers.
const MANY: usize = 16;

/// Whoever has turns.
#[derive(Clone, Copy)]
enum Way {
    /// Without a number the worker has its default.
    Ours(Option<usize>),
    Bare(usize),
    RcloneCrypt,
}

pub async fn run(world: &World, settings: &Settings, run: &mut Run) -> Outcome<()> {
    let mut ways = vec![
        Way::Ours(None),
        Way::Ours(Some(MANY)),
        Way::Bare(default_slots()),
        Way::Bare(MANY),
    ];
    if world.tools.has_rclone() {
        ways.push(Way::RcloneCrypt);
    }
    for round in 0..settings.rounds {
        for index in order(round, ways.len()) {
            turn(world, settings, run, ways[index], round).await?;
        }
    }
    Ok(())
}

/// As many slots as a worker has when nothing is set.
fn default_slots() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2))
}

async fn turn(
    world: &World,
    settings: &Settings,
    run: &mut Run,
    way: Way,
    round: usize,
) -> Outcome<()> {
    let count = settings.small_objects;
    let turn = Turn {
        group: format!("small, {count} x {} KiB", settings.small_bytes >> 10),
        who: way.name(),
        round,
        jobs: count,
        bytes: count as u64 * settings.small_bytes,
    };
    world.empty_store().await?;
    let keys = small_keys("src", count);
    let source = world.store.put_small(&keys, settings.small_bytes).await?;
    let before = Before::look(world).await?;
    let used = way.go(world, count).await?;
    let mut sample = turn.sample(world, &before, used).await?;
    check::lengths(
        world,
        &turn.who,
        count,
        way.sealed_bytes(settings.small_bytes),
    )
    .await?;
    let sealed = count as u64 * way.sealed_bytes(settings.small_bytes);
    check::stored(world, &turn.who, turn.bytes + sealed)?;
    if turn.compares_content() {
        let first = &small_keys("out", 1)[0];
        check::content(world, &turn.who, first, &source, &way.opener()).await?;
        sample.checked = "content".into();
    }
    run.add(sample);
    Ok(())
}

impl Way {
    fn name(self) -> String {
        match self {
            Way::Ours(None) => format!("ciphermill, {} slots (default)", default_slots()),
            Way::Ours(Some(slots)) => format!("ciphermill, {slots} slots"),
            Way::Bare(depth) => format!("bare GET+PUT, {depth} at once"),
            Way::RcloneCrypt => format!("rclone crypt, {MANY} transfers"),
        }
    }

    fn sealed_bytes(self, bytes: u64) -> u64 {
        match self {
            Way::Ours(_) => jobs::sealed_bytes(Some(MODE), bytes),
            Way::Bare(_) => bytes,
            Way::RcloneCrypt => jobs::rclone_bytes(bytes),
        }
    }

    /// For the first object.
    fn opener(self) -> Opener {
        match self {
            Way::Ours(_) => Opener::Ciphermill {
                mode: MODE,
                iv: None,
            },
            Way::Bare(_) => Opener::FirstByteInverted,
            Way::RcloneCrypt => Opener::Rclone {
                name: format!("crypt:{}", small_keys("", 1)[0].trim_start_matches('/')),
            },
        }
    }

    async fn go(self, world: &World, count: usize) -> Outcome<Used> {
        let command = match self {
            Way::Ours(slots) => {
                let pairs = small_keys("src", count)
                    .into_iter()
                    .zip(small_keys("out", count));
                let jobs: Vec<Value> = pairs
                    .map(|(from, to)| {
                        jobs::message(world, &from.replace('/', "-"), &from, &to, Some(MODE))
                    })
                    .collect();
                return worker::jobs(world, &world.http, slots, &jobs).await;
            }
            Way::Bare(depth) => bare::small(&world.http, count, depth)?,
            Way::RcloneCrypt => {
                let (from, many) = (format!("in:{BUCKET}/src"), MANY.to_string());
                let copy = [
                    "copy",
                    &from,
                    "crypt:",
                    "--transfers",
                    &many,
                    "--checkers",
                    &many,
                ];
                world.tools.rclone(&world.http, &copy)?
            }
        };
        Pipe::new(vec![command], world.folder())
            .run(&self.name())
            .await
    }
}
