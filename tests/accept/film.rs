//! A film (P9): 2 GiB with its index at its end, encrypted, out of the store; thumbnails and the output of it within a
//! budget of 128 MiB, the worker and all its children counted.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::broker::Ended;
use crate::cases::{CIPHERS, COBBLESTONE, Seal};
use crate::cgroup::Cgroup;
use crate::checks::{Checks, Outcome, cannot, ensure, rate};
use crate::memory::{ALLOWED, BUDGET};
use crate::oracle::Oracle;
use crate::sources::upload;
use crate::store::BUCKET;
use crate::verify::used;
use crate::worker::Worker;
use crate::world::World;

const NAME: &str = "film";
const MIB: u64 = 1 << 20;
/// Of the source and of the thumbnails, indexes into [`CIPHERS`]: ciphers that open in any place.
const SOURCE: usize = 2;
const THUMBNAILS: usize = 0;

const WIDTH: usize = 1920;
const HEIGHT: usize = 1080;
const FRAMES_PER_SECOND: usize = 25;
/// The film is one clip, again and again.
const CLIP_FRAMES: usize = 250;
/// A frame says its number in so many columns, a bit each.
const COLUMNS: usize = 8;
const INTERVAL_SECONDS: f64 = 37.4;

pub async fn run(world: &World, checks: &mut Checks) {
    let mut ended = Ended::default();
    let measured = measure(world, &mut ended).await;
    if checks.note("memory, a film and its thumbnails", measured) {
        let event = ended.of(NAME).unwrap_or(&Value::Null);
        checks.note(
            "each thumbnail is the frame of its time",
            shown(world, event).await,
        );
    }
}

async fn measure(world: &World, ended: &mut Ended) -> Outcome<String> {
    let seal = Seal::new(SOURCE, true, NAME);
    let film = make(world)?;
    let bytes = std::fs::metadata(&film)
        .map_err(cannot("look at the film"))?
        .len();
    let promise = json!({ "url": format!("file://{}", film.display()) });
    let key = format!("src/{NAME}");
    let output =
        json!({ "url": format!("s3://{BUCKET}/{key}"), "encryption": seal.message(&world.keys) });
    upload(world, bytes, promise, output).await?;
    std::fs::remove_file(&film).map_err(cannot("remove the film"))?;
    let encryption = |cipher: usize| Seal::new(cipher, false, NAME).message(&world.keys);
    let out = |name: &str| format!("s3://{BUCKET}/out/{NAME}/{name}");
    let job = json!({
        "version": 1, "id": NAME,
        "input": { "url": format!("s3://{BUCKET}/{key}"), "encryption": seal.message(&world.keys) },
        "outputs": [ { "url": out("film"), "encryption": encryption(COBBLESTONE) } ],
        "thumbnails": { "url_pattern": out("{count}"), "format": "png", "max_width": 480, "max_height": 270,
            "interval_seconds": INTERVAL_SECONDS, "encryption": encryption(THUMBNAILS) },
    });
    let budget = BUDGET.to_string();
    let settings = [("CIPHERMILL_WORKER__BUDGET_BYTES", budget.as_str())];
    let group = Cgroup::new(world)?;
    let program = group.as_ref().map_or(world.bin.as_path(), Cgroup::program);
    let command = world.ciphermill_as(program, &world.garage);
    let mut worker = Worker::start_by(
        world,
        "film-worker",
        command,
        &settings,
        &["--max-jobs", "1"],
    )
    .await?;
    let watch = worker.watch_memory();
    let begun = Instant::now();
    world.submit(&[(NAME.into(), job)]).await?;
    worker.ended(Duration::from_secs(600)).await?;
    let time = begun.elapsed();
    let sampled = watch.join().map_err(|_| "the memory watch failed")?;
    ended.read(&world.broker).await;
    if let Some(complaint) = ended.complaint(NAME) {
        return Err(worker.with_tail(&complaint));
    }
    let peak = group.map(|group| group.peak()).transpose()?;
    let figures = format!(
        "{} MiB in {}; {}",
        bytes / MIB,
        rate(bytes, time),
        sampled.figures(peak)
    );
    ensure(sampled.measured(peak) <= ALLOWED, figures)
}

/// A film of the wanted size, its index last.
fn make(world: &World) -> Outcome<PathBuf> {
    let (clip, film) = (world.path("clip.mp4"), world.path("film.mp4"));
    encode(&clip).map_err(cannot("make a clip"))?;
    let bytes = std::fs::metadata(&clip)
        .map_err(cannot("look at the clip"))?
        .len();
    let size = if world.quick { 256 * MIB } else { 2048 * MIB };
    let again = size.div_ceil(bytes).to_string();
    let mut ffmpeg = ffmpeg();
    ffmpeg
        .args(["-stream_loop", &again, "-i"])
        .arg(&clip)
        .args(["-c", "copy"])
        .arg(&film);
    let status = ffmpeg.status().map_err(cannot("run ffmpeg"))?;
    let _ = std::fs::remove_file(&clip);
    ensure(status.success(), "ffmpeg made no film of the clip".into())?;
    Ok(film)
}

fn ffmpeg() -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y"]);
    ffmpeg
}

fn encode(clip: &Path) -> std::io::Result<()> {
    let mut child = ffmpeg()
        .args([
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
            "-s",
            &format!("{WIDTH}x{HEIGHT}"),
        ])
        .args(["-r", &FRAMES_PER_SECOND.to_string(), "-i", "-"])
        .args("-c:v libx264 -preset ultrafast -pix_fmt yuv420p -qp 28 -g 50".split(' '))
        .arg(clip)
        .stdin(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
    let mut noise = 1_u64;
    for number in 0..CLIP_FRAMES {
        stdin.write_all(&frame(number, &mut noise))?;
    }
    drop(stdin);
    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(std::io::Error::other(status.to_string()))
    }
}

/// Columns that say a number, and noise, which no encoder makes small.
fn frame(number: usize, noise: &mut u64) -> Vec<u8> {
    let mut pixels = vec![0_u8; WIDTH * HEIGHT];
    for (place, pixel) in pixels.iter_mut().enumerate() {
        let bit = number >> (place % WIDTH / (WIDTH / COLUMNS)) & 1;
        *noise ^= *noise << 13;
        *noise ^= *noise >> 7;
        *noise ^= *noise << 17;
        *pixel = 40 + 150 * bit as u8 + (*noise >> 59) as u8;
    }
    pixels
}

/// Opens every thumbnail, and reads which frame it shows.
async fn shown(world: &World, event: &Value) -> Outcome<String> {
    let mut oracle = Oracle::start()?;
    let (sealed, opened) = (world.path("thumbnail"), world.path("thumbnail.png"));
    let seal = Seal::new(THUMBNAILS, false, NAME);
    let made = event["data"]["companions"]
        .as_array()
        .ok_or("the event names no companions")?;
    for (index, companion) in made.iter().enumerate() {
        let key = format!("out/{NAME}/{:05}.png", index + 1);
        world.store.fetch(&key, &sealed).await?;
        oracle
            .decrypt(&used(world, &seal, companion)?, &sealed, &opened)
            .await?;
        let picture = image::open(&opened)
            .map_err(cannot("read a thumbnail"))?
            .to_luma8();
        ensure(
            (picture.width(), picture.height()) == (480, 270),
            format!("{key} has another size"),
        )?;
        let column = 480 / COLUMNS as u32;
        let bit = |at: u32| {
            usize::from(picture.get_pixel(at * column + column / 2, 135).0[0] > 128) << at
        };
        let number: usize = (0..COLUMNS as u32).map(bit).sum();
        let at = companion["at_seconds"]
            .as_f64()
            .ok_or("a thumbnail without its time")?;
        let expected = (at * FRAMES_PER_SECOND as f64).round() as usize % CLIP_FRAMES;
        ensure(
            number == expected,
            format!("{key} shows frame {number}, not {expected} ({at} s)"),
        )?;
        let asked = index as f64 * INTERVAL_SECONDS;
        ensure(
            (at - asked).abs() < 0.05,
            format!("{key} is of {at} s, not {asked}"),
        )?;
    }
    let least = if world.quick { 2 } else { 7 };
    let figures = format!(
        "{} opened by the oracle, encrypted in {}",
        made.len(),
        CIPHERS[THUMBNAILS].0
    );
    ensure(made.len() >= least, figures)
}
