#!/usr/bin/env bash
# ctest: also asan
# examples/http_hello under curl and wrk, and under clients that nobody would want.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"
source "$WEIR_SOURCE/test/support/example.bash"
for program in curl wrk python3; do
    command -v $program >/dev/null || { echo "skipped: there is no $program here"; exit 77; }
done
fetch() { curl -sS --noproxy '*' --max-time 60 "$@"; }

example http_hello "unix:$dir/socket"
[ "$(fetch --unix-socket "$dir/socket" http://here/)" = hello ] || fail "curl over a Unix socket"
stop_example

example http_hello tcp://127.0.0.1:0
url=http://127.0.0.1:$port/
[ "$(fetch "$url" "$url" "${url}other?a=b" -w '%{num_connects}' | tr '\n' ' ')" = \
    "hello 1hello 0hello 0" ] || fail "curl does not keep the connection"
[ "$(fetch -H 'Connection: close' "$url" "$url" -w '%{num_connects}' | tr '\n' ' ')" = \
    "hello 1hello 1" ] || fail "curl keeps a connection that is closed"
[ "$(fetch --http1.0 "$url" "$url" -w '%{num_connects}' | tr '\n' ' ')" = \
    "hello 1hello 1" ] || fail "curl by HTTP/1.0"
[ "$(fetch -I "$url" "$url" | grep -c '^HTTP/1.1 200 OK')" = 2 ] ||
    fail "curl -I"
head -c 300000 /dev/zero | fetch -H Expect: --data-binary @- "$url" >"$dir/out" &&
    [ "$(<"$dir/out")" = hello ] || fail "curl sends much"

expect 0 wrk -t 1 -c 16 -d 1s "$url"
grep -q '^ *[1-9][0-9]* requests in' "$dir/out" || fail "wrk: $out"
if grep 'Socket errors\|Non-2xx' "$dir/out"; then fail "wrk: $out"; fi

raw "$port" <<'END'
from raw import *

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n"
STAY, LAST = HELLO + b"\r\n", HELLO + b"Connection: close\r\n\r\n"

s = connect()
ask(s, b"GET / HTTP/1.1\r\nHost: me\r\n\r\nHEAD / HTTP/1.1\r\nhost: me\n\n" * 500,
    (STAY + b"hello\n" + STAY) * 500)
for byte in b"GET /path HTTP/1.1\r\nHost: me\r\n":
    s.sendall(bytes([byte]))
ask(s, b"\r\n", STAY + b"hello\n")

# After these nobody can tell where the next request begins, or there is to be none.
for request in (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nCONNECTION:close\r\n\r\n",
                b"GET / HTTP/1.1\r\nConnection:  \tClose\r\nHost: me\r\n\r\n",
                b"POST / HTTP/1.1\r\ncontent-length: 40\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
    s = connect()
    s.sendall(request + b"GET / HTTP/1.1\r\n\r\n")
    s.shutdown(socket.SHUT_WR)
    assert rest(s) == LAST + b"hello\n", request
for request in (b"\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"\0\r\n",
                b"GET / HTTP/1.1 \r\n\r\n", b"\x16\x03\x01\x02\n"):
    s = connect()
    s.sendall(request)
    s.shutdown(socket.SHUT_WR)
    assert rest(s).startswith(b"HTTP/1.1 400 "), request

# Half a request has no answer; a line is not for ever.
for half in (b"", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\nHost: me\r\n"):
    s = connect()
    s.sendall(half)
    s.shutdown(socket.SHUT_WR)
    assert rest(s) == b"", half
for request in (b"G" * 70000, b"GET / HTTP/1.1\r\nCookie: " + b"x" * 70000):
    s = connect()
    s.sendall(request)
    assert rest(s) == b"", "a line of 70,000 bytes"

# Those who trickle, and those who ask and do not listen, harm nobody.
good = connect()
before = memory()
slow = [connect() for _ in range(100)]
for byte in b"GET / HTTP/1.1\r\nHo":
    for one in slow:
        one.sendall(bytes([byte]))
    ask(good, b"GET / HTTP/1.1\r\n\r\n", STAY + b"hello\n")
deaf = [connect() for _ in range(3)]
for one in deaf:
    fill(one, b"GET / HTTP/1.1\r\n\r\n" * 1000,
         lambda: ask(good, b"GET / HTTP/1.1\r\n\r\n", STAY + b"hello\n"))
assert memory() < before + (8 << 20), "what is not read piles up"
for one in slow:
    ask(one, b"st: me\r\n\r\n", STAY + b"hello\n")
END
stop_example
