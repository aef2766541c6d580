#!/usr/bin/env bash
# ctest: also asan
# `weir connect` with every kind of standard input and output, and its failures.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"

serve tcp://127.0.0.1:0
seq 200000 >"$dir/file"

# The end of standard input ends one direction: the answer still comes, then the end.
expect 0 "$weir" connect "$address" <"$dir/file"
cmp "$dir/out" "$dir/file" || fail "from a file"
cat "$dir/file" | "$weir" connect "$address" | cmp - "$dir/file" || fail "from a pipe, to a pipe"
[ "$({ echo one; echo two; } | "$weir" connect "${address#tcp://}")" = $'one\ntwo' ] ||
    fail "without a scheme"
expect 0 "$weir" connect "$address" </dev/null
[ -z "$out" ] || fail "from nothing: $out"
expect 0 "$weir" connect "tcp://localhost:${address##*:}" </dev/null

# Bytes that arrive while standard input stays open are written at once.
mkfifo "$dir/in" "$dir/from"
"$weir" connect "$address" <"$dir/in" >"$dir/from" &
talk=$!
jobs_started+=("$talk")
exec {to}>"$dir/in" {from}<"$dir/from"
for word in first second; do
    echo $word >&"$to"
    read -r -t 30 line <&"$from" || fail "no answer while the input is open"
    [ "$line" = $word ] || fail "a conversation: $line"
done
exec {to}>&-
wait "$talk" || fail "status $? after a conversation"

# Whoever reads our output has gone: the end, without a word, as other programs end.
{ "$weir" connect "$address" <"$dir/file" 2>"$dir/err" || echo $? >"$dir/status"; } |
    head -1 >/dev/null
[ "$(cat "$dir/status")" = 141 ] || fail "status with a closed output: $(cat "$dir/status")"
[ ! -s "$dir/err" ] || fail "not quiet: $(cat "$dir/err")"
expect 1 bash -c "trap '' PIPE; '$weir' connect $address <'$dir/file' > >(exit)"

# A terminal: lines go out as they are typed, and it ends when the peer does.
mkfifo "$dir/hold"
exec {hold}<>"$dir/hold" # an input that never ends
echo=$address
listen tcp://127.0.0.1:0 >"$dir/received" <<<"bye"
script -qec "'$weir' connect $address" "$dir/typescript" >/dev/null <&"$hold" ||
    fail "on a terminal: status $?"
grep -q bye "$dir/typescript" || fail "nothing arrived at the terminal"

# What went wrong, with what, and what to do.
expect 1 "$weir" connect tcp://127.0.0.1:1 </dev/null
says "$err" "weir: connect tcp://127.0.0.1:1: connection refused; is anything listening there?"
says "$err" "try \`weir listen"
expect 1 "$weir" connect tcp://localhost:1 </dev/null
says "$err" "weir: connect tcp://localhost:1: connection refused ("
says "$err" "127.0.0.1:1: connection refused"
expect 1 "$weir" connect "unix:$dir/nowhere" </dev/null
says "$err" "no such socket file"
expect 1 "$weir" connect "unix:@weir nobody $$" </dev/null
says "$err" "connection refused"
expect 1 "$weir" connect udp://127.0.0.1:1 <<<"anybody?"
says "$err" "connection refused"
expect 1 "$weir" connect "$echo" <"$dir"
says "$err" "read standard input: is a directory"

# Nothing moves: --timeout ends it.
listen tcp://127.0.0.1:0 <&"$hold" >/dev/null
expect 1 "$weir" connect --timeout 0.2 "$address" <&"$hold"
says "$err" "nothing came or went for 0.2 seconds"

# A peer that ends its side first still gets all of a slow input; a reset is a failure.
listen tcp://127.0.0.1:0 >"$dir/received" </dev/null
{ echo begins; read -r -t 30 line <&"$listener_says"; echo goes on; } | "$weir" connect "$address"
wait "$listener" || fail "the listener's status is $?"
[ "$(cat "$dir/received")" = $'begins\ngoes on' ] || fail "received: $(cat "$dir/received")"

serve udp://127.0.0.1:0
[ "$(echo datagram | "$weir" connect -t 0.2 "$address")" = datagram ] || fail "over UDP"
head -c 3000 /dev/zero | "$weir" connect -t 0.2 "$address" | cmp -n 3000 - /dev/zero ||
    fail "three messages over UDP"
