#!/usr/bin/env bash
# A real Redis server, over TCP and over a Unix socket, in the blocking and the non-blocking model.
set -euo pipefail

client=$WEIR_BUILD/test/redis_client
command -v redis-server >/dev/null || { echo "skipped: there is no redis-server"; exit 77; }
[ -x "$client" ] || { echo "skipped: $client was not built"; exit 77; }

dir=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
    rm -rf "$dir"
}
trap finish EXIT

# Waits until the server listens; fails if it ended instead, as it does when the port is taken.
up() {
    until grep -q 'Ready to accept connections\|ready to accept connections' "$dir/log"; do
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.05
    done
}

for try in 1 2 3 4 5 6 7 8 9 10; do
    port=$((20000 + RANDOM % 12000))
    : >"$dir/log"
    redis-server --bind 127.0.0.1 --port "$port" --unixsocket "$dir/redis.sock" --save '' \
        --appendonly no --dir "$dir" --daemonize no >"$dir/log" 2>&1 &
    server=$!
    if up; then break; fi
    wait "$server" || true
    server=
    [ "$try" != 10 ] || { cat "$dir/log"; echo "not ok: redis-server does not start"; exit 1; }
done

for target in "tcp://127.0.0.1:$port" "unix:$dir/redis.sock"; do
    for mode in blocking nonblocking; do
        echo "$target, $mode"
        timeout 60 "$client" "$target" "$mode"
    done
done
