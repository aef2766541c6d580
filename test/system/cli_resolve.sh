#!/usr/bin/env bash
# ctest: also asan
# `weir resolve`: addresses on stdout, the rest on stderr; each way in which a name can fail.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"

expect 0 "$weir" resolve 192.0.2.1
[ "$out" = 192.0.2.1 ] || fail "numeric: $out"
says "$err" "weir: 1 address in "
says "$err" " ms, from numeric"
expect 0 "$weir" resolve 2001:db8::1
[ "$out" = 2001:db8::1 ] || fail "numeric IPv6: $out"
expect 0 "$weir" resolve -4 localhost
[ "$out" = 127.0.0.1 ] || fail "localhost: $out"
says "$err" "from hosts"

mkfifo "$dir/hold"
exec {hold}<>"$dir/hold" # the name server runs until its input ends
exec {says_port}< <(exec "$WEIR_BUILD/test/stub_dns_main" known.test=A:192.0.2.7,AAAA:2001:db8::7 \
    silent.test=silent broken.test=servfail <&"$hold")
jobs_started+=($!)
read -r -t 30 port <&"$says_port" || fail "the name server does not start"
dns=127.0.0.1:$port

expect 0 "$weir" resolve --server "$dns" known.test
[ "$(sort <<<"$out")" = $'192.0.2.7\n2001:db8::7' ] || fail "known.test: $out"
says "$err" "weir: 2 addresses in "
says "$err" "from dns"
expect 0 "$weir" resolve -6 -s "$dns" known.test
[ "$out" = 2001:db8::7 ] || fail "-6: $out"
WEIR_NAMESERVERS=$dns expect 0 "$weir" resolve -4 known.test
[ "$out" = 192.0.2.7 ] || fail "WEIR_NAMESERVERS: $out"

expect 1 "$weir" resolve --server "$dns" unknown.test
says "$err" "weir: resolve unknown.test: "
says "$err" "is the name spelled right?"
expect 1 "$weir" resolve --server "$dns" broken.test
says "$err" "another name server"
expect 1 "$weir" resolve --timeout 0.2 --server "$dns" silent.test
says "$err" "allow more with --timeout"
expect 1 "$weir" resolve a..b
expect 1 "$weir" resolve ""

# The same failures where a name is connected to.
WEIR_NAMESERVERS=$dns expect 1 "$weir" connect tcp://unknown.test:80 </dev/null
says "$err" "is the name spelled right?"
WEIR_NAMESERVERS=$dns expect 1 "$weir" connect --timeout 0.2 tcp://silent.test:80 </dev/null
says "$err" "allow more with --timeout"
