#!/usr/bin/env bash
# The switch between stacks, and stacks, on the other machine that has assembly of its own: built by
# a cross compiler, run by an emulator.
# ctest: timeout 180
set -euo pipefail
cd "${WEIR_SOURCE:?}"

fail() {
    echo "failed: $*" >&2
    exit 1
}

for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# The emulator's cores, too.
ulimit -c 0

# build "SOURCE..." FLAG...
build() {
    local source=$1
    shift
    # shellcheck disable=SC2086
    aarch64-linux-gnu-gcc -std=gnu17 -D_GNU_SOURCE -DWEIR_TEST=1 -static "$@" \
        -Itest/aarch64 -Isrc -Itest $source src/task/{fiber,stack,switch_ucontext}.c \
        src/task/switch_aarch64.S src/sys.c -lm -lpthread -o "$dir/program" 2>"$dir/log" ||
        fail "$source does not build with $*: $(cat "$dir/log")"
}

run() {
    WEIR_SLOW=1 qemu-aarch64 -cpu max "$dir/program" "$@"
}

for flags in -O2 "-O2 -mbranch-protection=standard -fomit-frame-pointer" -O0 \
    "-O3 -march=armv8.2-a+sve" "-O2 -DWEIR_PORTABLE_SWITCH=1"; do
    # shellcheck disable=SC2086
    build test/unit/test_fiber.c $flags
    run || fail "fibers, built with $flags"
done

# The emulator says yes to advice that it does not know: no guard comes of that, and it is noticed.
for test in test/unit/test_stack{,_pool}.c; do
    build "$test test/support/stack_fixture.c" -O2
    run || fail "stacks: $test"
done

build test/aarch64/landing.c -O2 -mbranch-protection=bti
run || fail "a jump to where there is no landing pad"
run badly 2>/dev/null && fail "the emulator does not look at landing pads"

aarch64-linux-gnu-gcc -c src/task/switch_aarch64.S -o "$dir/switch.o"
aarch64-linux-gnu-readelf -nW "$dir/switch.o" | grep -q 'AArch64 feature: BTI$' ||
    fail "the object does not claim BTI, or claims more"
