#!/usr/bin/env bash
# ctest: also asan
# ctest: serial
# `weir compare`: a table, an object, and refusals that say what to do.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"

expect 0 "$weir" compare --connections 10 --seconds 0.5
for text in "blocking" "non-blocking" "tasks" "a thread each" "one poller" "requests per second" \
    "CPU time per request" "latency, median" "latency, 99th percentile" "memory per connection" \
    "Tasks run on " "Advice: write it in a straight line"; do
    says "$out" "$text"
done
[ -z "$err" ] || fail "progress where there is no terminal: $err"

# It measures every model, whatever the environment chooses for others; the loop it leaves to it.
expect 0 env WEIR_MODEL=threads WEIR_LOOPS=7 WEIR_LOOP=poll \
    "$weir" compare --connections 2 --seconds 0.5
says "$out" "on poll"
says "$out" "Tasks run on poll: asked for."
expect 1 env WEIR_LOOP=hoop "$weir" compare --connections 2
says "$err" 'WEIR_LOOP is "hoop"'

# To a server of one's own, over each stream transport; and large messages.
check_report() {
    python3 -m json.tool "$dir/out" >/dev/null || fail "not JSON: $out"
    python3 - "$dir/out" "$@" <<'END' || fail "JSON: $out"
import json, sys
report = json.load(open(sys.argv[1]))
assert report["to"] == sys.argv[2] and not report["own_server"]
assert (report["connections"], report["size_bytes"], report["seconds"]) == (3, 65536, 0.5)
assert [(m["name"], m["loop"]) for m in report["models"][:2]] == \
    [("blocking", ""), ("nonblocking", "")]
assert [m["name"] for m in report["models"][2:]] == sys.argv[3:]
assert all(m["loop"] for m in report["models"][2:])
for model in report["models"]:
    assert len(model["rounds"]) == 5
    for sample in [model] + model["rounds"]:
        assert sample["requests_per_second"] > 0 and sample["cpu_us_per_request"] > 0
        assert 0 < sample["latency_median_us"] <= sample["latency_p99_us"]
        assert sample["memory_bytes_per_connection"] >= 0
assert report["advice"]
END
}
for target in tcp://127.0.0.1:0 "unix:@weir compare $$"; do
    serve "$target"
    expect 0 "$weir" compare --to "$address" --connections 3 --size 65536 --seconds 0.5 --json
    check_report "$address" tasks
done

# Each loop that works here; which one does not, and why, is said.
expect 0 "$weir" compare --loops --to "$address" --connections 3 --size 65536 --seconds 0.5 --json
loops=()
for loop in epoll io_uring poll; do
    case $err in *"weir: compare: $loop is left out: "*) ;; *) loops+=("tasks-$loop") ;; esac
done
says "${loops[*]}" tasks-epoll
says "${loops[*]}" tasks-poll
check_report "$address" "${loops[@]}"

# More connections than are taken at a time, all open at once.
expect 0 "$weir" compare --connections 400 --size 1 --seconds 0.5

expect 1 "$weir" compare --to tcp://127.0.0.1:1
says "$err" "connection refused"
says "$err" "try \`weir echo"
listen tcp://127.0.0.1:0 </dev/null >/dev/null
expect 1 "$weir" compare --to "$address" --connections 1
says "$err" "the first echo from $address"
seq 1000 >"$dir/other"
listen tcp://127.0.0.1:0 <"$dir/other" >/dev/null
expect 1 "$weir" compare --to "$address" --connections 1
says "$err" "it does not send back what it gets"

expect 1 bash -c "ulimit -n 100; '$weir' compare --connections 50"
says "$err" "take 164 descriptors, and this process may have 100; raise the limit"
for options in "--connections 0" "--connections many" "--connections 1000000" "--size 0" \
    "--size 65537" "--seconds 0" "--seconds 99999" "--to udp://127.0.0.1:7" "extra"; do
    expect 2 "$weir" compare $options
    says "$err" "see \`weir compare --help\`"
done
