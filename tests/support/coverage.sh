#!/usr/bin/env bash
# coverage.sh - how much of the rules of a job the tests reach that need no server: unit tests, offline, sim.
#
#   tests/support/coverage.sh            installs what is missing, runs the tests, prints a table
#   tests/support/coverage.sh FILE ...   the same, and the lines of these files that no test reaches
#
# Fails when a module is under 90 % of its lines. Companions are left out: they need the media sandbox. Only this
# workspace is instrumented, so dependencies that were built before are used again.
set -euo pipefail

# Cargo calls this script in place of rustc for the workspace's own crates.
if [ -n "${CIPHERMILL_COVERAGE_RUSTC:-}" ]; then
  exec "$@" -Cinstrument-coverage
fi

LEAST=90
SUPPORT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$SUPPORT/../.."

"$SUPPORT/setup.sh" coverage
# The profile's format is that of the compiler's LLVM.
LLVM="$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')"

WORK="$(mktemp -d)"
trap 'rm -rf "$WORK"' EXIT
export LLVM_PROFILE_FILE="$WORK/%p-%m.profraw"

instrumented() {
  CIPHERMILL_COVERAGE_RUSTC=1 RUSTC_WORKSPACE_WRAPPER="$SUPPORT/coverage.sh" \
    cargo test --locked --lib --test offline --test sim "$@"
}

instrumented --no-run 2>"$WORK/build" || { cat "$WORK/build" >&2; exit 1; }
# What a build script or a macro did is no test.
find "$WORK" -name '*.profraw' -delete
instrumented -- --quiet >"$WORK/tests" 2>&1 || { cat "$WORK/tests" >&2; exit 1; }
"llvm-profdata-$LLVM" merge --sparse "$WORK"/*.profraw -o "$WORK/merged"

objects=()
while read -r object; do
  objects+=(--object "$object")
done < <(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$WORK/build")
[ "${#objects[@]}" -eq 6 ] || { printf 'error: %s test programs, not three\n' "$((${#objects[@]} / 2))" >&2; exit 1; }
"llvm-cov-$LLVM" export --format=lcov --instr-profile "$WORK/merged" "${objects[@]}" >"$WORK/lcov"

for file in "$@"; do
  printf '%s, lines that no test reaches:\n' "$file"
  awk -v file="$PWD/$file" -F '[:,]' \
    '/^SF:/ { here = substr($0, 4) == file } here && /^DA:/ && $3 == 0 { print "  " $2 }' "$WORK/lcov"
done

# The rows are files, and a sum for each module.
awk -v root="$PWD/src/" -v least="$LEAST" -F '[:,]' '
  /^SF:/ {
    file = substr($0, 4)
    wanted = index(file, root) == 1
    file = substr(file, length(root) + 1)
    module = file
    sub(/[.\/].*/, "", module)
    wanted = wanted && module ~ /^(pipeline|sink|source|ledger|report|worker)$/ && file !~ /companions/
  }
  wanted && /^DA:/ {
    lines[file]++; all[module]++
    if ($3 > 0) { reached[file]++; got[module]++ }
    of[file] = module
  }
  END {
    for (file in of) printf "%s  %-28s %5d of %5d  %5.1f %%\n", of[file] " 1", file, reached[file], lines[file],
      100 * reached[file] / lines[file]
    for (module in all) {
      percent = 100 * got[module] / all[module]
      printf "%s  %-28s %5d of %5d  %5.1f %%%s\n", module " 2", "= " module, got[module], all[module], percent,
        percent < least ? "  under " least " %" : ""
    }
  }' "$WORK/lcov" | sort | sed 's/^[a-z]* [12]  //' >"$WORK/table"
cat "$WORK/table"
[ "$(grep -c '^= ' "$WORK/table")" -eq 6 ] || { printf 'error: a module is missing\n' >&2; exit 1; }
! grep 'under' "$WORK/table" >/dev/null ||
  { printf 'error: too few lines are reached\nhelp: pass a file to see which are not\n' >&2; exit 1; }
