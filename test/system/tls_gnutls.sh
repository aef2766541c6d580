#!/usr/bin/env bash
# ctest: also asan tsan
# ctest: timeout 120
# GnuTLS at the other end: gnutls-cli and gnutls-serv.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"
source "$WEIR_SOURCE/test/support/tls.bash" gnutls-cli gnutls-serv

only() {
    echo "NORMAL:-VERS-ALL:+VERS-TLS$1"
}

# ---- gnutls-cli and `weir echo` ------------------------------------------------------------------

# Only in the background: whoever kills that kills the client.
gnutls_cli() {
    exec gnutls-cli --x509cafile "$pki/ca.pem" -p "$port" "$@"
}

# greet OPTION...: a conversation with the echo server, up to its clean end.
greet() {
    converse gnutls_cli "$@"
    tell hello
    hear hello
    hang_up 0
    says "$heard" "The certificate is trusted"
}

# turned_away ALERT SAYS OPTION...: the client hears of it, and the server says why.
turned_away() {
    converse gnutls_cli "${@:3}"
    hear "Received alert [$1]"
    exec {to_peer}>&-
    hear_out 1
    says "$(tail -1 "$server_says")" "$2"
}

serve_tls "${server_options[@]}" --alpn h2,http/1.1
for version in 1.2 1.3; do
    greet --priority "$(only $version)" --alpn http/1.1 localhost
    says "$heard" "Description: (TLS$version-X.509)-(ECDHE"
    says "$heard" "Application protocol: http/1.1"
    says "$(tail -1 "$server_says")" ": TLS $version, "
    says "$(tail -1 "$server_says")" ", protocol http/1.1; no certificate shown"
    greet --priority "$(only $version):-CIPHER-ALL:+CHACHA20-POLY1305" 127.0.0.1
    says "$(tail -1 "$server_says")" CHACHA20

    # A session is taken up again, in the same conversation.
    converse gnutls_cli --priority "$(only $version)" --waitresumption --inline-commands localhost
    tell first
    hear first
    tell "^resume^"
    hear "This is a resumed session"
    tell second
    hear second
    hang_up 0
done

# A client that has guessed the wrong group is asked again.
greet --single-key-share --priority "NORMAL:-GROUP-ALL:+GROUP-FFDHE2048:+GROUP-SECP384R1" localhost
says "$heard" "(ECDHE-SECP384R1)"

# New keys: told, and asked for too.
converse gnutls_cli --inline-commands localhost
for command in rekey1 rekey; do
    tell "^$command^"
    hear "Rekey was completed"
    tell "after $command"
    hear "after $command"
done
hang_up 0

turned_away 70 "the peer offers no version of TLS that is allowed here" \
    --priority "$(only 1.1)" localhost
turned_away 120 "no application protocol" --alpn smtp localhost
converse gnutls_cli --priority "$(only 1.2)" --inline-commands localhost
tell before
hear before
tell "^renegotiate^"
hear "Received alert [100]: No renegotiation is allowed"
exec {to_peer}>&-
hear_out 1

# A client that does not trust the server.
converse gnutls-cli --x509cafile "$pki/unknown.pem" -p "$port" localhost
hear "certificate is NOT trusted"
exec {to_peer}>&-
hear_out 1
greet localhost
stop_serving

# Certificates of clients. In TLS 1.3 the handshake of the client is over before it is refused.
serve_tls "${server_options[@]}" --client-ca "$pki/ca.pem"
for version in 1.2 1.3; do
    greet --priority "$(only $version)" --x509certfile "$pki/client.pem" \
        --x509keyfile "$pki/client.key" localhost
    says "$(tail -1 "$server_says")" "certificate CN=client.test, issued by CN=Test Root,O=Weir"
done
turned_away 40 "the client has shown no certificate" --priority "$(only 1.2)" localhost
turned_away 116 "the client has shown no certificate" localhost
turned_away 48 "CN=Unknown Root,O=Weir" --x509certfile "$pki/unknown.pem" \
    --x509keyfile "$pki/unknown.key" localhost
stop_serving

# Much to weir; the other way it writes byte by byte.
head -c 10000000 /dev/urandom >"$dir/much"
mkfifo "$dir/hold"
exec {hold}<>"$dir/hold"
listen_tls <&"$hold" >"$dir/received"
head -c 60000 "$dir/much" >&"$hold"
gnutls-cli --logfile="$dir/log" --x509cafile "$pki/ca.pem" -p "$port" 127.0.0.1 <"$dir/much" \
    >"$dir/answered" &
peer=$!
jobs_started+=("$peer")
arrived() {
    until [ "$(stat -c %s "$1")" -ge "$2" ]; do
        kill -0 "$listener" || fail "weir listen: $(cat <&"$listener_says")"
        kill -0 "$peer" || fail "gnutls-cli: $(cat "$dir/log")"
    done
}
arrived "$dir/received" 10000000
arrived "$dir/answered" 60000
cmp "$dir/received" "$dir/much" || fail "to weir"
cmp "$dir/answered" <(head -c 60000 "$dir/much") || fail "from weir"
kill "$listener"

# ---- `weir connect` and gnutls-serv --------------------------------------------------------------

# gnutls_serve CERTIFICATE OPTION...: what it says is in the file $gnutls_says. It takes no port 0,
# and where an address is taken it goes on without that one.
gnutls_serve() {
    local try chain=$pki/$1.pem key=$pki/$1.key
    shift
    gnutls_says=$(mktemp -u "$dir/gnutls.XXXXXX")
    for try in 1 2 3 4 5 6 7 8 9 10; do
        port=$((20000 + RANDOM % 12000))
        : >"$gnutls_says"
        gnutls-serv -p $port --x509certfile "$chain" --x509keyfile "$key" "$@" </dev/null \
            >"$gnutls_says" 2>&1 &
        gnutls=$!
        jobs_started+=("$gnutls")
        until grep -q "IPv4.*\(done\|failed\)" "$gnutls_says"; do
            kill -0 "$gnutls" || fail "gnutls-serv: $(cat "$gnutls_says")"
        done
        if grep -q "IPv4.*done" "$gnutls_says"; then return; fi
        stop_gnutls
    done
    fail "gnutls-serv finds no port after $try: $(cat "$gnutls_says")"
}

stop_gnutls() {
    kill "$gnutls"
    wait "$gnutls" || true
}

# trust OPTION...: connects to it and trusts the authority.
trust() {
    "$weir" connect --ca "$pki/ca.pem" "$@" "tls://127.0.0.1:$port"
}

for version in 1.2 1.3; do
    gnutls_serve server --echo --disable-client-cert --alpn http/1.1 --priority "$(only $version)"
    converse trust --verbose --alpn h2,http/1.1 --name localhost
    hear ": TLS $version, "
    says "$line" ", protocol http/1.1; certificate CN=server.test, issued by CN=Test Intermediate"
    tell hello
    hear hello
    if [ $version = 1.3 ]; then # new keys
        tell "**REHANDSHAKE**"
        hear "Successfully executed command"
        tell "with new keys"
        hear "with new keys"
    fi
    hang_up 0
    says "$(cat "$gnutls_says")" "(TLS$version-X.509)-(ECDHE-X25519)"
    says "$(cat "$gnutls_says")" "Given server name[1]: localhost"
    stop_gnutls
done

# Another group than the one that was guessed; an address is no server name.
gnutls_serve server --echo --disable-client-cert \
    --priority "NORMAL:-GROUP-ALL:+GROUP-SECP521R1:-CIPHER-ALL:+CHACHA20-POLY1305"
expect 0 trust </dev/null
says "$(cat "$gnutls_says")" "(ECDHE-SECP521R1)"
[[ $(cat "$gnutls_says") != *"server name"* ]] || fail "server name: $(cat "$gnutls_says")"
stop_gnutls

# A client takes its sessions up again.
for version in 1.2 1.3; do
    gnutls_serve server --http --disable-client-cert --priority "$(only $version)"
    expect 0 "$WEIR_BUILD/test/tls_again" "tls://127.0.0.1:$port" "$pki/ca.pem" "GET / HTTP/1.0" 3
    [[ $out == "TLS $version new"*"TLS $version resumed"*"TLS $version resumed"* ]] || fail "$out"
    stop_gnutls
done

# Much from gnutls-serv.
gnutls_serve server --http --disable-client-cert --httpdata "$dir/much"
SSL_CERT_FILE=$pki/ca.pem "$WEIR_BUILD/examples/https_get" "https://localhost:$port/" >"$dir/got"
cmp "$dir/got" "$dir/much" || fail "from gnutls-serv"
stop_gnutls

# Certificates of clients.
for version in 1.2 1.3; do
    gnutls_serve server --echo --require-client-cert --verify-client-cert \
        --x509cafile "$pki/ca.pem" --priority "$(only $version)"
    converse trust "${client_options[@]}"
    tell hello
    hear hello
    hang_up 0
    says "$(cat "$gnutls_says")" "CN=client.test"
    expect 1 trust </dev/null
    says "$err" "the peer refuses: "
    says "$err" "if it wants a certificate or a protocol, --cert FILE"
    for words in "" "before it is heard" "whatever it says"; do
        expect 1 trust --cert "$pki/unknown.pem" --key "$pki/unknown.key" <<<"$words"
        says "$err" "the peer refuses: "
    done
    stop_gnutls
done

# What is not to be trusted.
refused() {
    gnutls_serve "$1" --echo --disable-client-cert
    expect 1 trust </dev/null
    says "$err" "certificate not accepted"
    says "$err" "$2"
    stop_gnutls
}
refused expired "expired on 20"
refused wrong-name "is for other.test, not for 127.0.0.1"
refused unknown "CN=Unknown Root,O=Weir"
gnutls_serve server --echo --disable-client-cert --priority "$(only 1.1)"
expect 1 trust </dev/null
says "$err" "the peer refuses: "
stop_gnutls
