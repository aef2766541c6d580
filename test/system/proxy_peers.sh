#!/usr/bin/env bash
# ctest: also asan
# ctest: timeout 180
# Other people's programs around `weir proxy`: nginx and haproxy in front of it and behind it, with
# TLS taken off and put on; curl, socat and openssl's client through it; Redis's and wrk through it
# to the examples.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"
source "$WEIR_SOURCE/test/support/proxy.bash"
source "$WEIR_SOURCE/test/support/example.bash"
source "$WEIR_SOURCE/test/support/tls.bash" nginx haproxy curl socat openssl redis-cli \
    redis-benchmark wrk

for module in "" "load_module /usr/lib/nginx/modules/ngx_stream_module.so;"; do
    echo "$module events {} stream {}" >"$dir/nginx.conf"
    nginx -t -q -p "$dir" -c "$dir/nginx.conf" -g "pid $dir/nginx.pid; error_log $dir/error.log;" \
        2>"$dir/log" && break
    [ -z "$module" ] || { echo "skipped: there is no stream module of nginx"; exit 77; }
done

mkdir "$dir/www"
head -c 6000000 /dev/urandom >"$dir/big"
cp "$dir/big" "$dir/www/big"

# Ports from $port on: 0 nginx's web server, 1 with TLS, 2 its stream module in front of $1.
write_nginx() {
    cat >"$dir/nginx.conf" <<END
$module
daemon off;
master_process off;
pid $dir/nginx.pid;
error_log $dir/error.log;
events {}
http {
    access_log off;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy_temp;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    root $dir/www;
    client_max_body_size 1k;
    ssl_certificate $pki/server.pem;
    ssl_certificate_key $pki/server.key;
    server {
        listen 127.0.0.1:$port;
        location /hello { return 200 "hello over \$scheme"; }
    }
    server {
        listen 127.0.0.1:$((port + 1)) ssl;
        location /hello { return 200 "hello over \$scheme"; }
    }
}
stream {
    proxy_half_close on;
    server {
        listen 127.0.0.1:$((port + 2));
        proxy_pass $1;
    }
}
END
}

# haproxy passes on in TCP mode what comes at $port + 3 to $1, and at $port + 4 spliced.
write_haproxy() {
    cat >"$dir/haproxy.conf" <<END
global
    nbthread 1
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
listen plain
    bind 127.0.0.1:$((port + 3))
    server far $1
listen spliced
    option splice-auto
    bind 127.0.0.1:$((port + 4))
    server far $1
END
}

# start PORT COMMAND...: in the background as $started; false if it ends without taking connections.
start() {
    "${@:2}" >"$dir/log" 2>&1 &
    started=$!
    jobs_started+=("$started")
    until (exec 2>/dev/null {probe}<>"/dev/tcp/127.0.0.1/$1"); do
        kill -0 "$started" 2>/dev/null || return 1
        sleep 0.02
    done
}

# start_daemons TO: both in front of TO, which is HOST:PORT.
start_daemons() {
    local try
    for try in $(seq 10); do
        port=$((20000 + RANDOM % 12000))
        write_nginx "$1"
        write_haproxy "$1"
        start $((port + 2)) nginx -p "$dir" -c "$dir/nginx.conf" || continue
        nginx=$started
        if start $((port + 4)) haproxy -db -q -f "$dir/haproxy.conf"; then return; fi
        kill "$nginx"
        wait "$nginx" || true
    done
    fail "they do not start after $try: $(cat "$dir/log")"
}

# through_socat ADDRESS: the same with a client that is not ours.
through_socat() {
    socat -t 30 - "$1" <"$dir/big" | cmp - "$dir/big" || fail "socat $1"
}

# ---- in front of weir proxy: client, nginx or haproxy, weir, echo --------------------------------

serve tcp://127.0.0.1:0
proxy tcp://127.0.0.1:0 "$address"
start_daemons "${proxy_address#tcp://}"
for offset in 2 3 4; do
    through "tcp://127.0.0.1:$((port + offset))"
    through_socat "TCP:127.0.0.1:$((port + offset))"
done
through_socat "TCP:${proxy_address#tcp://}"
stop_proxy

# ---- behind it: client, weir, nginx or haproxy, weir, echo ---------------------------------------

proxy "${proxy_address}" "$address" # where they still connect to
first=$proxy
for offset in 2 3 4; do
    proxy "unix:$dir/front" "tcp://127.0.0.1:$((port + offset))"
    through "unix:$dir/front"
    through_socat "UNIX-CONNECT:$dir/front"
    stop_proxy
done
kill "$first"
wait "$first" || fail "the first proxy: status $?"

# ---- a web server behind it ----------------------------------------------------------------------

# fetch URL [OPTION]...: several pages over a connection, and a large one.
fetch() {
    [ "$(curl -sS --max-time 60 "${@:2}" "$1/hello" "$1/hello")" = "$page$page" ] || fail "curl $*"
    curl -sS --max-time 60 "${@:2}" "$1/big" | cmp - "$dir/big" || fail "curl of much: $*"
}

page="hello over http"
proxy tcp://127.0.0.1:0 "tcp://127.0.0.1:$port"
fetch "http://localhost:${proxy_address##*:}"
# A server that refuses a body has said so before it hangs up.
status=$(curl -sS --max-time 60 -o "$dir/answer" -w '%{http_code}' -H 'Expect:' \
    --data-binary "@$dir/big" "http://localhost:${proxy_address##*:}/hello" 2>"$dir/err") || true
[ "$status" = 413 ] || fail "a body that is too large: $status, $(cat "$dir/err")"
stop_proxy

# TLS taken off; the certificate is the proxy's.
proxy "${server_options[@]}" tls://127.0.0.1:0 "tcp://127.0.0.1:$port"
fetch "https://localhost:${proxy_address##*:}" --cacert "$pki/ca.pem"
printf 'GET /hello HTTP/1.0\r\n\r\n' | openssl s_client -quiet -ign_eof -CAfile "$pki/ca.pem" \
    -verify_return_error -connect "${proxy_address#tls://}" >"$dir/answer" 2>"$dir/err" ||
    fail "s_client: $(cat "$dir/err")"
says "$(cat "$dir/answer")" "$page"
stop_proxy

# TLS put on, to whoever has a good certificate.
page="hello over https"
proxy --ca "$pki/ca.pem" tcp://127.0.0.1:0 "tls://localhost:$((port + 1))"
fetch "http://127.0.0.1:${proxy_address##*:}"
stop_proxy
proxy tcp://127.0.0.1:0 "tls://localhost:$((port + 1))"
if curl -sS --max-time 60 "http://${proxy_address#tcp://}/hello" 2>"$dir/err"; then
    fail "passed on to a server that nobody vouches for"
fi
until_says "to tls://localhost:$((port + 1)): certificate not accepted"
stop_proxy

# Both, over one protocol that each side agrees on.
proxy --verbose "${server_options[@]}" --ca "$pki/ca.pem" --alpn http/1.1 tls://127.0.0.1:0 \
    "tls://127.0.0.1:$((port + 1))"
fetch "https://localhost:${proxy_address##*:}" --cacert "$pki/ca.pem"
says "$(cat "$proxy_says")" "protocol http/1.1; no certificate shown"
says "$(cat "$proxy_says")" "protocol http/1.1; certificate CN=server.test"
stop_proxy

# A client that has to show a certificate, and one that speaks no TLS.
proxy --verbose "${server_options[@]}" --client-ca "$pki/ca.pem" tls://127.0.0.1:0 \
    "tcp://127.0.0.1:$port"
page="hello over http"
fetch "https://localhost:${proxy_address##*:}" --cacert "$pki/ca.pem" --cert "$pki/client.pem" \
    --key "$pki/client.key"
if curl -sS --max-time 60 --cacert "$pki/ca.pem" "https://localhost:${proxy_address##*:}/hello" \
    2>"$dir/err"; then
    fail "let in without a certificate"
fi
until_says "the client has shown no certificate"
if curl -sS --max-time 60 "http://${proxy_address#tls://}/hello" 2>"$dir/err"; then
    fail "an answer without TLS"
fi
until_says "the peer speaks HTTP, not TLS"
stop_proxy

# ---- the examples behind it ----------------------------------------------------------------------

example redis_ping tcp://127.0.0.1:0
proxy tcp://127.0.0.1:0 "tcp://127.0.0.1:$port"
far_port=${proxy_address##*:}
[ "$(redis-cli -p "$far_port" ping)" = PONG ] || fail "redis-cli ping"
[ "$(printf 'ping 1\nping 2\n' | redis-cli -p "$far_port" | tr '\n' ' ')" = "1 2 " ] ||
    fail "redis-cli with two commands"
for pipeline in 1 16; do
    expect 0 redis-benchmark -p "$far_port" -t ping_inline,ping_mbulk -n 2000 -c 20 \
        -P $pipeline --csv
    [ "$(grep -c '^"PING_.*","[1-9]' "$dir/out")" = 2 ] || fail "redis-benchmark: $out $err"
done
stop_proxy
stop_example

example http_hello tcp://127.0.0.1:0
proxy tcp://127.0.0.1:0 "tcp://127.0.0.1:$port"
url=http://${proxy_address#tcp://}/
[ "$(curl -sS --max-time 60 "$url" "$url" -w '%{num_connects}' | tr '\n' ' ')" = \
    "hello 1hello 0" ] || fail "curl does not keep the connection"
expect 0 wrk -t 1 -c 16 -d 1s "$url"
grep -q '^ *[1-9][0-9]* requests in' "$dir/out" || fail "wrk: $out"
if grep 'Socket errors\|Non-2xx' "$dir/out"; then fail "wrk: $out"; fi
stop_proxy
proxy "${server_options[@]}" tls://127.0.0.1:0 "tcp://127.0.0.1:$port"
url=https://localhost:${proxy_address##*:}/
[ "$(curl -sS --max-time 60 --cacert "$pki/ca.pem" "$url" "$url" -w '%{num_connects}' |
    tr '\n' ' ')" = "hello 1hello 0" ] || fail "curl over TLS"
stop_proxy
stop_example

# ---- ends ----------------------------------------------------------------------------------------

# A stream of TLS that is cut off is not made a whole one for who reads it without TLS.
cat >"$dir/cut.py" <<'END'
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
for goodbye in (False, True):
    raw, _ = listener.accept()
    s = context.wrap_socket(raw, server_side=True)
    s.sendall(b"the first half")
    if goodbye:
        s.unwrap().close()
    else:
        # Closed with something unread it would be a reset, which takes back what is on its way.
        cut = socket.socket(fileno=s.detach())
        cut.shutdown(socket.SHUT_WR)
        while cut.recv(4096):
            pass
END
mkfifo "$dir/cut"
python3 "$dir/cut.py" "$pki/server.pem" "$pki/server.key" >"$dir/cut" &
jobs_started+=($!)
read -r -t 30 cut_port <"$dir/cut"
proxy --ca "$pki/ca.pem" tcp://127.0.0.1:0 "tls://localhost:$cut_port"
expect 1 "$weir" connect "$proxy_address" </dev/null
[ "$out" = "the first half" ] || fail "before the cut came: $out"
says "$err" "connection reset"
until_says "tls://localhost:$cut_port, for 127.0.0.1:"
says "$(cat "$proxy_says")" "TLS stream cut off"
expect 0 "$weir" connect "$proxy_address" </dev/null
[ "$out" = "the first half" ] || fail "with a goodbye came: $out"
stop_proxy
