#!/usr/bin/env bash
# build.sh OUT.so - builds the peers that the benchmarks measure beside ours, with what this machine has:
# OpenSSL (libssl-dev) and Intel ipsec-mb (libipsec-mb-dev). Missing ones are left out, and said so.
set -euo pipefail
out=${1:?usage: build.sh OUT.so}
here=$(dirname "${BASH_SOURCE[0]}")
flags=() libs=()
has() { echo "#include <$1>" | cc -E - >/dev/null 2>&1; }
if has openssl/evp.h; then flags+=(-DHAVE_OPENSSL) libs+=(-lcrypto); else echo "peers: no OpenSSL headers (libssl-dev)" >&2; fi
if has intel-ipsec-mb.h; then flags+=(-DHAVE_IPSEC_MB) libs+=(-lIPSec_MB); else echo "peers: no ipsec-mb (libipsec-mb-dev, x86 only)" >&2; fi
mkdir -p "$(dirname "$out")"
cc -O2 -fPIC -shared -o "$out" "${flags[@]}" "$here/peers.c" "${libs[@]}"
