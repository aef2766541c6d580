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
dir=$(mktemp -d)
trap 'kill $server ${tls_server:-} 2>/dev/null || true; rm -rf "$dir"' EXIT
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

# A certificate for a day, which names itself, so whoever trusts it trusts nobody else.
if openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 1 \
    -subj "/CN=an example" -addext subjectAltName=DNS:localhost -keyout "$dir/key.pem" \
    -out "$dir/chain.pem" 2>/dev/null; then
    exec {tls_says}< <(exec "$build/examples/tls_echo" tls://127.0.0.1:0 "$dir/chain.pem" \
        "$dir/key.pem" 2>&1)
    tls_server=$!
    read -r -t 30 line <&"$tls_says" || line=
    port=${line##*port }
    if [ "$line" = "listening on port $port" ]; then
        title "The same calls over TLS (examples/tls_echo): the certificate is checked"
        echo "Hello, world!" >"$dir/hello"
        show "$build/weir" connect --verbose --ca "$dir/chain.pem" "tls://localhost:$port" \
            <"$dir/hello" 2>&1
        show "$build/weir" connect "tls://localhost:$port" <"$dir/hello" 2>&1 || true
    else
        title "Over TLS: left out of this build"
    fi
fi

title "The straight line with a thread and with a task for each connection, and one with a poller"
show "$build/weir" compare --connections 50 --seconds 2
