#!/usr/bin/env bash
# ctest: also asan tsan
# curl at the other end: https:// from `weir listen`.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"
source "$WEIR_SOURCE/test/support/tls.bash" curl

# Neither the user's settings nor a proxy.
fetch() {
    env -u https_proxy -u HTTPS_PROXY -u ALL_PROXY -u all_proxy \
        curl --disable --silent --show-error --max-time 50 "$@"
}

# trust OPTION...: trusts the authority.
trust() {
    fetch --cacert "$pki/ca.pem" "$@"
}

# answer FILE [OPTION...]: one request gets that; sets $port.
answer() {
    listen_tls "${@:2}" <"$1" >"$dir/request"
}

# heard_of TEXT: the listener fails and says why.
heard_of() {
    if wait "$listener"; then fail "the listener ends well"; fi
    says "$(cat <&"$listener_says")" "$1"
}

# Up to the end of the stream.
printf 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nover the weir\n' >"$dir/page"
for version in 1.2 1.3; do
    for name in localhost 127.0.0.1; do
        answer "$dir/page" --alpn http/1.1
        expect 0 trust --tlsv$version --tls-max $version --verbose "https://$name:$port/a/page"
        [ "$out" = "over the weir" ] || fail "page: $out"
        says "$err" "SSL connection using TLSv$version"
        says "$err" "ALPN: server accepted http/1.1"
        says "$err" "SSL certificate verify ok"
        wait "$listener" || fail "status $?: $(cat <&"$listener_says")"
        [[ $(cat "$dir/request") == $'GET /a/page HTTP/1.1\r\n'* ]] || fail "$(cat "$dir/request")"
    done
done
answer "$dir/page"
expect 0 trust --resolve "any.wild.test:$port:127.0.0.1" "https://any.wild.test:$port/"

# Who is not who was wanted, or not trusted, or too old.
answer "$dir/page"
expect 60 trust --resolve "other.test:$port:127.0.0.1" "https://other.test:$port/"
says "$err" "no alternative certificate subject name matches target host name 'other.test'"
answer "$dir/page"
expect 60 fetch --cacert "$pki/unknown.pem" "https://localhost:$port/"
heard_of "the peer refuses: unknown CA"
answer "$dir/page"
expect 35 trust --tlsv1.1 --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0 "https://localhost:$port/"
says "$err" "alert protocol version"
heard_of "the peer offers no version of TLS that is allowed here"
answer "$dir/page"
if trust "http://localhost:$port/" 2>/dev/null; then fail "http:// from a port with TLS"; fi
heard_of "the peer speaks HTTP, not TLS"

# Certificates of clients. In TLS 1.3 curl learns of it when it reads.
answer "$dir/page" --client-ca "$pki/ca.pem"
expect 0 trust "${client_options[@]}" "https://localhost:$port/"
answer "$dir/page" --client-ca "$pki/ca.pem"
expect 56 trust --tlsv1.3 "https://localhost:$port/"
says "$err" "alert certificate required"
heard_of "the client has shown no certificate"
answer "$dir/page" --client-ca "$pki/ca.pem"
expect 35 trust --tls-max 1.2 --cert "$pki/unknown.pem" --key "$pki/unknown.key" \
    "https://localhost:$port/"
says "$err" "alert unknown ca"
heard_of "CN=Unknown Root,O=Weir"

# Much, down and up.
size=20000000
head -c $size /dev/urandom >"$dir/much"
(printf 'HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n' $size && cat "$dir/much") >"$dir/page"
answer "$dir/page"
trust "https://localhost:$port/" | cmp - "$dir/much" || fail "down"
wait "$listener" || fail "status $?: $(cat <&"$listener_says")"

# The answer comes when everything has arrived.
mkfifo "$dir/hold"
exec {hold}<>"$dir/hold"
answer /dev/fd/$hold
trust --upload-file "$dir/much" --header Expect: "https://localhost:$port/" >"$dir/stored" &
client=$!
jobs_started+=("$client")
until [ "$(stat -c %s "$dir/request")" -ge $size ] && cmp -s "$dir/much" <(
    tail -c $size "$dir/request"); do
    kill -0 "$client" || fail "curl --upload-file has ended"
done
printf 'HTTP/1.1 201 Created\r\nContent-Length: 6\r\n\r\nstored' >&"$hold"
wait "$client" || fail "curl --upload-file: status $?"
[ "$(cat "$dir/stored")" = stored ] || fail "answer: $(cat "$dir/stored")"
