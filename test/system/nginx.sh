#!/usr/bin/env bash
# A real nginx, over TCP and over a Unix socket: a file of 1 MiB in each mode, once with
# "Connection: close" and several times over a connection that is kept alive.
set -euo pipefail

client=$WEIR_BUILD/test/http_get
PATH=$PATH:/usr/sbin
command -v nginx >/dev/null || { echo "skipped: there is no nginx"; exit 77; }
[ -x "$client" ] || { echo "skipped: $client was not built"; exit 77; }

dir=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
    rm -rf "$dir"
}
trap finish EXIT

mkdir "$dir/www"
head -c 1048576 /dev/urandom >"$dir/www/file"
for _ in 1 2 3 4 5; do cat "$dir/www/file"; done >"$dir/five"

# Waits until the server listens, which is when it has written its pid; fails if it ended instead.
up() {
    until [ -s "$dir/nginx.pid" ]; do
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.05
    done
}

for try in 1 2 3 4 5 6 7 8 9 10; do
    port=$((20000 + RANDOM % 12000))
    cat >"$dir/nginx.conf" <<END
daemon off;
master_process off;
pid $dir/nginx.pid;
error_log $dir/error.log;
events {}
http {
    access_log off;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    server {
        listen 127.0.0.1:$port;
        listen unix:$dir/nginx.sock;
        root $dir/www;
    }
}
END
    rm -f "$dir/nginx.sock"
    nginx -p "$dir" -c "$dir/nginx.conf" >"$dir/log" 2>&1 &
    server=$!
    if up; then break; fi
    wait "$server" || true
    server=
    [ "$try" != 10 ] || { cat "$dir/log"; echo "not ok: nginx does not start"; exit 1; }
done

for target in "tcp://127.0.0.1:$port" "unix:$dir/nginx.sock"; do
    for mode in blocking timeout deadline nonblocking; do
        timeout 60 "$client" "$target" /file "$mode" 1 | cmp - "$dir/www/file"
        timeout 60 "$client" "$target" /file "$mode" 5 | cmp - "$dir/five"
        echo "ok $target, $mode"
    done
done
