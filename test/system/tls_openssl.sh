#!/usr/bin/env bash
# ctest: also asan tsan
# ctest: timeout 120
# OpenSSL's own client and server, and socat over its library, at the other end.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"
source "$WEIR_SOURCE/test/support/tls.bash" openssl socat

# heard_times COUNT REGEX: on so many lines.
heard_times() {
    [ "$(grep -c -- "$2" <<<"$heard")" = "$1" ] || fail "not $1 × \"$2\": $heard"
}

# ---- s_client and `weir echo` -------------------------------------------------------------------

# Only in the background: whoever kills that kills the client.
s_client() {
    exec openssl s_client -connect "127.0.0.1:$port" -CAfile "$pki/ca.pem" -verify_return_error "$@"
}

# greet OPTION...: a conversation with the echo server, up to its clean end.
greet() {
    converse s_client "$@"
    tell hello
    hear hello
    hang_up 0
}

# turned_away TEXT OPTION...: the client gives that reason. In TLS 1.3 a server may do so after the
# client's handshake is over.
turned_away() {
    local reason=$1
    shift
    converse s_client -ign_eof "$@"
    exec {to_peer}>&-
    hear "$reason"
    hear_out 1
}

serve_tls "${server_options[@]}" --alpn h2,http/1.1
for version in 1.2 1.3; do
    as=-tls${version/./_}
    greet -brief "$as" -servername localhost -verify_hostname localhost -alpn http/1.1,h2
    says "$heard" "Protocol version: TLSv$version"
    says "$heard" "Verification: OK"
    says "$(cat "$server_says")" ": TLS $version, "
    says "$(tail -1 "$server_says")" ", protocol h2; no certificate shown"

    # A session is taken up again, by this server only.
    greet "$as" -sess_out "$dir/session"
    says "$heard" "New, TLSv$version"
    greet "$as" -sess_in "$dir/session"
    says "$heard" "Reused, TLSv$version"
    first=$port
    first_server=$server
    first_says=$server_says
    serve_tls "${server_options[@]}"
    greet "$as" -sess_in "$dir/session"
    says "$heard" "New, TLSv$version"
    stop_serving
    port=$first
    server=$first_server
    server_says=$first_says
done
for cipher in ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-CHACHA20-POLY1305; do
    greet -brief -tls1_2 -cipher $cipher
    says "$(tail -1 "$server_says")" "TLS 1.2, $cipher"
done
for cipher in TLS_AES_128_GCM_SHA256 TLS_CHACHA20_POLY1305_SHA256; do
    greet -brief -ciphersuites $cipher
    says "$(tail -1 "$server_says")" "TLS 1.3, $cipher"
done

# A client that has guessed the wrong group is asked again.
greet -brief -msg -groups ffdhe2048:P-384
heard_times 2 '>>> TLS 1.3, Handshake.* ClientHello'

# New keys in the middle of the conversation: told, and asked for, which is answered before anything
# else is said. (A command is a line that s_client reads by itself.)
converse s_client -msg -brief -tls1_3
tell before
hear before
tell k
hear KEYUPDATE
tell between
hear between
tell K
hear KEYUPDATE
tell after
hear after
hang_up 0
heard_times 2 '>>> .*, KeyUpdate'
heard_times 1 '<<< .*, KeyUpdate'

# Renegotiation is refused; versions, ciphers and protocols that are not spoken are told.
converse s_client -brief -tls1_2
tell before
hear before
tell R
hear "no renegotiation"
hang_up 1
turned_away "alert protocol version" -tls1_1 -cipher ALL@SECLEVEL=0
says "$(tail -1 "$server_says")" "the peer offers no version of TLS that is allowed here"
turned_away "alert handshake failure" -tls1_2 -cipher AES128-SHA
says "$(tail -1 "$server_says")" "TLS failed"
turned_away "alert no application protocol" -alpn smtp
says "$(tail -1 "$server_says")" "no application protocol"
stop_serving

# Certificates of clients.
serve_tls "${server_options[@]}" --client-ca "$pki/ca.pem"
for as in -tls1_2 -tls1_3; do
    greet -brief $as -cert "$pki/client.pem" -key "$pki/client.key"
    says "$(tail -1 "$server_says")" "certificate CN=client.test, issued by CN=Test Root,O=Weir"
    turned_away "unknown ca" $as -cert "$pki/unknown.pem" -key "$pki/unknown.key"
    says "$(tail -1 "$server_says")" "CN=Unknown Root,O=Weir"
done
turned_away "alert handshake failure" -tls1_2
turned_away "alert certificate required" -tls1_3
says "$(tail -1 "$server_says")" "the client has shown no certificate"
stop_serving

# ---- an end with close_notify, and one without ---------------------------------------------------

# Both have read all that there is, so that it is an end and not a reset.
for how in goodbye none; do
    converse "$weir" listen "${server_options[@]}" tls://127.0.0.1:0
    hear "listening on"
    port=${line##*:}
    mkfifo "$dir/$how"
    s_client -brief <"$dir/$how" >"$dir/client_says" 2>&1 &
    client=$!
    jobs_started+=("$client")
    exec {in}>"$dir/$how"
    tell "good day"
    until grep -q "good day" "$dir/client_says"; do
        kill -0 "$client" || fail "s_client: $(cat "$dir/client_says")"
    done
    echo "some of it" >&"$in"
    hear "some of it"
    if [ $how = goodbye ]; then
        exec {in}>&-
        wait "$client" || fail "s_client: $(cat "$dir/client_says")"
        hang_up 0
    else
        kill -KILL "$client"
        wait "$client" 2>/dev/null || true
        hear_out 1
        says "$heard" "some of what it had to say may be missing"
        exec {in}>&- {to_peer}>&-
    fi
done

# ---- `weir connect` and s_server -----------------------------------------------------------------

# s_serve OPTION...: for one connection; sets $port. `hear` and `tell` are for it.
s_serve() {
    converse openssl s_server -accept 127.0.0.1:0 -naccept 1 -cert "$pki/server.pem" \
        -key "$pki/server.key" -cert_chain "$pki/server.pem" "$@"
    hear "ACCEPT 127"
    port=${line##*:}
}

# trust OPTION...: connects to it and trusts the authority.
trust() {
    "$weir" connect --ca "$pki/ca.pem" "$@" "tls://127.0.0.1:$port"
}

for version in 1.2 1.3; do
    s_serve -tls${version/./_} -rev -alpn http/1.1
    expect 0 trust -v --alpn h2,http/1.1 <<<"straight"
    [ "$out" = thgiarts ] || fail "s_server -rev: $out"
    says "$err" ": TLS $version, "
    says "$err" ", protocol http/1.1; certificate CN=server.test, issued by CN=Test Intermediate"
    hang_up 0
done
s_serve -www
expect 0 trust <<<"GET / HTTP/1.0"$'\r\n\r'
says "$out" "HTTP/1.0 200 ok"
says "$out" "</HTML>"
hang_up 0

# A client takes its sessions up again.
for version in 1.2 1.3; do
    s_serve -tls${version/./_} -www -naccept 3
    expect 0 "$WEIR_BUILD/test/tls_again" "tls://127.0.0.1:$port" "$pki/ca.pem" "GET / HTTP/1.0" 3
    [[ $out == "TLS $version new"*"TLS $version resumed"*"TLS $version resumed"* ]] || fail "$out"
    hang_up 0
done

# The name is sent along, unless it is an address; a server that wants another group gets it.
s_serve -tlsextdebug
expect 0 trust --name localhost </dev/null
hang_up 0
heard_times 1 'extension "server name"'
heard_times 1 'localhost$'
s_serve -tlsextdebug -groups P-384
expect 0 trust </dev/null
hang_up 0
heard_times 0 'extension "server name"'
heard_times 2 'extension "supported versions"'

# A server that asks for a certificate.
ask() {
    s_serve "$@" -rev -Verify 1 -CAfile "$pki/ca.pem" -verify_return_error
}
for as in -tls1_2 -tls1_3; do
    ask $as
    expect 0 trust "${client_options[@]}" <<<"straight"
    [ "$out" = thgiarts ] || fail "with a certificate: $out"
    hang_up 0
    says "$heard" "CN = client.test"
    ask $as
    expect 1 trust --cert "$pki/unknown.pem" --key "$pki/unknown.key" </dev/null
    says "$err" "the peer refuses: unknown CA"
    hang_up 0
done
ask -tls1_3
expect 1 trust </dev/null
says "$err" "the peer refuses: certificate required"
says "$err" "if it wants a certificate or a protocol, --cert FILE"
hang_up 0

# talk WHERE: has begun to talk to it, and goes on with what is written to $in.
talk() {
    mkfifo "$dir/in.$1"
    exec {in}<>"$dir/in.$1"
    "$weir" connect --ca "$pki/ca.pem" "tls://127.0.0.1:$port" <&"$in" >"$dir/out.$1" \
        2>"$dir/err.$1" &
    client=$!
    jobs_started+=("$client")
    echo "good day" >&"$in"
    hear "good day"
}
# told WHERE TEXT: waits until it has come.
told() {
    until grep -qs -- "$2" "$dir/out.$1"; do
        kill -0 "$client" || fail "weir connect: $(cat "$dir/err.$1")"
    done
}

# New keys; then an end that is none.
s_serve -tls1_3 -msg
talk keys
for key in k K; do
    tell $key
    hear ", KeyUpdate"
    tell "after $key"
    told keys "after $key"
    echo "answer to $key" >&"$in"
    hear "answer to $key"
done
heard_times 1 '<<< TLS 1.3, Handshake.*, KeyUpdate'
tell Q
wait "$client" && fail "a stream that was cut off counts as ended"
says "$(cat "$dir/err.keys")" "some of what it had to say may be missing"
exec {in}>&-
hang_up 0

# Renegotiation is refused, and what is no TLS any more ends it.
s_serve -tls1_2
talk renegotiation
tell r
hear "no renegotiation"
wait "$client" && fail "renegotiation"
says "$(cat "$dir/err.renegotiation")" "the peer refuses: handshake failure"
exec {in}>&-
hang_up 0
s_serve -tls1_3
talk clear
tell P
wait "$client" && fail "clear text"
says "$(cat "$dir/err.clear")" "TLS failed"
[[ $(cat "$dir/err.clear") != *"does not speak TLS"* ]] || fail "it did: $(cat "$dir/err.clear")"
grep -q "clear text" "$dir/out.clear" && fail "clear text counts as received"
exec {in}>&-
hang_up 0

# The server is told what is wrong with its certificate, and so is the user.
# refused ALERT TEXT FILE [OPTION...]: for the certificate of FILE.
refused() {
    converse openssl s_server -accept 127.0.0.1:0 -naccept 1 -cert "$pki/$3.pem" \
        -key "$pki/$3.key"
    hear "ACCEPT 127"
    port=${line##*:}
    expect 1 trust "${@:4}" </dev/null
    says "$err" "certificate not accepted"
    says "$err" "$2"
    hang_up 0
    says "$heard" "alert $1"
}
refused "unknown ca" "the certificate of CN=Test Intermediate,O=Weir is missing" server
refused "unknown ca" "CN=Unknown Root,O=Weir" unknown
refused_with_chain() {
    s_serve -cert "$pki/$3.pem" -key "$pki/$3.key" -cert_chain "$pki/$3.pem"
    expect 1 trust "${@:4}" </dev/null
    says "$err" "$2"
    hang_up 0
    says "$heard" "alert $1"
}
refused_with_chain "certificate expired" "expired on 20" expired
refused_with_chain "bad certificate" "is for other.test, not for 127.0.0.1" wrong-name

# ---- much, both ways at once ---------------------------------------------------------------------

megabytes=50
[ -z "${WEIR_SLOW:-}" ] || megabytes=5
head -c ${megabytes}000000 /dev/urandom >"$dir/here"
tail -c +4097 "$dir/here" >"$dir/there"

# all_there WHO: both sides have got everything.
all_there() {
    cmp "$dir/here" "$dir/there.got" || fail "$1 has got other bytes"
    cmp "$dir/there" "$dir/here.got" || fail "$1 has sent other bytes"
}

listen_tls <"$dir/here" >"$dir/here.got"
socat -t 60 - "OPENSSL:127.0.0.1:$port,cafile=$pki/ca.pem,commonname=server.test" \
    <"$dir/there" >"$dir/there.got" || fail "socat: status $?"
wait "$listener" || fail "status $?: $(cat <&"$listener_says")"
all_there "the client"

cat "$pki/server.pem" "$pki/server.key" >"$dir/both.pem"
mkfifo "$dir/ready"
socat -d -d -t 60 - "OPENSSL-LISTEN:0,bind=127.0.0.1,cert=$dir/both.pem,verify=0,$(
)openssl-max-proto-version=TLS1.2" <"$dir/there" >"$dir/there.got" 2>"$dir/ready" &
peer=$!
jobs_started+=("$peer")
exec {from_peer}<"$dir/ready"
hear "listening on"
port=${line##*:}
trust <"$dir/here" >"$dir/here.got" || fail "weir connect: status $?"
hear_out 0
says "$heard" "TLSv1.2"
all_there "the server"
