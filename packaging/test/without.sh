#!/usr/bin/env bash
# ctest: timeout 240
# Built without liburing and OpenSSL, everything else is there, nothing asks for them any more, and
# whoever asks for the io_uring loop or TLS is told.
set -euo pipefail
: "${WEIR_SOURCE:?}"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
prefix=$dir/prefix

cmake -G Ninja -S "$WEIR_SOURCE" -B "$dir/build" -DWEIR_IO_URING=OFF -DWEIR_TLS=OFF \
    -DWEIR_TESTS=OFF -DWEIR_BENCH=OFF -DWEIR_EXAMPLES=OFF -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_COMPILE_WARNING_AS_ERROR=ON >"$dir/configure.log"
cmake --build "$dir/build" >"$dir/build.log" || { cat "$dir/build.log"; exit 1; }
cmake --install "$dir/build" --prefix "$prefix" >"$dir/install.log"

if grep -rlE "uring|openssl" "$prefix" --include=weir.pc ||
    readelf -d "$dir/build/libweir.so" "$dir/build/weir" | grep -E "uring|ssl|crypto"; then
    echo "not ok: liburing or OpenSSL is still asked for"
    exit 1
fi
for command in connect "listen --cert $0" "echo --cert $0"; do
    status=0
    says=$("$dir/build/weir" $command tls://127.0.0.1:0 2>&1 </dev/null) || status=$?
    if [ $status != 1 ] || [[ $says != *"built without TLS"* ]]; then
        echo "not ok: weir $command: status $status: $says"
        exit 1
    fi
done

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
    weir_tls_config *config;
    weir_socket *s;
    int result = -1;
    return weir_run(nothing, NULL, how, &result) != -ENOSYS ||
           weir_run(nothing, NULL, NULL, &result) != 0 || result != 0 ||
           weir_tls_config_open(&config) != -EPROTONOSUPPORT ||
           weir_dial(&s, "tls://localhost:1", NULL) != -EPROTONOSUPPORT ||
           weir_listen_on(&s, "tls://*:0", NULL) != -EPROTONOSUPPORT;
}
END
libdir=$(dirname "$(find "$prefix" -name libweir.a)")
cc -std=c17 -I"$prefix/include" "$dir/asks.c" -o "$dir/asks" "$libdir/libweir.a" -pthread -lcares
"$dir/asks"
cmake -G Ninja -S "$WEIR_SOURCE/packaging/test" -B "$dir/stranger" -DCMAKE_PREFIX_PATH="$prefix" \
    >"$dir/stranger.log"
cmake --build "$dir/stranger" >"$dir/stranger.log" || { cat "$dir/stranger.log"; exit 1; }
"$dir/stranger/static_c"
