#!/usr/bin/env bash
# The gdb extension sees every task, of a process and of a core file, in the build under test and in
# one that is not optimized; plain backtraces through tasks come to an end.
# ctest: timeout 300
set -euo pipefail
: "${WEIR_BUILD:?}" "${WEIR_SOURCE:?}"

for tool in gdb cc cmake ninja; do
    command -v "$tool" >/dev/null || { echo "skipped: there is no $tool"; exit 77; }
done
gdb -nx -batch -ex 'python import gdb.unwinder' >/dev/null 2>&1 ||
    { echo "skipped: this gdb has no Python"; exit 77; }
gdb -nx -batch -ex run --args true 2>&1 | grep -q 'exited normally' ||
    { echo "skipped: gdb may not run a program here"; exit 77; }
program=$WEIR_BUILD/test/debuggee
readelf -S "$program" | grep -q debug_info || { echo "skipped: no debug information"; exit 77; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
extension=$WEIR_SOURCE/packaging/gdb/weir-gdb.py
export WEIR_MODEL=tasks WEIR_LOOP=epoll WEIR_LOOPS=1

fail() {
    printf 'FAILED at line %s: %s\n' "${BASH_LINENO[0]}" "$*" >&2
    cat "$dir/out" >&2
    exit 1
}

# in_gdb "PROGRAM ARGUMENTS" COMMAND...: what gdb says is in $dir/out.
in_gdb() {
    local commands=() command what=$1
    shift
    for command; do
        commands+=(-ex "$command")
    done
    timeout 60 gdb -nx -q -batch -ex 'set debuginfod enabled off' -ex 'set width 0' \
        "${options[@]}" "${commands[@]}" $what >"$dir/out" 2>&1 </dev/null || true
    ! grep -q 'Python Exception\|Error occurred' "$dir/out" || fail "the extension failed"
}
options=(-ex "source $extension")

# has PATTERN, has_not PATTERN: an extended regular expression for a line.
has() { grep -Eq -- "$1" "$dir/out" || fail "there is no line: $1"; }
has_not() { ! grep -Eq -- "$1" "$dir/out" || fail "there is a line: $1"; }

# part BEGIN END: what was printed between two echoed words.
part() { sed -n "/^$1\$/,/^$2\$/p" "$dir/out"; }

# Every kind of wait, with optional text for what a clock or a loop says.
lists_all() {
    local reads=$1 hour=$2
    has '^\*? +1 +0x[0-9a-f]+ +running +everything +-$'
    local place='in receiver at debuggee.c:[0-9]+' call='weir_recv \(socket 0x[0-9a-f]+\)'
    has " 2 +0x[0-9a-f]+ +parked +receiver +0x[0-9a-f]+ +$call $place, fd [0-9]+ $reads\$"
    has " 3 .* limited_receiver .*weir_recv .*, fd [0-9]+ $reads, $hour\$"
    has " 4 .* parked +sleeper .*weir_sleep in sleeper at debuggee.c:[0-9]+, $hour\$"
    has ' 5 .* locker .*weir_mutex_lock \(mutex 0x[0-9a-f]+\)'
    has ' 6 .* channel_reader .*weir_channel_recv \(channel 0x[0-9a-f]+\)'
    has ' 7 .* joining .*weir_group_wait \(group 0x[0-9a-f]+\)'
    has " 8 .* parked cancelled shielded +shielded .*weir_channel_recv .*, $hour\$"
    has ' 9 .* parked +sleeper '
    has ' 10 .* ready +fresh +0x[0-9a-f]+$'
}
left='3[0-9]{3}\.[0-9]{3} s left'

# To the first function of the stack and no further, without a complaint.
ends_well() {
    part "$1" "$2" | grep -E '^#' | tail -1 | grep -q ' switch_begin ()' ||
        fail "the backtrace does not end at the stack's beginning"
    ! part "$1" "$2" | grep -Eq 'corrupt|Backtrace stopped|\?\?' || fail "the backtrace is broken"
}

live() {
    local reads=readable
    [ "$WEIR_LOOP" != io_uring ] || reads=recv
    in_gdb "$program" 'break all_wait' run 'echo \nbefore\n' 'info registers' 'frame' \
        'echo \nlist\n' 'weir tasks' 'echo \nlocals\n' 'weir task 4 info locals' \
        'echo \ntask\n' 'weir task 4' 'echo \nfresh\n' 'weir task 10' \
        'echo \nbad\n' 'weir task 2 no-such-command' 'echo \nafter\n' 'info registers' 'frame' \
        'echo \nplain\n' 'bt' 'echo \nstack\n' 'weir stack 4' 'echo \nnone\n' \
        'weir task 99' continue
    lists_all $reads "$left"
    part locals task | grep -q '^own_number = 4711$' || fail "no local variables of a task"
    part task fresh | grep -q ' in sleeper ' || fail "no backtrace of a task"
    ends_well task fresh
    ends_well fresh bad
    ends_well plain stack
    part plain stack | grep -q ' in everything ' || fail "no backtrace of the task that runs"
    diff <(part before list | sed '/^[a-z]*$/d') <(part after plain | sed '/^[a-z]*$/d') >&2 ||
        fail "the registers are not what they were"
    has '^task 4: 252 KiB from 0x[0-9a-f]+, the guard below it; [0-9]{3,4} bytes in use, at most'
    has 'weir: there is no task 99'
    has 'exited normally'
}

threads() {
    WEIR_MODEL=threads in_gdb "$program" 'break all_wait' run 'weir tasks' \
        'echo \ntask\n' 'weir task 4 bt' 'echo \nend\n' 'weir task 4 info locals' thread continue
    has '^threads, [0-9]+ tasks'
    has '^\* +1 +0x[0-9a-f]+ +thread 1 +everything +-$'
    has ' 4 .* thread [0-9]+ +sleeper '
    part task end | grep -q ' in sleeper ' || fail "no backtrace of a task with a thread"
    has '^own_number = 4711$'
    has 'Current thread is 1 '
    has 'exited normally'
}

loops() {
    WEIR_LOOPS=2 in_gdb "--args $program crowd 4" 'break all_wait' run 'weir tasks' \
        'weir task 2 bt' 'weir task 3 bt' 'weir task 4 bt' 'weir task 5 bt' thread continue
    has '^loop 0 \(epoll\), thread 1, [0-9]+ tasks'
    [ "$(nproc)" = 1 ] || has '^loop 1 \(epoll\), thread 2, [0-9]+ tasks'
    [ "$(grep -c ' in sleeps (' "$dir/out")" = 4 ] || fail "not the stacks of four tasks"
    [ "$(grep -c ' switch_begin ()' "$dir/out")" = 4 ] || fail "not the ends of four stacks"
    has 'Current thread is 1 '
    has 'exited normally'
}

overflow() {
    in_gdb "--args $program overflow" run 'echo \nlist\n' 'weir tasks' 'echo \nend\n' 'bt -3'
    has '^Program received signal SIGSEGV'
    has '^weir: stack overflow of task 2 \(0x[0-9a-f]+, overflowing\): 0x[0-9a-f]+ is on the guard'
    part list end | grep -q '^weir: stack overflow of task 2 ' || fail "not in the list"
    has '#[0-9]+ .* switch_begin \(\)'
    in_gdb "--args $program abort" run 'weir tasks'
    has_not 'stack overflow'
}

core_of_gdb() {
    local libthread_db
    in_gdb "--args $program abort" run "weir core $dir/core" 'echo \nafter\n' \
        'weir task 4 info locals'
    has '^weir: added the stacks of 10 tasks$'
    for libthread_db in '' "$dir/nowhere"; do
        in_gdb "$program" ${libthread_db:+"set libthread-db-search-path $libthread_db"} \
            "core-file $dir/core" 'weir tasks' 'weir task 4 info locals' \
            'echo \ntask\n' 'weir task 2' 'echo \nend\n' 'echo \nplain\n' 'bt' 'echo \nend\n'
        lists_all readable 'until [0-9]+\.[0-9]{3} s of CLOCK_MONOTONIC'
        has '^own_number = 4711$'
        part task end | grep -q ' in receiver ' || fail "no backtrace of a task"
        ends_well task end
        ends_well plain end
    done
    rm "$dir/core"
}

core_of_kernel() {
    case $(cat /proc/sys/kernel/core_pattern) in
    */* | '|'*) return ;;
    esac
    ulimit -c unlimited 2>/dev/null || return 0
    { (cd "$dir" && exec "$program" overflow) || true; } 2>/dev/null
    local core
    core=$(find "$dir" -maxdepth 1 -type f -name 'core*')
    [ -n "$core" ] || return 0
    in_gdb "$program" "core-file $core" 'weir tasks' 'weir task 1'
    has '^weir: stack overflow of task 2 '
    has ' in overflow '
    rm "$core"
    said="$said, core files of the kernel"
}

# Unwinders in the process itself.
unwinders() {
    local model
    for model in tasks threads; do
        WEIR_MODEL=$model "$program" backtrace >"$dir/out" || fail "backtrace(3) in a task, $model"
    done
}

# gdb finds the extension by itself when it loads an installed library.
installed() {
    local prefix=$dir/prefix
    cmake --install "$WEIR_BUILD" --prefix "$prefix" >"$dir/out"
    local libdir
    libdir=$(dirname "$(find "$prefix" -name libweir.so)")
    cc -O2 -g -D_GNU_SOURCE -I"$prefix/include" "$WEIR_SOURCE/test/programs/debuggee.c" \
        -o "$dir/debuggee" -L"$libdir" -Wl,-rpath,"$libdir" -lweir
    options=(-iex "add-auto-load-scripts-directory $prefix/share/gdb/auto-load"
        -iex "add-auto-load-safe-path $prefix")
    in_gdb "$dir/debuggee" 'break all_wait' run 'weir tasks'
    lists_all readable "$left"
    [ -z "$(find "$prefix" -name '*.pyc')" ] || fail "the extension has left something behind"
    options=(-ex "source $extension")
}

check() {
    said=
    live
    WEIR_LOOP=poll live
    if WEIR_LOOP=io_uring "$program" backtrace >/dev/null 2>&1; then
        WEIR_LOOP=io_uring live
        said=", io_uring"
    fi
    threads
    loops
    overflow
    core_of_gdb
    core_of_kernel
    unwinders
    echo "ok: $1$said"
}

check "the build under test"
installed
echo "ok: installed"

cmake -G Ninja -S "$WEIR_SOURCE" -B "$dir/build" -DCMAKE_BUILD_TYPE=Debug -DWEIR_BENCH=OFF \
    -DCMAKE_C_FLAGS=-fno-omit-frame-pointer >"$dir/out"
cmake --build "$dir/build" --target program_debuggee >"$dir/out" || fail "no debug build"
program=$dir/build/test/debuggee
check "not optimized"
"$program" walk || fail "frame pointers do not lead to the end of a stack"
echo "ok: frame pointers"
