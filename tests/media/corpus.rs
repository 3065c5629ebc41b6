//! Hundreds of broken and hostile media files, each a job of a real pipeline (P12, P7): a file fails
//! its own thumbnails, captions or artwork, and nothing else; nothing is left over, nothing is
//! reached, and nothing is written but what the jobs asked for.
//!
//! The corpus is made anew from small seeds, the same each time. The jobs run in a worker of their
//! own ([`driver`](corpus/driver.rs)) under strace; what is asserted is in `verdicts`.

mod containers;
mod damage;
mod pictures;
mod ran;
mod reach;
mod seeds;
mod trace;
mod verdicts;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ciphermill::keys::keyring::Keyring;
use serde_json::{Value, json};

use self::damage::{Random, flipped};
use self::ran::{Case, Place, run};
use self::reach::Secrets;
use self::seeds::{SEEDS, short, texts};

/// Files of the first and of the last batch.
const SOME: usize = 50;

fn place(folder: &Path) -> Place {
    let make = |name: &str| {
        let path = folder.join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    let keyring = folder.join("keyring");
    Keyring::create(&keyring).unwrap();
    Place {
        seeds: make("seeds"),
        inputs: make("inputs"),
        outputs: make("outputs"),
        traces: make("traces"),
        keyring,
        driver: crate::fences::reachable("corpus", &target.join("examples/corpus")),
    }
}

/// Every file, shuffled; `secrets` must not be reached.
fn cases(read: &impl Fn(&str) -> Vec<u8>, secrets: &Secrets) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>| cases.push(Case::of(name, bytes));
    for (number, seed) in SEEDS.iter().enumerate() {
        for (damage, bytes) in damage::all(&read(seed), number as u64 * 7) {
            add(format!("{}.{damage}", seed), bytes);
        }
    }
    for (kind, text) in texts() {
        for (damage, bytes) in damage::all(&text, 99).into_iter().step_by(2) {
            add(format!("{kind}.{damage}"), bytes);
        }
    }
    let owned = |(name, bytes): (&str, Vec<u8>)| (name.to_owned(), bytes);
    let secret = format!("{}/secret.jpg", secrets.folder);
    let pictures = pictures::pictures(read);
    let by_hand = [
        containers::mp4s(read),
        containers::matroskas(read),
        pictures.iter().cloned().map(owned).collect(),
        pictures::covers(read, &secret)
            .into_iter()
            .map(owned)
            .collect(),
        reach::media(read, secrets),
    ];
    for (name, bytes) in by_hand.concat() {
        add(name, bytes);
    }
    for (name, bytes) in [("empty", 0), ("one-byte", 1), ("noise", 9000)] {
        add(name.into(), Random::new(3).bytes(bytes));
    }
    cases.extend(unlike(read, &pictures));
    let mut random = Random::new(1);
    for place in (1..cases.len()).rev() {
        cases.swap(place, random.below(place + 1));
    }
    cases
}

/// Those of which something else is asked.
fn unlike(read: &impl Fn(&str) -> Vec<u8>, pictures: &[(&str, Vec<u8>)]) -> Vec<Case> {
    let films = other_times(read).into_iter().chain(by_ranges(read));
    films.chain(beside(read, pictures)).collect()
}

/// More thumbnails than usual, or larger ones.
fn other_times(read: &impl Fn(&str) -> Vec<u8>) -> Vec<Case> {
    let small = |mut thumbnails: Value| {
        thumbnails["max_width"] = 64.into();
        thumbnails["max_height"] = 64.into();
        thumbnails
    };
    let busy = json!({ "count": 1000, "max_width": 4096, "max_height": 3072, "format": "png" });
    let asked = [
        ("busy", "large.mp4", busy),
        ("count", "fast.mp4", small(json!({ "count": 1000 }))),
        (
            "finest",
            "fast.mp4",
            small(json!({ "interval_seconds": 0.1 })),
        ),
        (
            "late",
            "fast.mp4",
            small(json!({ "at_seconds": [0, 900_000] })),
        ),
    ];
    let asked = asked.map(|(name, film, thumbnails)| Case {
        thumbnails,
        ..Case::of(name, read(film))
    });
    let huge = ["huge-16000.ts", "huge-16384.ts"].map(|name| Case::of(name, read(name)));
    asked.into_iter().chain(huge).collect()
}

/// Films that are larger than what is kept in memory.
fn by_ranges(read: &impl Fn(&str) -> Vec<u8>) -> Vec<Case> {
    let padding = crate::mp4::boxed(b"free", &[vec![0; 2 << 20]]);
    let large = [read("end.mp4"), padding].concat();
    let moov = damage::find(&large, b"moov");
    let hole = damage::patched(&large, moov + 500, &[0; 500]);
    vec![
        with_captions("ranges", short().as_bytes(), large.clone()),
        Case::of("ranges-cut", &large[..moov + 2000]),
        Case::of("ranges-flip", flipped(&large, 1000, 2)),
        Case::of("ranges-hole", hole),
        Case::of("ranges-noise", Random::new(8).bytes(2 << 20)),
    ]
}

fn with_captions(name: &str, captions: &[u8], bytes: Vec<u8>) -> Case {
    Case {
        captions: Some(captions.to_vec()),
        ..Case::of(name, bytes)
    }
}

/// Caption files and watermarks, good and bad, beside films, good and bad.
fn beside(read: &impl Fn(&str) -> Vec<u8>, pictures: &[(&str, Vec<u8>)]) -> Vec<Case> {
    let text = short();
    let text = text.as_bytes();
    let film = || read("fast.mp4");
    let marked = |name: &str, mark: Vec<u8>| Case {
        watermark: Some(mark),
        ..Case::of(name, film())
    };
    let bomb = pictures.iter().find(|(name, _)| *name == "png-65535");
    let taken = Case {
        output: Some("caption-srt-eng.srt"),
        ..Case::of("taken", film())
    };
    vec![
        with_captions("good-beside-broken", text, read("end.mp4")[..9000].to_vec()),
        with_captions("good-beside-nothing", text, Vec::new()),
        with_captions("large-beside", &vec![b'x'; 2 << 20], film()),
        with_captions("broken-beside", &flipped(text, 99, 1), film()),
        taken,
        marked("mark-flipped", flipped(&read("base.png"), 9, 4)),
        marked("mark-bomb", bomb.unwrap().1.clone()),
        marked("mark-cut", read("base.jpg")[..700].to_vec()),
        marked("mark-film", film()),
    ]
}

/// Files that must fail their jobs: their companions are required.
fn required(read: &impl Fn(&str) -> Vec<u8>) -> Vec<Case> {
    let mut all = Vec::new();
    for (number, seed) in SEEDS.iter().enumerate() {
        let damaged = damage::all(&read(seed), number as u64);
        let some = damaged
            .into_iter()
            .filter(|(name, _)| ["cut-2", "garbage"].contains(&name.as_str()));
        all.extend(
            some.map(|(damage, bytes)| Case::of(format!("required.{seed}.{damage}"), bytes)),
        );
    }
    let by_hand = unlike(read, &pictures::pictures(read))
        .into_iter()
        .filter(|case| {
            ["busy", "count", "large-beside"].contains(&case.name.as_str())
                || case.watermark.is_some()
        });
    all.extend(by_hand.map(|case| Case {
        name: format!("required.{}", case.name),
        ..case
    }));
    all.extend(all.iter().find(|case| case.bytes.is_empty()).cloned());
    all.into_iter()
        .map(|case| Case {
            required: true,
            ..case
        })
        .collect()
}

#[test]
fn a_hostile_file_fails_its_own_companions_and_nothing_else() {
    let begun = std::time::Instant::now();
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let place = place(folder.path());
    seeds::seeds(&place.seeds);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let read = |name: &str| std::fs::read(place.seeds.join(name)).unwrap();
    for side in [16_000, 16_384] {
        let stream = containers::huge_h264(&read, side);
        std::fs::write(place.seeds.join("huge.h264"), stream).unwrap();
        let args = format!("-v quiet -r 25 -f h264 -i huge.h264 -c copy huge-{side}.ts");
        crate::films::make(&place.seeds, &args);
    }
    let secrets = secrets(&place, &listener);
    let (cases, required) = (cases(&read, &secrets), required(&read));
    eprintln!(
        "{} files and {} required, {:?}",
        cases.len(),
        required.len(),
        begun.elapsed()
    );
    assert!(cases.len() >= 300, "{}", cases.len());
    let messages = |cases: &[Case]| cases.iter().map(|case| case.message(&place)).collect();
    let good = Case::of("good", read("fast.mp4"));
    let batches: [Vec<_>; 5] = [
        messages(&[good]),
        messages(&cases[..SOME]),
        messages(&cases[SOME..cases.len() - SOME]),
        messages(&cases[cases.len() - SOME..]),
        messages(&required),
    ];
    let ran = run(&place, &batches, false, Some(&place.traces));
    eprintln!("ran, {:?}", begun.elapsed());
    let found = trace::read(&place.traces, &place.outputs, Path::new(&secrets.folder));
    assert_eq!(found.wrong, [""; 0]);
    assert!(
        found.parsers > 2 * cases.len() && found.made > 4 * cases.len(),
        "{found:?}"
    );
    assert!(listener.accept().is_err(), "somebody connected");
    verdicts::held(&ran.held);
    verdicts::spared(&ran, &cases, &place);
    verdicts::refused(&ran, &required, &place);
    verdicts::not_vacuous(&ran, &cases);
    verdicts::opened_again(&ran, &cases, &place, &batches[1..4]);
    // Unlike these jobs, a program without a sandbox does reach for what a file names.
    let list = place.inputs.join("m3u8-2");
    verdicts::reaches(&list, &listener);
    eprintln!("done, {:?}", begun.elapsed());
}

/// Moves the secret files where nothing may look.
fn secrets(place: &Place, listener: &TcpListener) -> Secrets {
    let folder = place.seeds.with_file_name("secret");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["secret.mp4", "secret.jpg", "secret.srt"] {
        std::fs::rename(place.seeds.join(name), folder.join(name)).unwrap();
    }
    Secrets {
        folder: folder.to_str().unwrap().to_owned(),
        address: listener.local_addr().unwrap().to_string(),
    }
}
