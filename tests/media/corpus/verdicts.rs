//! What must hold of the jobs that ran.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use ciphermill_captions as captions;
use serde_json::{Value, json};

use super::ran::{Case, Held, LIMIT_SECONDS, Place, Ran, run};
use super::seeds::SECRET;

/// All that may be wrong with a companion.
const CODES: [&str; 3] = ["media_unreadable", "media_too_large", "media_timeout"];
/// What one parser may take over its limit until it is gone.
const GRACE_SECONDS: u64 = 5;
/// Parsers of a job, one after the other, that may each use up their time.
const PARSERS: u64 = 8;
const MOST_GROWTH_BYTES: u64 = 64 << 20;

/// The worker holds what it held after its first job, and takes no more and more memory.
pub fn held(held: &[Held]) {
    eprintln!("{held:?}");
    for later in &held[1..] {
        assert_eq!(later.descriptors, held[0].descriptors, "{held:?}");
        assert_eq!(later.children, held[0].children, "{held:?}");
    }
    let grown = held[3]
        .resident_bytes
        .saturating_sub(held[1].resident_bytes);
    assert!(grown < MOST_GROWTH_BYTES, "{grown} bytes: {held:?}");
}

/// Every job wrote its output, and each of its companions is good or says why it is not there.
pub fn spared(ran: &Ran, cases: &[Case], place: &Place) {
    let mut wrong = Vec::new();
    for case in cases {
        let job = &ran.jobs[&case.name];
        let most = (PARSERS * (LIMIT_SECONDS + GRACE_SECONDS)) as f64;
        let outputs = &job["data"]["outputs"];
        let long = case.bytes.len() as u64;
        let sealed = long + 56 + 16 * (long / 16_384 + 1);
        let written = outputs[0]["status"] == "written" && outputs[0]["bytes"] == sealed;
        if !written || job["seconds"].as_f64().unwrap() > most {
            wrong.push(format!("{}: {job}", case.name));
            continue;
        }
        let companions = job["data"]["companions"].as_array().unwrap();
        for kind in ["thumbnail", "caption", "artwork"] {
            if !companions.iter().any(|companion| companion["kind"] == kind) {
                wrong.push(format!("{}: nothing is said of its {kind}", case.name));
            }
        }
        let judged = companions
            .iter()
            .filter_map(|companion| judge(case, companion).err());
        wrong.extend(judged.map(|why| format!("{}: {why}", case.name)));
        wrong.extend(strangers(
            &place.outputs.join(&case.name),
            case.output(),
            companions,
        ));
    }
    assert_none(&wrong, cases);
}

fn assert_none(wrong: &[String], cases: &[Case]) {
    let (some, all) = (wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{some} of {all}:\n{}", wrong.join("\n"));
}

/// Whether a companion is as it must be.
fn judge(case: &Case, companion: &Value) -> Result<(), String> {
    if companion["status"] == "failed" {
        let code = companion["fault"]["code"].as_str().unwrap_or_default();
        // A film's language made the name of something else.
        let taken = case.output.is_some() && code == "invalid_value";
        return match taken || CODES.contains(&code) {
            true => Ok(()),
            false => Err(companion.to_string()),
        };
    }
    let url = companion["url"].as_str().unwrap_or_default();
    let bytes = std::fs::read(url.strip_prefix("file://").unwrap_or_default());
    let bytes = bytes.map_err(|e| format!("{url}: {e}"))?;
    if bytes
        .windows(SECRET.len())
        .any(|piece| piece == SECRET.as_bytes())
    {
        return Err(format!("{url} tells a secret"));
    }
    if companion["kind"] == "caption" && companion["cues"] != 0 {
        let parsed = captions::parse(&bytes).map_err(|e| format!("{url}: {e}"))?;
        let cues = parsed.track.cues.len() as u64;
        return match parsed.broken.is_empty() && companion["cues"] == cues {
            true => Ok(()),
            false => Err(format!("{url}: {companion}, {:?}", parsed.broken)),
        };
    }
    if companion["kind"] == "caption" {
        return std::str::from_utf8(&bytes)
            .map(drop)
            .map_err(|e| format!("{url}: {e}"));
    }
    let picture = image::load_from_memory(&bytes).map_err(|e| format!("{url}: {e}"))?;
    let (width, height) = (picture.width(), picture.height());
    let [red, green, blue] = picture.to_rgb8().get_pixel(width / 2, height / 2).0;
    let magenta = red > 200 && green < 60 && blue > 200;
    match companion["width"] == width && companion["height"] == height && width <= 600 && !magenta {
        true => Ok(()),
        false => Err(format!("{url}: {width}x{height}, {companion}")),
    }
}

/// Files in a job's folder that its result does not name.
fn strangers(folder: &Path, output: &str, companions: &[Value]) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let names = files.map(|file| file.unwrap().path().display().to_string());
    let known = |path: &String| {
        let url = format!("file://{path}");
        let companion = companions.iter().any(|companion| companion["url"] == url);
        companion || path.ends_with(&format!("/{output}")) || path.ends_with("/.ciphermill")
    };
    names.filter(|path| !known(path)).collect()
}

/// Where companions are required their job fails for good, and nothing of it is there.
pub fn refused(ran: &Ran, cases: &[Case], place: &Place) {
    let mut wrong = Vec::new();
    for case in cases {
        let job = &ran.jobs[&case.name];
        let code = job["code"].as_str().unwrap_or_default();
        if job["class"] != "Permanent" || !CODES.contains(&code) {
            wrong.push(format!("{}: {job}", case.name));
        }
        let left = strangers(&place.outputs.join(&case.name), "-", &[]);
        if !left.is_empty() {
            wrong.push(format!("{} left {left:?}", case.name));
        }
    }
    assert_none(&wrong, cases);
}

/// Enough fails and enough succeeds, each for its own reason.
pub fn not_vacuous(ran: &Ran, cases: &[Case]) {
    let count = |kind: &str, code: &str| {
        let has = |case: &&Case| {
            let companions = ran.jobs[&case.name]["data"]["companions"]
                .as_array()
                .unwrap();
            companions.iter().any(|companion| {
                let said = companion["fault"]["code"].as_str().unwrap_or("written");
                companion["kind"] == kind && said == code
            })
        };
        cases.iter().filter(has).count()
    };
    let mut counts = Vec::new();
    for kind in ["thumbnail", "caption", "artwork"] {
        for code in ["written", CODES[0], CODES[1], CODES[2]] {
            counts.push((kind, code, count(kind, code)));
        }
    }
    eprintln!("{counts:?}");
    let least = [70, 150, 4, 1, 60, 150, 1, 0, 20, 200, 0, 0];
    for ((kind, code, count), least) in counts.iter().zip(least) {
        assert!(
            *count >= least,
            "{kind} {code}: {count} of at least {least}"
        );
    }
    let made = |name: &str, kind: &str| {
        let companions = ran.jobs[name]["data"]["companions"].as_array().unwrap();
        companions
            .iter()
            .filter(|c| c["kind"] == kind && c["status"] == "written")
            .count()
    };
    // What is good stays good beside what is not.
    assert_eq!(made("good-beside-broken", "caption"), 2);
    assert_eq!(made("good-beside-nothing", "caption"), 2);
    assert_eq!(made("taken", "caption"), 0);
    assert!(made("taken", "thumbnail") >= 3);
    assert!(made("ranges", "thumbnail") >= 3 && made("finest", "thumbnail") >= 15);
    assert!(made("mkv-tracks", "caption") >= 2 && made("broken-beside", "thumbnail") >= 3);
    assert!(made("large-beside", "thumbnail") >= 3 && made("mkv-index", "thumbnail") >= 1);
}

/// Every output opens to what went in; and every job that comes once more is known.
pub fn opened_again(ran: &Ran, cases: &[Case], place: &Place, done: &[Vec<Value>]) {
    let back = |case: &Case| {
        let sealed = &ran.jobs[&case.name]["data"]["outputs"][0];
        let url = format!(
            "file://{}/{}",
            place.outputs.join("opened").display(),
            case.name
        );
        json!({ "version": 1, "id": format!("back-{}", case.name), "outputs": [{ "url": url }],
            "input": { "url": sealed["url"], "encryption": sealed["encryption"] } })
    };
    let opened = run(place, &[cases.iter().map(back).collect()], false, None);
    for case in cases {
        let path = place.outputs.join("opened").join(&case.name);
        let bytes = std::fs::read(path);
        let job = &opened.jobs[&format!("back-{}", case.name)];
        assert!(bytes.is_ok_and(|bytes| bytes == case.bytes), "{job}");
    }
    let again = run(place, done, true, None);
    assert_eq!(again.jobs.len(), cases.len());
    for (name, job) in &again.jobs {
        assert_eq!(job["recognised"], true, "{name}: {job}");
    }
}

/// ffmpeg as it is called anywhere else connects to the address in a playlist.
pub fn reaches(list: &Path, listener: &TcpListener) {
    let mut ffprobe = Command::new("/usr/bin/ffprobe");
    ffprobe.args([
        "-v",
        "quiet",
        "-protocol_whitelist",
        "file,http,tcp",
        "-f",
        "hls",
    ]);
    ffprobe.args(["-rw_timeout", "1000000", "-timeout", "1000000"]);
    let mut child = ffprobe.arg(list).spawn().unwrap();
    let since = std::time::Instant::now();
    let came = loop {
        match listener.accept() {
            Ok(_) => break true,
            Err(_) if since.elapsed().as_secs() > 10 => break false,
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(came, "nobody came");
}
