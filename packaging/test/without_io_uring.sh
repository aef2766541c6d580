#!/usr/bin/env bash
# ctest: timeout 240
# Built without liburing, everything else is there, nothing asks for liburing any more, and whoever
# asks for the io_uring loop is told.
set -euo pipefail
: "${WEIR_SOURCE:?}"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
prefix=$dir/prefix

cmake -G Ninja -S "$WEIR_SOURCE" -B "$dir/build" -DWEIR_IO_URING=OFF -DWEIR_TESTS=OFF \
    -DWEIR_BENCH=OFF -DWEIR_EXAMPLES=OFF -DWEIR_COMMAND=OFF -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_COMPILE_WARNING_AS_ERROR=ON >"$dir/configure.log"
cmake --build "$dir/build" >"$dir/build.log" || { cat "$dir/build.log"; exit 1; }
cmake --install "$dir/build" --prefix "$prefix" >"$dir/install.log"

if grep -rl uring "$prefix" --include=weir.pc ||
    readelf -d "$dir/build/libweir.so" | grep uring; then
    echo "not ok: liburing is still asked for"
    exit 1
fi

cat >"$dir/asks.c" <<'END'
#include <errno.h>
#include <weir.h>

static int nothing(void *arg)
{
    return arg != NULL;
}

int main(void)
{
    const weir_run_options *how = WEIR_RUN_OPTIONS(.loop = WEIR_LOOP_IO_URING);
    int result = -1;
    return weir_run(nothing, NULL, how, &result) != -ENOSYS ||
           weir_run(nothing, NULL, NULL, &result) != 0 || result != 0;
}
END
libdir=$(dirname "$(find "$prefix" -name libweir.a)")
cc -std=c17 -I"$prefix/include" "$dir/asks.c" -o "$dir/asks" "$libdir/libweir.a" -pthread -lcares
"$dir/asks"
cmake -G Ninja -S "$WEIR_SOURCE/packaging/test" -B "$dir/stranger" -DCMAKE_PREFIX_PATH="$prefix" \
    >"$dir/stranger.log"
cmake --build "$dir/stranger" >"$dir/stranger.log" || { cat "$dir/stranger.log"; exit 1; }
"$dir/stranger/static_c"
