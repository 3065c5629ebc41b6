//! Sources: plaintexts of every length, in the store; for jobs that decrypt, sealed by the oracle and not by us.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cases::{self, big, sizes, source_key};
use crate::checks::{Outcome, cannot, rate};
use crate::oracle::{Oracle, Sealed};
use crate::store::BUCKET;
use crate::world::{Source, World, finished};

/// Makes and uploads all of them.
pub async fn make(world: &mut World) -> Outcome<()> {
    for size in sizes(world.quick) {
        let source = write(world, *size)?;
        world.store.put(&source_key(*size), &source.path).await?;
        world.sources.insert(*size, source);
    }
    seal(world).await?;
    let size = big(world.quick);
    let source = write(world, size)?;
    let from =
        json!({ "url": format!("file://{}", source.path.display()), "sha256": source.sha256 });
    let to = json!({ "url": format!("s3://{BUCKET}/{}", source_key(size)) });
    upload(world, size, from, to).await?;
    std::fs::remove_file(&source.path).map_err(cannot("remove the big file"))?;
    world.sources.insert(size, source);
    Ok(())
}

/// What is big goes up by `ciphermill run`: a file in, an object out.
pub async fn upload(world: &World, size: u64, input: Value, output: Value) -> Outcome<()> {
    let id = format!("upload-{size}");
    let job = json!({ "version": 1, "id": id, "input": input, "outputs": [output] });
    let mut run = world.ciphermill(&world.garage);
    run.arg("run")
        .arg(world.write("upload.json", &job.to_string())?);
    let begun = Instant::now();
    finished("run upload.json", run, Duration::from_secs(600)).await?;
    let rate = rate(size, begun.elapsed());
    println!(
        "     {} MiB uploaded by `ciphermill run`: {rate}",
        size >> 20
    );
    Ok(())
}

/// Inputs of the jobs that decrypt.
async fn seal(world: &World) -> Outcome<()> {
    let mut oracle = Oracle::start()?;
    let file = world.path("sealed");
    for case in cases::load(world.quick) {
        let Some(seal) = &case.input else { continue };
        let sealed = Sealed {
            seal,
            key: &world.keys[seal.cipher],
            iv: seal.iv.clone(),
            salt: None,
        };
        let source = &world.sources[&case.size];
        oracle.encrypt(&sealed, &source.path, &file).await?;
        world.store.put(&case.sealed_key, &file).await?;
    }
    Ok(())
}

/// Bytes that no two places share, so that parts that change places show.
fn write(world: &World, size: u64) -> Outcome<Source> {
    let path = world.path(&format!("source-{size}"));
    let sha256 = fill(&path, size).map_err(cannot("write a source"))?;
    Ok(Source { path, sha256 })
}

fn fill(path: &Path, size: u64) -> std::io::Result<String> {
    let mut file = BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    let mut digest = Sha256::new();
    let mut state = size.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut block = [0_u8; 8192];
    let mut left = size;
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            // xorshift64: fast, and that is all it has to be.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let bytes = &block[..left.min(8192) as usize];
        digest.update(bytes);
        file.write_all(bytes)?;
        left -= bytes.len() as u64;
    }
    file.flush()?;
    Ok(hex::encode(digest.finalize()))
}
