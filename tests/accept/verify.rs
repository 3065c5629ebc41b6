//! Verification: every output is opened by the oracle, and compared with what the oracle itself makes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::broker::Ended;
use crate::cases::{Case, Seal, big};
use crate::checks::{Checks, Outcome, cannot, some};
use crate::oracle::{Oracle, Sealed};
use crate::world::World;

/// Checks every output of every case.
pub async fn all(world: &World, checks: &mut Checks, name: &str, cases: &[Case], ended: &Ended) {
    let result = outputs(world, cases, ended).await;
    checks.note(name, result);
}

async fn outputs(world: &World, cases: &[Case], ended: &Ended) -> Outcome<String> {
    let mut oracle = Oracle::start()?;
    let (mut opened, mut equal, mut bytes) = (0, 0, 0);
    let mut wrong = Vec::new();
    for case in cases {
        for index in 0..case.outputs.len() {
            let event = ended.of(&case.id).unwrap_or(&Value::Null);
            let result = &event["data"]["outputs"][index];
            match output(world, &mut oracle, case, index, result).await {
                Ok(compared) => {
                    opened += 1;
                    equal += usize::from(compared);
                    bytes += case.size;
                }
                Err(reason) => wrong.push(format!("{}: {reason}", case.output_key(index))),
            }
        }
    }
    if !wrong.is_empty() {
        return Err(format!(
            "{} outputs are wrong: {}",
            wrong.len(),
            some(&wrong)
        ));
    }
    Ok(format!(
        "{opened} outputs of {} MiB give their source; {equal} compared with the oracle's own bytes",
        bytes >> 20
    ))
}

/// One output; whether it was also compared with the oracle's encryption.
async fn output(
    world: &World,
    oracle: &mut Oracle,
    case: &Case,
    index: usize,
    result: &Value,
) -> Outcome<bool> {
    let key = case.output_key(index);
    let source = &world.sources[&case.size];
    if case.size == big(world.quick) {
        let seal = case.outputs[index]
            .as_ref()
            .ok_or("the big output is sealed")?;
        let sealed = used(world, seal, result)?;
        return piped(world, oracle, &key, &sealed, &source.sha256)
            .await
            .map(|()| false);
    }
    let file = world.path("output");
    let digest = world.store.fetch(&key, &file).await?;
    let Some(seal) = &case.outputs[index] else {
        return same("the object", &digest, &source.sha256).map(|()| true);
    };
    let sealed = used(world, seal, result)?;
    let opened = oracle.sha256("decrypt", &sealed, &file).await?;
    same("what the oracle reads", &opened, &source.sha256)?;
    let made = oracle.sha256("encrypt", &sealed, &source.path).await?;
    same("what the oracle writes", &made, &digest)?;
    Ok(true)
}

/// The big object goes through a pipe: no second copy of it on the disk.
async fn piped(
    world: &World,
    oracle: &mut Oracle,
    key: &str,
    sealed: &Sealed<'_>,
    sha256: &str,
) -> Outcome<()> {
    let pipe = world.path("pipe");
    let _ = std::fs::remove_file(&pipe);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)
        .map_err(cannot("make a pipe"))?;
    let fetched = world.store.fetch(key, &pipe);
    let (opened, fetched) = tokio::join!(oracle.sha256("decrypt", sealed, &pipe), fetched);
    same("what the oracle reads", &opened?, sha256)?;
    fetched.map(drop)
}

/// The seal with the IV or salt that the result names. A given IV must have been kept.
pub fn used<'a>(world: &'a World, seal: &'a Seal, result: &Value) -> Outcome<Sealed<'a>> {
    let bytes = |value: &Value| value.as_str().and_then(|text| STANDARD.decode(text).ok());
    let iv = bytes(&result["encryption"]["iv"]);
    let salt = bytes(&result["salt"]);
    if seal.iv.is_some() && seal.iv != iv {
        return Err("the result names another iv than the job gave".into());
    }
    if (seal.mode() == "cobblestone") == salt.is_none() || iv.is_some() == salt.is_some() {
        return Err(format!("the result names no iv or salt: {result}"));
    }
    let key = &world.keys[seal.cipher];
    Ok(Sealed {
        seal,
        key,
        iv,
        salt,
    })
}

/// One object that is too large for the disk's comfort.
pub async fn big_one(world: &World, case: &Case, ended: &Ended) -> Outcome<()> {
    let event = ended.of(&case.id).unwrap_or(&Value::Null);
    let result = &event["data"]["outputs"][0];
    output(world, &mut Oracle::start()?, case, 0, result)
        .await
        .map(drop)
}

fn same(what: &str, one: &str, other: &str) -> Outcome<()> {
    if one == other {
        Ok(())
    } else {
        Err(format!("{what} has SHA-256 {one}, not {other}"))
    }
}
