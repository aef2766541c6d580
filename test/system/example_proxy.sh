#!/usr/bin/env bash
# ctest: also asan tsan
# examples/proxy: what goes in comes out at the other end, over TCP and Unix sockets, to several at
# once; nobody behind it is told; SIGTERM lets those go on who are there.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"

# example_proxy LISTEN TO: sets $port, $proxy and $says.
example_proxy() {
    local line
    says=$dir/says.$RANDOM
    mkfifo "$says"
    "$WEIR_BUILD/examples/proxy" "$1" "$2" 2>"$says" &
    proxy=$!
    jobs_started+=("$proxy")
    exec {from_proxy}<"$says"
    read -r -t 30 line <&"$from_proxy" || fail "the example does not start"
    port=${line#listening on port }
}

stop_example() {
    kill "$proxy"
    wait "$proxy" || fail "status $?"
}

head -c 5000000 /dev/urandom >"$dir/big"
serve tcp://127.0.0.1:0
example_proxy tcp://127.0.0.1:0 "localhost:${address##*:}"
pids=()
for _ in 1 2 3 4 5; do
    ("$weir" connect "127.0.0.1:$port" <"$dir/big" | cmp - "$dir/big") &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait "$pid" || fail "one of five got other bytes"
done

# Those who are there go on after SIGTERM.
exec {peer}<>"/dev/tcp/127.0.0.1/$port"
echo here >&"$peer"
read -r -t 30 line <&"$peer" || fail "no answer"
kill "$proxy"
until ! (exec 2>/dev/null {late}<>"/dev/tcp/127.0.0.1/$port"); do :; done
echo "and still" >&"$peer"
read -r -t 30 line <&"$peer" || fail "no answer after SIGTERM"
[ "$line" = "and still" ] || fail "after SIGTERM: $line"
exec {peer}>&-
wait "$proxy" || fail "status $? after SIGTERM"

serve "unix:$dir/echo"
example_proxy "unix:$dir/proxy" "$address"
"$weir" connect "unix:$dir/proxy" <"$dir/big" | cmp - "$dir/big" || fail "over Unix sockets"
stop_example

example_proxy tcp://127.0.0.1:0 "unix:$dir/nobody"
"$weir" connect "127.0.0.1:$port" </dev/null >/dev/null 2>&1 || true
read -r -t 30 line <&"$from_proxy" || fail "nobody is there, and nothing is said"
[ "$line" = "unix:$dir/nobody: no such file or directory" ] || fail "it says $line"
stop_example

expect 1 "$WEIR_BUILD/examples/proxy"
[[ $err == "proxy LISTEN TO: "* ]] || fail "without arguments: $err"
