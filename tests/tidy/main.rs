//! Rules of the source, kept by a test: modules import only what the data's way allows, every module
//! says what it is, functions and files stay small, and only `settings` reads the environment.
//!
//! Which crate may use which is Cargo's to check; the table below is about the modules of the root
//! package.

mod imports;

use std::path::{Path, PathBuf};

/// The source of every package: its folder, and whether it does no I/O.
const PACKAGES: &[(&str, bool)] = &[
    ("src", false),
    ("crates/cipher/src", true),
    ("crates/captions/src", true),
    ("crates/formats/src", true),
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
    assert!(found.len() > 2, "nothing was read from {folder}");
    found
        .into_iter()
        .map(|(path, text)| (path.strip_prefix(root).expect("below").to_owned(), text))
        .collect()
}

/// Every source file of every package.
fn packages() -> Vec<(PathBuf, String)> {
    PACKAGES
        .iter()
        .flat_map(|(folder, _)| sources(folder))
        .collect()
}

/// The module of `src/` that a file belongs to.
fn module(path: &Path) -> String {
    let first = path
        .components()
        .nth(1)
        .expect("a module")
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

/// Every file of every test program.
fn tests() -> Vec<(PathBuf, String)> {
    [sources("tests"), sources("crates/cipher/tests")].concat()
}

#[test]
fn every_module_says_what_it_is() {
    for (path, text) in [packages(), tests()].concat() {
        let says = text.starts_with("//!") || path.starts_with("tests/support/aws-double");
        assert!(says, "{} does not open with //!", path.display());
    }
}

#[test]
fn files_and_functions_stay_small() {
    let mut wrong = Vec::new();
    for (path, text) in [packages(), tests()].concat() {
        let lines = text.lines().count();
        if lines > MOST_FILE_LINES {
            wrong.push(format!("{} has {lines} lines", path.display()));
        }
    }
    for (path, text) in packages() {
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
        let mut rest = line.trim_start();
        if let Some(after) = rest.strip_prefix("pub(") {
            rest = after.split_once(") ").map_or(after, |(_, rest)| rest);
        }
        for word in ["pub ", "const ", "async ", "unsafe ", "extern \"C\" "] {
            rest = rest.strip_prefix(word).unwrap_or(rest);
        }
        rest.starts_with("fn ")
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
fn every_spelling_of_a_function_is_seen() {
    for start in [
        "fn a() {",
        "pub fn a() {",
        "pub(in crate::job) async fn a() {",
        "pub(crate) const unsafe fn a() {",
        "unsafe fn a() {",
        "pub unsafe extern \"C\" fn a() {",
    ] {
        let start = format!("    {start}");
        let lines = [start.as_str(), "        b();", "    }"];
        assert_eq!(functions(&lines), [(0, 3)], "{start}");
    }
}

#[test]
fn only_settings_reads_the_environment() {
    for (path, text) in packages() {
        let reads = code(&text).contains("env::var");
        assert!(
            !reads || module(&path) == "settings" || is_test_file(&path),
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

/// `plan` and `job` are pure, and so are the crates; only `secret` asks the system, for randomness.
#[test]
fn pure_modules_do_no_io() {
    let io = [
        "std::fs",
        "std::net",
        "std::time::",
        "tokio::",
        "std::thread",
        "Instant::now",
        "getrandom",
    ];
    let pure = PACKAGES.iter().filter(|(_, pure)| *pure);
    let crates = pure.flat_map(|(folder, _)| sources(folder));
    let modules = sources("src")
        .into_iter()
        .filter(|(path, _)| matches!(module(path).as_str(), "plan" | "job"));
    for (path, text) in crates.chain(modules) {
        if is_test_file(&path) || path.ends_with("secret.rs") {
            continue;
        }
        for name in io {
            assert!(
                !code(&text).contains(name),
                "{} uses {name}",
                path.display()
            );
        }
    }
}

#[test]
fn nothing_can_panic_on_purpose() {
    for (path, text) in packages() {
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
