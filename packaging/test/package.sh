#!/usr/bin/env bash
# Installs what was built into an empty prefix and builds a stranger's program against it: with
# pkg-config and with find_package(), in C and in C++, shared and static.
set -euo pipefail
: "${WEIR_BUILD:?}" "${WEIR_SOURCE:?}"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
prefix=$dir/prefix
stranger=$WEIR_SOURCE/packaging/test
strict="-Wall -Wextra -Wpedantic -Werror"

cmake --install "$WEIR_BUILD" --prefix "$prefix" >"$dir/install.log"
pc=$(find "$prefix" -name weir.pc)
libdir=$(dirname "$(dirname "$pc")")
test -L "$libdir/libweir.so" -a -f "$libdir/libweir.so.0.1.0" -a -f "$libdir/libweir.a"
readelf -d "$libdir/libweir.so" | grep -q 'SONAME.*\[libweir.so.0\]'
readelf -d "$libdir/libweir.so" | grep -q NODELETE

# The file says where it was configured to go; --define-prefix is for one that was moved.
flags() { PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --define-prefix "$@" weir; }

echo "pkg-config: $(flags --modversion)"
cc -std=c17 $strict "$stranger/stranger.c" -o "$dir/c" $(flags --cflags --libs)
c++ -std=c++17 $strict -x c++ "$stranger/stranger.c" -o "$dir/cc" $(flags --cflags --libs)
cc -std=c17 $strict "$stranger/stranger.c" -o "$dir/static" $(flags --cflags) \
    "$libdir/libweir.a" $(flags --static --libs-only-other) \
    $(flags --static --libs-only-l | sed "s/-lweir//")
LD_LIBRARY_PATH=$libdir "$dir/c"
LD_LIBRARY_PATH=$libdir "$dir/cc"
"$dir/static"

echo "find_package"
cmake -G Ninja -S "$stranger" -B "$dir/build" -DCMAKE_PREFIX_PATH="$prefix" >"$dir/configure.log"
cmake --build "$dir/build" >"$dir/build.log" || { cat "$dir/build.log"; exit 1; }
for program in shared_c shared_cc static_c; do
    "$dir/build/$program"
done
