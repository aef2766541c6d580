#!/usr/bin/env bash
# The samples of the README and of docs/: each compiles, by itself if it is a whole file, else as a
# part of a function. Those of docs/tls.md are the business of docs_tls.sh.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"
cd "$dir"

# Each block in a file of its own: NAME.NUMBER.c. A comment may stand for what a program would do.
for document in "$WEIR_SOURCE"/README.md "$WEIR_SOURCE"/docs/*.md; do
    name=$(basename "$document" .md)
    [ "$name" != tls ] || continue
    awk -v name="$name" '$0 == "```c" { on = ++count; next } $0 == "```" { on = 0 }
        on { print > (name "." count ".c") }' "$document"
done
files=(*.c)
[ ${#files[@]} -ge 9 ] || fail "found no more than ${files[*]}"

for file in "${files[@]}"; do
    if grep -q '^#include' "$file"; then continue; fi
    sed -i 's|, */\*.*\*/$|,|; s|/\*.*\*/$|;|' "$file"
    cat - "$file" >whole <<'END'
#include <signal.h>
#include <weir.h>
int part(weir_socket *, weir_poller *, weir_event *, void *, sigset_t, ssize_t, int);
int part(weir_socket *s, weir_poller *poller, weir_event *events, void *my_data, sigset_t set,
         ssize_t rc, int n)
{
END
    echo 'return 0; }' >>whole
    mv whole "$file"
done
for file in "${files[@]}"; do
    cc -std=gnu17 -Wall -Wextra -Werror -Wno-unused -Wno-empty-body -I"$WEIR_SOURCE/include" \
        -fsyntax-only "$file" || fail "$file: $(cat "$file")"
done
