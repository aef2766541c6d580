#!/usr/bin/env bash
# ctest: also asan tsan
# ctest: timeout 240
# What tasks are made of changes nothing that a user of the command sees; and it is as the
# environment says, or an error.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"

# describes [VARIABLE=VALUE]...: what `weir echo --verbose` says it runs on, in $line.
describes() {
    local said
    said=$(mktemp -u "$dir/said.XXXXXX")
    mkfifo "$said"
    env "$@" "$weir" echo --verbose "unix:@weir models $$" 2>"$said" >/dev/null &
    server=$!
    jobs_started+=("$server")
    read -r -t 60 line <"$said" || fail "$*: weir echo does not start"
    kill "$server"
    wait "$server" || fail "$*: status $?"
}

describes
says "$line" "weir: running as tasks on "
describes WEIR_LOOPS=1
says "$line" "weir: running as tasks on 1 loop, "
describes WEIR_LOOPS=3 WEIR_LOOP=poll
[ "$line" = "weir: running as tasks on 3 loops, poll (asked for)" ] || fail "$line"
describes WEIR_MODEL=threads
[ "$line" = "weir: running as threads" ] || fail "$line"

for wrong in WEIR_MODEL=fibers WEIR_LOOP=kqueue WEIR_LOOPS=0 WEIR_LOOPS=many WEIR_LOOPS=99999; do
    expect 1 env $wrong "$weir" echo tcp://127.0.0.1:0
    says "$err" "${wrong%=*} is \"${wrong#*=}\""
done
expect 1 env WEIR_LOOPS=2 "$weir" connect tcp://127.0.0.1:1
says "$err" "this program is not written for so many"

ways=(WEIR_MODEL=threads WEIR_LOOP=epoll WEIR_LOOP=poll)
err=$(WEIR_LOOP=io_uring "$weir" listen -t 0.001 "unix:@weir models $$" 2>&1) || true
case $err in
*"weir: start: "*) echo "without io_uring, which does not work here: $err" ;;
*) ways+=(WEIR_LOOP=io_uring) ;;
esac
scripts=(cli_echo cli_connect cli_listen)
[ ! -x "$WEIR_BUILD/test/make_pki" ] || scripts+=(cli_tls)
for way in "${ways[@]}"; do
    for script in "${scripts[@]}"; do
        env $way bash "$WEIR_SOURCE/test/system/$script.sh" || fail "$way: $script"
    done
done
