#!/usr/bin/env bash
# A real nginx, over TCP and over a Unix socket: a file of 1 MiB in each mode, once with
# "Connection: close" and several times over a connection that is kept alive.
set -euo pipefail

source "${WEIR_SOURCE:?}/test/support/cli.bash"
source "$WEIR_SOURCE/test/support/nginx.bash"

client=$WEIR_BUILD/test/http_get
[ -x "$client" ] || { echo "skipped: $client was not built"; exit 77; }

mkdir "$dir/www"
head -c 1048576 /dev/urandom >"$dir/www/file"
for _ in 1 2 3 4 5; do cat "$dir/www/file"; done >"$dir/five"

write_configuration() {
    cat >"$dir/nginx.conf" <<END
$nginx_process
events {}
http {
    $nginx_http
    server {
        listen 127.0.0.1:$port;
        listen unix:$dir/nginx.sock;
        root $dir/www;
    }
}
END
    rm -f "$dir/nginx.sock"
}
serve_nginx

for target in "tcp://127.0.0.1:$port" "unix:$dir/nginx.sock"; do
    for mode in blocking timeout deadline nonblocking; do
        timeout 60 "$client" "$target" /file "$mode" 1 | cmp - "$dir/www/file"
        timeout 60 "$client" "$target" /file "$mode" 5 | cmp - "$dir/five"
        echo "ok $target, $mode"
    done
done
