#!/usr/bin/env bash
# ctest: also asan
# The examples: each runs and says what its reader was told, none is long, and those that the README
# shows are the files.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"
cd "$WEIR_SOURCE"
examples=$WEIR_BUILD/examples

for file in examples/*.c; do
    [ "$(wc -l <"$file")" -le 65 ] || fail "$file has more than 65 lines"
    if grep '#include "' "$file"; then fail "$file needs more than weir.h"; fi
done
for name in blocking nonblocking echo_server; do
    [[ $(<README.md) == *"$(<"examples/$name.c")"* ]] ||
        fail "the README's copy of examples/$name.c is not the file"
done

serve tcp://127.0.0.1:0
port=${address##*:}
for host in 127.0.0.1 localhost; do
    expect 0 "$examples/blocking" $host "$port"
    [ "$out" = "received: Hello, world!" ] || fail "blocking: $out"
    expect 0 "$examples/nonblocking" $host "$port"
    says "$out" "connect: "
    says "$out" "received: Hello, world!"
done
expect 0 "$examples/nonblocking" localhost "$port"
says "$out" "connect: in progress"

for program in blocking nonblocking; do
    expect 2 "$examples/$program"
    says "$err" "usage: $program HOST PORT"
    expect 1 "$examples/$program" 127.0.0.1 1
    says "$out$err" "connection refused"
done

expect 0 "$examples/many" "$address" "localhost:$port" "$address"
[ -z "$err" ] || fail "many: $err"
for way in "in turn" "a poller" "a thread each" "a task each"; do
    says "$out" "$way: "
done
expect 0 "$examples/many" 127.0.0.1:1 "$address" nonsense
[ "$(grep -c "127.0.0.1:1: connection refused" <<<"$err")" = 4 ] || fail "many: $err"
[ "$(grep -c "^nonsense: " <<<"$err")" = 4 ] || fail "many: $err"

if [ -x "$examples/foreign_loop" ]; then
    expect 0 "$examples/foreign_loop" localhost "$port"
    says "$out" "received: Hello, world!"
    says "$out" "other work"
    expect 1 "$examples/foreign_loop" 127.0.0.1 1
    says "$err" "connection refused"
fi

# The server of tasks, or threads: many at once, and on SIGTERM a goodbye to those who are there.
echo_server() {
    mkfifo "$dir/$1"
    WEIR_MODEL=$1 "$examples/echo_server" tcp://127.0.0.1:0 2>"$dir/$1" &
    server=$!
    jobs_started+=("$server")
    read -r -t 30 line <"$dir/$1" || fail "echo_server does not start"
    port=${line#listening on port }
}
for model in tasks threads; do
    echo_server $model
    exec {one}<>"/dev/tcp/127.0.0.1/$port" {two}<>"/dev/tcp/127.0.0.1/$port"
    for fd in "$one" "$two"; do
        echo "conversation $fd" >&"$fd"
        read -r -t 30 line <&"$fd" || fail "echo_server: no answer"
        [ "$line" = "conversation $fd" ] || fail "echo_server: $line"
    done
    expect 0 "$weir" connect "127.0.0.1:$port" <README.md
    cmp -s "$dir/out" README.md || fail "echo_server: other bytes came back"
    kill "$server"
    read -r -t 30 line <&"$one" && fail "echo_server after SIGTERM: $line"
    exec {one}>&- {two}>&-
    wait "$server" || fail "echo_server: status $?"
done
expect 1 "$examples/echo_server" nonsense
says "$err" "nonsense: invalid argument"

# The main job leaves nothing behind.
expect 0 bash examples/run_all.sh "$WEIR_BUILD"
says "$out" "received: Hello, world!"
says "$out" "Advice: "
