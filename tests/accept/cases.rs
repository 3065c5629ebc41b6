//! The jobs: which source, which modes, which IVs. Pure: names in, messages out, the same in every run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::store::BUCKET;
use crate::world::DataKey;

/// Every mode with every key length it takes.
pub const CIPHERS: [(&str, u32); 11] = [
    ("aes-ctr", 128),
    ("aes-ctr", 192),
    ("aes-ctr", 256),
    ("aes-cbc-pkcs7", 128),
    ("aes-cbc-pkcs7", 192),
    ("aes-cbc-pkcs7", 256),
    ("aes-gcm", 128),
    ("aes-gcm", 192),
    ("aes-gcm", 256),
    ("cobblestone", 128),
    ("cobblestone", 256),
];

/// Indexes into [`CIPHERS`].
pub const COBBLESTONE: usize = 10;
pub const GCM: usize = 8;

const MIB: u64 = 1 << 20;

/// Lengths of the sources: around the block, the cobblestone chunk and the part.
const SIZES: [u64; 12] = [
    0,
    1,
    15,
    16,
    17,
    (16 << 10) - 1,
    16 << 10,
    (16 << 10) + 1,
    8 * MIB - 1,
    8 * MIB,
    8 * MIB + 1,
    64 * MIB,
];
const QUICK_SIZES: [u64; 4] = [0, 17, (16 << 10) + 1, 8 * MIB + 1];

/// Place of the big job among the others: it is under way whenever the worker is killed.
const BIG_AT: usize = 12;

/// How one object is encrypted.
#[derive(Clone)]
pub struct Seal {
    /// Index into [`CIPHERS`] and the keys.
    pub cipher: usize,
    /// The IV that the job gives; without one the worker makes it.
    pub iv: Option<Vec<u8>>,
    pub ctr_start: Option<u32>,
    pub context: Option<Vec<u8>>,
}

/// One job: a source, perhaps encrypted, and its outputs, perhaps encrypted.
pub struct Case {
    pub id: String,
    /// Length of the plaintext, which names the source.
    pub size: u64,
    pub input: Option<Seal>,
    pub outputs: Vec<Option<Seal>>,
    /// Where the sealed input is, if the input is sealed.
    pub sealed_key: String,
}

/// Length of the big source.
pub fn big(quick: bool) -> u64 {
    if quick { 512 * MIB } else { 5 << 30 }
}

/// Lengths of all sources but the big one.
pub fn sizes(quick: bool) -> &'static [u64] {
    if quick { &QUICK_SIZES } else { &SIZES }
}

/// SHA-256 of a name: where keys and IVs come from.
pub fn digest(name: &str) -> [u8; 32] {
    Sha256::digest(name).into()
}

impl Seal {
    /// With an IV of the job's own, of either length, when `given`; or with one that the worker will make.
    pub fn new(cipher: usize, given: bool, name: &str) -> Seal {
        let seed = digest(name);
        let mode = CIPHERS[cipher].0;
        let short = matches!(mode, "aes-ctr" | "aes-gcm") && seed[31] & 1 == 0;
        let iv = given && mode != "cobblestone";
        Seal {
            cipher,
            iv: iv.then(|| seed[..if short { 12 } else { 16 }].to_vec()),
            ctr_start: (iv && short && mode == "aes-ctr").then_some(u32::from(seed[30] & 1)),
            context: (given && mode == "cobblestone").then(|| seed[..20].to_vec()),
        }
    }

    pub fn mode(&self) -> &'static str {
        CIPHERS[self.cipher].0
    }

    /// As a job message says it.
    pub fn message(&self, keys: &[DataKey]) -> Value {
        let mut message = json!({ "mode": self.mode(), "key": keys[self.cipher].reference });
        if let Some(iv) = &self.iv {
            message["iv"] = STANDARD.encode(iv).into();
        }
        if let Some(start) = self.ctr_start {
            message["ctr_start"] = start.into();
        }
        if let Some(context) = &self.context {
            message["cobblestone_context"] = STANDARD.encode(context).into();
        }
        message
    }
}

impl Case {
    fn new(id: String, size: u64, input: Option<Seal>, outputs: Vec<Option<Seal>>) -> Case {
        let sealed_key = format!("sealed/{id}");
        Case {
            id,
            size,
            input,
            outputs,
            sealed_key,
        }
    }

    pub fn output_key(&self, index: usize) -> String {
        format!("out/{}/{index}", self.id)
    }

    /// The job message.
    pub fn message(&self, keys: &[DataKey], sha256: &str) -> Value {
        let mut input = match &self.input {
            None => json!({ "url": format!("s3://{BUCKET}/{}", source_key(self.size)) }),
            Some(seal) => json!({
                "url": format!("s3://{BUCKET}/{}", self.sealed_key), "encryption": seal.message(keys),
            }),
        };
        // Half of the jobs promise what the plaintext is.
        if digest(&self.id)[0] & 1 == 0 {
            input["sha256"] = sha256.into();
            input["bytes"] = self.size.into();
        }
        let outputs = self.outputs.iter().enumerate().map(|(index, seal)| {
            let mut output = json!({ "url": format!("s3://{BUCKET}/{}", self.output_key(index)) });
            if let Some(seal) = seal {
                output["encryption"] = seal.message(keys);
            }
            output
        });
        let outputs: Vec<Value> = outputs.collect();
        json!({ "version": 1, "id": self.id, "input": input, "outputs": outputs })
    }
}

pub fn source_key(size: u64) -> String {
    format!("src/{size}")
}

/// The jobs of the main load: 200, or 60.
pub fn load(quick: bool) -> Vec<Case> {
    let sizes = sizes(quick);
    let mut cases = Vec::new();
    for cipher in 0..CIPHERS.len() {
        for (number, size) in sizes.iter().enumerate() {
            let name = format!("encrypt-{}-{size}", name(cipher));
            let seal = Seal::new(cipher, (cipher + number) % 2 == 0, &name);
            cases.push(Case::new(name, *size, None, vec![Some(seal)]));
        }
    }
    let (decrypts, reencrypts, fans) = if quick { (7, 5, 3) } else { (33, 22, 12) };
    let size_of = |number: usize| sizes[(number * 5 + number / CIPHERS.len()) % sizes.len()];
    for number in 0..decrypts {
        let (cipher, size) = (number % CIPHERS.len(), size_of(number));
        let name = format!("decrypt-{}-{size}-{number}", name(cipher));
        let seal = Seal::new(cipher, true, &format!("{name}-in"));
        cases.push(Case::new(name, size, Some(seal), vec![None]));
    }
    for number in 0..reencrypts {
        let (cipher, size) = (number * 3 % CIPHERS.len(), size_of(number + 1));
        let to = (cipher + 4) % CIPHERS.len();
        let name = format!("reencrypt-{}-{}-{size}-{number}", name(cipher), name(to));
        let seal = Seal::new(cipher, true, &format!("{name}-in"));
        let output = Seal::new(to, number % 2 == 0, &name);
        cases.push(Case::new(name, size, Some(seal), vec![Some(output)]));
    }
    for number in 0..fans {
        let size = sizes[sizes.len() - 1 - number % sizes.len()];
        let name = format!("fan-{size}-{number}");
        let output = |n: usize| {
            let cipher = (number + n * 4) % CIPHERS.len();
            Some(Seal::new(
                cipher,
                n.is_multiple_of(2),
                &format!("{name}-{n}"),
            ))
        };
        let outputs = vec![output(0), output(1), output(2), None];
        cases.push(Case::new(name.clone(), size, None, outputs));
    }
    let seal = Seal::new(COBBLESTONE, true, "big");
    let big = Case::new("big".into(), big(quick), None, vec![Some(seal)]);
    cases.insert(BIG_AT, big);
    number(cases, "load")
}

/// The jobs of the outages: enough to be under way for a while.
pub fn outage(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for cipher in 0..CIPHERS.len() {
        for size in sizes(quick).iter().rev().take(4) {
            let name = format!("outage-{}-{size}", name(cipher));
            let seal = Seal::new(cipher, cipher % 2 == 0, &name);
            cases.push(Case::new(name, *size, None, vec![Some(seal)]));
        }
    }
    number(cases, "outage")
}

/// One job on the big source.
pub fn on_big(quick: bool, cipher: usize) -> Case {
    let seal = Seal::new(cipher, false, "memory");
    let id = format!("memory-{}", name(cipher));
    Case::new(id, big(quick), None, vec![Some(seal)])
}

/// One job that uploads in parts, without an IV of its own.
pub fn in_parts(quick: bool) -> Case {
    let size = sizes(quick)[sizes(quick).len() - 1];
    let seal = Seal::new(COBBLESTONE, false, "in-parts");
    Case::new("in-parts".into(), size, None, vec![Some(seal)])
}

/// One small job with three outputs.
pub fn fanned() -> Case {
    let seal = |cipher: usize| Some(Seal::new(cipher, false, "fanned"));
    let outputs = vec![seal(COBBLESTONE), seal(GCM), seal(0)];
    Case::new("fanned".into(), 17, None, outputs)
}

/// `submit` publishes in the order of the ids: they begin with a number.
fn number(mut cases: Vec<Case>, word: &str) -> Vec<Case> {
    for (number, case) in cases.iter_mut().enumerate() {
        case.id = format!("{word}-{number:03}-{}", case.id);
    }
    cases
}

fn name(cipher: usize) -> String {
    let (mode, bits) = CIPHERS[cipher];
    format!("{mode}-{bits}")
}
