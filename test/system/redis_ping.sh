#!/usr/bin/env bash
# ctest: also asan
# examples/redis_ping under Redis's own programs, and under clients that nobody would want.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"
source "$WEIR_SOURCE/test/support/example.bash"
for program in redis-cli redis-benchmark python3; do
    command -v $program >/dev/null || { echo "skipped: there is no $program here"; exit 77; }
done

# by_cli OPTION...: what redis-cli hears.
by_cli() {
    local text=$'any\r\n$5\r\nbytes'
    [ "$(redis-cli "$@" ping)" = PONG ] || fail "redis-cli $* ping"
    [ "$(redis-cli "$@" PiNg "$text")" = "$text" ] || fail "redis-cli $* ping TEXT"
    [ "$(redis-cli "$@" ping "")" = "" ] || fail "redis-cli $* ping with an empty text"
    says "$(redis-cli "$@" get key)" "ERR unknown command"
    [ "$(printf 'ping 1\nset a b\nping 2\n' | redis-cli "$@" | tr '\n' ' ')" = \
        "1 ERR unknown command  2 " ] || fail "redis-cli $* with three commands"
}

example redis_ping "unix:$dir/socket"
by_cli -s "$dir/socket"
stop_example
[ ! -S "$dir/socket" ] || rm "$dir/socket"

example redis_ping tcp://127.0.0.1:0
by_cli -p "$port"
for pipeline in 1 16; do
    redis-benchmark -p "$port" -t ping_inline,ping_mbulk -n 5000 -c 20 -P $pipeline --csv \
        >"$dir/out" 2>&1 || fail "redis-benchmark -P $pipeline: $(cat "$dir/out")"
    [ "$(grep -c '^"PING_.*","[1-9]' "$dir/out")" = 2 ] || fail "it says: $(cat "$dir/out")"
done

raw "$port" <<'END'
from raw import *

s = connect()
ask(s, b"PING\r\nping\n\r\n*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nping\r\n$2\r\nme\r\n" * 1000,
    b"+PONG\r\n+PONG\r\n+PONG\r\n$2\r\nme\r\n" * 1000)
for byte in b"*2\r\n$4\r\nPING\r\n$4\r\n\r\n\0\n\r\n":
    s.sendall(bytes([byte]))
hear(s, b"$4\r\n\r\n\0\n\r\n")
ask(s, b"PINGS\r\nPIN\r\n*1\r\n$5\r\nPINGS\r\n*0\r\n*-1\r\nping\r\n",
    b"-ERR unknown command\r\n" * 5 + b"+PONG\r\n")
ask(s, b"*\r\n1\r\n$4\r\nping\r\n", b"-ERR unknown command\r\n" * 3 + b"+PONG\r\n")
ask(s, b"*1000\r\n$4\r\nPING\r\n" + b"$1\r\nx\r\n" * 999, b"$1\r\nx\r\n")

# Each of these ends its own connection.
for size in (b"-1", b"-2", b"-3", b"65535", b"9223372036854775807", b"18446744073709551614",
             b"18446744073709551615", b"99999999999999999999"):
    bad = connect()
    bad.sendall(b"PING\r\n*2\r\n$4\r\nPING\r\n$" + size + b"\r\n0123456789\r\n")
    assert rest(bad) in (b"+PONG\r\n", b""), "nothing but the answer before"
for text in (b"*1\r\nPING\r\n", b"*1\r\n\n", b"*1\r\n$\r\n4\r\nPING\r\n", b"*1\r\n$ 4\r\nPING\r\n",
             b"P" * 70000, b"*" + b"9" * 70000):
    bad = connect()
    bad.sendall(text)
    assert rest(bad) == b"", text
    ask(s, b"PING\r\n", b"+PONG\r\n")

# Those who begin and do not go on, and those who ask and do not listen, harm nobody.
before = memory()
slow = [connect() for _ in range(100)]
for one in slow:
    one.sendall(b"*99999999999999999999\r\n$4\r\nPI")
deaf = [connect() for _ in range(3)]
for one in deaf:
    fill(one, b"PING\r\n" * 1000, lambda: ask(s, b"PING\r\n", b"+PONG\r\n"))
assert memory() < before + (8 << 20), "what is not read piles up"
slow[0].close()
END

# Clients that are there when it stops are no reason not to.
exec {one}<>"/dev/tcp/127.0.0.1/$port"
printf 'PING\r\n*1\r\n' >&"$one"
read -r -t 30 line <&"$one" && [ "$line" = $'+PONG\r' ] || fail "no answer: $line"
stop_example
exec {one}>&-
expect 1 "$WEIR_BUILD/examples/redis_ping" nonsense
says "$err" "nonsense: invalid argument"
