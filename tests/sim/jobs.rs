//! Jobs: the message of a job specification, its keys, and its source.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciphermill::job::{Mode, ObjectUrl};
use ciphermill_cipher::cobblestone::Salt;
use ciphermill_cipher::cpu::Kernel;
use ciphermill_cipher::cpu::portable::Portable;
use ciphermill_cipher::ctr::CounterStart;
use ciphermill_cipher::{Encryptor, Secret};
use serde_json::{Map, Value, json};

use crate::schedule::{InputFault, JobSpec, KeySpec, OutputSpec, PART_BYTES, Schedule};
use crate::whole::seal;

/// Bucket of sources.
pub const IN: &str = "sources";
/// Bucket of outputs.
pub const OUT: &str = "outputs";

/// An object that no worker wrote.
pub const STRANGER: &[u8] = b"somebody else's";

static PORTABLE: Portable = Portable;

/// The name of a key of a job: of its input, or of output number `output`.
pub fn key_name(job: &JobSpec, output: Option<usize>) -> String {
    let Some(mut output) = output else {
        return format!("key-{}-input", job.number);
    };
    while job.outputs[output].key == KeySpec::Shared && output > 0 {
        output -= 1;
    }
    match job.outputs[output].key {
        KeySpec::Alias => format!("key-{}-{}-alias", job.number, output - 1),
        KeySpec::Own | KeySpec::Shared | KeySpec::Generated => {
            format!("key-{}-{output}", job.number)
        }
    }
}

/// The bytes of a named key: any that differ from all others, but for an alias.
pub fn key_bytes(name: &str, bytes: usize) -> Vec<u8> {
    use sha2::Digest;
    let name = name.trim_end_matches("-alias");
    sha2::Sha256::digest(name.as_bytes())[..bytes].to_vec()
}

/// The key of an input, in bytes.
pub const INPUT_KEY_BYTES: usize = 32;

/// The IV that an output is given.
pub fn given_iv(job: &JobSpec, output: usize) -> Vec<u8> {
    let output = match job.outputs[output].key {
        KeySpec::Alias => output - 1,
        KeySpec::Own | KeySpec::Shared | KeySpec::Generated => output,
    };
    key_bytes(&format!("iv-{}-{output}", job.number), 16)
}

fn input_iv(job: &JobSpec) -> Vec<u8> {
    key_bytes(&format!("iv-{}-input", job.number), 16)
}

/// Where a job's source is.
pub fn source_url(job: &JobSpec) -> ObjectUrl {
    ObjectUrl::S3 {
        bucket: IN.into(),
        key: format!("source-{}", job.number),
    }
}

/// Where an output of a job goes.
pub fn output_url(job: &JobSpec, output: usize) -> ObjectUrl {
    ObjectUrl::S3 {
        bucket: OUT.into(),
        key: format!("job-{}/output-{output}", job.number),
    }
}

/// The id of a job.
pub fn id(job: &JobSpec) -> String {
    format!("job-{}", job.number)
}

/// The message of a job.
pub fn message(job: &JobSpec) -> Value {
    let mut input = Map::new();
    input.insert("url".into(), source_url(job).to_string().into());
    if let Some(mode) = job.input.mode {
        let iv = (mode != Mode::Cobblestone).then(|| input_iv(job));
        let key = named_key(&key_name(job, None));
        input.insert("encryption".into(), encryption(mode, key, iv));
    }
    if job.input.fault == InputFault::BrokenPromise {
        input.insert("sha256".into(), "0".repeat(64).into());
    }
    let outputs = job.outputs.iter().enumerate();
    let outputs = outputs.map(|(index, output)| output_message(job, index, output));
    json!({
        "version": 1,
        "id": id(job),
        "input": input,
        "outputs": outputs.collect::<Vec<_>>(),
    })
}

fn output_message(job: &JobSpec, index: usize, spec: &OutputSpec) -> Value {
    let mut output = Map::new();
    output.insert("url".into(), output_url(job, index).to_string().into());
    if let Some(mode) = spec.mode {
        let key = match spec.key {
            KeySpec::Generated => json!({"generate": {"keyring": {"bits": spec.key_bytes * 8}}}),
            KeySpec::Own | KeySpec::Shared | KeySpec::Alias => {
                named_key(&key_name(job, Some(index)))
            }
        };
        let iv = spec.given_iv.then(|| given_iv(job, index));
        output.insert("encryption".into(), encryption(mode, key, iv));
    }
    if spec.if_absent {
        output.insert("if_exists".into(), "fail".into());
    }
    output.insert("required".into(), spec.required.into());
    output.into()
}

fn named_key(name: &str) -> Value {
    json!({"keyring": {"wrapped": STANDARD.encode(name)}})
}

fn encryption(mode: Mode, key: Value, iv: Option<Vec<u8>>) -> Value {
    let mut encryption = json!({"mode": mode.as_str(), "key": key});
    if let Some(iv) = iv {
        encryption["iv"] = STANDARD.encode(iv).into();
    }
    encryption
}

/// All named keys of a schedule, with their bytes.
pub fn keys(schedule: &Schedule) -> Vec<(String, Vec<u8>)> {
    let mut keys = Vec::new();
    for job in &schedule.jobs {
        let name = key_name(job, None);
        keys.push((name.clone(), key_bytes(&name, INPUT_KEY_BYTES)));
        for (index, output) in job.outputs.iter().enumerate() {
            let name = key_name(job, Some(index));
            keys.push((name.clone(), key_bytes(&name, output.key_bytes)));
        }
    }
    keys
}

/// The plaintext of version `version` of a job's source.
pub fn plaintext(job: &JobSpec, version: usize) -> Vec<u8> {
    let seed = (job.number * 1000 + version + 1) as u64;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut plain = vec![0; job.input.plain_bytes];
    rng.fill(&mut plain);
    plain
}

/// That version as it is stored.
pub fn stored(job: &JobSpec, version: usize) -> Vec<u8> {
    let plain = plaintext(job, version);
    let Some(mode) = job.input.mode else {
        return plain;
    };
    let key = key_bytes(&key_name(job, None), INPUT_KEY_BYTES);
    let cipher = encryptor(mode, &key, &input_iv(job), Salt::existing([7; 24]));
    let mut object = seal(&cipher, &plain, PART_BYTES);
    if job.input.fault == InputFault::Forged {
        let middle = object.len() / 2;
        object[middle] ^= 1;
    }
    object
}

/// A cipher of the portable kernel: not the one that the workers use.
pub fn encryptor(mode: Mode, key: &[u8], iv: &[u8], salt: Salt) -> Encryptor {
    let kernel: &'static dyn Kernel = &PORTABLE;
    let key = Secret::new(key.to_vec());
    let block = || iv.try_into().expect("16 bytes");
    match mode {
        Mode::Cobblestone => Encryptor::cobblestone(kernel, &key, salt, b""),
        Mode::AesGcm => Encryptor::gcm(kernel, &key, iv),
        Mode::AesCtr => Encryptor::ctr(kernel, &key, CounterStart::from_block(block())),
        Mode::AesCbcPkcs7 => Encryptor::cbc(kernel, &key, block()),
    }
    .expect("a good key")
}
