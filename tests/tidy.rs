//! The house rules, kept by a test: rooms import only what the data's way allows, every module says
//! what it is, functions and files stay small, and only `settings` reads the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Which rooms a room may import. Data walks from `job` to `report`; a room may know what it is
/// made of, never who uses it. `fault` and `secret` are the ground; `observe` can be called by
/// everybody and knows nobody.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("fault", &[]),
    ("checksum", &[]),
    ("clock", &[]),
    ("measure", &[]),
    ("observe", &[]),
    ("inject", &["fault"]),
    ("secret", &["fault"]),
    ("settings", &["fault"]),
    ("buffers", &["fault"]),
    ("aws", &[]),
    ("job", &["fault"]),
    ("cipher", &["fault", "secret"]),
    ("queue", &["fault", "inject", "settings"]),
    (
        "store",
        &[
            "aws", "buffers", "checksum", "clock", "fault", "inject", "job", "secret", "settings",
        ],
    ),
    (
        "keys",
        &["aws", "cipher", "fault", "inject", "job", "secret"],
    ),
    (
        "plan",
        &["buffers", "cipher", "fault", "job", "settings", "store"],
    ),
    ("source", &["buffers", "fault", "job", "observe", "store"]),
    ("media", &["fault", "job", "settings"]),
    (
        "engine",
        &[
            "buffers", "checksum", "cipher", "fault", "observe", "secret",
        ],
    ),
    (
        "sink",
        &["buffers", "checksum", "fault", "job", "observe", "store"],
    ),
    ("ledger", &["checksum", "fault", "job", "sink", "store"]),
    ("report", &["checksum", "fault", "job", "sink", "store"]),
    (
        "pipeline",
        &[
            "buffers", "checksum", "cipher", "engine", "fault", "job", "keys", "ledger", "media",
            "observe", "plan", "report", "secret", "settings", "sink", "source", "store",
        ],
    ),
    (
        "worker",
        &[
            "fault", "job", "ledger", "observe", "pipeline", "queue", "report", "sink", "store",
        ],
    ),
    (
        "cli",
        &[
            "aws", "buffers", "checksum", "cipher", "engine", "fault", "job", "keys", "measure",
            "media", "observe", "pipeline", "plan", "queue", "report", "secret", "settings",
            "sink", "store", "worker",
        ],
    ),
];

const MOST_FUNCTION_LINES: usize = 70;
const MOST_FILE_LINES: usize = 400;
const MOST_COLUMNS: usize = 120;

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                found.push((path, text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join(folder), &mut found);
    assert!(found.len() > 5, "nothing was read from {folder}");
    found
        .into_iter()
        .map(|(path, text)| (path.strip_prefix(root).expect("below").to_owned(), text))
        .collect()
}

fn room(path: &Path) -> String {
    let first = path
        .components()
        .nth(1)
        .expect("a room")
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Without comments and without the test modules at a file's end.
fn code(text: &str) -> String {
    let text = text
        .split("\n#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or(text);
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

fn is_test_file(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

#[test]
fn rooms_import_only_what_they_may() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let room = room(&path);
        if matches!(room.as_str(), "main" | "lib") || is_test_file(&path) {
            continue;
        }
        let may = allowed
            .get(room.as_str())
            .unwrap_or_else(|| panic!("{room} is not in the table"));
        for used in code(&text).split("crate::").skip(1) {
            let used: String = used
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if used != room && !used.is_empty() && !may.contains(&used.as_str()) {
                wrong.push(format!("{} imports {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The table itself has no circle: otherwise it would allow anything.
#[test]
fn imports_never_lead_back() {
    let mut seen: Vec<&str> = Vec::new();
    let mut left: Vec<_> = MAY_IMPORT.to_vec();
    while !left.is_empty() {
        let (ready, waiting): (Vec<_>, Vec<_>) = left
            .iter()
            .partition(|(_, may)| may.iter().all(|room| seen.contains(room)));
        assert!(
            !ready.is_empty(),
            "these rooms import each other: {waiting:?}"
        );
        seen.extend(ready.iter().map(|(room, _)| *room));
        left = waiting;
    }
}

#[test]
fn every_module_says_what_it_is() {
    for folder in ["src", "tests"] {
        for (path, text) in sources(folder) {
            let says = text.starts_with("//!") || path.starts_with("tests/support/aws-double");
            assert!(says, "{} does not open with //!", path.display());
        }
    }
}

#[test]
fn files_and_functions_stay_small() {
    let mut wrong = Vec::new();
    for (path, text) in [sources("src"), sources("tests")].concat() {
        let lines = text.lines().count();
        if lines > MOST_FILE_LINES {
            wrong.push(format!("{} has {lines} lines", path.display()));
        }
    }
    for (path, text) in sources("src") {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if line.chars().count() > MOST_COLUMNS {
                wrong.push(format!(
                    "{}:{} is longer than {MOST_COLUMNS} columns",
                    path.display(),
                    number + 1
                ));
            }
        }
        for (start, length) in functions(&lines) {
            if length > MOST_FUNCTION_LINES {
                wrong.push(format!(
                    "{}:{} is a function of {length} lines",
                    path.display(),
                    start + 1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// First line and length of every function, by its indentation: the formatter sees to that.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let starts = |line: &str| {
        let line = line.trim_start();
        let line = line
            .strip_prefix("pub(super) ")
            .or(line.strip_prefix("pub "))
            .unwrap_or(line);
        let line = line.strip_prefix("const ").unwrap_or(line);
        line.strip_prefix("async ")
            .unwrap_or(line)
            .starts_with("fn ")
    };
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate().filter(|(_, line)| starts(line)) {
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = lines[start..].iter().position(|line| {
            let rest = line.strip_prefix(indent);
            rest.is_some_and(|rest| {
                rest.starts_with('}') || !rest.starts_with(' ') && rest.ends_with(';')
            })
        });
        let one_line = line.trim_end().ends_with('}');
        found.push((
            start,
            if one_line {
                1
            } else {
                end.map_or(1, |end| end + 1)
            },
        ));
    }
    found
}

#[test]
fn only_settings_reads_the_environment() {
    for (path, text) in sources("src") {
        let reads = code(&text).contains("env::var");
        assert!(
            !reads || room(&path) == "settings" || is_test_file(&path),
            "{} reads the environment",
            path.display()
        );
    }
}

/// docs/jobs.md lists every failure code with its class and exit code; README every setting.
#[test]
fn documents_keep_up_with_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let jobs = std::fs::read_to_string(root.join("docs/jobs.md")).expect("docs/jobs.md");
    for code in ciphermill::fault::Code::ALL {
        let class = format!("{:?}", code.class()).to_lowercase();
        let row = jobs
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", code.as_str())));
        let row = row.unwrap_or_else(|| panic!("docs/jobs.md lacks {}", code.as_str()));
        assert!(row.contains(&class), "{row} should be {class}");
        assert!(
            row.contains(&format!("| {} |", code.exit_code())),
            "{row}: exit {}",
            code.exit_code()
        );
    }
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let settings = [
        "src/settings/raw.rs",
        "src/settings/engine.rs",
        "src/settings/media.rs",
    ];
    let text = |path| std::fs::read_to_string(root.join(path)).expect("settings");
    let mut section = String::new();
    let mut seen = 0;
    for line in settings.map(text).iter().flat_map(|text| text.lines()) {
        let line = line.strip_prefix("pub(super) ").unwrap_or(line);
        if line.starts_with("impl") || line.contains("fn ") {
            section.clear();
        }
        if let Some(name) = line.strip_prefix("struct Raw") {
            section = name.trim_end_matches(" {").to_lowercase();
        }
        let field = line.trim().split_once(": Option<").map(|(field, _)| field);
        if let Some(field) = field.filter(|field| line.starts_with("    ") && !field.contains(' '))
            && !section.is_empty()
        {
            seen += 1;
            let name = format!("`{section}.{field}`");
            assert!(readme.contains(&name), "README.md lacks the setting {name}");
        }
    }
    assert!(seen > 20, "only {seen} settings were found");
}

/// `cipher` and `plan` are pure, `job` too.
#[test]
fn pure_rooms_do_no_io() {
    let io = [
        "std::fs",
        "std::net",
        "std::time::",
        "tokio::",
        "std::thread",
        "Instant::now",
        "getrandom",
    ];
    for (path, text) in sources("src") {
        if matches!(room(&path).as_str(), "cipher" | "plan" | "job") && !is_test_file(&path) {
            for name in io {
                assert!(
                    !code(&text).contains(name),
                    "{} uses {name}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn nothing_can_panic_on_purpose() {
    for (path, text) in sources("src") {
        if is_test_file(&path) {
            continue;
        }
        for name in [
            ".unwrap()",
            ".expect(",
            "panic!(",
            "todo!(",
            "unimplemented!(",
            "dbg!(",
        ] {
            assert!(
                !code(&text).contains(name),
                "{} calls {name}",
                path.display()
            );
        }
    }
}
