#!/usr/bin/env bash
# The figures: run.sh BUILD_DIR [--quick] [FIGURE...]; see docs/performance.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
command -v python3 >/dev/null || {
    echo "bench: python3 is needed to run the programs and to compare their figures" >&2
    exit 1
}

# In a network of its own where that is allowed. Congestion control there is reno: one that paces,
# as bbr does, sends from timers, on time that is nobody's, which would flatter those who send much
# at once.
alone=()
for namespaces in "--net" "--net --user --map-root-user"; do
    # shellcheck disable=SC2086
    if unshare $namespaces ip link set lo up 2>/dev/null; then
        # shellcheck disable=SC2206
        alone=(unshare $namespaces sh -c '
            ip link set lo up
            echo reno >/proc/sys/net/ipv4/tcp_congestion_control
            exec "$@"' sh)
        break
    fi
done
exec "${alone[@]}" env PYTHONDONTWRITEBYTECODE=1 python3 "$here/run.py" "$@"
