#!/usr/bin/env bash
# ctest: also asan tsan
# ctest: timeout 120
# nginx at the other end: a web server, with and without certificates of clients, and its stream
# module, which takes TLS off and puts it on between `weir connect` and `weir echo`.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"
source "$WEIR_SOURCE/test/support/tls.bash"
source "$WEIR_SOURCE/test/support/nginx.bash"

for module in "" "load_module /usr/lib/nginx/modules/ngx_stream_module.so;"; do
    echo "$module events {} stream {}" >"$dir/nginx.conf"
    nginx -t -q -p "$dir" -c "$dir/nginx.conf" -g "pid $dir/nginx.pid; error_log $dir/error.log;" \
        2>"$dir/log" && break
    [ -z "$module" ] || { echo "skipped: there is no stream module of nginx"; exit 77; }
done

size=50000000
[ -z "${WEIR_SLOW:-}" ] || size=5000000
mkdir "$dir/www"
head -c $size /dev/urandom >"$dir/www/much"

serve tcp://127.0.0.1:0
plain_echo=${address#tcp://}
serve_tls "${server_options[@]}"
tls_echo=${address#tls://}

# Ports from $port on: 0 a web server, 1 one that asks for certificates; 2 takes TLS off, 3 puts it
# on, 4 does both.
write_configuration() {
    cat >"$dir/nginx.conf" <<END
$module
$nginx_process
events {}
http {
    $nginx_http
    ssl_certificate $pki/server.pem;
    ssl_certificate_key $pki/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {
        listen 127.0.0.1:$port ssl;
        root $dir/www;
        location /hello { return 200 "\$ssl_protocol for \$ssl_server_name"; }
    }
    server {
        listen 127.0.0.1:$((port + 1)) ssl;
        ssl_client_certificate $pki/ca.pem;
        ssl_verify_client on;
        location / { return 200 "you are \$ssl_client_s_dn"; }
    }
}
stream {
    ssl_certificate $pki/server.pem;
    ssl_certificate_key $pki/server.key;
    proxy_half_close on;
    proxy_ssl_verify on;
    proxy_ssl_verify_depth 2;
    proxy_ssl_trusted_certificate $pki/ca.pem;
    proxy_ssl_name localhost;
    proxy_ssl_server_name on;
    proxy_ssl_protocols TLSv1.2 TLSv1.3;
    server {
        listen 127.0.0.1:$((port + 2)) ssl;
        proxy_pass $plain_echo;
    }
    server {
        listen 127.0.0.1:$((port + 3));
        proxy_pass $tls_echo;
        proxy_ssl on;
    }
    server {
        listen 127.0.0.1:$((port + 4)) ssl;
        proxy_pass $tls_echo;
        proxy_ssl on;
    }
}
END
}

serve_nginx

# trust OFFSET OPTION...: connects to that server and trusts the authority. Only in the background.
trust() {
    exec "$weir" connect --ca "$pki/ca.pem" "${@:2}" "tls://localhost:$((port + $1))"
}

# ---- web servers ---------------------------------------------------------------------------------

export SSL_CERT_FILE=$pki/ca.pem
expect 0 "$WEIR_BUILD/examples/https_get" "https://localhost:$port/hello"
[ "$out" = "TLSv1.3 for localhost" ] || fail "https_get: $out"
expect 0 "$WEIR_BUILD/examples/https_get" "https://127.0.0.1:$port/hello"
[ "$out" = "TLSv1.3 for " ] || fail "https_get by address: $out"
"$WEIR_BUILD/examples/https_get" "https://localhost:$port/much" >"$dir/got"
cmp "$dir/got" "$dir/www/much" || fail "https_get of much"
unset SSL_CERT_FILE

# ask SERVER CONNECTION: for a page, in the conversation or as its last word.
ask() {
    tell "GET /hello HTTP/1.1"$'\r\nHost: '"$1"$'\r\nConnection: '"$2"$'\r\n\r'
    hear "Connection: $2"
}
converse trust 0 --verbose
hear "TLS 1.3, TLS_"
ask localhost keep-alive
ask localhost keep-alive
ask localhost close
hang_up 0
expect 0 "$WEIR_BUILD/test/tls_again" "tls://127.0.0.1:$port" "$pki/ca.pem" \
    "GET /hello HTTP/1.0" 3
[[ $out == "TLS 1.3 new"*"TLS 1.3 resumed"*"TLS 1.3 resumed"* ]] || fail "$out"
expect 1 "$weir" connect --ca "$pki/unknown.pem" "tls://localhost:$port" </dev/null
says "$err" "certificate not accepted"
expect 1 "$weir" connect --ca "$pki/ca.pem" --name other.test "tls://localhost:$port" </dev/null
says "$err" "not for other.test"

# nginx answers whoever shows no good certificate, in TLS, with an error of HTTP.
converse trust 1 "${client_options[@]}"
ask localhost close
hang_up 0
says "$heard" "you are CN=client.test"
converse trust 1
ask localhost close
hang_up 0
says "$heard" "No required SSL certificate was sent"
converse trust 1 --cert "$pki/unknown.pem" --key "$pki/unknown.key"
ask localhost close
hang_up 0
says "$heard" "The SSL certificate error"

# ---- in the middle of a stream ------------------------------------------------------------------

# The same bytes come back, whoever speaks TLS to whom. nginx answers no goodbye with its own, which
# is an end that weir does not take for one.
through() {
    local status=0
    converse "$weir" connect "$@"
    tell hello
    hear hello
    tell "hello again"
    hear "hello again"
    kill "$peer"
    wait "$peer" 2>/dev/null || true
    exec {to_peer}>&- {from_peer}<&-
    "$weir" connect "$@" <"$dir/www/much" >"$dir/got" 2>"$dir/err" || status=$?
    [ $status = 0 ] || says "$(cat "$dir/err")" "TLS stream cut off"
    cmp "$dir/got" "$dir/www/much" || fail "other bytes: $*"
}
through --ca "$pki/ca.pem" "tls://127.0.0.1:$((port + 2))"
through "tcp://127.0.0.1:$((port + 3))"
through --ca "$pki/ca.pem" "tls://127.0.0.1:$((port + 4))"
says "$(cat "$server_says")" ": TLS 1.3, "
kill "$nginx"
wait "$nginx" || fail "nginx: status $?: $(cat "$dir/error.log")"
stop_serving
