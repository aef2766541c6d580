#!/usr/bin/env bash
# ctest: also asan
# The examples over TLS: each does what it says, and says why if it cannot.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"
examples=$WEIR_BUILD/examples

[ -x "$WEIR_BUILD/test/make_pki" ] || { echo "skipped: a build without TLS"; exit 77; }
pki=$dir/pki
mkdir "$pki"
"$WEIR_BUILD/test/make_pki" "$pki"
export SSL_CERT_FILE=$pki/ca.pem # what the system trusts, for those who ask for no more

# page TEXT: a web server for one request; sets $url.
page() {
    printf 'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n%s' "$1" >"$dir/page"
    listen --cert "$pki/server.pem" --key "$pki/server.key" tls://127.0.0.1:0 <"$dir/page" \
        >"$dir/request"
    url=https://localhost:${address##*:}
}

# What comes before the empty line is not the page, and empty lines in the page are no end.
page $'first\r\n\r\nsecond'
expect 0 "$examples/https_get" "$url/some/page?a=b"
[ "$out" = $'first\r\n\r\nsecond' ] || fail "https_get: $out"
wait "$listener" || true
[ "$(head -1 "$dir/request")" = $'GET /some/page?a=b HTTP/1.0\r' ] || fail "$(cat "$dir/request")"
grep -q "^Host: localhost:${address##*:}"$'\r$' "$dir/request" || fail "$(cat "$dir/request")"
page "only"
expect 0 "$examples/https_get" "127.0.0.1:${address##*:}"
[ "$out" = "only" ] || fail "https_get without a path: $out"
expect 1 "$examples/https_get" https://127.0.0.1:1/
says "$err" "https://127.0.0.1:1/: connection refused"
page "secret"
expect 1 env SSL_CERT_FILE=/dev/null "$examples/https_get" "$url"
[ -z "$out" ] || fail "https_get prints the page of somebody that it does not trust"
says "$err" "certificate not accepted"
says "$err" "CN=Test Root,O=Weir"
for wrong in "" https:// /; do
    expect 2 "$examples/https_get" "$wrong"
    says "$err" "usage: https_get URL"
done

# A page that was cut off is a failure.
mkfifo "$dir/port"
python3 - "$pki" >"$dir/port" <<'END' &
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + "/server.pem", sys.argv[1] + "/server.key")
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
s = context.wrap_socket(listener.accept()[0], server_side=True)
s.recv(65536)
s.sendall(b"HTTP/1.0 200 OK\r\n\r\nhalf a p")
with socket.socket(fileno=s.detach()) as raw:
    raw.shutdown(socket.SHUT_WR)
    while raw.recv(65536):
        pass
END
jobs_started+=($!)
read -r -t 30 port <"$dir/port"
expect 1 "$examples/https_get" "https://localhost:$port/"
[ "$out" = "half a p" ] || fail "https_get of half a page: $out"
says "$err" "TLS stream cut off"

# The echo server: many at once, one of whom never shakes hands; SIGTERM ends it with a goodbye.
for model in tasks threads; do
    mkfifo "$dir/$model"
    WEIR_MODEL=$model "$examples/tls_echo" tls://127.0.0.1:0 "$pki/server.pem" "$pki/server.key" \
        2>"$dir/$model" &
    server=$!
    jobs_started+=("$server")
    read -r -t 30 line <"$dir/$model" || fail "tls_echo does not start"
    port=${line#listening on port }
    exec {silent}<>"/dev/tcp/127.0.0.1/$port"
    expect 0 "$weir" connect "tls://localhost:$port" <"$WEIR_SOURCE/README.md"
    cmp -s "$dir/out" "$WEIR_SOURCE/README.md" || fail "tls_echo: other bytes came back"
    mkfifo "$dir/in.$model"
    exec {in}<>"$dir/in.$model"
    "$weir" connect "tls://127.0.0.1:$port" <&"$in" >"$dir/here" &
    talk=$!
    jobs_started+=("$talk")
    echo "still here" >&"$in"
    until [ -s "$dir/here" ]; do kill -0 "$talk" || fail "tls_echo: no answer"; done
    kill "$server"
    exec {in}>&-
    wait "$server" || fail "tls_echo: status $?"
    exec {silent}>&-
    rm "$dir/here"
done
expect 1 "$examples/tls_echo" tls://127.0.0.1:0 "$pki/server.pem" "$pki/client.key"
says "$err" "belongs to another certificate"
expect 1 "$examples/tls_echo" nonsense "$pki/server.pem" "$pki/server.key"
says "$err" "nonsense: invalid argument"
