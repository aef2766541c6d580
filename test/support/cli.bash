# What the tests of the command share; sourced by test/system/cli_*.sh and others.
#
# Nothing here sleeps: servers say where they listen, and that is waited for.
set -euo pipefail
: "${WEIR_BUILD:?}" "${WEIR_SOURCE:?}"

weir=$WEIR_BUILD/weir
dir=$(mktemp -d)
jobs_started=()

clean_up() {
    local pid
    for pid in "${jobs_started[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap clean_up EXIT

fail() {
    local lines="${BASH_LINENO[*]}"
    printf 'FAILED at line %s: %s\n' "${lines% 0}" "$*" >&2
    exit 1
}

# serve [OPTION]... ADDRESS: an echo server; sets $address and $server.
serve() {
    local ready
    ready=$(mktemp -u "$dir/ready.XXXXXX")
    mkfifo "$ready"
    "$weir" echo "$@" >"$ready" &
    server=$!
    jobs_started+=("$server")
    read -r -t 30 address <"$ready" || fail "weir echo $* does not start"
}

# listen ADDRESS <INPUT >OUTPUT: `weir listen` in the background; sets $address and $listener.
listen() {
    local ready
    ready=$(mktemp -u "$dir/ready.XXXXXX")
    mkfifo "$ready"
    "$weir" listen "$@" 2>"$ready" <&0 &
    listener=$!
    jobs_started+=("$listener")
    exec {listener_says}<"$ready"
    read -r -t 30 line <&"$listener_says" || fail "weir listen $* does not start"
    address=${line#weir: listening on }
}

# expect STATUS COMMAND...: runs it; its output is in $out, its messages are in $err.
expect() {
    local status=0 wanted=$1
    shift
    "$@" >"$dir/out" 2>"$dir/err" || status=$?
    out=$(cat "$dir/out")
    err=$(cat "$dir/err")
    [ "$status" = "$wanted" ] || fail "status $status, not $wanted: $*: $err"
}

# says TEXT WANTED: it has this in it.
says() {
    case $1 in *"$2"*) ;; *) fail "\"$2\" is not in: $1" ;; esac
}

# until_stats PID FILE TEXT: asks for statistics until they say that; nothing else is in the file.
until_stats() {
    local try
    for try in $(seq 600); do
        kill -USR1 "$1"
        case $(cat "$2") in *"$3"*) break ;; esac
        [ "$try" != 600 ] || fail "after $try questions \"$3\" is not in: $(tail -n 3 "$2")"
        sleep 0.05
    done
    if grep -v ' accepted, ' "$2"; then fail "no statistics"; fi
}
