#!/usr/bin/env bash
# What a blocking socket costs in system calls: one for a call that can go ahead, at most three for
# one that has to wait, one for "not yet".
set -euo pipefail

program=$WEIR_BUILD/test/syscalls
command -v strace >/dev/null || { echo "skipped: there is no strace"; exit 77; }
[ -x "$program" ] || { echo "skipped: $program was not built"; exit 77; }
strace -o /dev/null true 2>/dev/null || { echo "skipped: strace may not trace here"; exit 77; }

trace=$(mktemp)
trap 'rm -f "$trace"' EXIT
strace -o "$trace" "$program"

# A call that strace shows as interrupted goes on as the next one.
awk '
    /^access\("begin / {
        split($0, part, /["]/)
        kind = substr(part[2], 7)
        inside = 1
        n = 0
        next
    }
    /^access\("end / {
        inside = 0
        rounds[kind]++
        if (n > most[kind]) most[kind] = n
        next
    }
    inside && !/^---/ && !/ERESTART/ { n++; lines[kind] = lines[kind] "\n    " $0 }
    END {
        for (kind in rounds) {
            limit = kind ~ /-wait$/ ? 3 : 1
            printf "%-16s %d rounds, at most %d system call(s)\n", kind, rounds[kind], most[kind]
            if (most[kind] < 1 || most[kind] > limit) {
                bad = 1
                print "not ok: expected 1 to " limit ":" substr(lines[kind], 1, 2000)
            }
            kinds++
        }
        if (kinds != 8) { bad = 1; print "not ok: expected 8 kinds of calls, saw " kinds }
        exit bad
    }' "$trace"
