//! Every mode, key size and edge size, from S3 to S3 through the whole pipeline, against the oracles (P4).

use std::path::PathBuf;

use ciphermill::pipeline::Outcome;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::lab::{Key, Lab};
use crate::oracle::{Oracle, Recipe, openssl_sha256, sha256};
use crate::support::{MIB, Options, base64, garage, job, noise, random};

const SMALL: [usize; 8] = [0, 1, 15, 16, 17, 16_383, 16_384, 16_385];
const LARGE: [usize; 4] = [8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 20 * MIB + 7];

/// Every mode with every key size that it takes.
const CASES: [(&str, usize); 11] = [
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

/// Length of an encrypted object.
fn sealed_len(mode: &str, plain: usize) -> usize {
    match mode {
        "aes-ctr" => plain,
        "aes-cbc-pkcs7" => plain / 16 * 16 + 16,
        "aes-gcm" => plain + 16,
        _ => 56 + plain + (plain / 16_384 + 1) * 16,
    }
}

fn recipe(mode: &'static str, key: &Key) -> Recipe {
    Recipe {
        mode,
        key: key.bytes.clone(),
        ..Recipe::default()
    }
}

/// The `encryption` block of a job, with the recipe's IV if it has one.
fn encryption(recipe: &Recipe, key: &Key) -> Value {
    let mut block = json!({"mode": recipe.mode, "key": key.reference});
    if let Some(iv) = &recipe.iv {
        block["iv"] = json!(base64(iv));
    }
    if let Some(start) = recipe.ctr_start {
        block["ctr_start"] = json!(start);
    }
    if let Some(context) = &recipe.context {
        block["cobblestone_context"] = json!(base64(context));
    }
    block
}

/// The block that the result offers for decrypting output `index`, and the IV in it.
fn opening(outcome: &Outcome, index: usize) -> (Value, Option<Vec<u8>>) {
    use base64::Engine as _;
    let block = outcome.data.outputs[index].encryption.clone();
    let block = block.expect("an encryption block");
    let iv = block["iv"].as_str().map(|text| {
        let iv = base64::engine::general_purpose::STANDARD.decode(text);
        iv.expect("base64")
    });
    (block, iv)
}

fn file(lab: &Lab, name: &str, bytes: &[u8]) -> PathBuf {
    let path = lab.dir.path().join(name.replace('/', "_"));
    std::fs::write(&path, bytes).expect("a file");
    path
}

/// Encrypts an object of `size` bytes in one mode, opens it with the oracle, and decrypts it back by a second job that is
/// made of the first one's result.
async fn there_and_back(
    lab: &Lab,
    oracle: &mut Oracle,
    (mode, bits): (&'static str, usize),
    (size, plain): (usize, &str),
) {
    let name = format!("{mode}-{bits}-{size}");
    let (source, sealed, back) = (format!("{size}"), format!("{name}/s"), format!("{name}/b"));
    let key = lab.key(bits);
    let wanted = encryption(&recipe(mode, &key), &key);
    let there = job(
        &name,
        json!({"url": lab.url(&source), "sha256": plain, "bytes": size}),
        vec![json!({"url": lab.url(&sealed), "encryption": wanted})],
    );
    let outcome = lab.run(&there).await.expect(&name);
    assert!(!outcome.recognised);
    let result = &outcome.data.outputs[0];
    let (block, iv) = opening(&outcome, 0);
    let bytes = lab.get(&sealed).await;
    assert_eq!(bytes.len(), sealed_len(mode, size), "{name}");
    assert_eq!(result.bytes, Some(bytes.len() as u64));
    let sum = ciphermill::checksum::Algorithm::Crc64Nvme
        .of(&bytes)
        .to_base64();
    assert_eq!(
        result.checksum.as_ref().map(|sum| &sum.value),
        Some(&sum),
        "{name}"
    );
    let path = file(lab, &name, &bytes);
    let opened = Recipe {
        iv,
        ..recipe(mode, &key)
    };
    let theirs = match mode {
        "aes-ctr" | "aes-cbc-pkcs7" => openssl_sha256(&opened, &path),
        _ => oracle.sha256("decrypt", &opened, &path),
    };
    std::fs::remove_file(path).expect("our own file");
    assert_eq!(theirs, plain, "{name}: the oracle reads something else");
    let again = job(
        &format!("{name}-back"),
        json!({"url": lab.url(&sealed), "encryption": block, "sha256": plain, "bytes": size}),
        vec![json!({"url": lab.url(&back)})],
    );
    lab.run(&again).await.expect(&name);
    assert_eq!(sha256(&lab.get(&back).await), plain, "{name}: back");
}

/// Puts a source of that size there, and gives its hash.
async fn source(lab: &Lab, size: usize) -> String {
    let bytes = noise(size);
    lab.put(&size.to_string(), &bytes).await;
    sha256(&bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_objects_go_there_and_back_in_every_mode() {
    let lab = Lab::new(garage()).await;
    let mut oracle = Oracle::start();
    for size in SMALL {
        let plain = source(&lab, size).await;
        for case in CASES {
            there_and_back(&lab, &mut oracle, case, (size, &plain)).await;
        }
    }
    assert_eq!(lab.uploads().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_objects_go_there_and_back_in_every_mode() {
    let lab = Lab::new(garage()).await;
    let mut oracle = Oracle::start();
    for size in LARGE {
        let plain = source(&lab, size).await;
        for case in CASES {
            there_and_back(&lab, &mut oracle, case, (size, &plain)).await;
        }
    }
    assert_eq!(lab.uploads().await, Vec::<String>::new());
}

/// Every way to give an IV: the name, what the oracle needs, and the key's size.
fn given() -> Vec<(&'static str, usize, Recipe)> {
    let with = |mode, iv: usize, ctr_start| Recipe {
        mode,
        iv: Some(random(iv)),
        ctr_start,
        ..Recipe::default()
    };
    vec![
        ("ctr-16", 256, with("aes-ctr", 16, None)),
        ("ctr-12", 128, with("aes-ctr", 12, None)),
        ("ctr-12-from-0", 192, with("aes-ctr", 12, Some(0))),
        ("ctr-12-from-1", 256, with("aes-ctr", 12, Some(1))),
        (
            "ctr-wraps",
            256,
            Recipe {
                iv: Some(vec![0xff; 16]),
                ..with("aes-ctr", 16, None)
            },
        ),
        ("cbc-128", 128, with("aes-cbc-pkcs7", 16, None)),
        ("cbc-256", 256, with("aes-cbc-pkcs7", 16, None)),
        ("gcm-12", 128, with("aes-gcm", 12, None)),
        ("gcm-16", 192, with("aes-gcm", 16, None)),
        ("gcm-16-256", 256, with("aes-gcm", 16, None)),
    ]
}

/// Ten outputs of one read, each with a given IV: equal to the oracle's encryption byte by byte, whatever the part size and
/// the number of cipher threads (P4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn given_ivs_give_the_oracles_bytes_whatever_the_parts_and_threads() {
    let lab = Lab::new(garage()).await;
    let mut oracle = Oracle::start();
    let usual = Options {
        budget_bytes: 512 * MIB,
        ..Options::on(garage())
    };
    let small = Options {
        part_bytes: 5 * MIB,
        ..usual.clone()
    };
    let single = Options {
        threads: 1,
        ..small.clone()
    };
    let pipelines = [
        ("8 MiB, 2 threads", lab.pipeline(&usual).await),
        ("5 MiB, 2 threads", lab.pipeline(&small).await),
        ("5 MiB, 1 thread", lab.pipeline(&single).await),
    ];
    for size in [0, 1, 16, 17, 16_385, 10 * MIB + 1] {
        let plain = noise(size);
        lab.put("plain", &plain).await;
        let path = file(&lab, "plain", &plain);
        let mut expected = Vec::new();
        let mut blocks = Vec::new();
        for (name, bits, mut recipe) in given() {
            let key = lab.key(bits);
            recipe.key = key.bytes.clone();
            expected.push((name, sha256(&oracle.encrypt(&recipe, &path))));
            blocks.push(encryption(&recipe, &key));
        }
        for (index, (how, pipeline)) in pipelines.iter().enumerate() {
            let url = |name: &str| lab.url(&format!("{size}/{index}/{name}"));
            let outputs = expected.iter().zip(&blocks);
            let outputs =
                outputs.map(|((name, _), block)| json!({"url": url(name), "encryption": block}));
            let input = json!({"url": lab.url("plain")});
            let job = job(&format!("given-{size}-{index}"), input, outputs.collect());
            lab.run_on(pipeline, &job, CancellationToken::new())
                .await
                .expect(how);
            for (name, sum) in &expected {
                let ours = sha256(&lab.get(&format!("{size}/{index}/{name}")).await);
                assert_eq!(&ours, sum, "{name}, {size} bytes, {how}");
            }
        }
    }
    assert_eq!(lab.uploads().await, Vec::<String>::new());
}

/// Objects that the oracle encrypted, as the inputs of decrypt jobs; and the context of cobblestone both ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oracles_objects_decrypt() {
    let lab = Lab::new(garage()).await;
    let mut oracle = Oracle::start();
    let chunked = |context: &[u8]| Recipe {
        mode: "cobblestone",
        context: (!context.is_empty()).then(|| context.to_vec()),
        ..Recipe::default()
    };
    let mut cases = given();
    cases.push(("cobblestone-128", 128, chunked(b"")));
    cases.push((
        "cobblestone-256-context",
        256,
        chunked(b"the title's context \xff\x00"),
    ));
    for size in [0, 1, 17, 16_384, 16_385, 9 * MIB + 1] {
        let plain = noise(size);
        let path = file(&lab, "plain", &plain);
        for (name, bits, recipe) in &cases {
            let key = lab.key(*bits);
            let recipe = Recipe {
                key: key.bytes.clone(),
                ..recipe.clone()
            };
            let id = format!("open-{name}-{size}");
            lab.put("sealed", &oracle.encrypt(&recipe, &path)).await;
            let input = json!({"url": lab.url("sealed"), "encryption": encryption(&recipe, &key)});
            let job = job(&id, input, vec![json!({"url": lab.url(&id)})]);
            lab.run(&job).await.expect(&id);
            assert_eq!(sha256(&lab.get(&id).await), sha256(&plain), "{id}");
        }
    }
}

/// One encrypted input becomes three outputs in one read: another mode, the plaintext, and cobblestone with a context.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_input_fans_out_and_is_encrypted_again() {
    let lab = Lab::new(garage()).await;
    let mut oracle = Oracle::start();
    let plain = noise(9 * MIB + 3);
    let (old, new, chunked) = (lab.key(256), lab.key(192), lab.key(128));
    let from = Recipe {
        iv: Some(random(16)),
        ..recipe("aes-cbc-pkcs7", &old)
    };
    let path = file(&lab, "plain", &plain);
    lab.put("old", &oracle.encrypt(&from, &path)).await;
    let context = b"film 42".to_vec();
    let to = Recipe {
        context: Some(context),
        ..recipe("cobblestone", &chunked)
    };
    let input = json!({
        "url": lab.url("old"), "encryption": encryption(&from, &old),
        "sha256": sha256(&plain), "bytes": plain.len()
    });
    let outputs = vec![
        json!({"url": lab.url("gcm"), "encryption": encryption(&recipe("aes-gcm", &new), &new)}),
        json!({"url": lab.url("clear"), "checksum": "sha256"}),
        json!({"url": lab.url("chunked"), "encryption": encryption(&to, &chunked)}),
    ];
    let outcome = lab
        .run(&job("fan", input, outputs))
        .await
        .expect("three outputs");
    assert_eq!(
        outcome.data.input.as_ref().map(|i| i.bytes),
        Some(plain.len() as u64)
    );
    assert!(
        outcome.data.outputs[2].salt.is_some(),
        "the salt is in the result"
    );
    let (_, iv) = opening(&outcome, 0);
    let gcm = Recipe {
        iv,
        ..recipe("aes-gcm", &new)
    };
    let sums = [("gcm", &gcm), ("chunked", &to)].map(|(name, recipe)| (name, recipe.clone()));
    for (name, recipe) in sums {
        let path = file(&lab, name, &lab.get(name).await);
        assert_eq!(
            oracle.sha256("decrypt", &recipe, &path),
            sha256(&plain),
            "{name}"
        );
    }
    assert_eq!(lab.get("clear").await, plain);
    let wrong = Recipe {
        context: Some(b"film 43".to_vec()),
        ..to
    };
    let (block, _) = opening(&outcome, 2);
    assert_eq!(block["cobblestone_context"], json!(base64(b"film 42")));
    let input = json!({"url": lab.url("chunked"), "encryption": encryption(&wrong, &chunked)});
    let refused = job(
        "wrong-context",
        input,
        vec![json!({"url": lab.url("never")})],
    );
    let code = ciphermill::fault::Code::DecryptFailed;
    lab.fails(&refused, code, "/input").await;
    assert!(!lab.objects().await.contains(&"never".to_owned()));
}
