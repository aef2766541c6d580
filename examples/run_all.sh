#!/usr/bin/env bash
# run_all.sh BUILD_DIR: the example programs against an echo server on this machine, which is one of
# them, then what each way to wait costs.
set -euo pipefail
build=${1:?usage: run_all.sh BUILD_DIR}

title() { printf '\n== %s\n\n' "$*"; }
show() {
    printf '$ %s\n' "${*#"$build"/}"
    "$@"
    printf '\n'
}

exec {server_says}< <(exec "$build/examples/echo_server" tcp://127.0.0.1:0 2>&1)
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
read -r line <&"$server_says" || exit 1
port=${line##* }

title "An echo server, a task for each connection (examples/echo_server), listens on port $port"

title "A blocking socket: each call waits until it is done"
show "$build/examples/blocking" 127.0.0.1 "$port"
show "$build/examples/blocking" localhost "$port"

title "A non-blocking socket: each call returns at once: done, in progress, or failed"
show "$build/examples/nonblocking" 127.0.0.1 "$port"
show "$build/examples/nonblocking" localhost "$port"

title "The same fetch() for many servers, in four ways"
show "$build/examples/many" 127.0.0.1:"$port" localhost:"$port" 127.0.0.1:"$port"

title "The straight line with a thread and with a task for each connection, and one with a poller"
show "$build/weir" compare --connections 50 --seconds 2
