#!/usr/bin/env bash
# gpu.sh - proves and measures the GPU engine on a machine with a GPU, with programs that were built elsewhere.
#
#   benches/gpu.sh pack DIR         builds, here, what the other machine needs: the program and the tests, stripped
#   benches/gpu.sh run DIR OUT      on the other machine, from a checkout or with this file alone: under eight minutes;
#                                   leaves OUT/{machine,tests,cli}.txt, OUT/bench.json and OUT/bench.html
#
# The exit status is that of the first thing that failed. Nothing is installed; a GPU driver with Vulkan is needed.
set -euo pipefail

usage() {
  sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

pack() {
  local dir=$1 test
  mkdir -p "$dir"
  cargo build --release --locked
  test=$(cargo test --release --locked --test gpu --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"gpu".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
  [ -n "$test" ] || { echo 'error: the tests were not built' >&2; exit 1; }
  strip -o "$dir/ciphermill" "${CARGO_TARGET_DIR:-target}/release/ciphermill"
  strip -o "$dir/gpu-tests" "$test"
  ls -l "$dir"
}

machine() {
  date -u
  uname -srm
  grep -m 1 'model name' /proc/cpuinfo
  nproc
  free -m | sed -n 2p
  nvidia-smi 2>/dev/null || true
  vulkaninfo --summary 2>/dev/null || true
}

# Every mode and key size, both engines, cmp.
same_bytes() {
  local program=$1 dir mode bytes iv
  dir=$(mktemp -d)
  head -c 100000007 /dev/urandom >"$dir/in"
  for mode in aes-ctr aes-gcm cobblestone; do
    for bytes in 16 24 32; do
      [ "$mode$bytes" != cobblestone24 ] || continue
      head -c "$bytes" /dev/urandom >"$dir/key"
      iv=(--iv fffffffffffffffffffffffffffffff0)
      [ "$mode" != cobblestone ] || iv=()
      "$program" encrypt --mode "$mode" --key-file "$dir/key" "${iv[@]}" --engine gpu "$dir/in" "$dir/gpu"
      if [ "$mode" != cobblestone ]; then
        "$program" encrypt --mode "$mode" --key-file "$dir/key" "${iv[@]}" --engine cpu "$dir/in" "$dir/cpu"
        cmp "$dir/gpu" "$dir/cpu"
      fi
      "$program" decrypt --mode "$mode" --key-file "$dir/key" "${iv[@]}" --engine cpu "$dir/gpu" "$dir/back"
      cmp "$dir/in" "$dir/back"
      "$program" decrypt --mode "$mode" --key-file "$dir/key" "${iv[@]}" --engine gpu "$dir/gpu" "$dir/back"
      cmp "$dir/in" "$dir/back"
      echo "$mode, $((8 * bytes)) bits: the engines agree"
    done
  done
  rm -rf "$dir"
}

run() {
  local dir=$1 out=$2
  mkdir -p "$out"
  machine >"$out/machine.txt" 2>&1
  # What needs a software adapter, or the program at the place where it was built, stays at home.
  timeout 200 "$dir/gpu-tests" --skip cli:: --skip takes_too_long 2>&1 | tee "$out/tests.txt"
  timeout 90 bash -c "$(declare -f same_bytes); same_bytes '$dir/ciphermill'" 2>&1 | tee "$out/cli.txt"
  timeout 180 "$dir/ciphermill" bench --report "$out"
}

case "${1:-}" in
  pack) [ $# -eq 2 ] && pack "$2" || usage ;;
  run) [ $# -eq 3 ] && run "$2" "$3" || usage ;;
  *) usage ;;
esac
