//! Settings as typed: TOML text, environment variables and flags merged into one table, then
//! checked value by value.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

use super::engine::RawEngine;
use super::media::RawMedia;
use super::{Amqp, Flavour, Keyring, Log, S3, Settings, Worker, memory};
use crate::fault::{Code, Fault, Result};

/// Flags that override a setting: `("worker.slots", "4")`.
pub type Flags = Vec<(&'static str, String)>;

const MIB: u64 = 1 << 20;
const ENVIRONMENT_PREFIX: &str = "CIPHERMILL_";

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSettings {
    worker: RawWorker,
    amqp: RawAmqp,
    s3: RawS3,
    keyring: RawKeyring,
    engine: RawEngine,
    media: RawMedia,
    log: RawLog,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawWorker {
    slots: Option<u64>,
    budget_bytes: Option<u64>,
    drain_seconds: Option<u64>,
    max_attempts: Option<u64>,
    admin_listen: Option<String>,
    file_root: Option<PathBuf>,
    allow_buckets: Option<Vec<String>>,
    allow_kms_keys: Option<Vec<String>>,
    allow_reply_queues: Option<Vec<String>>,
    ledger_prefix: Option<String>,
    reap_after_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawAmqp {
    urls: Option<Vec<String>>,
    queue: Option<String>,
    events_exchange: Option<String>,
    dead_letter_queue: Option<String>,
    consumer_timeout_seconds: Option<u64>,
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawS3 {
    flavour: Option<String>,
    path_style: Option<bool>,
    part_bytes: Option<u64>,
    requests_in_flight: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawKeyring {
    file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLog {
    format: Option<String>,
    level: Option<String>,
}

/// Merges file, environment and flags; the later wins.
pub(super) fn read(
    text: &str,
    environment: &BTreeMap<String, String>,
    flags: &Flags,
) -> Result<RawSettings> {
    let bad = |message: String| Fault::new(Code::Settings, message);
    let mut table: Table = text
        .parse()
        .map_err(|e: toml::de::Error| bad(e.message().into()))?;
    for (name, value) in environment {
        if let Some((section, key)) = name
            .strip_prefix(ENVIRONMENT_PREFIX)
            .and_then(|n| n.split_once("__"))
        {
            let setting = format!("{}.{}", section.to_lowercase(), key.to_lowercase());
            overlay(&mut table, &setting, value).map_err(|e| e.at(name.as_str()))?;
        }
    }
    if let Some(filter) = environment.get("RUST_LOG") {
        overlay(&mut table, "log.level", filter)?;
    }
    for (setting, value) in flags {
        overlay(&mut table, setting, value)?;
    }
    Value::Table(table)
        .try_into()
        .map_err(|e: toml::de::Error| bad(e.to_string().trim().replace('\n', " ")))
}

/// Puts one typed-in value into the table, in the type its key has.
fn overlay(table: &mut Table, setting: &str, text: &str) -> Result<()> {
    let bad = |what: &str| {
        Fault::new(Code::Settings, format!("expected {what}, got {text:?}")).at(setting)
    };
    let (section, key) = setting.split_once('.').ok_or_else(|| bad("section.key"))?;
    let value = match key {
        "slots"
        | "budget_bytes"
        | "drain_seconds"
        | "max_attempts"
        | "consumer_timeout_seconds"
        | "part_bytes"
        | "requests_in_flight"
        | "threads"
        | "gpu_threads"
        | "gpu_slot_bytes"
        | "gpu_timeout_seconds"
        | "reap_after_seconds"
        | "decoder_bytes"
        | "plaintext_bytes"
        | "output_bytes"
        | "seconds"
        | "warm" => Value::Integer(text.parse().map_err(|_| bad("a whole number"))?),
        "path_style" | "pin" => Value::Boolean(text.parse().map_err(|_| bad("true or false"))?),
        "urls" | "allow_buckets" | "allow_kms_keys" | "allow_reply_queues" => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.into())).collect())
        }
        _ => Value::String(text.into()),
    };
    let section = table
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()));
    let section = section.as_table_mut().ok_or_else(|| bad("a table"))?;
    section.insert(key.into(), value);
    Ok(())
}

impl RawSettings {
    pub(super) fn validate(self) -> Result<Settings> {
        let worker = self.worker.validate()?;
        let s3 = self.s3.validate()?;
        let amqp = self.amqp.validate()?;
        if worker.reap_after <= amqp.consumer_timeout {
            let message = "a live job can be as old as amqp.consumer_timeout_seconds: wait longer";
            return Err(Fault::new(Code::Settings, message).at("worker.reap_after_seconds"));
        }
        if s3.part_bytes > worker.budget_bytes / 4 {
            let message = format!(
                "four parts of {} bytes do not fit {} bytes",
                s3.part_bytes, worker.budget_bytes
            );
            return Err(Fault::new(Code::Settings, message).at("worker.budget_bytes"));
        }
        let budget_bytes = worker.budget_bytes as u64;
        Ok(Settings {
            worker,
            s3,
            amqp,
            keyring: Keyring {
                file: self
                    .keyring
                    .file
                    .unwrap_or_else(|| "ciphermill.keyring".into()),
            },
            engine: self.engine.validate()?,
            media: self.media.validate(budget_bytes)?,
            log: self.log.validate()?,
        })
    }
}

impl RawWorker {
    fn validate(self) -> Result<Worker> {
        let file_root = match self.file_root {
            Some(root) if !root.is_absolute() => {
                return Err(wrong(
                    "worker.file_root",
                    "an absolute path",
                    &root.display().to_string(),
                ));
            }
            root => root,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let budget = (memory::limit_bytes() / 10 * 6).min(1 << 30);
        let listen = self.admin_listen.filter(|text| !text.is_empty());
        let admin_listen = listen.map(|text| {
            text.parse().map_err(|_| {
                wrong(
                    "worker.admin_listen",
                    "an address like 127.0.0.1:9100",
                    &text,
                )
            })
        });
        let ledger_prefix = self.ledger_prefix.unwrap_or_else(|| ".ciphermill/".into());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if !ledger_prefix.ends_with('/')
            || !ledger_prefix.chars().all(plain)
            || ledger_prefix.contains("..")
            || ledger_prefix.starts_with('/')
        {
            return Err(wrong(
                "worker.ledger_prefix",
                "a relative prefix that ends with /",
                &ledger_prefix,
            ));
        }
        Ok(Worker {
            slots: within("worker.slots", self.slots, cores.max(2), 1, 256)? as usize,
            budget_bytes: within(
                "worker.budget_bytes",
                self.budget_bytes,
                budget,
                32 * MIB,
                1 << 42,
            )? as usize,
            drain: Duration::from_secs(within(
                "worker.drain_seconds",
                self.drain_seconds,
                25,
                0,
                86_400,
            )?),
            max_attempts: within("worker.max_attempts", self.max_attempts, 10, 1, 1000)? as u32,
            admin_listen: admin_listen.transpose()?,
            file_root,
            allow_buckets: self.allow_buckets,
            allow_kms_keys: self.allow_kms_keys,
            allow_reply_queues: self.allow_reply_queues.unwrap_or_default(),
            ledger_prefix,
            reap_after: Duration::from_secs(within(
                "worker.reap_after_seconds",
                self.reap_after_seconds,
                86_400,
                60,
                31_536_000,
            )?),
        })
    }
}

impl RawAmqp {
    fn validate(self) -> Result<Amqp> {
        let urls = self
            .urls
            .unwrap_or_else(|| vec!["amqp://guest:guest@127.0.0.1:5672/%2f".into()]);
        if urls.is_empty()
            || urls
                .iter()
                .any(|url| !url.starts_with("amqp://") && !url.starts_with("amqps://"))
        {
            let message = "expected a list of amqp:// or amqps:// URLs";
            return Err(Fault::new(Code::Settings, message).at("amqp.urls"));
        }
        let seconds = within(
            "amqp.consumer_timeout_seconds",
            self.consumer_timeout_seconds,
            1800,
            30,
            31_536_000,
        )?;
        Ok(Amqp {
            urls,
            queue: name("amqp.queue", self.queue, "ciphermill.jobs")?,
            events_exchange: name(
                "amqp.events_exchange",
                self.events_exchange,
                "ciphermill.events",
            )?,
            dead_letter_queue: name(
                "amqp.dead_letter_queue",
                self.dead_letter_queue,
                "ciphermill.dead",
            )?,
            consumer_timeout: Duration::from_secs(seconds),
            ca_file: self.ca_file,
        })
    }
}

impl RawS3 {
    fn validate(self) -> Result<S3> {
        let flavour = self.flavour.as_deref().unwrap_or("generic");
        let known = Flavour::NAMES.iter().find(|(name, _)| *name == flavour);
        let part = within("s3.part_bytes", self.part_bytes, 8 * MIB, 5 * MIB, 1 << 30)?;
        if part % MIB != 0 {
            return Err(wrong(
                "s3.part_bytes",
                "a multiple of 1 MiB",
                &part.to_string(),
            ));
        }
        Ok(S3 {
            flavour: known
                .ok_or_else(|| {
                    wrong(
                        "s3.flavour",
                        "aws, minio, ceph, garage, r2 or generic",
                        flavour,
                    )
                })?
                .1,
            path_style: self.path_style,
            part_bytes: part as usize,
            requests_in_flight: within("s3.requests_in_flight", self.requests_in_flight, 6, 1, 256)?
                as usize,
        })
    }
}

impl RawLog {
    fn validate(self) -> Result<Log> {
        let json = match self.format.as_deref().unwrap_or("text") {
            "text" => false,
            "json" => true,
            other => return Err(wrong("log.format", "text or json", other)),
        };
        Ok(Log {
            json,
            level: self.level,
        })
    }
}

pub(super) fn within(
    setting: &str,
    value: Option<u64>,
    default: u64,
    least: u64,
    most: u64,
) -> Result<u64> {
    let value = value.unwrap_or(default);
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(wrong(
        setting,
        &format!("{least} to {most}"),
        &value.to_string(),
    ))
}

fn name(setting: &str, value: Option<String>, default: &str) -> Result<String> {
    let value = value.unwrap_or_else(|| default.into());
    if value.is_empty() || value.len() > 255 {
        return Err(wrong(setting, "1 to 255 bytes", &value));
    }
    Ok(value)
}

pub(super) fn wrong(setting: &str, expected: &str, got: &str) -> Fault {
    Fault::new(Code::Settings, format!("expected {expected}, got {got}")).at(setting)
}

#[cfg(test)]
mod tests;
