//! Where a film ends that does not say so: all of it is read, nothing of it decoded, and when its
//! last frame ends goes out. Fragments and recordings that were never finished are such films.

use ciphermill_formats::FileType;

use super::facts::Video;
use super::run::{self, Task};
use super::{Film, Limits, Result, Tools, sandbox};

/// In seconds, from the film's start; `None` when there is no frame.
pub(super) async fn find(
    tools: &Tools,
    film: &Film,
    video: &Video,
    limits: &Limits,
) -> Result<Option<f64>> {
    // Packets come in the order of decoding: the latest time of all is what counts.
    let words = format!(
        "-map 0:{} -c copy -bsf:v setts=ts=max(PREV_OUTPTS\\,PTS) -f null \
         -stats_period 3600 -progress pipe:1 pipe:2",
        video.stream
    );
    let task = Task {
        program: &tools.ffmpeg,
        before: Vec::new(),
        after: words.split(' ').map(str::to_owned).collect(),
        limits: sandbox::Limits {
            memory: limits.memory_bytes,
            cpu_seconds: limits.cpu_seconds,
            wall: limits.wall,
            stdout_bytes: 1 << 20,
            range_bytes: limits.range_bytes,
            ..sandbox::Limits::default()
        },
    };
    let mut said = Vec::new();
    let done = run::run(tools, film, task, &mut said).await?;
    run::check(&done.outcome)?;
    let said = String::from_utf8_lossy(&said);
    let mut times = said
        .lines()
        .filter_map(|line| line.strip_prefix("out_time_us="));
    let last = times.next_back().and_then(|time| time.parse::<i64>().ok());
    let shift = if film.form == FileType::MpegTs {
        video.start_seconds
    } else {
        0.0
    };
    let frame = video.frame_rate.map_or(0.0, |rate| 1.0 / rate);
    let end = last.map(|micros| micros as f64 / 1e6 + shift + frame);
    Ok(end.filter(|end| *end > 0.0))
}
