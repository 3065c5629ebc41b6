//! One large object, over http and over TLS: `ciphermill run` in every mode and as a copy, beside the peers. All of
//! them are processes that are started for it; their start counts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::check::{self, Opener};
use crate::jobs::{self, MODES};
use crate::process::{Pipe, Used};
use crate::record::Run;
use crate::settings::Settings;
use crate::store::BUCKET;
use crate::tools::OneKey;
use crate::turn::{Before, Turn, order};
use crate::world::{Endpoint, World};
use crate::{Outcome, bare, cannot};

const FROM: &str = "src/large";
const TO: &str = "out/large";

/// Whoever has turns.
#[derive(Clone, Copy)]
enum Way {
    Ours(Option<&'static str>),
    Bare,
    Rclone,
    RcloneCrypt,
    AwsOpenssl,
}

/// What a turn took, and how its output is opened.
struct Done {
    used: Used,
    opener: Opener,
}

pub async fn run(world: &World, settings: &Settings, run: &mut Run) -> Outcome<()> {
    let ways = ways(world);
    for round in 0..settings.rounds {
        for endpoint in [&world.http, &world.tls] {
            for index in order(round, ways.len()) {
                turn(world, settings, run, endpoint, ways[index], round).await?;
            }
        }
    }
    Ok(())
}

fn ways(world: &World) -> Vec<Way> {
    let ours = MODES.into_iter().map(Some).chain([None]).map(Way::Ours);
    let mut ways: Vec<Way> = ours.chain([Way::Bare]).collect();
    if world.tools.has_rclone() {
        ways.extend([Way::Rclone, Way::RcloneCrypt]);
    }
    if world.tools.has_aws() {
        ways.push(Way::AwsOpenssl);
    }
    ways
}

async fn turn(
    world: &World,
    settings: &Settings,
    run: &mut Run,
    endpoint: &Endpoint,
    way: Way,
    round: usize,
) -> Outcome<()> {
    let turn = Turn {
        group: format!("large, {}", endpoint.name),
        who: way.name(),
        round,
        jobs: 1,
        bytes: settings.large_bytes,
    };
    world.empty_store().await?;
    let source = world.store.put_random(FROM, turn.bytes).await?;
    let before = Before::look(world).await?;
    let done = way.go(world, endpoint, turn.bytes).await?;
    let mut sample = turn.sample(world, &before, done.used).await?;
    check::lengths(world, &turn.who, 1, way.sealed_bytes(turn.bytes)).await?;
    check::stored(world, &turn.who, turn.bytes + way.sealed_bytes(turn.bytes))?;
    if turn.compares_content() {
        check::content(world, &turn.who, TO, &source, &done.opener).await?;
        sample.checked = "content".into();
    }
    run.add(sample);
    Ok(())
}

impl Way {
    fn name(self) -> String {
        match self {
            Way::Ours(mode) => format!("ciphermill {}", mode.unwrap_or("copy")),
            Way::Bare => "bare GET+PUT copy".into(),
            Way::Rclone => "rclone copy".into(),
            Way::RcloneCrypt => "rclone crypt".into(),
            Way::AwsOpenssl => "aws, openssl ctr, aws".into(),
        }
    }

    fn sealed_bytes(self, bytes: u64) -> u64 {
        match self {
            Way::Ours(mode) => jobs::sealed_bytes(mode, bytes),
            Way::RcloneCrypt => jobs::rclone_bytes(bytes),
            Way::Bare | Way::Rclone | Way::AwsOpenssl => bytes,
        }
    }

    async fn go(self, world: &World, endpoint: &Endpoint, bytes: u64) -> Outcome<Done> {
        let name = self.name();
        let mut opener = Opener::Plain;
        let commands = match self {
            Way::Ours(mode) => return ours(world, endpoint, mode, &name).await,
            Way::Bare => vec![bare::large(endpoint, FROM, TO)?],
            Way::Rclone => {
                let [from, to] = [format!("in:{BUCKET}/{FROM}"), format!("out:{BUCKET}/{TO}")];
                vec![world.tools.rclone(endpoint, &["copyto", &from, &to])?]
            }
            Way::RcloneCrypt => {
                let from = format!("in:{BUCKET}/{FROM}");
                opener = Opener::Rclone {
                    name: "crypt:large".into(),
                };
                vec![
                    world
                        .tools
                        .rclone(endpoint, &["copyto", &from, "crypt:large"])?,
                ]
            }
            Way::AwsOpenssl => {
                let key = OneKey::fresh()?;
                let tools = &world.tools;
                let commands = tools.aws_openssl(endpoint, &key, FROM, TO, bytes)?;
                let cipher = "aes-256-ctr";
                opener = Opener::Openssl { cipher, key };
                commands
            }
        };
        let used = Pipe::new(commands, world.folder()).run(&name).await?;
        Ok(Done { used, opener })
    }
}

async fn ours(
    world: &World,
    endpoint: &Endpoint,
    mode: Option<&'static str>,
    name: &str,
) -> Outcome<Done> {
    let message = jobs::message(world, "large", FROM, TO, mode);
    let file = world.path("job.json");
    std::fs::write(&file, message.to_string()).map_err(cannot("write a job"))?;
    let mut command = world.ciphermill(endpoint);
    command.args(["run", "--json"]).arg(&file);
    let used = Pipe::new(vec![command], world.folder()).run(name).await?;
    let event: Value = serde_json::from_str(Pipe::output(world.folder())?.trim())
        .map_err(cannot("read a job's result"))?;
    let iv = iv(&event)?;
    let opener = Opener::ours(world, mode, iv)?;
    Ok(Done { used, opener })
}

/// The IV in a result, in hex.
pub fn iv(event: &Value) -> Outcome<Option<String>> {
    let iv = event["data"]["outputs"][0]["encryption"]["iv"].as_str();
    let bytes = iv.map(|iv| STANDARD.decode(iv)).transpose();
    let bytes = bytes.map_err(cannot("read an iv"))?;
    Ok(bytes.map(hex::encode))
}
