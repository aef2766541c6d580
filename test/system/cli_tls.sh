#!/usr/bin/env bash
# ctest: also asan tsan
# ctest: timeout 120
# `weir echo`, `connect` and `listen` over tls://: what goes through, who is let in, and that
# whoever is not is told why and what to do.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"

[ -x "$WEIR_BUILD/test/make_pki" ] || {
    expect 1 "$weir" connect tls://127.0.0.1:1 </dev/null
    says "$err" "built without TLS"
    echo "skipped: a build without TLS"
    exit 77
}
source "$WEIR_SOURCE/test/support/tls.bash"

# Everything comes back; the address is told with its scheme and port.
head -c 5000000 /dev/urandom >"$dir/big"
head -c 3000000 /dev/urandom >"$dir/other"
serve_tls "${server_options[@]}"
[[ $address =~ ^tls://127\.0\.0\.1:[1-9] ]] || fail "address: $address"
for peer in "tls://localhost:$port" "TLS://127.0.0.1:$port"; do
    "$weir" connect --ca "$pki/ca.pem" "$peer" <"$dir/big" | cmp - "$dir/big" ||
        fail "through $peer"
done
expect 0 "$weir" connect --ca "$pki/ca.pem" --name any.wild.test "$address" </dev/null
[ -z "$err$out" ] || fail "not quiet: $err$out"

# The end of standard input is no end of the answer, and neither end is lost: both ways at once.
listen_tls <"$dir/other" >"$dir/received"
"$weir" connect --ca "$pki/ca.pem" "$address" <"$dir/big" | cmp - "$dir/other" ||
    fail "from the listener"
wait "$listener" || fail "the listener's status is $?"
cmp "$dir/received" "$dir/big" || fail "to the listener"

# Asked, it says what the handshake came to.
serve_tls "${server_options[@]}" --alpn h2,http/1.1
expect 0 "$weir" connect -v --ca "$pki/ca.pem" --alpn http/1.1 "$address" </dev/null
says "$err" "weir: $address: TLS 1.3, TLS_"
says "$err" ", protocol http/1.1; certificate CN=server.test, issued by CN=Test Intermediate,"
says "$err" "good until 20"
says "$(cat "$server_says")" "protocol http/1.1; no certificate shown"
expect 0 "$weir" connect -v --insecure "$address" </dev/null
says "$err" ", not checked"

# Whom it does not trust it tells, and what to do: an authority, a name, a date.
refused() {
    local wanted=$1
    shift
    expect 1 "$weir" connect "$@" </dev/null
    says "$err" "weir: connect ${*: -1}: certificate not accepted"
    says "$err" "$wanted"
    says "$err" "--ca FILE trusts another authority, --name NAME expects another name"
}
refused "CN=server.test, issued by CN=Test Intermediate,O=Weir, is signed by an authority" \
    "$address"
refused "is for server.test, localhost, *.wild.test, 127.0.0.1, ::1, not for other.test" \
    --ca "$pki/ca.pem" --name other.test "$address"
serve_tls --cert "$pki/expired.pem" --key "$pki/expired.key"
refused "expired on 20" --ca "$pki/ca.pem" "$address"
says "$err" "(wanted: 127.0.0.1)"
serve_tls --cert "$pki/wrong-name.pem" --key "$pki/wrong-name.key"
refused "is for other.test, not for localhost" --ca "$pki/ca.pem" "tls://localhost:$port"
expect 0 "$weir" connect --ca "$pki/ca.pem" --name other.test "tls://localhost:$port" </dev/null
serve_tls --cert "$pki/unknown.pem" --key "$pki/unknown.key"
refused "Unknown Root" --ca "$pki/ca.pem" "$address"

# What the system trusts can be named; a chain and its key may be in one file.
cat "$pki/server.pem" "$pki/server.key" >"$pki/both.pem"
serve_tls --cert "$pki/both.pem"
expect 0 env SSL_CERT_FILE="$pki/ca.pem" "$weir" connect "$address" </dev/null

# A server that asks for certificates takes those of its authority and no others.
serve_tls "${server_options[@]}" --client-ca "$pki/ca.pem"
client=(--cert "$pki/client.pem" --key "$pki/client.key")
[ "$(echo hello | "$weir" connect --ca "$pki/ca.pem" "${client[@]}" "$address")" = hello ] ||
    fail "with a client's certificate"
says "$(cat "$server_says")" "certificate CN=client.test, issued by CN=Test Root,O=Weir"
expect 1 "$weir" connect --ca "$pki/ca.pem" "$address" </dev/null
says "$err" "weir: $address: TLS failed (the peer refuses: "
says "$err" "--cert FILE"
says "$(cat "$server_says")" "the client has shown no certificate"
expect 1 "$weir" connect --ca "$pki/ca.pem" --cert "$pki/unknown.pem" --key "$pki/unknown.key" \
    "$address" </dev/null
says "$err" "the peer refuses: "
says "$(cat "$server_says")" "CN=Unknown Root,O=Weir"
says "$(cat "$server_says")" "--client-ca FILE says whom to trust"
listen_tls --client-ca "$pki/ca.pem" >/dev/null </dev/null
"$weir" connect --ca "$pki/ca.pem" "$address" </dev/null 2>/dev/null && fail "let in without one"
wait "$listener" && fail "the listener ends well without a handshake"
says "$(cat <&"$listener_says")" "the client has shown no certificate"

# No protocol in common; a peer without TLS, on either side. They are in the statistics.
serve_tls --stats "${server_options[@]}" --alpn h2
[ "$(echo hello | "$weir" connect --ca "$pki/ca.pem" "$address")" = hello ] || fail "no answer"
expect 1 "$weir" connect --ca "$pki/ca.pem" --alpn smtp "$address" </dev/null
says "$err" "TLS failed"
says "$err" "--alpn LIST"
expect 0 "$weir" connect -t 30 "${address/tls:/tcp:}" <<<"GET / HTTP/1.0"
says "$(cat "$server_says")" "the peer speaks HTTP, not TLS"
stop_serving
says "$(tail -n 1 "$server_says")" "3 accepted, 0 open, 2 failed; 6 bytes in, 6 out; "
serve tcp://127.0.0.1:0
expect 1 "$weir" connect "${address/tcp:/tls:}" </dev/null
says "$err" "TLS failed"
says "$err" "if it speaks no TLS, use tcp://"

# One who never shakes hands holds up nobody; the limit of the command bounds the handshake.
serve_tls "${server_options[@]}"
exec {silent}<>"/dev/tcp/127.0.0.1/$port"
[ "$(echo hello | "$weir" connect --ca "$pki/ca.pem" "$address")" = hello ] || fail "held up"
kill "$server"
wait "$server" || fail "status $? after SIGTERM"
exec {silent}>&-
mkfifo "$dir/hold"
exec {hold}<>"$dir/hold" # an input that never ends
listen tcp://127.0.0.1:0 <&"$hold" >/dev/null
expect 1 "$weir" connect -t 0.2 "${address/tcp:/tls:}" </dev/null
says "$err" "allow more with --timeout"

# An end without a goodbye is no end.
listen_tls </dev/null >"$dir/received"
python3 - "${address##*:}" "$pki/ca.pem" <<'END'
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
raw = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s = context.wrap_socket(raw, server_hostname="localhost")
s.sendall(b"cut off here")
with socket.socket(fileno=s.detach()) as raw:
    raw.shutdown(socket.SHUT_WR)
    while raw.recv(65536):
        pass
END
wait "$listener" && fail "a stream that was cut off counts as ended"
[ "$(cat "$dir/received")" = "cut off here" ] || fail "what came before the cut was lost"
says "$(cat <&"$listener_says")" "some of what it had to say may be missing"

# Wrong use, and files that are not what they should be.
expect 2 "$weir" connect --ca "$pki/ca.pem" tcp://127.0.0.1:1
says "$err" "need an address that begins with tls://"
expect 2 "$weir" connect --insecure --ca "$pki/ca.pem" tls://127.0.0.1:1
says "$err" "make no sense"
expect 2 "$weir" connect --key "$pki/client.key" tls://127.0.0.1:1
says "$err" "--cert FILE"
for command in echo listen; do
    expect 2 "$weir" $command tls://127.0.0.1:0
    says "$err" "a server of tls:// needs --cert FILE"
    expect 1 "$weir" $command --cert "$pki/no.pem" tls://127.0.0.1:0
    says "$err" "weir: --cert: cannot open \"$pki/no.pem\": no such file"
    expect 1 "$weir" $command --cert "$pki/server.pem" --key "$pki/client.key" tls://127.0.0.1:0
    says "$err" "weir: --cert, --key: "
    expect 1 "$weir" $command --cert "$pki/server.pem" tls://127.0.0.1:0
    says "$err" "no private key"
done
expect 1 "$weir" connect --ca "$pki/client.key" tls://127.0.0.1:1
says "$err" "weir: --ca: "
says "$err" "there is no certificate in it"
expect 1 "$weir" connect --alpn , tls://127.0.0.1:1
says "$err" "weir: --alpn: "
expect 1 "$weir" connect --name "no name" tls://127.0.0.1:1 </dev/null
says "$err" "is no host name"
