#!/usr/bin/env bash
# The figures: run.sh BUILD_DIR [--quick] [FIGURE...]; see docs/performance.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
command -v python3 >/dev/null || {
    echo "bench: python3 is needed to run the programs and to compare their figures" >&2
    exit 1
}
exec env PYTHONDONTWRITEBYTECODE=1 python3 "$here/run.py" "$@"
