#!/usr/bin/env python3
"""Proves that the simulation finds faults: each fault of list.txt alone makes it fail, none of them lets it pass.

    tests/mutants/run.py [NAME...]     all faults, or those whose name contains one of these words

The source is copied below the target folder, every fault is put in behind a switch, the simulation is built once, and
run once for each fault with that switch on. A fault that it does not find, or a text that is not in the source (any
more) or not once, fails the run.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
COPY = TARGET / "mutants"
COPIED = ["Cargo.toml", "Cargo.lock", "src", "crates", "shaders", "tests", "benches"]
# More schedules than the simulation runs by itself: what needs three things to happen in one order is rare.
SCHEDULES = 40_000
# A run with a fault in it that takes longer is no proof.
LONGEST_SECONDS = 900

SWITCH = """//! The switch of the mutants.

use std::sync::LazyLock;

static ON: LazyLock<Option<usize>> =
    LazyLock::new(|| std::env::var("CIPHERMILL_MUTANT").ok().and_then(|number| number.parse().ok()));

/// Whether this mutant is on.
pub fn on(number: usize) -> bool {
    *ON == Some(number)
}
"""


def parse(text):
    """The faults of the list: name, and pieces of file, what stands there, what stands there instead."""
    text = "\n".join(line for line in text.split("\n") if not line.startswith("#"))
    faults = []
    for piece in re.split(r"^== ", text, flags=re.M)[1:]:
        name, rest = piece.split("\n", 1)
        changes = []
        for change in re.split(r"^-- ", rest, flags=re.M)[1:]:
            file, texts = change.split("\n", 1)
            before, after = texts.split("\n->\n")
            changes.append((file, before.rstrip("\n"), after.rstrip("\n")))
        faults.append((name, changes))
    return faults


def mutate(faults):
    """A copy of the source with every fault behind its switch."""
    texts = {}
    changes = [(number, name, *change) for number, (name, changes) in enumerate(faults) for change in changes]
    for number, name, file, before, after in changes:
        original = (ROOT / file).read_text()
        if original.count(before) != 1:
            sys.exit(f"error: {name}: the text is {original.count(before)} times in {file}\n"
                     "help: a fault names text that stands in the source once: correct tests/mutants/list.txt")
        text = texts.get(file, original)
        if before not in text:
            sys.exit(f"error: {name}: another fault changes the same text of {file}\nhelp: name another piece of it")
        texts[file] = text.replace(before, after.replace("MUTANT", f"crate::mutants::on({number})"))
    for entry in COPIED:
        source, copy = ROOT / entry, COPY / entry
        if source.is_dir():
            sync(source, copy, texts)
        else:
            write(copy, source.read_bytes())
    lib = (ROOT / "src/lib.rs").read_text()
    write(COPY / "src/lib.rs", (texts.get("src/lib.rs", lib) + "\npub mod mutants;\n").encode())
    write(COPY / "src/mutants.rs", SWITCH.encode())


def sync(source, copy, texts):
    """Copies a folder; what did not change keeps its time, so that little is built again."""
    wanted = set()
    for path in source.rglob("*"):
        if path.is_dir():
            continue
        name = path.relative_to(ROOT)
        wanted.add(COPY / name)
        text = texts.get(str(name))
        write(COPY / name, text.encode() if text is not None else path.read_bytes())
    for path in copy.rglob("*"):
        if not path.is_dir() and path not in wanted and path.name not in ("mutants.rs",):
            path.unlink()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)


def build():
    """Builds the simulation; where it is."""
    command = ["cargo", "test", "--locked", "--test", "sim", "--no-run"]
    built = subprocess.run(command, cwd=COPY, env=os.environ | {"CARGO_TARGET_DIR": str(TARGET)},
                           stderr=subprocess.PIPE, text=True)
    found = re.search(r"\((.*deps/sim-[0-9a-f]+)\)", built.stderr)
    if built.returncode or not found:
        sys.exit(f"{built.stderr}\nerror: the simulation with its mutants does not build")
    return TARGET / Path(found.group(1)) if not found.group(1).startswith("/") else Path(found.group(1))


def run(program, number, schedules):
    """Runs the simulation with one mutant, or none, on; how it ended, and the schedule that failed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CIPHERMILL_SIM")}
    environment |= {"CIPHERMILL_SIM_COUNT": str(schedules), "CIPHERMILL_SIM_BRIEF": "1", "RUST_BACKTRACE": "0"}
    if number is not None:
        environment["CIPHERMILL_MUTANT"] = str(number)
    try:
        ran = subprocess.run([program, "promises_hold"], cwd=COPY, env=environment, capture_output=True, text=True,
                             timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        return "it did not end", ""
    return ran.returncode, ran.stdout + ran.stderr


def main():
    faults = parse((Path(__file__).parent / "list.txt").read_text())
    if len({name for name, _ in faults}) != len(faults):
        sys.exit("error: two faults have one name")
    wanted = [any(word in name for word in sys.argv[1:]) or not sys.argv[1:] for name, _ in faults]
    if not any(wanted):
        sys.exit(f"{__doc__}\nerror: no fault has such a name\nhelp: see tests/mutants/list.txt")
    mutate(faults)
    program = build()
    code, said = run(program, None, 200)
    if code:
        sys.exit(f"{said}\nerror: the simulation fails without any fault")
    missed = []
    for number, (name, _) in enumerate(faults):
        if not wanted[number]:
            continue
        begun = time.monotonic()
        code, said = run(program, number, SCHEDULES)
        found = re.search(r"^seed (\d+): (.*)$", said, flags=re.M)
        how = f"seed {found.group(1)}: {found.group(2)[:100]}" if found else f"it ended otherwise: {code}" if code else ""
        print(f"{'found ' if found else 'MISSED'} {time.monotonic() - begun:5.1f} s  {name}  {how}", flush=True)
        if not found:
            missed.append(name)
    if missed:
        sys.exit(f"error: {len(missed)} of {len(faults)} faults were not found")


main()
