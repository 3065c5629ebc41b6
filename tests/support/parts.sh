#!/usr/bin/env bash
# parts.sh - the real neighbours of ciphermill for tests: RabbitMQ, Garage (S3) and the AWS double (S3, KMS).
#
#   parts.sh run [--data DIR] -- COMMAND...   start them, run COMMAND with CIPHERMILL_TEST_* set, stop them
#   parts.sh up DIR                           start them and leave them running; then: source DIR/env.sh
#   parts.sh down DIR                         stop them; DIR stays and `up DIR` finds its data again
#   parts.sh restart-rabbit DIR               stop the broker cleanly and start it on the same ports and data
#   parts.sh stop-garage DIR                  the store is down ...
#   parts.sh start-garage DIR                 ... and back, with what it held
#   parts.sh empty-garage DIR                 the store is back, with nothing in it
#
# Everything listens on loopback, on a block of 20 ports found free between 10000 and 32000, and keeps its
# data and logs under DIR (`run` makes a DIR of its own). Runs may go side by side. After `run` nothing is
# left but, when COMMAND failed, the logs. COMMAND reaches the verbs above with DIR = $CIPHERMILL_TEST_PARTS.
#
# Below 32768 on purpose: higher ports are handed out to outgoing connections, and a server that restarts
# on such a port may find it taken.
set -euo pipefail

CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/ciphermill"
SELF="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$(basename "${BASH_SOURCE[0]}")"
TOOLS="$CACHE/tools"
RABBIT=/usr/lib/rabbitmq/bin # not /usr/sbin: those wrappers become another user and drop the environment

say() { printf 'parts: %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# ---- processes -------------------------------------------------------------------------------------------
# Each server leads a session of its own, so a Ctrl-C meant for the tests does not reach it. Its pid file
# says "PID STARTTIME": a pid that was given to somebody else meanwhile is not touched.

# Prints nothing for a process that is no more, also if nobody has collected its exit status yet.
start_time() { sed -n 's/.*) \([^ZX] .*\)/\1/p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# spawn NAME COMMAND...: starts COMMAND with its output in $D/log/NAME.log.
spawn() {
  local name="$1" pid
  shift
  setsid "$@" >>"$D/log/$name.log" 2>&1 </dev/null &
  pid=$!
  disown "$pid"
  note "$name" "$pid"
}
note() { printf '%s %s\n' "$2" "$(start_time "$2")" >"$D/$1.pid"; }

# alive NAME: prints its pid when it runs.
alive() {
  local pid started
  read -r pid started 2>/dev/null <"$D/$1.pid" || return 1
  [ -n "${started:-}" ] && [ "$(start_time "$pid")" = "$started" ] && printf '%s\n' "$pid"
}

# stop NAME SIGNAL: sends SIGNAL, waits up to 20 s, then kills what is left of the session.
stop() {
  local name="$1" signal="$2" pid i
  if pid="$(alive "$name")"; then
    kill "-$signal" "$pid" 2>/dev/null || true
    for ((i = 0; i < 400; i++)); do
      alive "$name" >/dev/null || break
      sleep 0.05
    done
    pkill -KILL -s "$pid" 2>/dev/null || true
  fi
  rm -f "$D/$name.pid"
}

# wait_for NAME SECONDS COMMAND...: until COMMAND succeeds; dies when NAME ends first or time is up.
wait_for() {
  local name="$1" end=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    alive "$name" >/dev/null || die "$name ended while starting; see $D/log/$name.log"
    [ "$SECONDS" -lt "$end" ] || die "$name did not become ready in time; see $D/log/$name.log"
    sleep 0.05
  done
}

# ---- ports -----------------------------------------------------------------------------------------------

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Chooses a block of 20 ports and holds it by a lock on descriptor 8. The servers inherit the descriptor, so
# the block is theirs for as long as one of them lives, also after `up` has ended.
hold() {
  mkdir -p "$CACHE/ports"
  exec 8>"$CACHE/ports/$1"
  flock -n 8
}
choose_ports() {
  local base port try
  for ((try = 0; try < 200; try++)); do
    base=$((10000 + RANDOM % 1095 * 20))
    hold "$base" || continue
    for ((port = base; port < base + 20; port++)); do
      ! listening "$port" || continue 2
    done
    PORT=$base
    return 0
  done
  die 'no free block of ports between 10000 and 32000'
}

# ---- RabbitMQ: PORT amqp, +1 amqps, +2 management, +3 metrics, +4 distribution, +5 epmd -------------------

certificates() {
  local tls="$D/rabbit/tls"
  [ ! -f "$tls/server.pem" ] || return 0
  mkdir -p "$tls"
  {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj '/CN=ciphermill test CA' \
      -keyout "$tls/ca.key" -out "$tls/ca.pem"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
      -keyout "$tls/server.key" -out "$tls/server.csr"
    openssl x509 -req -in "$tls/server.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial -days 30 \
      -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n') \
      -out "$tls/server.pem.new"
  } >"$D/log/openssl.log" 2>&1 || die "openssl could not make certificates; see $D/log/openssl.log"
  mv "$tls/server.pem.new" "$tls/server.pem"
}

configure_rabbit() {
  local dir="$D/rabbit"
  mkdir -p "$dir"/{mnesia,log}
  certificates
  cat >"$dir/rabbitmq.conf" <<EOF
listeners.tcp.1 = 127.0.0.1:$PORT
listeners.ssl.1 = 127.0.0.1:$((PORT + 1))
ssl_options.cacertfile = $dir/tls/ca.pem
ssl_options.certfile = $dir/tls/server.pem
ssl_options.keyfile = $dir/tls/server.key
ssl_options.verify = verify_none
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
management.tcp.ip = 127.0.0.1
management.tcp.port = $((PORT + 2))
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = $((PORT + 3))
consumer_timeout = 7200000
disk_free_limit.absolute = 200MB
vm_memory_high_watermark.absolute = 2GB
log.console = false
log.file.level = info
EOF
  printf '[rabbitmq_management,rabbitmq_prometheus].\n' >"$dir/enabled_plugins"
  # Sourced before rabbitmqctl as well as before the server. HOME is private: the Erlang cookie lies there.
  cat >"$dir/env.sh" <<EOF
export HOME='$dir'
export RABBITMQ_NODENAME=ciphermill$PORT@localhost
export RABBITMQ_CONFIG_FILE='$dir/rabbitmq.conf'
export RABBITMQ_ENABLED_PLUGINS_FILE='$dir/enabled_plugins'
export RABBITMQ_MNESIA_BASE='$dir/mnesia'
export RABBITMQ_LOG_BASE='$dir/log'
export RABBITMQ_PID_FILE='$dir/beam.pid'
export RABBITMQ_DIST_PORT=$((PORT + 4))
export RABBITMQ_CONF_ENV_FILE=/dev/null
export ERL_EPMD_ADDRESS=127.0.0.1
export ERL_EPMD_PORT=$((PORT + 5))
export ERL_CRASH_DUMP='$dir/log/erl_crash.dump'
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}'
export RABBITMQ_CTL_ERL_ARGS='+S 1:1 +sbwt none'
export PATH=$RABBIT:\$PATH
EOF
}

rabbit_ready() {
  local api="http://127.0.0.1:$((PORT + 2))/api/health/checks/port-listener"
  curl -sf --fail-early --max-time 5 -u guest:guest "$api/$PORT" "$api/$((PORT + 1))"
}

# The broker would start an epmd of its own, a daemon that outlives it: this one is ours to stop.
start_rabbit() {
  rm -f "$D/rabbit/beam.pid"
  (
    # shellcheck source=/dev/null
    . "$D/rabbit/env.sh"
    if ! alive epmd >/dev/null; then
      spawn epmd epmd
      wait_for epmd 10 listening "$((PORT + 5))"
    fi
    spawn rabbit "$RABBIT/rabbitmq-server"
  )
}

# ---- Garage: PORT+10 S3, +11 rpc, +13 admin ---------------------------------------------------------------

configure_garage() {
  local dir="$D/garage"
  mkdir -p "$dir"/{meta,data}
  [ -f "$dir/keys.sh" ] || (
    umask 077
    printf 'export GARAGE_DEFAULT_ACCESS_KEY=GK%s\nexport GARAGE_DEFAULT_SECRET_KEY=%s\nexport GARAGE_DEFAULT_BUCKET=parts\nRPC=%s\n' \
      "$(openssl rand -hex 12)" "$(openssl rand -hex 32)" "$(openssl rand -hex 32)" >"$dir/keys.sh"
  )
  # shellcheck source=/dev/null
  . "$dir/keys.sh"
  (
    umask 077
    cat >"$dir/garage.toml" <<EOF
metadata_dir = "$dir/meta"
data_dir = "$dir/data"
db_engine = "lmdb"
replication_factor = 1
metadata_fsync = false
data_fsync = false
block_size = "10M"
compression_level = "none"
rpc_bind_addr = "127.0.0.1:$((PORT + 11))"
rpc_public_addr = "127.0.0.1:$((PORT + 11))"
rpc_secret = "$RPC"
[s3_api]
s3_region = "us-east-1"
api_bind_addr = "127.0.0.1:$((PORT + 10))"
root_domain = ".s3.garage.localhost"
[admin]
api_bind_addr = "127.0.0.1:$((PORT + 13))"
EOF
  )
}

start_garage() {
  # shellcheck source=/dev/null
  . "$D/garage/keys.sh"
  GARAGE_CONFIG_FILE="$D/garage/garage.toml" RUST_LOG=garage=warn \
    spawn garage "$TOOLS/bin/garage" server --single-node --default-bucket
}
garage_ready() { curl -sf -o /dev/null --max-time 5 "http://127.0.0.1:$((PORT + 13))/health"; }

# ---- the AWS double: PORT+16 ------------------------------------------------------------------------------

start_aws() { spawn aws "$TOOLS/bin/aws-double" "127.0.0.1:$((PORT + 16))"; }

# ---- all of them ------------------------------------------------------------------------------------------

write_env() {
  # shellcheck source=/dev/null
  . "$D/garage/keys.sh"
  cat >"$D/env.sh" <<EOF
export CIPHERMILL_TEST_PARTS='$D'
export CIPHERMILL_TEST_AMQP=amqp://guest:guest@127.0.0.1:$PORT/%2f
export CIPHERMILL_TEST_AMQPS=amqps://guest:guest@127.0.0.1:$((PORT + 1))/%2f
export CIPHERMILL_TEST_CA='$D/rabbit/tls/ca.pem'
export CIPHERMILL_TEST_RABBIT_ENV='$D/rabbit/env.sh'
export CIPHERMILL_TEST_RABBIT_DIR='$D/rabbit'
export CIPHERMILL_TEST_RABBIT_MGMT=http://127.0.0.1:$((PORT + 2))
export CIPHERMILL_TEST_GARAGE=http://127.0.0.1:$((PORT + 10))
export CIPHERMILL_TEST_GARAGE_ADMIN=http://127.0.0.1:$((PORT + 13))
export CIPHERMILL_TEST_GARAGE_KEY=$GARAGE_DEFAULT_ACCESS_KEY
export CIPHERMILL_TEST_GARAGE_SECRET=$GARAGE_DEFAULT_SECRET_KEY
export CIPHERMILL_TEST_AWS=http://127.0.0.1:$((PORT + 16))
export CIPHERMILL_TEST_PYTHON='$TOOLS/python/bin/python'
EOF
}

# use DIR: an existing folder of parts.
use() {
  D="$(realpath "$1")"
  [ -f "$D/port" ] || die "$1 holds no parts; make them with: parts.sh up $1"
  PORT="$(cat "$D/port")"
}

start_all() {
  local tool
  for tool in "$RABBIT/rabbitmq-server" "$TOOLS/bin/garage" "$TOOLS/bin/aws-double" "$TOOLS/python/bin/python"; do
    [ -x "$tool" ] || die "$tool is missing; run tests/support/setup.sh test"
  done
  mkdir -p "$D/log"
  # A folder that has data keeps its ports: Erlang names the data after the node, and the node has the port
  # in its name.
  if [ -f "$D/port" ]; then
    PORT="$(cat "$D/port")"
    hold "$PORT" || die "ports $PORT and up are in use by another run"
  else
    choose_ports
    printf '%s\n' "$PORT" >"$D/port"
  fi
  configure_rabbit
  configure_garage
  write_env
  start_rabbit
  start_garage
  start_aws
  wait_for aws 20 listening "$((PORT + 16))"
  wait_for garage 30 garage_ready
  wait_for rabbit 120 rabbit_ready
}

# stop_all SIGNAL: TERM keeps the broker's data in order (6 s), KILL is for data that is thrown away.
stop_all() {
  stop rabbit "$1"
  stop epmd KILL
  stop garage TERM
  stop aws TERM
}

tails() {
  local log
  for log in "$D"/log/{rabbit,garage,aws}.log "$D"/rabbit/log/*@localhost.log; do
    [ -s "$log" ] || continue
    printf '\n--- the end of %s\n' "$log"
    tail -n 12 "$log" | cut -c1-400
  done >&2
}

# Runs on every way out of `run`, once.
finish() {
  local status=$?
  trap - EXIT
  trap '' INT TERM HUP
  if [ -n "${CHILD:-}" ]; then
    # What COMMAND may have left behind in its process group.
    kill -KILL -- "-$CHILD" 2>/dev/null || true
  fi
  if [ "$status" -ne 0 ]; then
    tails
  fi
  stop_all KILL
  if [ -n "${GUARD:-}" ]; then
    kill "$GUARD" 2>/dev/null || true
  fi
  if [ "$status" -eq 0 ] && [ -z "$KEEP" ]; then
    rm -rf "$D"
  else
    rm -rf "$D/rabbit/mnesia" "$D/garage/meta" "$D/garage/data" "$D/port" "$D/command.pid"
    say "the logs are in $D"
  fi
  exit "$status"
}

run() {
  local begun=$SECONDS code=0
  KEEP='' CHILD='' D=''
  if [ "${1:-}" = --data ]; then
    [ -n "${2:-}" ] || die 'usage: parts.sh run [--data DIR] -- COMMAND...'
    mkdir -p "$2"
    D="$(realpath "$2")" KEEP=yes
    [ ! -e "$D/port" ] || die "$D holds parts already; stop them with: parts.sh down $D, and remove it"
    shift 2
  fi
  [ "${1:-}" = -- ] && [ $# -ge 2 ] || die 'usage: parts.sh run [--data DIR] -- COMMAND...'
  shift
  [ -n "$D" ] || D="$(mktemp -d "${TMPDIR:-/tmp}/ciphermill-parts.XXXXXX")"
  trap finish EXIT
  trap 'forward INT 130' INT
  trap 'forward TERM 143' TERM HUP
  # Should this script be killed outright, its guard stops the servers.
  setsid "$SELF" guard "$$" "$D" >/dev/null 2>&1 </dev/null &
  GUARD=$!
  disown
  start_all
  say "RabbitMQ, Garage and the AWS double are up on 127.0.0.1:$PORT-$((PORT + 19)) after $((SECONDS - begun)) s"
  # In a process group of its own, so that a signal to us can be handed on to all of it.
  set -m
  (
    # shellcheck source=/dev/null
    . "$D/env.sh"
    exec "$@"
  ) </dev/null 8>&- &
  CHILD=$!
  set +m
  note command "$CHILD"
  wait "$CHILD" || code=$?
  exit "$code"
}

# forward SIGNAL CODE: gives COMMAND ten seconds to end by itself.
forward() {
  local i
  if [ -n "$CHILD" ]; then
    kill "-$1" -- "-$CHILD" 2>/dev/null || true
    for ((i = 0; i < 100; i++)); do
      kill -0 -- "-$CHILD" 2>/dev/null || break
      sleep 0.1
    done
  fi
  exit "$2"
}

guard() {
  local pid
  while kill -0 "$1" 2>/dev/null; do sleep 1; done
  use "$2"
  if pid="$(alive command)"; then
    kill -KILL -- "-$pid" || true
  fi
  stop_all KILL
  rm -rf "$D/rabbit/mnesia" "$D/garage/meta" "$D/garage/data" "$D/port" "$D/command.pid"
}

usage() {
  sed -n '/^#   parts/s/^# *//p' "$SELF" >&2
  exit 2
}

verb="${1:-}"
[ $# -gt 0 ] && shift
case "$verb" in
  run) run "$@" ;;
  guard) guard "$@" ;;
  up | down | restart-rabbit | stop-garage | start-garage | empty-garage) [ $# -eq 1 ] || usage ;;&
  up)
    mkdir -p "$1"
    D="$(realpath "$1")"
    ! alive rabbit >/dev/null || die "$D: already up"
    trap 'tails; stop_all KILL' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    start_all
    trap - EXIT
    printf 'source %s/env.sh\n' "$D"
    ;;
  down)
    use "$1"
    stop_all TERM
    ;;
  restart-rabbit)
    use "$1"
    stop rabbit TERM
    start_rabbit
    wait_for rabbit 120 rabbit_ready
    ;;
  stop-garage)
    use "$1"
    stop garage TERM
    ;;
  start-garage)
    use "$1"
    start_garage
    wait_for garage 30 garage_ready
    ;;
  empty-garage)
    use "$1"
    # Asked politely, Garage waits for its clients' idle connections. What it would save is thrown away here.
    stop garage KILL
    rm -rf "$D/garage/meta" "$D/garage/data"
    mkdir "$D/garage/meta" "$D/garage/data"
    start_garage
    wait_for garage 30 garage_ready
    ;;
  *) usage ;;
esac
