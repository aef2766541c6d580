#!/usr/bin/env bash
# run_all.sh BUILD_DIR: the two example programs against an echo server on this machine, then what
# the two models cost.
set -euo pipefail
build=${1:?usage: run_all.sh BUILD_DIR}

title() { printf '\n== %s\n\n' "$*"; }
show() {
    printf '$ %s\n' "${*#"$build"/}"
    "$@"
    printf '\n'
}

exec {server_out}< <(exec "$build/weir" echo tcp://127.0.0.1:0)
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
read -r address <&"$server_out" || exit 1
port=${address##*:}

title "An echo server (\`weir echo\`) is listening on $address"

title "A blocking socket: each call waits until it is done"
show "$build/examples/blocking" 127.0.0.1 "$port"
show "$build/examples/blocking" localhost "$port"

title "A non-blocking socket: each call returns at once: done, in progress, or failed"
show "$build/examples/nonblocking" 127.0.0.1 "$port"
show "$build/examples/nonblocking" localhost "$port"

title "What each model costs: a thread for each connection, or one thread with a poller"
show "$build/weir" compare --connections 50 --seconds 2
