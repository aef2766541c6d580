#!/usr/bin/env bash
# ctest: also asan
# `weir echo`: everything comes back, over every transport, to many at once, and it ends cleanly.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"

head -c 20000000 /dev/urandom >"$dir/big"

echoes() {
    [ "$(echo "over the weir" | "$weir" connect "$address")" = "over the weir" ] ||
        fail "$address"
}

round_trip() {
    "$weir" connect "$address" <"$dir/big" | cmp - "$dir/big" || fail "a big file through $address"
}

stops() {
    kill "-$1" "$server"
    wait "$server" || fail "status $? after SIG$1"
}

# The port of port 0 is told.
serve tcp://127.0.0.1:0
case $address in tcp://127.0.0.1:0 | '') fail "address: $address" ;; esac
echoes
round_trip

# Who has it says so to the second.
expect 1 "$weir" echo "$address"
says "$err" "weir: listen on $address: address already in use"
says "$err" "port 0 picks a free port"

# A peer that sends and never reads holds up nobody else; it is not read from either.
exec {greedy}<>"/dev/tcp/127.0.0.1/${address##*:}"
timeout 60 dd if=/dev/zero bs=1M count=64 >&"$greedy" 2>/dev/null &
stuck=$!
jobs_started+=("$stuck")
round_trip
round_trip
kill -0 "$stuck" || fail "64 MB were taken from a peer that does not read"
memory=$(awk '/VmRSS/ { print $2 }' "/proc/$server/status")
[ -n "${WEIR_SLOW:-}" ] || [ "$memory" -lt 30000 ] || fail "the server keeps $memory KiB"
kill "$stuck"
exec {greedy}>&-

# Several at once, each its own bytes.
pids=()
for i in $(seq 20); do
    (seq "$i" 20000 | "$weir" connect "$address" | cmp -s - <(seq "$i" 20000)) &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait "$pid" || fail "one of twenty got other bytes"
done

# Stopped, it ends the conversations that are going on, and does not wait for ever for those who do
# not end their side.
for ends in yes no; do
    [ $ends = yes ] || serve tcp://127.0.0.1:0
    exec {peer}<>"/dev/tcp/127.0.0.1/${address##*:}"
    echo "still here" >&"$peer"
    read -r -t 30 line <&"$peer" || fail "no answer"
    kill "$server"
    if read -r -t 30 line <&"$peer"; then fail "after SIGTERM: $line"; fi
    [ $ends = no ] || exec {peer}>&-
    wait "$server" || fail "status $? after SIGTERM"
done

# Out of descriptors it says so once, and whoever waits is served when others have gone.
mkfifo "$dir/address" "$dir/full"
(ulimit -n 16 && WEIR_LOOPS=1 exec "$weir" echo tcp://127.0.0.1:0) 2>"$dir/full" >"$dir/address" &
server=$!
jobs_started+=("$server")
exec {server_says}<"$dir/full"
read -r -t 30 address <"$dir/address"
peers=()
for i in $(seq 20); do
    exec {peer}<>"/dev/tcp/127.0.0.1/${address##*:}"
    peers+=("$peer")
done
echo "last in the queue" >&"$peer"
read -r -t 30 line <&"$server_says" || fail "out of descriptors it says nothing"
says "$line" "too many open files"
for i in $(seq 0 18); do
    eval "exec ${peers[i]}>&-"
done
read -r -t 30 line <&"$peer" || fail "whoever waited for a descriptor was forgotten"
[ "$line" = "last in the queue" ] || fail "out of descriptors: $line"
stops TERM
line=$(cat <&"$server_says")
[ -z "$line" ] || fail "it also said: $line"

serve 'tcp://[::1]:0' 2>/dev/null && { echoes; stops INT; }

serve "unix:$dir/socket"
echoes
round_trip
stops INT
[ ! -e "$dir/socket" ] || fail "the socket's file was left behind"

serve "unix:@weir test $$"
echoes
round_trip
stops TERM

# What it has come to is said at SIGUSR1 and at the end: who is there, who has failed, what moved.
stats() { until_stats "$server" "$dir/stats" "weir: $1; "; }

mkfifo "$dir/hold" "$dir/heard"
for listen in tcp://127.0.0.1:0 "unix:$dir/socket"; do
    serve --stats "$listen" 2>"$dir/stats"
    stats "0 accepted, 0 open, 0 failed; 0 bytes in, 0 out"
    "$weir" connect "$address" <"$dir/hold" >"$dir/heard" &
    peer=$!
    jobs_started+=("$peer")
    exec {hold}>"$dir/hold" {heard}<"$dir/heard"
    echo "still here" >&"$hold"
    read -r -t 30 line <&"$heard" || fail "no answer"
    echoes
    stats "2 accepted, 1 open, 0 failed; 25 bytes in, 25 out"
    exec {hold}>&-
    wait "$peer" || fail "status $? of a peer"
    exec {heard}<&-
    stops TERM
    says "$(tail -n 1 "$dir/stats")" "weir: 2 accepted, 0 open, 0 failed; 25 bytes in, 25 out; "
done

# Closed with an answer that nobody has read a connection is reset.
serve --stats tcp://127.0.0.1:0 2>"$dir/stats"
exec {peer}<>"/dev/tcp/127.0.0.1/${address##*:}"
echo "half an answer" >&"$peer"
read -r -t 30 -N 4 line <&"$peer" || fail "no answer"
exec {peer}>&-
stats "1 accepted, 0 open, 1 failed; 15 bytes in, 15 out"
stops TERM

serve --stats udp://127.0.0.1:0 2>"$dir/stats"
echoes
stats "0 accepted, 0 open, 0 failed; 14 bytes in, 14 out"
stops TERM
says "$(tail -n 1 "$dir/stats")" "weir: 0 accepted, 0 open, 0 failed; 14 bytes in, 14 out; "
