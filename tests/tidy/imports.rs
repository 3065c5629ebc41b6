//! Imports: which modules of the root package may use which.

use std::collections::BTreeMap;

use super::{code, is_test_file, module, packages, sources};

/// Which modules of `src/` a module may import. Data goes from `job` to `report`; a module may know
/// what it is made of, never who uses it.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("fault", &[]),
    ("checksum", &[]),
    ("measure", &[]),
    ("observe", &[]),
    ("clock", &[]),
    ("inject", &["fault"]),
    ("settings", &["fault"]),
    ("buffers", &["fault"]),
    ("aws", &[]),
    ("job", &["fault"]),
    ("queue", &["fault", "inject", "settings"]),
    (
        "store",
        &[
            "aws", "buffers", "checksum", "clock", "fault", "inject", "job", "settings",
        ],
    ),
    ("keys", &["aws", "fault", "inject", "job"]),
    ("plan", &["buffers", "fault", "job", "settings", "store"]),
    ("source", &["buffers", "fault", "job", "observe", "store"]),
    ("media", &["fault", "job", "settings"]),
    ("engine", &["buffers", "checksum", "fault", "observe"]),
    (
        "sink",
        &["buffers", "checksum", "fault", "job", "observe", "store"],
    ),
    (
        "ledger",
        &["checksum", "clock", "fault", "job", "sink", "store"],
    ),
    (
        "report",
        &["checksum", "clock", "fault", "job", "sink", "store"],
    ),
    (
        "pipeline",
        &[
            "buffers", "checksum", "clock", "engine", "fault", "job", "keys", "ledger", "media",
            "observe", "plan", "report", "settings", "sink", "source", "store",
        ],
    ),
    (
        "worker",
        &[
            "clock", "fault", "job", "ledger", "observe", "pipeline", "queue", "report", "sink",
            "store",
        ],
    ),
    (
        "cli",
        &[
            "aws", "buffers", "checksum", "clock", "engine", "fault", "job", "keys", "measure",
            "media", "observe", "pipeline", "plan", "queue", "report", "settings", "sink", "store",
            "worker",
        ],
    ),
];

#[test]
fn modules_import_only_what_they_may() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let module = module(&path);
        if matches!(module.as_str(), "main" | "lib") || is_test_file(&path) {
            continue;
        }
        let may = allowed
            .get(module.as_str())
            .unwrap_or_else(|| panic!("{module} is not in the table"));
        wrong.extend(
            imports(&code(&text))
                .into_iter()
                .filter(|used| *used != module && !may.contains(&used.as_str()))
                .map(|used| format!("{} imports {used}", path.display())),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What a text names right after `crate::`, each name of a group in braces by itself.
fn imports(code: &str) -> Vec<String> {
    let name = |text: &str| {
        let name = text
            .trim_start()
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_');
        name.collect::<String>()
    };
    let mut found = Vec::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            None => found.push(name(after)),
            Some(group) => {
                let (mut depth, mut start) = (0, 0);
                for (place, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => {
                            found.push(name(&group[start..place]));
                            break;
                        }
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            found.push(name(&group[start..place]));
                            start = place + 1;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found.retain(|name| !name.is_empty() && name != "self");
    found
}

/// A path of two `super` may leave its module without naming it: the table would not see it.
#[test]
fn nothing_is_imported_past_its_module() {
    for (path, text) in packages() {
        assert!(
            !code(&text).contains("super::super"),
            "{} imports by super::super: name the module",
            path.display()
        );
    }
}

/// The table itself has no circle: otherwise it would allow anything.
#[test]
fn imports_never_lead_back() {
    let mut seen: Vec<&str> = Vec::new();
    let mut left: Vec<_> = MAY_IMPORT.to_vec();
    while !left.is_empty() {
        let (ready, waiting): (Vec<_>, Vec<_>) = left
            .iter()
            .partition(|(_, may)| may.iter().all(|module| seen.contains(module)));
        assert!(
            !ready.is_empty(),
            "these modules import each other: {waiting:?}"
        );
        seen.extend(ready.iter().map(|(module, _)| *module));
        left = waiting;
    }
}

#[test]
fn every_spelling_of_an_import_is_seen() {
    let grouped = "use crate::{fault::{Code, Fault}, store, self};";
    assert_eq!(imports(grouped), ["fault", "store"]);
    assert_eq!(imports("pub(in crate::job::check) fn"), ["job"]);
}
