# What the tests of `weir proxy` share; sourced after cli.bash.

# proxy OPTION... LISTEN TO: in the background; sets $proxy_address and $proxy. What it says is in
# the file $proxy_says.
proxy() {
    local ready=$dir/ready.$RANDOM
    proxy_says=$dir/says.$RANDOM
    mkfifo "$ready"
    "$weir" proxy "$@" >"$ready" 2>"$proxy_says" &
    proxy=$!
    jobs_started+=("$proxy")
    read -r -t 30 proxy_address <"$ready" || fail "weir proxy $*: $(cat "$proxy_says")"
}

# It has let go of everything, or a sanitizer would make that its status.
stop_proxy() {
    kill "-${1:-TERM}" "$proxy"
    wait "$proxy" || fail "weir proxy: status $?: $(cat "$proxy_says")"
}

# until_says TEXT: waits until the proxy has said it.
until_says() {
    local try
    for try in $(seq 600); do
        case $(cat "$proxy_says") in *"$1"*) return ;; esac
        sleep 0.05
    done
    fail "after $try looks \"$1\" is not in: $(cat "$proxy_says")"
}

# through ADDRESS [OPTION]...: the bytes of $dir/big come back from an echo server behind it.
through() {
    "$weir" connect "${@:2}" "$1" <"$dir/big" | cmp - "$dir/big" || fail "through $1"
}
