#!/usr/bin/env bash
# ctest: also asan
# Other people's programs at the other end: curl and socat.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"

for program in curl socat; do
    command -v $program >/dev/null || { echo "skipped: there is no $program here"; exit 77; }
done
seq 100000 >"$dir/file"

# socat ends its side when its input ends and waits for the rest.
socat_echo() {
    socat -t 30 - "$1" <"$dir/file" | cmp - "$dir/file" || fail "socat $1"
}

serve tcp://127.0.0.1:0
socat_echo "TCP:${address#tcp://}"

mkfifo "$dir/in" "$dir/from"
curl -sSN --max-time 30 "telnet://${address#tcp://}" <"$dir/in" >"$dir/from" &
jobs_started+=($!)
exec {to}>"$dir/in" {from}<"$dir/from"
echo "by telnet" >&"$to"
read -r -t 30 line <&"$from" && [ "$line" = "by telnet" ] || fail "curl over telnet: $line"
exec {to}>&- {from}<&-

serve "unix:$dir/socket"
socat_echo "UNIX-CONNECT:$dir/socket"
serve "unix:@weir peers $$"
socat_echo "ABSTRACT-CONNECT:weir peers $$"
serve udp://127.0.0.1:0
[ "$(echo datagram | socat -t 0.5 - "UDP:${address#udp://}")" = datagram ] || fail "socat over UDP"

# An HTTP answer from a file.
printf 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nover the weir\n' >"$dir/answer"
listen tcp://127.0.0.1:0 <"$dir/answer" >"$dir/request"
[ "$(curl -sS --max-time 30 "http://${address#tcp://}/path")" = "over the weir" ] || fail "curl"
wait "$listener" || fail "status $? after curl"
grep -q '^GET /path HTTP/1.1' "$dir/request" || fail "curl asked: $(cat "$dir/request")"

# socat as the server.
mkfifo "$dir/ready"
socat -d -d "TCP-LISTEN:0,bind=127.0.0.1" EXEC:cat 2>"$dir/ready" &
jobs_started+=($!)
exec {socat_says}<"$dir/ready"
line=
until [[ $line == *"listening on"* ]]; do
    read -r -t 30 line <&"$socat_says" || fail "socat does not start"
done
"$weir" connect "tcp://127.0.0.1:${line##*:}" <"$dir/file" | cmp - "$dir/file" ||
    fail "socat serves"
