# What the tests with TLS share; sourced by test/system/tls_*.sh and others after cli.bash, with
# the names of the programs that they need. It makes certificates in $pki; see make_pki.c.
[ -x "$WEIR_BUILD/test/make_pki" ] || { echo "skipped: a build without TLS"; exit 77; }
PATH=$PATH:/usr/sbin
for program; do
    command -v "$program" >/dev/null || { echo "skipped: there is no $program here"; exit 77; }
done
unset program SSL_CERT_FILE SSL_CERT_DIR OPENSSL_CONF

pki=$dir/pki
mkdir "$pki"
"$WEIR_BUILD/test/make_pki" "$pki"
server_options=(--cert "$pki/server.pem" --key "$pki/server.key")
client_options=(--cert "$pki/client.pem" --key "$pki/client.key")

# serve_tls OPTION...: an echo server; sets $address, $port and $server. What it says of its peers
# is in the file $server_says.
serve_tls() {
    local ready
    ready=$(mktemp -u "$dir/ready.XXXXXX")
    server_says=$(mktemp -u "$dir/says.XXXXXX")
    mkfifo "$ready"
    "$weir" echo --verbose "$@" tls://127.0.0.1:0 >"$ready" 2>"$server_says" &
    server=$!
    jobs_started+=("$server")
    read -r -t 30 address <"$ready" || fail "weir echo $*: $(cat "$server_says")"
    port=${address##*:}
}

# It has let go of everything, or a sanitizer would make that its status.
stop_serving() {
    kill "$server"
    wait "$server" || fail "weir echo: status $?: $(cat "$server_says")"
}

# listen_tls OPTION... <INPUT >OUTPUT: as listen; sets $port too.
listen_tls() {
    listen "${server_options[@]}" "$@" tls://127.0.0.1:0
    port=${address##*:}
}

# converse COMMAND...: runs it in the background, as $peer. Its input is what `tell` is told; what
# it says, on either output, is for `hear`.
converse() {
    local pipe
    pipe=$(mktemp -u "$dir/pipe.XXXXXX")
    mkfifo "$pipe.in" "$pipe.out"
    "$@" <"$pipe.in" >"$pipe.out" 2>&1 &
    peer=$!
    jobs_started+=("$peer")
    heard=
    exec {to_peer}>"$pipe.in" {from_peer}<"$pipe.out"
}

tell() {
    (trap '' PIPE && printf '%s\n' "$1" >&"$to_peer") || fail "it is gone: $(cat <&"$from_peer")"
}

# hear TEXT: waits for a line with it; all lines so far are in $heard, the last one in $line.
hear() {
    line=
    until [[ $line == *"$1"* ]]; do
        read -r -t 30 line <&"$from_peer" || fail "\"$1\" is not in: $heard$line"
        heard+=$line$'\n'
    done
}

# hear_out STATUS: the rest of what it says, and its end.
hear_out() {
    local status=0
    heard+=$(timeout 30 cat <&"$from_peer") || fail "it does not end: $heard"
    exec {from_peer}<&-
    wait "$peer" || status=$?
    [ "$status" = "$1" ] || fail "status $status, not $1: $heard"
}

# hang_up STATUS: ends its input, and expects it to end with that.
hang_up() {
    exec {to_peer}>&-
    hear_out "$1"
}
