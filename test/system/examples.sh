#!/usr/bin/env bash
# ctest: also asan
# The examples: each runs and says what its reader was told, none is long, and those that the README
# shows are the files.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"
cd "$WEIR_SOURCE"
examples=$WEIR_BUILD/examples

for file in examples/*.c; do
    [ "$(wc -l <"$file")" -le 60 ] || fail "$file has more than 60 lines"
    if grep '#include "' "$file"; then fail "$file needs more than weir.h"; fi
done
for name in blocking nonblocking; do
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
for way in "one after the other" "a thread each" "a poller"; do
    says "$out" "$way: "
done
expect 0 "$examples/many" 127.0.0.1:1 "$address" nonsense
[ "$(grep -c "127.0.0.1:1: connection refused" <<<"$err")" = 3 ] || fail "many: $err"
[ "$(grep -c "^nonsense: " <<<"$err")" = 3 ] || fail "many: $err"

if [ -x "$examples/foreign_loop" ]; then
    expect 0 "$examples/foreign_loop" localhost "$port"
    says "$out" "received: Hello, world!"
    says "$out" "other work"
    expect 1 "$examples/foreign_loop" 127.0.0.1 1
    says "$err" "connection refused"
fi

# The main job leaves nothing behind.
expect 0 bash examples/run_all.sh "$WEIR_BUILD"
says "$out" "received: Hello, world!"
says "$out" "Advice: "
