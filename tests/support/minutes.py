#!/usr/bin/env python3
"""How long the steps and suites of `make test` take, beside the table of docs/contributing.md.

    minutes.py suites LOG     reads the output of `cargo test` and prints "suite NAME<tab>SECONDS" for each program
    minutes.py report FILE    prints what was measured beside the table; names what outgrew its line by half
    minutes.py keep FILE      writes what was measured into the table

FILE holds "NAME<tab>SECONDS" lines of one run. A line that outgrew the table is named and fails nothing: machines
differ. Something that the table does not know, or the other way round, is named too.
"""

import re
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "contributing.md"
ROW = re.compile(r"^\| (?P<name>[^|]+?) \| (?P<seconds>\d+) \|(?P<what>[^|]*)\|$", re.M)
# Below this many seconds nothing is said: start-up and noise.
LEAST = 5


def suites(log):
    """Test programs and their seconds, in the order they ran."""
    name = None
    for line in Path(log).read_text(errors="replace").splitlines():
        if started := re.match(r"\s+Running (?:unittests )?(\S+) \((?:.*/)?([\w-]+?)-[0-9a-f]{16}\)", line):
            unit = started.group(1).endswith(("src/lib.rs", "src/main.rs"))
            name = f"{started.group(2)} (unit tests)" if unit else started.group(2)
        elif ended := re.search(r"^test result: .*finished in ([\d.]+)s$", line):
            if name:
                print(f"suite {name}\t{round(float(ended.group(1)))}")
            name = None


def read(file):
    """What was measured: seconds by name."""
    lines = (line.split("\t") for line in Path(file).read_text().splitlines())
    return {name: int(seconds) for name, seconds in lines}


def report(file):
    """Prints both side by side."""
    measured = read(file)
    known = {row["name"]: int(row["seconds"]) for row in ROW.finditer(PAGE.read_text())}
    print(f"{'step or suite':<44} {'now':>6} {'table':>6}  (seconds)")
    for name in [*measured, *(name for name in known if name not in measured)]:
        now, table = measured.get(name), known.get(name)
        note = ""
        if now is not None and table is not None and now > max(1.5 * table, table + LEAST):
            note = "outgrew its line by half"
        elif table is None and now > LEAST:
            note = "is not in the table"
        elif now is None:
            note = "was not run"
        shown = ["-" if seconds is None else str(seconds) for seconds in (now, table)]
        print(f"{name:<44} {shown[0]:>6} {shown[1]:>6}  {note}".rstrip())
    print(f"{'all steps':<44} {sum(s for n, s in measured.items() if not n.startswith('suite ')):>6}")


def keep(file):
    """Writes the measured seconds into the table."""
    measured, text = read(file), PAGE.read_text()
    kept = ROW.sub(
        lambda row: row[0].replace(f"| {row['seconds']} |", f"| {measured.get(row['name'], row['seconds'])} |"), text)
    PAGE.write_text(kept)


verb, file = sys.argv[1:]
{"suites": suites, "report": report, "keep": keep}[verb](file)
