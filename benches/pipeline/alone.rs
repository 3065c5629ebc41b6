//! A lone job at a store that is far away: a worker with 1 to 64 slots and nothing else to do, behind a proxy that
//! holds every request back for a while. Slots that nobody uses must not make the one job slower.

use std::time::Duration;

use crate::check::{self, Opener};
use crate::proxy::{Fault, Proxy};
use crate::record::Run;
use crate::settings::Settings;
use crate::turn::{Before, Turn, order};
use crate::world::{Endpoint, World};
use crate::{Outcome, jobs, worker};

const DELAYS_MS: [u64; 3] = [0, 20, 200];
const SLOTS: [usize; 4] = [1, 4, 16, 64];
const MODE: &str = "cobblestone";
const FROM: &str = "src/alone";
const TO: &str = "out/alone";

pub async fn run(world: &World, settings: &Settings, run: &mut Run) -> Outcome<()> {
    let proxy = Proxy::http(world.upstream).await;
    for round in 0..settings.rounds {
        for delay_ms in DELAYS_MS {
            for index in order(round, SLOTS.len()) {
                let turn = Turn {
                    group: format!("alone, {delay_ms} ms a request"),
                    who: format!("{} slots", SLOTS[index]),
                    round,
                    jobs: 1,
                    bytes: settings.alone_bytes,
                };
                one(world, run, &proxy, &turn, delay_ms, SLOTS[index]).await?;
            }
        }
    }
    Ok(())
}

async fn one(
    world: &World,
    run: &mut Run,
    proxy: &Proxy,
    turn: &Turn,
    delay_ms: u64,
    slots: usize,
) -> Outcome<()> {
    world.empty_store().await?;
    let source = world.store.put_random(FROM, turn.bytes).await?;
    match delay_ms {
        0 => proxy.no_fault(),
        delay => proxy.set_fault(move |_, _| Fault::Delay(Duration::from_millis(delay))),
    }
    let endpoint = Endpoint {
        name: "proxy",
        url: proxy.endpoint(),
        ca: None,
    };
    let before = Before::look(world).await?;
    let job = jobs::message(world, "alone", FROM, TO, Some(MODE));
    let used = worker::jobs(world, &endpoint, Some(slots), &[job]).await?;
    let mut sample = turn.sample(world, &before, used).await?;
    proxy.clear();
    check::lengths(
        world,
        &turn.who,
        1,
        jobs::sealed_bytes(Some(MODE), turn.bytes),
    )
    .await?;
    let sealed = jobs::sealed_bytes(Some(MODE), turn.bytes);
    check::stored(world, &turn.who, turn.bytes + sealed)?;
    if turn.compares_content() {
        let opener = Opener::Ciphermill {
            mode: MODE,
            iv: None,
        };
        check::content(world, &turn.who, TO, &source, &opener).await?;
        sample.checked = "content".into();
    }
    run.add(sample);
    Ok(())
}
