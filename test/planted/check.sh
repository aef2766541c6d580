#!/usr/bin/env bash
# check.sh WANTED COMMAND...: without a bug the command ends well and a tool has nothing to say;
# with one, which its last argument asks for, it fails and the first thing that is said fits
# WANTED, an extended regular expression. WANTED "nothing": what becomes of the bug is not looked
# at.
set -euo pipefail

wanted=$1
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
report='^==[0-9]+==|Sanitizer|runtime error:'

fail() {
    printf 'FAILED: %s\n' "$1" >&2
    head -60 "$dir/out" >&2
    exit 1
}

run() {
    status=0
    # A signal that ends it is told of by the shell, which is not to be mixed up with a report.
    { timeout 200 "$@" >"$dir/out" 2>&1 || status=$?; } 2>/dev/null
    [ "$status" != 77 ] || { cat "$dir/out"; exit 77; }
}

run "$@"
[ "$status" = 0 ] || fail "status $status without a bug"
! grep -Eq "$report" "$dir/out" || fail "a report without a bug"

[ "$wanted" != nothing ] || exit 0

run "$@" bug
[ "$status" != 0 ] || fail "nothing was found"
first=$(grep -Em1 "SUMMARY: .*Sanitizer: |LeakSanitizer: detected|$wanted" "$dir/out") ||
    fail "nothing was reported"
grep -Eq "$wanted" <<<"$first" || fail "not the report that was wanted: $first"
[ "$(grep -Ec 'SUMMARY: ' "$dir/out")" -le 1 ] || fail "more than one report"

# A task has a stack of its own to the tool: nothing has called what comes first there.
! awk '/ switch_begin / { first = 1; next }
       first && /^ *#[0-9]+ |^==[0-9]+== +by / { found = 1 }
       { first = 0 }
       END { exit !found }' "$dir/out" || fail "a task's stack does not end in the report"
