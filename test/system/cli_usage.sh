#!/usr/bin/env bash
# ctest: also asan tsan
# Help goes to stdout with status 0; wrong use says what is wrong and where help is, with status 2.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"

expect 0 "$weir" --help
says "$out" "usage: weir COMMAND"
expect 0 "$weir" --version
[ "$out" = "weir 0.1.0" ] || fail "version: $out"

expect 2 "$weir"
says "$err" "usage: weir COMMAND"
expect 2 "$weir" flood
says "$err" 'there is no command "flood"; see `weir --help`'

for command in echo connect listen proxy resolve compare; do
    expect 0 "$weir" $command --help
    says "$out" "usage: weir $command"
    [ -z "$err" ] || fail "help of $command on stderr: $err"
    expect 2 "$weir" $command --no-such-option
    says "$err" "weir $command:"
    says "$err" "see \`weir $command --help\`"
done
for command in echo connect listen resolve proxy; do
    expect 2 "$weir" $command
    says "$err" " needed"
    expect 2 "$weir" $command one two three
done
expect 2 "$weir" connect --timeout soon tcp://127.0.0.1:1
says "$err" '"soon" is no number of seconds'
expect 2 "$weir" connect --timeout -1 tcp://127.0.0.1:1
expect 2 "$weir" resolve --server example.com localhost
says "$err" "no numeric address"

# What is no address is told apart from what cannot be reached.
for address in nonsense tcp:// tcp://127.0.0.1 tcp://127.0.0.1:70000 gopher://127.0.0.1:1 unix:; do
    for command in echo connect listen; do
        expect 1 "$weir" $command "$address" </dev/null
        says "$err" "addresses look like"
    done
done

# Output that cannot be written is a failure.
if "$weir" --help >/dev/full 2>/dev/null; then fail "a full disk went unnoticed"; fi

# Without standard descriptors no socket becomes one of them.
serve tcp://127.0.0.1:0
expect 0 bash -c "exec <&-; '$weir' connect $address"
