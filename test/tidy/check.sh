#!/bin/sh
# Everything that `./dev check` looks at, after a build with the clang preset; all of it, even if
# one part fails.
set -u
cd "$(dirname "$0")/../.." || exit
build="build-clang"
failed=

part() {
    printf -- '-- %s\n' "$1"
    shift
    "$@" || failed="$failed $1"
}

c_files() {
    for dir in "$@"; do
        [ ! -d "$dir" ] || find "$dir" -name '*.[ch]'
    done | sort
}

format() {
    c_files include src cli examples test fuzz bench packaging |
        xargs -r clang-format --dry-run --Werror
}

clang_tidy() {
    c_files src cli examples | grep '\.c$' | xargs -r -n1 -P2 test/tidy/clang-tidy.sh "$build"
}

# autoVariables: whoever waits does so with a record on its own stack that others point to.
static_analysis() {
    mkdir -p "$build/cppcheck"
    cppcheck -q -j2 --std=c11 --enable=warning,performance,portability --error-exitcode=1 \
        --inline-suppr --suppress=missingIncludeSystem --suppress=autoVariables \
        --cppcheck-build-dir="$build/cppcheck" \
        -D_GNU_SOURCE -D__GNUC__=12 -D__x86_64__ -Iinclude -Isrc $(c_files src cli | grep '\.c$')
}

own_rules() {
    python3 test/tidy/tidy.py "$build/libweir.so"
}

part "format" format
part "clang-tidy" clang_tidy
part "cppcheck" static_analysis
part "the project's own rules" own_rules

[ -z "$failed" ] || { printf 'check: failed:%s\n' "$failed" >&2; exit 1; }
printf 'check: all is well\n'
