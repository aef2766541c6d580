#!/bin/sh
# clang-tidy.sh BUILD FILE: looks at one file, unless it has passed before just as it is, with
# these headers, this configuration and this compiler command.
set -eu
build=$1
file=$2

# A program's own start may call what only one thread may; the library may not.
case $file in
src/*) checks= ;;
*) checks=-concurrency-mt-unsafe ;;
esac

state=$({
    cat "$file" .clang-tidy "$0"
    find include src cli -name '*.h' | sort | xargs cat
    grep -F "/$file" "$build/compile_commands.json"
} | sha256sum | cut -d' ' -f1)
stamp=$build/clang-tidy/$(printf '%s' "$file" | tr / _)

[ "$(cat "$stamp" 2>/dev/null)" != "$state" ] || exit 0
if ! findings=$(clang-tidy --quiet --checks="$checks" -p "$build" "$file" 2>&1); then
    printf '%s\n' "$findings" | grep -vE '^[0-9]+ warnings? |^Suppressed |^Use -'
    exit 1
fi
mkdir -p "$build/clang-tidy"
printf '%s\n' "$state" >"$stamp"
