#!/usr/bin/env bash
# ctest: also asan
# `weir listen`: one conversation, in both directions, over every transport.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"

head -c 5000000 /dev/urandom >"$dir/there"
head -c 7000000 /dev/urandom >"$dir/back"

# Either side may have more to say than the other, which ends first.
converse() {
    listen "$1" <"$dir/back" >"$dir/received"
    "$weir" connect "$address" <"$dir/there" | cmp - "$dir/back" || fail "$1: from the listener"
    wait "$listener" || fail "$1: the listener's status is $?"
    cmp "$dir/received" "$dir/there" || fail "$1: to the listener"
}

converse tcp://127.0.0.1:0
converse "unix:$dir/socket"
[ ! -e "$dir/socket" ] || fail "the socket's file was left behind"
converse "unix:@weir test $$"

# It says where it listens and who has come, and after one conversation it is over.
listen tcp://127.0.0.1:0 >/dev/null </dev/null
"$weir" connect "$address" </dev/null
read -r -t 30 line <&"$listener_says"
says "$line" "weir: connection from 127.0.0.1:"
wait "$listener"
expect 1 "$weir" connect "$address" </dev/null

# Over UDP the first sender is the peer; an empty message is no end.
listen -t 0.5 udp://127.0.0.1:0 >"$dir/received" </dev/null
echo "by datagram" | "$weir" connect -t 0.1 "$address"
wait "$listener" || fail "over UDP: the listener's status is $?"
[ "$(cat "$dir/received")" = "by datagram" ] || fail "over UDP: $(cat "$dir/received")"
listen -t 2 udp://127.0.0.1:0 >"$dir/received" </dev/null
python3 - "${address##*:}" <<'END'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for message in b"before, ", b"", b"after":
    s.sendto(message, ("127.0.0.1", int(sys.argv[1])))
END
wait "$listener" || fail "an empty message: the listener's status is $?"
[ "$(cat "$dir/received")" = "before, after" ] || fail "an empty message: $(cat "$dir/received")"

expect 1 "$weir" listen --timeout 0.1 tcp://127.0.0.1:0
says "$err" "wait for somebody on tcp://127.0.0.1:"
says "$err" "allow more with --timeout"
expect 1 "$weir" listen "unix:$dir/no/such/directory"
says "$err" "weir: listen on unix:$dir/no/such/directory: "
expect 1 "$weir" listen tcp://192.0.2.1:0
says "$err" "no address of this machine"
