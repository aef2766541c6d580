#!/usr/bin/env bash
# A wall clock that jumps moves nothing: no time comes from it.
set -euo pipefail

program=$WEIR_BUILD/test/wall_clock
[ -x "$program" ] || { echo "skipped: $program was not built"; exit 77; }
"$program"

if command -v nm >/dev/null && [ -e "$WEIR_BUILD/libweir.so" ]; then
    wall='time|gettimeofday|ftime|clock_settime|sem_timedwait|pthread_mutex_timedlock'
    if nm -D --undefined-only "$WEIR_BUILD/libweir.so" | grep -Ew " U ($wall)(@.*)?"; then
        echo "not ok: libweir.so uses the wall clock"
        exit 1
    fi
    echo "ok: libweir.so asks for no wall clock"
fi

# What the C library waits with on weir's behalf.
if strace -o /dev/null true 2>/dev/null; then
    trace=$(mktemp)
    trap 'rm -f "$trace"' EXIT
    strace -f -o "$trace" "$program" >/dev/null
    if grep -E 'CLOCK_REALTIME' "$trace" | grep -vE 'FUTEX_WAIT_BITSET.*NULL'; then
        echo "not ok: something waits by the wall clock"
        exit 1
    fi
    echo "ok: nothing waits by the wall clock"
fi
