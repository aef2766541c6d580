# What the tests of servers among the examples share; sourced after cli.bash.

# example NAME ADDRESS: a server in the background; sets $port (TCP) and $server. What it says is in
# the file $server_says.
example() {
    server_says=$dir/says.$RANDOM
    : >"$server_says"
    "$WEIR_BUILD/examples/$1" "$2" 2>"$server_says" &
    server=$!
    jobs_started+=("$server")
    until grep -q '^listening on port' "$server_says"; do
        kill -0 "$server" || fail "$1 $2 does not start: $(<"$server_says")"
        sleep 0.05
    done
    port=$(sed -n 's/^listening on port //p' "$server_says")
}

# It has let go of everything, or a sanitizer would make that its status.
stop_example() {
    kill "$server"
    wait "$server" || fail "status $? after SIGTERM: $(<"$server_says")"
}

# raw WHERE: a Python program on the standard input, which talks to the server at WHERE, a port or a
# path; see raw.py.
raw() {
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$WEIR_SOURCE/test/support" python3 - "$1" "$server" ||
        fail "the raw client; the server says: $(<"$server_says")"
}
